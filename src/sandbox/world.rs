//! What HeyGen would know: jobs, how far they are, remembered answers.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::Answer;
use super::media::Media;
use super::{KEY, SandboxOptions, kinds};
use crate::time;

const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything the stand-in knows. An account is the place of its key in `keys`.
pub struct World {
    /// Videos "made elsewhere" belong to the first.
    pub keys: Vec<String>,
    /// By number, so in the order of their creation.
    pub videos: BTreeMap<u64, Creation>,
    pub random: fastrand::Rng,
    pub skipped: Duration,
    pub billing: Value,
    pub(super) requests: u64,
    pub(super) options: SandboxOptions,
    started: (Duration, Instant),
    numbers: HashMap<String, u64>,
    /// By account and idempotency key, with when they were given.
    answers: HashMap<(usize, String), (Duration, Answer)>,
}

#[derive(Default)]
pub struct Creation {
    pub id: String,
    pub kind: &'static str,
    pub(super) account: usize,
    pub created: Duration,
    pub body: Value,
    pub messages: Vec<String>,
    /// When a session was last answered: rendering begins anew.
    pub(super) revived: Option<Duration>,
    pub progress: RenderState,
    pub doomed: bool,
    announced: Cell<bool>,
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

impl World {
    pub(super) fn new(options: SandboxOptions) -> Self {
        let now = u64::try_from(time::now().millis()).unwrap_or(0);
        Self {
            keys: vec![KEY.to_owned()],
            videos: BTreeMap::new(),
            random: fastrand::Rng::new(),
            skipped: Duration::ZERO,
            billing: json!({
                "billing_type": "wallet",
                "wallet": {"currency": "usd", "remaining_balance": 100.0},
            }),
            requests: 0,
            started: (Duration::from_millis(now), Instant::now()),
            options,
            numbers: HashMap::new(),
            answers: HashMap::new(),
        }
    }

    /// Time since the Unix epoch. It never goes back, whatever the system's clock does.
    pub fn now(&self) -> Duration {
        let (at, since) = self.started;
        at + since.elapsed() + self.skipped
    }

    pub(super) fn remembered(&self, account: usize, key: &str) -> Option<Answer> {
        let (at, answer) = self.answers.get(&(account, key.to_owned()))?;
        (self.now() < *at + IDEMPOTENCY).then(|| answer.clone())
    }

    pub(super) fn remember(&mut self, account: usize, key: &str, answer: &Answer) {
        let known = (self.now(), answer.clone());
        self.answers.insert((account, key.to_owned()), known);
    }

    pub(super) fn is_full(&self, account: usize) -> bool {
        self.options.slots.is_some_and(|slots| {
            let jobs = self.of(account);
            jobs.filter(|job| !self.state(job).is_over()).count() >= slots
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

    pub fn video_mut(&mut self, id: &str) -> Option<&mut Creation> {
        self.videos.get_mut(self.numbers.get(id)?)
    }

    pub(super) fn of(&self, account: usize) -> impl Iterator<Item = &Creation> {
        let jobs = self.videos.values();
        jobs.filter(move |job| job.account == account)
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
        let part = match age < total {
            true => age.as_secs_f64() / total.as_secs_f64(),
            false => 1.0,
        };
        let mut words = kinds::words(video).iter();
        let at = since + total;
        match words.find(|(until, _)| part < *until) {
            Some((_, word)) => RenderState::Word((*word).to_owned()),
            None if video.doomed => RenderState::too_long(at),
            None => RenderState::Completed { at },
        }
    }

    /// The jobs of the first account that have ended since the last call, and how.
    pub(super) fn newly_ended(&self) -> impl Iterator<Item = (&Creation, RenderState)> {
        self.of(0).filter_map(|job| {
            let state = self.state(job);
            let new = state.is_over() && !job.announced.replace(true);
            new.then_some((job, state))
        })
    }

    pub fn media(&self, id: &str, asset: &str) -> Media {
        let version = self.find(id).map_or(0, |video| video.version);
        Media::new(id, version, asset, self.options.file_size)
    }
}

impl RenderState {
    /// The one failure the stand-in knows by itself.
    pub fn too_long(at: Duration) -> Self {
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

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Rendering => "waiting",
            Self::Word(word) => word,
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
        }
    }
}
