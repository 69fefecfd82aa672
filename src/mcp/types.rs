//! What tools are given and what they answer. Answers are read from the JSON that every verb prints and hold no more
//! than what is named here: no presigned URL, no key.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::heygen::RemoteVideo;
use crate::net::file_url;

/// A video as tools answer it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(super) struct VideoInfo {
    /// The local number: what every other tool takes.
    id: Option<i64>,
    /// HeyGen's id, once there is one.
    video_id: Option<String>,
    /// An agent's session.
    session_id: Option<String>,
    /// video, agent, template, translation, lipsync or model.
    kind: Option<String>,
    /// unsent, sending, rejected, unknown, missing, or HeyGen's own word (completed, failed, processing, …).
    status: String,
    /// Whether nothing is left to do: ended, and every wanted file is saved.
    finished: bool,
    /// Renders unusually long.
    stalled: Option<bool>,
    /// Per cent, where HeyGen says so.
    progress: Option<f64>,
    title: Option<String>,
    tags: Vec<String>,
    submitted_at: Option<String>,
    completed_at: Option<String>,
    last_checked_at: Option<String>,
    /// Length of the video in seconds.
    duration: Option<f64>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    /// The video's page at HeyGen.
    video_page_url: Option<String>,
    /// The saved video on this machine.
    path: Option<String>,
    files: Vec<FileInfo>,
    /// What is wrong at the moment, if anything.
    last_error: Option<Value>,
    /// The row this one submitted again.
    retry_of: Option<i64>,
    /// Jobs of the account that an unknown one may have become: show them to the user before anything is submitted again.
    candidates: Option<Vec<Value>>,
}

/// Of a row, as every verb prints it.
impl From<Value> for VideoInfo {
    fn from(row: Value) -> Self {
        let mut video: Self = serde_json::from_value(row).unwrap_or_default();
        for file in video.files.iter_mut().filter(|file| file.state == "saved") {
            file.url = file.path.as_deref().map(|path| file_url(Path::new(path)));
        }
        video
    }
}

/// Of a video that no row knows.
impl From<RemoteVideo> for VideoInfo {
    fn from(remote: RemoteVideo) -> Self {
        Self {
            video_id: Some(remote.id.as_str().to_owned()),
            status: remote.status.as_str().to_owned(),
            title: remote.title,
            completed_at: remote.completed_at.map(|at| at.rfc3339()),
            duration: remote.duration,
            failure_code: remote.failure_code,
            failure_message: remote.failure_message,
            video_page_url: remote.video_page_url,
            ..Self::default()
        }
    }
}

/// For a person: `15 completed "Launch teaser": /path`.
impl fmt::Display for VideoInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.id, &self.video_id) {
            (Some(id), _) => id.fmt(f)?,
            (None, id) => f.write_str(id.as_deref().unwrap_or_default())?,
        }
        write!(f, " {}", self.status)?;
        if let Some(title) = &self.title {
            write!(f, " {title:?}")?;
        }
        match self.path.as_ref().or(self.failure_message.as_ref()) {
            Some(fact) => write!(f, ": {fact}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct FileInfo {
    /// video, captioned, subtitle, thumbnail, gif, audio or vtt.
    asset: String,
    /// wanted, partial, publishing, saved, unavailable or gone.
    state: String,
    path: Option<String>,
    /// The saved file as a URL.
    url: Option<String>,
    bytes: Option<u64>,
    sha256: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VideoAnswer {
    pub(super) video: VideoInfo,
    /// false: no row knows it; this is what HeyGen says now. track_video records it.
    pub(super) tracked: bool,
    /// Everything that happened to it, oldest first; only when asked for.
    pub(super) timeline: Option<Vec<Value>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VideoList {
    /// Newest first.
    pub(super) videos: Vec<VideoInfo>,
    /// Give it to list_videos for the next page; null at the end, and where it is not a list.
    pub(super) next_cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatsAnswer {
    /// The keys of `tracker list --stats --json`: videos, unfinished, by_status, render_seconds, months, files, bytes.
    pub(super) stats: Map<String, Value>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct CheckAnswer {
    /// Status words that changed.
    pub(super) changes: Vec<Value>,
    /// Files that were saved.
    pub(super) saved: Vec<Value>,
    /// Videos that could not be asked for or saved this time (the next check tries again), and messages to agents that
    /// HeyGen refused or did not answer (not sent again by themselves).
    pub(super) errors: Vec<Value>,
    /// What is still going on.
    pub(super) unfinished: Option<u64>,
    /// When checking again makes sense; null when nothing is unfinished.
    pub(super) next_check_seconds: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Submission {
    /// The row; null for a dry run.
    pub(super) video: Option<VideoInfo>,
    /// With dry_run: the body that would be sent, and rows that have the same.
    pub(super) dry_run: Option<Value>,
    /// How many more submissions fit into the last 24 hours' limit.
    pub(super) left_today: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetVideo {
    /// The local number, HeyGen's video id, or a unique beginning of it.
    #[serde(alias = "videoId", alias = "video_id")]
    pub(super) id: VideoRef,
    /// Add what happened to it, oldest first; also what an agent that waits for an answer said.
    #[serde(default)]
    pub(super) timeline: bool,
}

/// A number or a text: models give either.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "an id is a number or a text")]
pub(super) enum VideoRef {
    Number(i64),
    Text(String),
}

impl VideoRef {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListVideos {
    /// Any of these status words, whatever their case.
    pub(super) status: Vec<String>,
    /// Any of these: video, agent, template, translation, lipsync, model.
    pub(super) kind: Vec<String>,
    /// All of these tags.
    pub(super) tags: Vec<String>,
    /// Part of the title, the script, the failure message, or the line of the table it is from.
    pub(super) search: Option<String>,
    /// Only what is not finished.
    pub(super) unfinished: bool,
    /// Only what ended badly and was not submitted again.
    pub(super) failed: bool,
    /// Submitted at or after: 2026-11-23, today, yesterday, or an age such as 7d.
    pub(super) since: Option<String>,
    /// Submitted before; a date includes that day.
    pub(super) until: Option<String>,
    /// 1 to 100; 20 when left out.
    pub(super) limit: Option<u32>,
    /// next_cursor of the page before.
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetStats {}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CheckVideos {
    /// Only these; all that is unfinished when left out.
    pub(super) ids: Vec<VideoRef>,
    /// Ask for the status only and leave the files for later.
    pub(super) no_download: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadVideo {
    #[serde(alias = "videoId", alias = "video_id")]
    pub(super) id: VideoRef,
    /// Which files: video, captioned, subtitle, thumbnail, gif, audio, vtt.
    #[serde(default)]
    pub(super) assets: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrackVideo {
    /// HeyGen's id of a video that was made elsewhere.
    #[serde(alias = "videoId")]
    pub(super) video_id: String,
    /// video (when left out), agent (the id is its session's), template, translation, lipsync or model.
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitVideo {
    /// The body of HeyGen's request, for a video: {"type":"avatar","avatar_id":…,"voice_id":…,"script":…,"title":…}; for
    /// an agent: {"prompt":…}; for a template: its variables.
    pub(super) body: Map<String, Value>,
    /// video (when left out), agent, template, translation, lipsync or model.
    #[serde(default)]
    pub(super) kind: Option<String>,
    /// The template that the body fills in.
    #[serde(default)]
    pub(super) template_id: Option<String>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Your own name for this submission: the same again is the same row, for ever, whatever broke in between.
    #[serde(default)]
    pub(super) request_key: Option<String>,
    /// Submit although the same body is in progress, or was submitted within 24 hours and completed or never answered.
    #[serde(default)]
    pub(super) allow_duplicate: bool,
    /// Show what would be sent; nothing is recorded or sent.
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryVideo {
    /// A video that failed, or was rejected, unknown or missing.
    #[serde(alias = "videoId", alias = "video_id")]
    pub(super) id: VideoRef,
    /// Show what would be sent; nothing is recorded or sent.
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyToAgent {
    /// The row of an agent's session that waits for an answer, or failed.
    pub(super) id: VideoRef,
    /// What to say.
    pub(super) text: String,
}
