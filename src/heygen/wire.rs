//! HeyGen's JSON, read liberally and without I/O.
//!
//! Unknown fields and words are fine, `null` is the same as missing, and an optional field of the wrong type is missing too: one
//! odd field must not hide a finished video. To that end every field is first taken as raw text, which also keeps memory
//! bounded by the answer's size whatever is nested in it. serde_json's depth limit stays on.

use chrono::{DateTime, NaiveDateTime};
use serde_json::value::RawValue;

use super::error::is_sane_code;
use super::redact::{Redactor, truncate};
use crate::kind::Kind;
use crate::object::{self, Fields, fields, number};
use crate::time::Timestamp;
use crate::video::{Job, RemoteStatus, Urls, VideoId};

/// HeyGen's longest status word has 10 letters.
const MAX_STATUS: usize = 256;
const MAX_WORD: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
/// Longer than any server accepts; half a URL is useless, so a longer one counts as missing.
const MAX_URL: usize = 16 * 1024;
pub(super) const MAX_MESSAGE: usize = 4 * 1024;

/// The answer to an accepted `POST /v3/videos`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// HeyGen's id for what was just bought.
    pub video_id: VideoId,
    /// Usually `waiting`, which also stands in for a missing word: the id alone proves the purchase.
    pub status: RemoteStatus,
    pub request_id: Option<String>,
}

/// A video as `GET /v3/videos/{id}` and the list tell it. Texts are raw, at most 64 KiB; an empty one is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteVideo {
    pub id: VideoId,
    /// HeyGen's word, at most 256 bytes.
    pub status: RemoteStatus,
    /// As given in the request, or HeyGen's own.
    pub title: Option<String>,
    /// Accepted by HeyGen.
    pub created_at: Option<Timestamp>,
    /// Ended, well or badly.
    pub completed_at: Option<Timestamp>,
    /// Presigned, for 7 days; minted by this very answer.
    pub urls: Urls,
    /// Length in seconds, finite and not negative.
    pub duration: Option<f64>,
    pub folder_id: Option<String>,
    /// Translated videos only.
    pub output_language: Option<String>,
    /// When `failed`: machine-readable.
    pub failure_code: Option<String>,
    /// When `failed`: for a person; query strings of URLs in it are masked.
    pub failure_message: Option<String>,
    pub video_page_url: Option<String>,
    /// An agent's only.
    pub session: Option<RemoteSession>,
}

/// What an agent's session says besides its status word and title.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteSession {
    pub progress: Option<i64>,
    /// The video it makes; sometimes a placeholder that never renders.
    pub video_id: Option<VideoId>,
    /// Its newest message that says what went wrong.
    pub error: Option<String>,
    /// Its newest words.
    pub said: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkStatus {
    /// Which video; `None` for an item of a batch that has none yet.
    pub video_id: Option<VideoId>,
    /// HeyGen's word; here also `queued` and `not_found`.
    pub status: RemoteStatus,
}

impl BulkStatus {
    /// The id is unknown to HeyGen, or another account's. A hint only: the video's own GET decides.
    pub fn is_not_found(&self) -> bool {
        self.status.as_str() == "not_found"
    }
}

/// One item of a batch, which has no video where HeyGen refused its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchItem {
    pub index: i64,
    /// `waiting` stands in for a missing word.
    pub status: RemoteStatus,
    /// Once there is one.
    pub video_id: Option<VideoId>,
    /// Why there is none, or why it failed.
    pub error: Option<ErrorBody>,
}

/// One page of a list; `T` is [`RemoteVideo`], newest first, or [`BatchItem`].
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many entries could not be used: without an id, or not even objects.
    pub skipped: usize,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

/// HeyGen's `{"code", "message"}`, as far as it is there. Bounded, secrets masked, otherwise raw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    pub code: Option<String>,
    /// For a person, at most 4 KiB.
    pub message: Option<String>,
}

/// Why an answer with a 2xx status is not what was asked for; completes the sentence "HeyGen answered with …".
#[derive(Debug, thiserror::Error)]
pub(super) enum BadAnswer {
    #[error("something that is not JSON")]
    NotJson,
    #[error("an error envelope")]
    Refused(ErrorBody),
    #[error("JSON without the expected `data`")]
    NoData,
    #[error("no usable `video_id`")]
    NoVideoId,
    #[error("no usable `status`")]
    NoStatus,
    #[error("another video than the one asked for")]
    OtherVideo,
}

/// Reads the answer to a POST; `request_id` is left for the caller to fill in.
pub(super) fn created(kind: Kind, body: &[u8], redactor: &Redactor) -> Result<Created, BadAnswer> {
    let data = data(&envelope(body, redactor)?)?;
    let name = kind.strategy().id;
    Ok(Created {
        video_id: id(&data, name, redactor)
            .or_else(|| first_id(&data, name, redactor))
            .ok_or(BadAnswer::NoVideoId)?,
        status: status(&data, redactor).unwrap_or_else(RemoteStatus::waiting),
        request_id: None,
    })
}

/// The first of an array of ids.
fn first_id(data: &Fields<'_>, name: &str, redactor: &Redactor) -> Option<VideoId> {
    let ids: Vec<String> = serde_json::from_str(data.get(name)?.get()).ok()?;
    let first = ids.into_iter().next()?;
    (redactor.without_key(first.clone()) == first).then_some(())?;
    VideoId::new(first)
}

pub(super) fn video(
    body: &[u8],
    asked: &Job,
    redactor: &Redactor,
) -> Result<RemoteVideo, BadAnswer> {
    let data = data(&envelope(body, redactor)?)?;
    let status = status(&data, redactor).ok_or(BadAnswer::NoStatus)?;
    let video = remote_video(asked.kind, status, &data, redactor)?;
    if video.id == asked.id {
        Ok(video)
    } else {
        Err(BadAnswer::OtherVideo)
    }
}

/// Reads a bulk answer. An entry that cannot be used is left out, like an id that HeyGen leaves out.
pub(super) fn statuses(body: &[u8], redactor: &Redactor) -> Result<Vec<BulkStatus>, BadAnswer> {
    let page = page(&envelope(body, redactor)?, "data", redactor, |data| {
        Some(BulkStatus {
            video_id: id(data, "video_id", redactor),
            status: status(data, redactor)?,
        })
    })?;
    Ok(page.items)
}

pub(super) fn jobs(
    kind: Kind,
    body: &[u8],
    redactor: &Redactor,
) -> Result<Page<RemoteVideo>, BadAnswer> {
    page(&envelope(body, redactor)?, "data", redactor, |data| {
        // The list of sessions does not tell how far they are.
        let status = status(data, redactor).unwrap_or_else(RemoteStatus::waiting);
        remote_video(kind, status, data, redactor).ok()
    })
}

pub(super) fn batch(body: &[u8], redactor: &Redactor) -> Result<Page<BatchItem>, BadAnswer> {
    let envelope = envelope(body, redactor)?;
    let read = |item: &Fields<'_>| {
        Some(BatchItem {
            index: number(item.get("item_index"))? as i64,
            status: status(item, redactor).unwrap_or_else(RemoteStatus::waiting),
            video_id: id(item, "video_id", redactor),
            error: item.get("error").and_then(|error| problem(error, redactor)),
        })
    };
    let page = match data(&envelope) {
        Ok(data) => page(&data, "items", redactor, read)?,
        Err(_) => page(&envelope, "data", redactor, read)?,
    };
    Ok(Page {
        next: page.next.or_else(|| next(&envelope, redactor)),
        ..page
    })
}

/// What a message to a session started.
pub(super) fn run_id(body: &[u8], redactor: &Redactor) -> Result<Option<String>, BadAnswer> {
    let envelope = envelope(body, redactor)?;
    Ok(data(&envelope)
        .ok()
        .and_then(|data| text(&data, "run_id", MAX_WORD, redactor)))
}

/// Any JSON object that is not an error envelope: all that an answer has to be when its content does not matter.
pub(super) fn anything(body: &[u8], redactor: &Redactor) -> Result<(), BadAnswer> {
    envelope(body, redactor).map(|_| ())
}

/// What an answer with an error status says, if it says anything readable. Nothing is required of it.
pub(super) fn refusal(body: &[u8], redactor: &Redactor) -> ErrorBody {
    match envelope(body, redactor) {
        Err(BadAnswer::Refused(problem)) => problem,
        // Not HeyGen's envelope; a gateway may put the same words at the top.
        _ => std::str::from_utf8(body)
            .ok()
            .and_then(|json| problem_object(json.trim(), redactor))
            .unwrap_or_default(),
    }
}

/// Whether an answer with an error status is HeyGen's word: `{"error": {"code", "message"}}` with a word for a code.
/// Gateways number their errors, say `{"message"}` alone, or send a page.
pub(super) fn is_own_word(body: &[u8]) -> bool {
    let error = document(body)
        .ok()
        .and_then(|answer| fields(answer.get("error")?.get()).ok());
    error.is_some_and(|error| {
        string(&error, "code").is_some_and(|code| is_sane_code(&code))
            && string(&error, "message").is_some()
    })
}

fn document(body: &[u8]) -> Result<Fields<'_>, BadAnswer> {
    let json = std::str::from_utf8(body).map_err(|_| BadAnswer::NotJson)?;
    fields(json.trim_start_matches('\u{feff}').trim()).map_err(|_| BadAnswer::NotJson)
}

pub(super) fn envelope<'a>(body: &'a [u8], redactor: &Redactor) -> Result<Fields<'a>, BadAnswer> {
    let envelope = document(body)?;
    match envelope
        .get("error")
        .and_then(|error| problem(error, redactor))
    {
        Some(problem) => Err(BadAnswer::Refused(problem)),
        None => Ok(envelope),
    }
}

pub(super) fn data<'a>(envelope: &Fields<'a>) -> Result<Fields<'a>, BadAnswer> {
    let raw: &'a RawValue = envelope.get("data").ok_or(BadAnswer::NoData)?;
    fields(raw.get()).map_err(|_| BadAnswer::NoData)
}

/// The usable elements of an array, and the cursor beside it.
fn page<T>(
    holder: &Fields<'_>,
    array: &str,
    redactor: &Redactor,
    read: impl Fn(&Fields<'_>) -> Option<T>,
) -> Result<Page<T>, BadAnswer> {
    let raw = holder.get(array).ok_or(BadAnswer::NoData)?;
    let elements: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| BadAnswer::NoData)?;
    let items: Vec<T> = elements
        .iter()
        .filter_map(|element| read(&fields(element.get()).ok()?))
        .collect();
    Ok(Page {
        skipped: elements.len() - items.len(),
        items,
        next: next(holder, redactor),
    })
}

fn next(holder: &Fields<'_>, redactor: &Redactor) -> Option<String> {
    let is_last = holder
        .get("has_more")
        .is_some_and(|raw| raw.get() == "false");
    url(holder, "next_token", redactor).filter(|_| !is_last)
}

fn session(data: &Fields<'_>, redactor: &Redactor) -> RemoteSession {
    let messages: Vec<&RawValue> = data
        .get("messages")
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let newest = |wanted: &dyn Fn(&str, &str) -> bool| {
        messages.iter().rev().find_map(|message| {
            let message = fields(message.get()).ok()?;
            let role = string(&message, "role").unwrap_or_default();
            let what = string(&message, "type").unwrap_or_default();
            let content = text(&message, "content", MAX_MESSAGE, redactor)?;
            wanted(&role, &what).then_some(content)
        })
    };
    RemoteSession {
        progress: number(data.get("progress")).map(|per_cent| per_cent.clamp(0.0, 100.0) as i64),
        video_id: id(data, "video_id", redactor),
        error: newest(&|_, what| what == "error"),
        said: newest(&|role, what| role != "user" && what == "text"),
    }
}

fn remote_video(
    kind: Kind,
    status: RemoteStatus,
    data: &Fields<'_>,
    redactor: &Redactor,
) -> Result<RemoteVideo, BadAnswer> {
    let text = |name, max| text(data, name, max, redactor);
    let url = |name| url(data, name, redactor);
    let message = string(data, "failure_message");
    let strategy = kind.strategy();
    let name = if kind == Kind::Agent {
        strategy.id
    } else {
        "id"
    };
    Ok(RemoteVideo {
        id: id(data, name, redactor).ok_or(BadAnswer::OtherVideo)?,
        status,
        title: text("title", MAX_TEXT),
        created_at: instant(data, "created_at"),
        completed_at: instant(data, "completed_at"),
        urls: strategy
            .files
            .iter()
            .fold(Urls::default(), |mut urls, (field, asset)| {
                urls.set(*asset, url(field));
                urls
            }),
        session: (kind == Kind::Agent).then(|| session(data, redactor)),
        duration: number(data.get("duration")).filter(|seconds| *seconds >= 0.0),
        folder_id: text("folder_id", MAX_WORD),
        output_language: text("output_language", MAX_WORD),
        failure_code: code(data, "failure_code", redactor),
        failure_message: message.map(|message| redactor.clean(&message, MAX_TEXT)),
        video_page_url: url("video_page_url"),
    })
}

/// `None` when nothing is wrong: some APIs send `"error": {}` or `""` along with every good answer.
fn problem(error: &RawValue, redactor: &Redactor) -> Option<ErrorBody> {
    match object::string(Some(&error)).filter(|text| !text.is_empty()) {
        Some(message) => Some(ErrorBody {
            code: None,
            message: Some(redactor.clean(&message, MAX_MESSAGE)),
        }),
        None => problem_object(error.get(), redactor),
    }
}

fn problem_object(json: &str, redactor: &Redactor) -> Option<ErrorBody> {
    let data = fields(json).ok()?;
    let problem = ErrorBody {
        code: code(&data, "code", redactor),
        // What some gateways say instead.
        message: string(&data, "message")
            .or_else(|| string(&data, "detail"))
            .map(|message| redactor.clean(&message, MAX_MESSAGE)),
    };
    (problem != ErrorBody::default()).then_some(problem)
}

fn string(data: &Fields<'_>, name: &str) -> Option<String> {
    object::string(data.get(name)).filter(|text| !text.is_empty())
}

pub(super) fn text(
    data: &Fields<'_>,
    name: &str,
    max: usize,
    redactor: &Redactor,
) -> Option<String> {
    let mut text = redactor.without_key(string(data, name)?);
    truncate(&mut text, max);
    Some(text)
}

fn url(data: &Fields<'_>, name: &str, redactor: &Redactor) -> Option<String> {
    let url = string(data, name).filter(|url| url.len() <= MAX_URL)?;
    Some(redactor.without_key(url))
}

/// An id with the key in it is none: masked, it would be somebody else's, or nobody's.
fn id(data: &Fields<'_>, name: &str, redactor: &Redactor) -> Option<VideoId> {
    let id = string(data, name)?;
    (redactor.without_key(id.clone()) == id).then_some(())?;
    VideoId::new(id)
}

fn status(data: &Fields<'_>, redactor: &Redactor) -> Option<RemoteStatus> {
    string(data, "status")
        .filter(|word| !word.trim().is_empty() && word.len() <= MAX_STATUS)
        .map(|word| RemoteStatus::new(redactor.without_key(word)))
}

/// Older endpoints of HeyGen number their errors.
fn code(data: &Fields<'_>, name: &str, redactor: &Redactor) -> Option<String> {
    let code = string(data, name).or_else(|| {
        let number: i64 = serde_json::from_str(data.get(name)?.get()).ok()?;
        Some(number.to_string())
    })?;
    Some(redactor.clean(&code, MAX_WORD))
}

/// Unix seconds, whole or not, or ISO 8601 text; without an offset that is UTC.
pub(super) fn instant(data: &Fields<'_>, name: &str) -> Option<Timestamp> {
    if let Some(seconds) = number(data.get(name)) {
        // The cast saturates, and Timestamp clamps.
        return Some(Timestamp::from_millis((seconds * 1000.0).round() as i64));
    }
    let text = string(data, name)?;
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.timestamp_millis())
        .or_else(|_| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
                .map(|instant| instant.and_utc().timestamp_millis())
        })
        .ok()
        .map(Timestamp::from_millis)
}

/// See [`crate::fuzz`].
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(answer: &[u8]) {
    const KEY: &str = "sk_test_0123456789";
    let redactor = Redactor::new(KEY);
    let mut read = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        statuses(answer, &redactor),
        batch(answer, &redactor),
        super::Balance::read(answer, &redactor),
        run_id(answer, &redactor),
        anything(answer, &redactor),
        refusal(answer, &redactor)
    );
    for kind in Kind::ALL.iter().copied() {
        let listed = jobs(kind, answer, &redactor);
        for video in listed.iter().flat_map(|page| &page.items) {
            let length = video.duration.unwrap_or_default();
            assert!(length.is_finite() && length >= 0.0, "{length}");
            let id = video.id.clone();
            drop(self::video(answer, &Job { kind, id }, &redactor));
        }
        read += &format!("{listed:?} {:?}", created(kind, answer, &redactor));
    }
    assert!(!read.contains(KEY), "the key is in {read}");
    assert!(!is_own_word(answer) || refusal(answer, &redactor).code.is_some());
}

#[cfg(test)]
mod tests;
