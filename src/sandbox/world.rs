//! What HeyGen would know: videos, their progress, remembered answers, bills. No HTTP and no JSON shapes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::media::{self, Media};
use super::options::{Options, Render};
use super::record::Billed;
use crate::time::Timestamp;
use crate::video::Asset;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// The account of an API key: 0 is [`Options::key`], then [`Options::other_keys`].
pub(super) type Account = usize;

/// One video.
pub(super) struct Video {
    pub(super) id: String,
    pub(super) account: Account,
    pub(super) created: Timestamp,
    pub(super) title: Option<String>,
    pub(super) folder_id: Option<String>,
    /// Goes back with the webhook.
    pub(super) callback_id: Option<String>,
    /// Its place in the order of creation.
    pub(super) number: u64,
    progress: Progress,
    /// Rendering will fail.
    doomed: bool,
    gets_since_completed: u32,
    /// Counts renderings of the same id.
    version: u32,
}

/// How far rendering got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As [`Options::render`] says.
    Rendering,
    /// A word a test chose.
    Word(String),
    Completed {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        code: String,
        message: String,
    },
}

/// What a new video is made from.
pub(super) struct Order {
    pub(super) account: Account,
    pub(super) idempotency_key: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) title: Option<String>,
    pub(super) script: Option<String>,
    pub(super) folder_id: Option<String>,
    pub(super) callback_id: Option<String>,
}

/// An answer kept under an `Idempotency-Key`.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What an `Idempotency-Key` means right now.
pub(super) enum Seen {
    New,
    InFlight,
    Answered(Stored),
}

struct Remembered {
    at: Timestamp,
    /// Until then the first request counts as in flight; real time, as latency is.
    settled: Instant,
    answer: Stored,
}

/// Everything the stand-in knows.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) billed: Vec<Billed>,
    videos: BTreeMap<u64, Video>,
    numbers: HashMap<String, u64>,
    /// Videos whose end was not announced yet.
    unannounced: BTreeSet<u64>,
    remembered: HashMap<(Account, String), Remembered>,
    random: fastrand::Rng,
    made: u64,
    bought: u32,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let random = options
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            options,
            clock: Clock::start(),
            billed: Vec::new(),
            videos: BTreeMap::new(),
            numbers: HashMap::new(),
            unannounced: BTreeSet::new(),
            remembered: HashMap::new(),
            random,
            made: 0,
            bought: 0,
        }
    }

    /// The account a key opens.
    pub(super) fn account(&self, key: &str) -> Option<Account> {
        self.keys().position(|known| known == key)
    }

    fn keys(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.options.key).chain(&self.options.other_keys)
    }

    pub(super) fn seen(&self, account: Account, key: &str) -> Seen {
        let now = self.clock.now();
        match self.remembered.get(&(account, key.to_owned())) {
            Some(known) if now.since(known.at) < IDEMPOTENCY => {
                if Instant::now() < known.settled {
                    Seen::InFlight
                } else {
                    Seen::Answered(known.answer.clone())
                }
            }
            _ => Seen::New,
        }
    }

    /// Keeps an answer under a key; for `in_flight` from now on a repetition is refused.
    pub(super) fn remember(
        &mut self,
        account: Account,
        key: String,
        answer: Stored,
        in_flight: Duration,
    ) {
        let remembered = Remembered {
            at: self.clock.now(),
            settled: Instant::now() + in_flight,
            answer,
        };
        self.remembered.insert((account, key), remembered);
    }

    /// Whether the account's plan has no place for another video.
    pub(super) fn is_full(&self, account: Account) -> bool {
        self.options.max_rendering.is_some_and(|most| {
            let rendering = self
                .of(account)
                .filter(|video| !self.progress(video).is_over());
            rendering.count() >= most
        })
    }

    /// Makes a video and charges for it; returns its id.
    pub(super) fn buy(&mut self, order: Order) -> String {
        let id = format!("{:032x}", self.random.u128(..));
        self.bought += 1;
        let by_chance = self.random.f64() < self.options.fail_rate;
        let by_turn = self
            .options
            .fail_every
            .is_some_and(|every| every > 0 && self.bought.is_multiple_of(every));
        let by_word = self.options.fail_on_word
            && [&order.title, &order.script]
                .into_iter()
                .flatten()
                .any(|text| text.to_lowercase().contains("fail"));
        let key = self.keys().nth(order.account).cloned();
        self.billed.push(Billed {
            video_id: id.clone(),
            key: key.unwrap_or_default(),
            idempotency_key: order.idempotency_key,
            body: order.body,
        });
        let video = self.insert(&id, order.account, Progress::Rendering);
        video.title = order.title;
        video.folder_id = order.folder_id;
        video.callback_id = order.callback_id;
        video.doomed = by_chance || by_turn || by_word;
        id
    }

    /// Adds a video, or replaces the one of that id.
    pub(super) fn insert(&mut self, id: &str, account: Account, progress: Progress) -> &mut Video {
        self.remove(id);
        self.made += 1;
        self.numbers.insert(id.to_owned(), self.made);
        self.unannounced.insert(self.made);
        let created = self.clock.now();
        let number = self.made;
        self.videos.entry(number).or_insert_with(|| Video {
            id: id.to_owned(),
            account,
            created,
            title: None,
            folder_id: None,
            callback_id: None,
            number,
            progress,
            doomed: false,
            gets_since_completed: 0,
            version: 0,
        })
    }

    /// Forgets a video; says whether there was one.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let number = self.numbers.remove(id);
        number.is_some_and(|number| self.videos.remove(&number).is_some())
    }

    /// The video of that id, whoever owns it, unless it is past its retention.
    pub(super) fn find(&self, id: &str) -> Option<&Video> {
        let video = self.videos.get(self.numbers.get(id)?)?;
        let age = self.clock.now().since(video.created);
        let kept = self.options.retention.is_none_or(|kept| age < kept);
        kept.then_some(video)
    }

    /// The videos of one account, oldest first.
    pub(super) fn of(&self, account: Account) -> impl DoubleEndedIterator<Item = &Video> {
        self.videos
            .values()
            .filter(move |video| video.account == account && self.find(&video.id).is_some())
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.videos.values().map(|video| video.id.clone()).collect()
    }

    /// Puts a video where a test wants it; says whether there is one.
    pub(super) fn set_progress(&mut self, id: &str, progress: Progress) -> bool {
        let number = self.numbers.get(id).copied().unwrap_or_default();
        self.videos
            .get_mut(&number)
            .map(|video| video.progress = progress)
            .is_some()
    }

    /// The same id gets other bytes and another ETag; says whether there is such a video.
    pub(super) fn rerender(&mut self, id: &str) -> bool {
        let number = self.numbers.get(id).copied().unwrap_or_default();
        self.videos
            .get_mut(&number)
            .map(|video| video.version += 1)
            .is_some()
    }

    /// A progress from a status word, as of now.
    pub(super) fn word(&self, word: &str) -> Progress {
        let at = self.clock.now();
        match word {
            "completed" => Progress::Completed { at },
            "failed" => Progress::too_long(at),
            word => Progress::Word(word.to_owned()),
        }
    }

    /// How far a video is at this moment.
    pub(super) fn progress(&self, video: &Video) -> Progress {
        let Progress::Rendering = video.progress else {
            return video.progress.clone();
        };
        let total = match self.options.render {
            Render::Manual => return Progress::Word("pending".to_owned()),
            Render::After(total) => total,
        };
        let age = self.clock.now().since(video.created);
        let at = video.created.after(total);
        if age >= total {
            return if video.doomed {
                Progress::too_long(at)
            } else {
                Progress::Completed { at }
            };
        }
        let word = match age.as_secs_f64() / total.as_secs_f64() {
            part if part < 0.1 => "waiting",
            part if part < 0.3 => "pending",
            _ => "processing",
        };
        Progress::Word(word.to_owned())
    }

    /// Counts one look at a completed video; says whether its URLs exist by now.
    pub(super) fn urls_exist(&mut self, id: &str) -> bool {
        let wanted = self.options.gets_without_urls;
        let Some(video) = self
            .numbers
            .get(id)
            .and_then(|number| self.videos.get_mut(number))
        else {
            return false;
        };
        video.gets_since_completed = video.gets_since_completed.saturating_add(1);
        video.gets_since_completed > wanted
    }

    /// The videos of the first account that have ended since the last call; each only once.
    pub(super) fn take_ended(&mut self) -> Vec<(&Video, Progress)> {
        let waiting = std::mem::take(&mut self.unannounced);
        let (ended, waiting) = waiting.into_iter().partition(|number| {
            let video = self.videos.get(number);
            video.is_none_or(|video| self.progress(video).is_over())
        });
        self.unannounced = waiting;
        let ended: BTreeSet<u64> = ended;
        ended
            .iter()
            .filter_map(|number| self.videos.get(number))
            .filter(|video| video.account == 0)
            .map(|video| (video, self.progress(video)))
            .collect()
    }

    /// The file of a video.
    pub(super) fn media(&self, id: &str, asset: Asset) -> Media {
        let version = self.find(id).map_or(0, |video| video.version);
        media::version(id, version, asset, self.options.file_size)
    }
}

impl Progress {
    /// The one failure the stand-in knows by itself.
    fn too_long(at: Timestamp) -> Self {
        Self::Failed {
            at,
            code: "script_too_long".to_owned(),
            message: "Script too long for selected avatar".to_owned(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::Failed { .. })
    }

    /// The word in details and lists.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Rendering => "waiting",
            Self::Word(word) => word,
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}
