//! What HeyGen would know: jobs, how far they are, remembered answers. No HTTP and no JSON shapes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::media::Media;
use super::{SandboxOptions, kinds};
use crate::time;

const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything the stand-in knows. An account is the place of its key in `keys`.
pub struct World {
    /// The API key of each account; videos "made elsewhere" belong to the first.
    pub keys: Vec<String>,
    /// By number, so in the order of their creation.
    pub videos: BTreeMap<u64, Creation>,
    pub random: fastrand::Rng,
    /// Added to the time.
    pub skipped: Duration,
    /// What `GET /v3/users/me` says of money.
    pub billing: Value,
    /// By batch id: the video of each item, or why there is none.
    pub batches: BTreeMap<String, Vec<Result<String, String>>>,
    pub(super) options: SandboxOptions,
    started: (Duration, Instant),
    numbers: HashMap<String, u64>,
    /// Jobs whose end was not announced yet.
    unannounced: BTreeSet<u64>,
    remembered: HashMap<(usize, String), Remembered>,
}

#[derive(Default)]
pub struct Creation {
    pub id: String,
    pub kind: &'static str,
    pub(super) account: usize,
    pub created: Duration,
    pub body: Value,
    pub messages: Vec<String>,
    /// What a session says of itself, where somebody says otherwise than its word does.
    pub per_cent: Option<u8>,
    /// When a session was last answered: rendering begins anew.
    pub(super) revived: Option<Duration>,
    pub progress: RenderState,
    pub doomed: bool,
    /// Counts renderings of the same id: other bytes, another `ETag`.
    pub version: u32,
}

/// How far rendering is; instants since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RenderState {
    /// As [`SandboxOptions::render_time`] says.
    #[default]
    Rendering,
    /// This word, until somebody says otherwise.
    Word(String),
    Completed {
        at: Duration,
    },
    Failed {
        at: Duration,
        code: String,
        message: String,
    },
}

pub(super) struct Remembered {
    at: Duration,
    /// Until then the first request counts as in flight; real time, as latency is.
    pub(super) settled: Instant,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl World {
    pub(super) fn new(options: SandboxOptions) -> Self {
        let now = u64::try_from(time::now().millis()).unwrap_or(0);
        Self {
            keys: vec![options.key.clone()],
            videos: BTreeMap::new(),
            random: fastrand::Rng::new(),
            skipped: Duration::ZERO,
            billing: json!({
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

    pub(super) fn remembered(&self, account: usize, key: &str) -> Option<&Remembered> {
        let known = self.remembered.get(&(account, key.to_owned()))?;
        (self.now() < known.at + IDEMPOTENCY).then_some(known)
    }

    pub(super) fn remember(&mut self, account: usize, key: String, status: u16, body: Vec<u8>) {
        let remembered = Remembered {
            at: self.now(),
            settled: Instant::now() + self.options.latency,
            status,
            body,
        };
        self.remembered.insert((account, key), remembered);
    }

    pub(super) fn is_full(&self, account: usize) -> bool {
        self.options.slots.is_some_and(|slots| {
            let jobs = self.of(account);
            jobs.filter(|(_, job)| !self.state(job).is_over()).count() >= slots
        })
    }

    pub(super) fn make(&mut self, account: usize, kind: &'static str, body: Value) -> String {
        let id = format!("{:032x}", self.random.u128(..));
        let by_chance = self.random.f64() < self.options.fail_rate;
        let fails = |name: &&str| {
            let text = body[*name].as_str();
            text.is_some_and(|text| text.to_lowercase().contains("fail"))
        };
        let words = ["title", "script", "prompt"];
        let by_word = self.options.fail_on_word && words.iter().any(fails);
        let job = self.insert(&id, RenderState::Rendering);
        job.account = account;
        job.kind = kind;
        job.body = body;
        job.doomed = by_chance || by_word;
        id
    }

    /// Adds a video made elsewhere, or replaces the job of that id.
    pub fn insert(&mut self, id: &str, progress: RenderState) -> &mut Creation {
        self.remove(id);
        let number = self.videos.last_key_value().map_or(1, |(last, _)| last + 1);
        self.numbers.insert(id.to_owned(), number);
        self.unannounced.insert(number);
        let created = self.now();
        self.videos.entry(number).or_insert_with(|| Creation {
            id: id.to_owned(),
            kind: "video",
            created,
            progress,
            ..Creation::default()
        })
    }

    pub fn remove(&mut self, id: &str) -> bool {
        let number = self.numbers.remove(id);
        number.is_some_and(|number| self.videos.remove(&number).is_some())
    }

    pub(super) fn find(&self, id: &str) -> Option<&Creation> {
        self.videos.get(self.numbers.get(id)?)
    }

    /// The same, to change it.
    pub fn video_mut(&mut self, id: &str) -> Option<&mut Creation> {
        self.videos.get_mut(self.numbers.get(id)?)
    }

    /// The videos of one account, oldest first, with their numbers.
    pub(super) fn of(&self, account: usize) -> impl DoubleEndedIterator<Item = (u64, &Creation)> {
        let videos = self.videos.iter().map(|(number, video)| (*number, video));
        videos.filter(move |(_, video)| video.account == account)
    }

    /// A progress from a status word, as of now; `completed` and `failed` mean what they say.
    pub fn word(&self, word: &str) -> RenderState {
        let at = self.now();
        match word {
            "completed" => RenderState::Completed { at },
            "failed" => RenderState::too_long(at),
            word => RenderState::Word(word.to_owned()),
        }
    }

    pub(super) fn state(&self, video: &Creation) -> RenderState {
        let RenderState::Rendering = video.progress else {
            return video.progress.clone();
        };
        let Some(total) = self.options.render_time else {
            return RenderState::Word("pending".to_owned());
        };
        let since = video.revived.unwrap_or(video.created);
        let age = self.now().saturating_sub(since);
        let prompt = video.body["prompt"].as_str();
        if let Some(prompt) = prompt.filter(|_| video.kind != "video")
            && let Some(state) = kinds::life(prompt, video.revived.is_some(), age, total)
        {
            return state;
        }
        if age >= total {
            let at = since + total;
            return if video.doomed {
                RenderState::too_long(at)
            } else {
                RenderState::Completed { at }
            };
        }
        let word = match age.as_secs_f64() / total.as_secs_f64() {
            part if part < 0.1 => "waiting",
            part if part < 0.3 => "pending",
            _ => "processing",
        };
        RenderState::Word(word.to_owned())
    }

    /// The videos of the first account that have ended since the last call; each only once.
    pub(super) fn take_ended(&mut self) -> Vec<(&Creation, RenderState)> {
        let waiting = std::mem::take(&mut self.unannounced);
        let (ended, waiting): (BTreeSet<u64>, _) = waiting.into_iter().partition(|number| {
            let video = self.videos.get(number);
            video.is_none_or(|video| self.state(video).is_over())
        });
        self.unannounced = waiting;
        let ended = ended.iter().filter_map(|number| self.videos.get(number));
        ended
            .filter(|video| video.account == 0)
            .map(|video| (video, self.state(video)))
            .collect()
    }

    /// A file of a video.
    pub fn media(&self, id: &str, asset: &str) -> Media {
        let version = self.find(id).map_or(0, |video| video.version);
        Media::new(id, version, asset, self.options.file_size)
    }
}

impl RenderState {
    /// The one failure the stand-in knows by itself.
    fn too_long(at: Duration) -> Self {
        Self::Failed {
            at,
            code: "script_too_long".to_owned(),
            message: "Script too long for selected avatar".to_owned(),
        }
    }

    pub(super) fn is_completed(&self) -> bool {
        matches!(self, Self::Completed { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_completed() || matches!(self, Self::Failed { .. })
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
