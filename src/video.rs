//! The nouns: a tracked video, its files, its timeline. No I/O happens here and no clock is read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shell;
use crate::time::Timestamp;

/// The local number of a row; never reused, so it also names the row's kernel locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RowId(pub i64);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// HeyGen's name for a video: opaque text, 1 to [`VideoId::MAX_BYTES`] bytes, otherwise unrestricted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VideoId(String);

impl VideoId {
    /// HeyGen's ids are 32 hexadecimal digits; anything up to this many bytes is carried along.
    pub const MAX_BYTES: usize = 512;

    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.trim().is_empty() && text.len() <= Self::MAX_BYTES).then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VideoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// HeyGen's name for a job: its kind says where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub kind: Kind,
    /// A session's id for an agent, else the video's.
    pub id: VideoId,
}

/// The request header value that makes a repeated POST harmless (`Idempotency-Key`, HeyGen: 1–255 of
/// `[A-Za-z0-9_:.-]`, remembered for 24 h). One row owns one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The key of the `number`th further submission of what `first` submitted, with the body that has this hash.
    pub fn of_retry(first: &Self, number: usize, body_hash: &str) -> Self {
        Self::derived(&format!("retry {number} of {}: {body_hash}", first.0))
    }

    /// What takes the place of a key under which HeyGen may repeat a refusal that holds no more. A copy of the database
    /// comes to the same one.
    pub fn after_refusal(&self) -> Self {
        Self::derived(&format!("after a refusal of {}", self.0))
    }

    fn derived(text: &str) -> Self {
        let digest = Sha256::digest(text);
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose videos these are: the API base URL and a fingerprint of the key, never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(String);

impl Account {
    /// Whoever has the same key, wherever the API is: what a row belongs to that could not be sent to a host which
    /// nobody reached.
    pub fn at_any_host(&self) -> Self {
        let key = self.0.rsplit('#').next().unwrap_or_default();
        Self(format!("#{key}"))
    }

    pub fn covers(&self, account: &Self) -> bool {
        self == account || *self == account.at_any_host()
    }

    pub fn host(&self) -> &str {
        self.0.split('#').next().unwrap_or_default()
    }

    /// `text` is `BASE_URL#FINGERPRINT`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Defines enums whose variants have one lower-case word each: in the database, in JSON and on screen.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    )+};
}

words! {
    /// What HeyGen is asked to make; see [`crate::kind`].
    #[derive(Default)]
    Kind {
        /// An avatar, an image or a studio video.
        #[default]
        Video = "video",
        Agent = "agent",
        Template = "template",
        Translation = "translation",
        Lipsync = "lipsync",
        Model = "model",
    }

    /// How far the *submission* of a video got, as far as this machine knows.
    #[derive(Default)]
    Phase {
        /// Recorded; no attempt is unanswered, so HeyGen cannot have charged for it.
        #[default]
        Unsent = "unsent",
        /// At least one attempt went out and its answer is not known: HeyGen may have charged.
        Sending = "sending",
        /// HeyGen answered with a video id, or the row was added by id.
        Accepted = "accepted",
        Rejected = "rejected",
        /// An attempt is unanswered and too old to be replayed safely.
        Unknown = "unknown",
        /// The account that had the video says, several times within an hour, that it is not there.
        Missing = "missing",
    }

    /// HeyGen's final word on a job. Once recorded it is never taken back, but for the failure of an agent that a person
    /// asks to go on ([`crate::decide::revived`]).
    Outcome {
        Completed = "completed",
        Failed = "failed",
    }

    #[derive(Default)]
    Asset {
        #[default]
        Video = "video",
        Captioned = "captioned",
        Subtitle = "subtitle",
        Thumbnail = "thumbnail",
        Gif = "gif",
        Audio = "audio",
        Vtt = "vtt",
    }

    #[derive(Default)]
    FileState {
        #[default]
        Wanted = "wanted",
        /// A `.part` file holds a known-durable beginning.
        Partial = "partial",
        /// Complete and fsynced under its part name; the rename to its final name may or may not have happened.
        Publishing = "publishing",
        Saved = "saved",
        Unavailable = "unavailable",
        /// Was saved; later found missing or changed on disk.
        Gone = "gone",
    }

    HookEvent {
        Completed = "completed",
        Saved = "saved",
        Failed = "failed",
        Stalled = "stalled",
        Attention = "attention",
        Idle = "idle",
    }

    MessageKind {
        Reply = "reply",
        Nudge = "nudge",
        /// The stop at the plan is answered as the user said beforehand.
        Proceed = "proceed",
    }

    /// How far a message got. It is never sent twice: what has no answer stays `sending`.
    MessageState {
        Unsent = "unsent",
        Sending = "sending",
        Sent = "sent",
        Refused = "refused",
    }

    Operation {
        Send = "send",
        Poll = "poll",
        Save = "save",
    }

    /// What can be wrong with a whole run; the word in `troubles.kind`.
    Outage {
        /// HeyGen cannot be reached or answers nothing useful.
        Network = "network",
        /// HeyGen can be reached, and submissions come to nothing.
        Submit = "submit",
        Key = "key",
        Forbidden = "forbidden",
        SubmitForbidden = "submit_forbidden",
        Credit = "credit",
        RateLimit = "rate_limit",
        Account = "account",
        Disk = "disk",
        Clock = "clock",
    }
}

impl FileState {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Wanted | Self::Partial | Self::Publishing)
    }
}

/// HeyGen's own status word, kept verbatim: new words appear without notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStatus(String);

impl RemoteStatus {
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    pub fn waiting() -> Self {
        Self("waiting".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the word means: every word but these counts as unfinished.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.0.as_str() {
            "completed" => Some(Outcome::Completed),
            // The others were seen at other endpoints or in lists; they end a job as surely.
            "failed" | "cancelled" | "canceled" | "deleted" | "trashed" | "expired" => {
                Some(Outcome::Failed)
            }
            _ => None,
        }
    }

    pub fn is_completed(&self) -> bool {
        self.0 == "completed"
    }

    pub fn is_failed(&self) -> bool {
        self.0 == "failed"
    }

    pub fn is_terminal(&self) -> bool {
        self.outcome().is_some()
    }
}

/// The trouble a row is in, kept until something about the row works again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// What did not work; only the same operation working again ends the trouble.
    #[serde(skip)]
    pub operation: Operation,
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
    pub at: Timestamp,
    #[serde(skip)]
    pub notified_at: Option<Timestamp>,
    #[serde(skip)]
    pub count: i64,
}

/// A job of the account that an unanswered submission may have become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// A session's id for an agent.
    pub video_id: String,
    pub title: Option<String>,
    pub created_at: String,
}

impl Candidate {
    pub fn command(&self, row: RowId) -> String {
        format!("tracker add {} --as {row}", shell::word(&self.video_id))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Video {
    pub id: RowId,
    /// Goes up with every change of state; changes are compare-and-swap on it.
    pub rev: i64,
    pub kind: Kind,
    pub phase: Phase,
    pub remote_status: Option<RemoteStatus>,
    pub outcome: Option<Outcome>,
    /// Whether nothing is left to do; kept by triggers in the database.
    pub finished: bool,
    pub video_id: Option<VideoId>,
    /// What names an agent's session; its `video_id` follows once the session has one.
    pub session_id: Option<VideoId>,
    pub template_id: Option<String>,
    pub progress: Option<i64>,
    /// The key of this row's POST; `None` for rows that were added by id.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The account that an unanswered attempt went to, or that created or last saw the video.
    pub account: Option<Account>,

    /// From the request, replaced by HeyGen's own title when it has one.
    pub title: Option<String>,
    pub title_edited: bool,
    pub script: Option<String>,
    pub avatar_id: Option<String>,
    pub voice_id: Option<String>,
    pub tags: Vec<String>,

    pub created_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub duration: Option<f64>,
    pub folder_id: Option<String>,
    pub output_language: Option<String>,
    pub failure_code: Option<String>,
    /// Why HeyGen failed or refused it: for a person, raw as received (bounded).
    pub failure_message: Option<String>,
    pub video_page_url: Option<String>,
    /// The presigned URLs, as of `urls_at`.
    pub urls: Urls,
    pub urls_at: Option<Timestamp>,

    /// When the user recorded it, or when it was made elsewhere.
    pub submitted_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Start of the first attempt whose answer is unknown; the 20 h of safe replay run from here.
    pub first_unanswered_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    /// POSTs without an answer so far; spaces out the replays.
    pub attempts: i64,
    pub send_after: Option<Timestamp>,
    pub last_checked_at: Option<Timestamp>,
    pub check_count: i64,
    /// The first of the 404s that may make it `missing`.
    pub not_found_at: Option<Timestamp>,
    pub not_found_count: i64,
    pub missing_at: Option<Timestamp>,
    /// Since when its session says `failed`, as long as that may change.
    pub failed_since: Option<Timestamp>,
    pub failed_polls: i64,
    pub moved_at: Option<Timestamp>,
    /// How many failures of its session are still answered by a message.
    pub nudges_left: i64,
    pub auto_proceed: bool,
    pub attention_at: Option<Timestamp>,
    pub stalled_at: Option<Timestamp>,
    /// What its unanswered attempts may have become; `None` before HeyGen's list was read.
    pub candidates: Option<Vec<Candidate>>,
    pub last_error: Option<LastError>,

    /// Where its files go: absolute, fixed when it was recorded.
    pub output_dir: PathBuf,
    pub name_template: Option<String>,
    /// The line of the user's table that it was made from (`submit --each`).
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    pub retry_of: Option<RowId>,
    /// One entry per asset that was ever wanted, in [`Asset`] order.
    pub files: Vec<File>,
}

/// Presigned URLs of one video: they expire (7 days) and contain a signature, so they are secrets of a kind.
pub type Urls = BTreeMap<Asset, String>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct File {
    pub asset: Asset,
    pub state: FileState,
    /// Final absolute path; known from `publishing` on.
    pub path: Option<PathBuf>,
    #[serde(skip)]
    pub part: Option<Part>,
    pub bytes: Option<u64>,
    pub sha256: Option<String>,
    pub saved_at: Option<Timestamp>,
    #[serde(skip)]
    pub attempts: i64,
    /// Since when whoever serves it refuses it.
    #[serde(skip)]
    pub first_failed_at: Option<Timestamp>,
}

impl File {
    pub fn wanted(asset: Asset) -> Self {
        Self {
            asset,
            ..Self::default()
        }
    }
}

/// The durable beginning of a file under its part name, and what is needed to go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// Bytes that were fsynced before this was recorded.
    pub bytes: u64,
    /// Digest of exactly those bytes, lower-case hexadecimal: a part changed by somebody else is noticed.
    pub sha256: String,
    pub etag: Option<String>,
    pub total: Option<u64>,
}

impl Video {
    /// Whether HeyGen may have created a video for this row without us knowing it, whatever its status says now: a
    /// refusal that came later is the answer to another attempt.
    pub fn has_unanswered_attempt(&self) -> bool {
        self.first_unanswered_at.is_some() && self.video_id.is_none()
    }

    /// Whether such an attempt stays unanswered for good: nobody but a person says what became of it.
    pub fn is_lost(&self) -> bool {
        self.has_unanswered_attempt() && matches!(self.phase, Phase::Unknown | Phase::Rejected)
    }

    /// Held back unsent, although no attempt is unanswered: a person says whether it is submitted.
    pub fn is_held(&self) -> bool {
        self.phase == Phase::Unknown && !self.has_unanswered_attempt()
    }

    /// The one word shown as `status`: ours while the row is local, else HeyGen's.
    pub fn status(&self) -> &str {
        match (self.phase, &self.remote_status) {
            (Phase::Accepted, Some(status)) => status.as_str(),
            (Phase::Accepted, None) => "waiting",
            (local, _) => local.word(),
        }
    }

    pub fn job(&self) -> Option<Job> {
        let kind = self.kind;
        let id = match kind {
            Kind::Agent => self.session_id.clone(),
            _ => self.video_id.clone(),
        };
        Some(Job { kind, id: id? })
    }

    pub fn is_completed(&self) -> bool {
        self.phase == Phase::Accepted && self.outcome == Some(Outcome::Completed)
    }

    pub fn is_failed(&self) -> bool {
        self.phase == Phase::Accepted && self.outcome == Some(Outcome::Failed)
    }

    /// Says `failed`, as agents' sessions do that finish later, and that is not believed yet.
    pub fn may_recover(&self) -> bool {
        self.failed_since.is_some() && self.is_rendering()
    }

    pub fn is_rendering(&self) -> bool {
        self.phase == Phase::Accepted && self.outcome.is_none()
    }

    pub fn ended_badly(&self) -> bool {
        let is_lost = matches!(
            self.phase,
            Phase::Rejected | Phase::Unknown | Phase::Missing
        );
        is_lost || self.is_failed()
    }

    /// Whether the video is there and its file is given up. A session whose video is another row's lacks nothing.
    pub fn is_given_up(&self) -> bool {
        let given_up =
            |file: &File| file.asset == Asset::Video && file.state == FileState::Unavailable;
        self.is_completed() && self.video_id.is_some() && self.files.iter().any(given_up)
    }

    /// Whether nothing is left to do. The database's triggers keep [`Video::finished`] by the same rule.
    pub fn is_over(&self) -> bool {
        self.ended_badly()
            || (self.is_completed() && !self.files.iter().any(|file| file.state.is_open()))
    }

    /// How long rendering took: by HeyGen's clock, else by ours, which is late by up to one round of polling.
    pub fn render_time(&self) -> Option<Duration> {
        let by_heygen = self.created_at.zip(self.completed_at);
        let (start, end) = by_heygen.or(self.accepted_at.zip(self.ended_at))?;
        Some(end.since(start))
    }

    /// When it was accepted, as far as that is known.
    pub fn began_at(&self) -> Timestamp {
        self.accepted_at.unwrap_or(self.submitted_at)
    }

    pub fn file(&self, asset: Asset) -> Option<&File> {
        self.files.iter().find(|file| file.asset == asset)
    }

    pub fn saved_path(&self) -> Option<&PathBuf> {
        let file = self.file(Asset::Video)?;
        let path = file.path.as_ref();
        path.filter(|_| file.state == FileState::Saved)
    }
}
