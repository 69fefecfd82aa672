//! What HeyGen would know: videos, how far they are, remembered answers. No HTTP and no JSON shapes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::media::Media;
use super::{Options, jobs};
use crate::time;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// The account of an API key: its place in [`World::keys`].
pub(super) type Account = usize;

/// Everything the stand-in knows.
pub struct World {
    /// The API key of each account; videos "made elsewhere" belong to the first.
    pub keys: Vec<String>,
    /// By number, so in the order of their creation.
    pub videos: BTreeMap<u64, Video>,
    /// Makes ids, and chance.
    pub random: fastrand::Rng,
    /// Added to the time.
    pub skipped: Duration,
    /// What `GET /v3/users/me` says of money.
    pub billing: serde_json::Value,
    /// By batch id: the video of each item, or why there is none.
    pub batches: BTreeMap<String, Vec<Result<String, String>>>,
    pub(super) options: Options,
    started: (Duration, Instant),
    numbers: HashMap<String, u64>,
    /// Videos whose end was not announced yet.
    unannounced: BTreeSet<u64>,
    remembered: HashMap<(Account, String), Remembered>,
}

/// One video.
pub struct Video {
    /// HeyGen's.
    pub id: String,
    /// The kind of job, `video` unless made as another.
    pub kind: &'static str,
    pub(super) account: Account,
    pub(super) created: Duration,
    pub(super) title: Option<String>,
    pub(super) folder_id: Option<String>,
    /// Goes back with the webhook.
    pub(super) callback_id: Option<String>,
    /// Of a translation.
    pub(super) language: Option<String>,
    /// Of an agent's session.
    pub(super) prompt: Option<String>,
    /// What a session was told.
    pub messages: Vec<String>,
    /// What a session says of itself, where somebody says otherwise than its word does.
    pub per_cent: Option<u8>,
    /// When a session was last answered: rendering begins anew.
    pub(super) revived: Option<Duration>,
    /// How far it is.
    pub progress: Progress,
    /// Rendering will fail.
    pub doomed: bool,
    /// Counts renderings of the same id: other bytes, another `ETag`.
    pub version: u32,
}

/// How far rendering is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As [`Options::render_time`] says.
    Rendering,
    /// This word, until somebody says otherwise.
    Word(String),
    /// Done.
    Completed {
        /// Since the Unix epoch.
        at: Duration,
    },
    /// Over.
    Failed {
        /// Since the Unix epoch.
        at: Duration,
        /// HeyGen's.
        code: String,
        /// HeyGen's.
        message: String,
    },
}

/// What a new video is made from.
#[derive(Default)]
pub(super) struct Order {
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
    at: Duration,
    /// Until then the first request counts as in flight; real time, as latency is.
    settled: Instant,
    answer: Stored,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let now = u64::try_from(time::now().millis()).unwrap_or(0);
        Self {
            keys: vec![options.key.clone()],
            videos: BTreeMap::new(),
            random: fastrand::Rng::new(),
            skipped: Duration::ZERO,
            billing: serde_json::json!({
                "billing_type": "wallet",
                "wallet": {"currency": "usd", "remaining_balance": 100.0},
            }),
            batches: BTreeMap::new(),
            started: (Duration::from_millis(now), Instant::now()),
            options,
            numbers: HashMap::new(),
            unannounced: BTreeSet::new(),
            remembered: HashMap::new(),
        }
    }

    /// Time since the Unix epoch. It never goes back, whatever the system's clock does.
    pub fn now(&self) -> Duration {
        let (at, since) = self.started;
        at + since.elapsed() + self.skipped
    }

    /// The account a key opens.
    pub(super) fn account(&self, key: &str) -> Option<Account> {
        self.keys.iter().position(|known| known == key)
    }

    pub(super) fn seen(&self, account: Account, key: &str) -> Seen {
        match self.remembered.get(&(account, key.to_owned())) {
            Some(known) if self.now() < known.at + IDEMPOTENCY => {
                if Instant::now() < known.settled {
                    Seen::InFlight
                } else {
                    Seen::Answered(known.answer.clone())
                }
            }
            _ => Seen::New,
        }
    }

    /// Keeps an answer under a key; while it is on its way a repetition is refused.
    pub(super) fn remember(&mut self, account: Account, key: String, answer: Stored) {
        let remembered = Remembered {
            at: self.now(),
            settled: Instant::now() + self.options.latency,
            answer,
        };
        self.remembered.insert((account, key), remembered);
    }

    /// Whether the account's plan has no place for another video.
    pub(super) fn is_full(&self, account: Account) -> bool {
        self.options.slots.is_some_and(|slots| {
            let rendering = self
                .of(account)
                .filter(|(_, video)| !self.progress(video).is_over());
            rendering.count() >= slots
        })
    }

    /// Makes a video that somebody asked for; returns its id.
    pub(super) fn make(&mut self, account: Account, order: Order) -> String {
        let id = format!("{:032x}", self.random.u128(..));
        let by_chance = self.random.f64() < self.options.fail_rate;
        let by_word = self.options.fail_on_word
            && [&order.title, &order.script]
                .into_iter()
                .flatten()
                .any(|text| text.to_lowercase().contains("fail"));
        let video = self.insert(&id, Progress::Rendering);
        video.account = account;
        video.title = order.title;
        video.folder_id = order.folder_id;
        video.callback_id = order.callback_id;
        video.doomed = by_chance || by_word;
        id
    }

    /// Adds a video made elsewhere, or replaces the one of that id.
    pub fn insert(&mut self, id: &str, progress: Progress) -> &mut Video {
        self.remove(id);
        let number = self.videos.last_key_value().map_or(1, |(last, _)| last + 1);
        self.numbers.insert(id.to_owned(), number);
        self.unannounced.insert(number);
        let created = self.now();
        self.videos.entry(number).or_insert_with(|| Video {
            id: id.to_owned(),
            kind: "video",
            account: 0,
            created,
            title: None,
            folder_id: None,
            callback_id: None,
            language: None,
            prompt: None,
            messages: Vec::new(),
            per_cent: None,
            revived: None,
            progress,
            doomed: false,
            version: 0,
        })
    }

    /// Forgets a video; says whether there was one.
    pub fn remove(&mut self, id: &str) -> bool {
        let number = self.numbers.remove(id);
        number.is_some_and(|number| self.videos.remove(&number).is_some())
    }

    /// The video of that id, whoever owns it.
    pub(super) fn find(&self, id: &str) -> Option<&Video> {
        self.videos.get(self.numbers.get(id)?)
    }

    /// The same, to change it.
    pub fn video_mut(&mut self, id: &str) -> Option<&mut Video> {
        self.videos.get_mut(self.numbers.get(id)?)
    }

    /// The videos of one account, oldest first, with their numbers.
    pub(super) fn of(&self, account: Account) -> impl DoubleEndedIterator<Item = (u64, &Video)> {
        let videos = self.videos.iter().map(|(number, video)| (*number, video));
        videos.filter(move |(_, video)| video.account == account)
    }

    /// A progress from a status word, as of now; `completed` and `failed` mean what they say.
    pub fn word(&self, word: &str) -> Progress {
        let at = self.now();
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
        let Some(total) = self.options.render_time else {
            return Progress::Word("pending".to_owned());
        };
        let since = video.revived.unwrap_or(video.created);
        let age = self.now().saturating_sub(since);
        if let Some(prompt) = &video.prompt
            && let Some(progress) = jobs::life(prompt, video.revived.is_some(), age, total)
        {
            return progress;
        }
        if age >= total {
            let at = since + total;
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

    /// The videos of the first account that have ended since the last call; each only once.
    pub(super) fn take_ended(&mut self) -> Vec<(&Video, Progress)> {
        let waiting = std::mem::take(&mut self.unannounced);
        let (ended, waiting): (BTreeSet<u64>, _) = waiting.into_iter().partition(|number| {
            let video = self.videos.get(number);
            video.is_none_or(|video| self.progress(video).is_over())
        });
        self.unannounced = waiting;
        let ended = ended.iter().filter_map(|number| self.videos.get(number));
        ended
            .filter(|video| video.account == 0)
            .map(|video| (video, self.progress(video)))
            .collect()
    }

    /// A file of a video.
    pub fn media(&self, id: &str, asset: &str) -> Media {
        let version = self.find(id).map_or(0, |video| video.version);
        Media::new(id, version, asset, self.options.file_size)
    }
}

impl Progress {
    /// The one failure the stand-in knows by itself.
    fn too_long(at: Duration) -> Self {
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
