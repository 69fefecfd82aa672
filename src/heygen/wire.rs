//! HeyGen's JSON, read liberally and without I/O.
//!
//! Unknown fields and words are fine, `null` is the same as missing, and an optional field of the wrong type is missing too: one
//! odd field must not hide a finished video. To that end every field is first taken as raw text, which also keeps memory
//! bounded by the answer's size whatever is nested in it. serde_json's depth limit stays on.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::is_sane_code;
use super::redact::Redactor;
use crate::kind::Kind;
use crate::net::cut;
use crate::object::{self, Fields, fields};
use crate::time::Timestamp;
use crate::video::{Job, RemoteStatus, Urls, VideoId};

/// HeyGen's longest status word has 10 letters.
const MAX_STATUS: usize = 256;
const MAX_WORD: usize = 1024;
const MAX_TEXT: usize = 64 * 1024;
/// Longer than any server accepts; half a URL is useless, so a longer one counts as missing.
const MAX_URL: usize = 16 * 1024;
pub(super) const MAX_MESSAGE: usize = 4 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
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
    pub title: Option<String>,
    pub created_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Presigned, for 7 days; minted by this very answer.
    pub urls: Urls,
    /// Length in seconds, finite and not negative.
    pub duration: Option<f64>,
    pub folder_id: Option<String>,
    pub output_language: Option<String>,
    pub failure_code: Option<String>,
    /// When `failed`: for a person; query strings of URLs in it are masked.
    pub failure_message: Option<String>,
    pub video_page_url: Option<String>,
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
    pub said: Option<String>,
}

/// HeyGen's words for many jobs; here also `queued` and `not_found`.
pub type BulkStatuses = HashMap<VideoId, RemoteStatus>;

/// One item of a batch, which has no video where HeyGen refused its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchItem {
    pub index: i64,
    pub status: RemoteStatus,
    pub video_id: Option<VideoId>,
    pub error: Option<ErrorBody>,
}

/// One page of a list; `T` is [`RemoteVideo`], newest first, or [`BatchItem`].
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many entries could not be used: without an id, or not even objects.
    pub skipped: usize,
    pub next: Option<String>,
}

/// HeyGen's `{"code", "message"}`, as far as it is there. Bounded, secrets masked, otherwise raw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorBody {
    pub code: Option<String>,
    pub message: Option<String>,
}

/// Why an answer with a 2xx status is not what was asked for; completes the sentence "HeyGen answered with …".
pub(super) type Unusable = Cow<'static, str>;

const NO_OBJECT: Unusable = Cow::Borrowed("something that is not a JSON object");
const REFUSED: Unusable = Cow::Borrowed("an error envelope");
pub(super) const TOO_LONG: Unusable = Cow::Borrowed("more than 4 MiB");
const NO_DATA: Unusable = Cow::Borrowed("JSON without the expected `data`");
const NO_STATUS: Unusable = Cow::Borrowed("no usable `status`");
const OTHER_VIDEO: Unusable = Cow::Borrowed("another video than the one asked for");

/// An object of an answer. What is read from it has the key masked.
pub(super) struct AnswerPart<'a> {
    fields: Fields<'a>,
    redactor: &'a Redactor,
}

impl<'a> AnswerPart<'a> {
    fn parse(json: &'a str, redactor: &'a Redactor) -> Option<Self> {
        let fields = fields(json).ok()?;
        Some(Self { fields, redactor })
    }

    fn whole(body: &'a [u8], redactor: &'a Redactor) -> Option<Self> {
        let json = std::str::from_utf8(body).ok()?;
        Self::parse(json.trim_start_matches('\u{feff}').trim(), redactor)
    }

    fn read<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.fields.get(name)?.get()).ok()
    }

    fn object(&self, name: &str) -> Option<Self> {
        Self::parse(self.fields.get(name)?.get(), self.redactor)
    }

    /// The object of that name, without a field where there is none.
    pub(super) fn part(&self, name: &str) -> Self {
        self.object(name).unwrap_or_else(|| Self {
            fields: Fields::new(),
            redactor: self.redactor,
        })
    }

    fn data(&self) -> Result<Self, Unusable> {
        self.object("data").ok_or(NO_DATA)
    }

    /// What each element of an array is; `None` for what is no object.
    fn array(&self, name: &str) -> Option<Vec<Option<Self>>> {
        let elements: Vec<&RawValue> = self.read(name)?;
        let parts = elements.into_iter();
        Some(
            parts
                .map(|raw| Self::parse(raw.get(), self.redactor))
                .collect(),
        )
    }

    pub(super) fn is(&self, name: &str, value: bool) -> bool {
        self.read(name) == Some(value)
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        object::number(self.fields.get(name))
    }

    /// As it came, with whatever secrets; never empty.
    fn string(&self, name: &str) -> Option<String> {
        self.read(name).filter(|text: &String| !text.is_empty())
    }

    pub(super) fn text(&self, name: &str, max: usize) -> Option<String> {
        let text = self.redactor.without_key(self.string(name)?);
        Some(cut(&text, max).to_owned())
    }

    /// Text in which URLs have no queries.
    fn clean(&self, name: &str, max: usize) -> Option<String> {
        Some(self.redactor.clean(&self.string(name)?, max))
    }

    fn url(&self, name: &str) -> Option<String> {
        let url = self.string(name).filter(|url| url.len() <= MAX_URL)?;
        Some(self.redactor.without_key(url))
    }

    fn id(&self, name: &str) -> Option<VideoId> {
        self.usable_id(self.string(name)?)
    }

    fn first_id(&self, name: &str) -> Option<VideoId> {
        let ids: Vec<String> = self.read(name)?;
        self.usable_id(ids.into_iter().next()?)
    }

    /// An id with the key in it is none: masked, it would be somebody else's, or nobody's.
    fn usable_id(&self, id: String) -> Option<VideoId> {
        let keyless = self.redactor.without_key(id.clone()) == id;
        VideoId::new(id).filter(|_| keyless)
    }

    fn status(&self) -> Option<RemoteStatus> {
        let word = self.string("status")?;
        let usable = !word.trim().is_empty() && word.len() <= MAX_STATUS;
        usable.then(|| RemoteStatus::new(self.redactor.without_key(word)))
    }

    /// Older endpoints of HeyGen number their errors.
    fn code(&self, name: &str) -> Option<String> {
        let number = || self.read(name).map(|number: i64| number.to_string());
        let code = self.string(name).or_else(number)?;
        Some(self.redactor.clean(&code, MAX_WORD))
    }

    /// Unix seconds, whole or not, or ISO 8601 text; without an offset that is UTC.
    pub(super) fn instant(&self, name: &str) -> Option<Timestamp> {
        if let Some(seconds) = self.number(name) {
            // The cast saturates, and Timestamp clamps.
            return Some(Timestamp::from_millis((seconds * 1000.0).round() as i64));
        }
        let text = self.string(name)?;
        let utc = || NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%dT%H:%M:%S%.f");
        let instant = DateTime::parse_from_rfc3339(text.trim())
            .map(|instant| instant.to_utc())
            .or_else(|_| utc().map(|instant| instant.and_utc()));
        Some(Timestamp::from_millis(instant.ok()?.timestamp_millis()))
    }

    /// `None` when nothing is wrong: some APIs send `"error": {}` or `""` along with every good answer.
    fn problem(&self, name: &str) -> Option<ErrorBody> {
        match self.clean(name, MAX_MESSAGE) {
            None => self.part(name).as_problem(),
            message => Some(ErrorBody {
                code: None,
                message,
            }),
        }
    }

    fn as_problem(&self) -> Option<ErrorBody> {
        let message = |name| self.clean(name, MAX_MESSAGE);
        let problem = ErrorBody {
            code: self.code("code"),
            message: message("message").or_else(|| message("detail")),
        };
        (problem != ErrorBody::default()).then_some(problem)
    }

    fn page<T>(&self, array: &str, read: impl Fn(&Self) -> Option<T>) -> Result<Page<T>, Unusable> {
        let elements = self.array(array).ok_or(NO_DATA)?;
        let items: Vec<T> = elements
            .iter()
            .filter_map(|element| read(element.as_ref()?))
            .collect();
        Ok(Page {
            skipped: elements.len() - items.len(),
            items,
            next: self.next(),
        })
    }

    fn next(&self) -> Option<String> {
        let is_last = self.is("has_more", false);
        self.url("next_token").filter(|_| !is_last)
    }
}

/// What `read` finds in an answer with a 2xx status: any JSON object that is no error envelope.
pub(super) fn usable<T>(
    body: &[u8],
    redactor: &Redactor,
    read: impl FnOnce(&AnswerPart<'_>) -> Result<T, Unusable>,
) -> Result<T, (Unusable, ErrorBody)> {
    let unusable = |why| (why, ErrorBody::default());
    let answer = AnswerPart::whole(body, redactor).ok_or_else(|| unusable(NO_OBJECT))?;
    match answer.problem("error") {
        Some(problem) => Err((REFUSED, problem)),
        None => read(&answer).map_err(unusable),
    }
}

/// Reads the answer to a POST; `request_id` is left for the caller to fill in.
pub(super) fn created(kind: Kind, answer: &AnswerPart<'_>) -> Result<Created, Unusable> {
    let data = answer.data()?;
    let name = kind.strategy().id;
    let id = data.id(name).or_else(|| data.first_id(name));
    Ok(Created {
        video_id: id.ok_or_else(|| format!("no usable `{name}`"))?,
        status: data.status().unwrap_or_else(RemoteStatus::waiting),
        request_id: None,
    })
}

pub(super) fn video(asked: &Job, answer: &AnswerPart<'_>) -> Result<RemoteVideo, Unusable> {
    let data = answer.data()?;
    let status = data.status().ok_or(NO_STATUS)?;
    let video = remote_video(asked.kind, status, &data);
    let video = video.filter(|video| video.id == asked.id);
    video.ok_or(OTHER_VIDEO)
}

/// Reads a bulk answer. An entry that cannot be used is left out, like an id that HeyGen leaves out.
pub(super) fn statuses(answer: &AnswerPart<'_>) -> Result<BulkStatuses, Unusable> {
    let page = answer.page("data", |data| Some((data.id("video_id")?, data.status()?)))?;
    Ok(page.items.into_iter().collect())
}

pub(super) fn jobs(kind: Kind, answer: &AnswerPart<'_>) -> Result<Page<RemoteVideo>, Unusable> {
    answer.page("data", |data| {
        // The list of sessions does not tell how far they are.
        let status = data.status().unwrap_or_else(RemoteStatus::waiting);
        remote_video(kind, status, data)
    })
}

pub(super) fn batch(answer: &AnswerPart<'_>) -> Result<Page<BatchItem>, Unusable> {
    let read = |item: &AnswerPart<'_>| {
        Some(BatchItem {
            index: item.number("item_index")? as i64,
            status: item.status().unwrap_or_else(RemoteStatus::waiting),
            video_id: item.id("video_id"),
            error: item.problem("error"),
        })
    };
    let page = match answer.data() {
        Ok(data) => data.page("items", read)?,
        Err(_) => answer.page("data", read)?,
    };
    Ok(Page {
        next: page.next.or_else(|| answer.next()),
        ..page
    })
}

pub(super) fn run_id(answer: &AnswerPart<'_>) -> Result<Option<String>, Unusable> {
    Ok(answer.part("data").text("run_id", MAX_WORD))
}

/// What an answer with an error status says, if it says anything readable, and whether that is HeyGen's word:
/// `{"error": {"code", "message"}}` with a word for a code. Gateways number their errors, say `{"message"}` alone, or send
/// a page.
pub(super) fn refusal(body: &[u8], redactor: &Redactor) -> (ErrorBody, bool) {
    let Some(answer) = AnswerPart::whole(body, redactor) else {
        return (ErrorBody::default(), false);
    };
    let error = answer.part("error");
    let own_word = error.string("code").is_some_and(|code| is_sane_code(&code))
        && error.string("message").is_some();
    let problem = answer.problem("error").or_else(|| answer.as_problem());
    (problem.unwrap_or_default(), own_word)
}

fn session(data: &AnswerPart<'_>) -> RemoteSession {
    let messages = data.array("messages").unwrap_or_default();
    let newest = |wanted: &dyn Fn(&str, &str) -> bool| {
        messages.iter().rev().flatten().find_map(|message| {
            let role = message.string("role").unwrap_or_default();
            let what = message.string("type").unwrap_or_default();
            let content = message.text("content", MAX_MESSAGE)?;
            wanted(&role, &what).then_some(content)
        })
    };
    let per_cent = data.number("progress");
    RemoteSession {
        progress: per_cent.map(|per_cent| per_cent.clamp(0.0, 100.0) as i64),
        video_id: data.id("video_id"),
        error: newest(&|_, what| what == "error"),
        said: newest(&|role, what| role != "user" && what == "text"),
    }
}

fn remote_video(kind: Kind, status: RemoteStatus, data: &AnswerPart<'_>) -> Option<RemoteVideo> {
    let is_agent = kind == Kind::Agent;
    let files = kind.strategy().files.iter();
    let urls = files.filter_map(|(field, asset)| Some((*asset, data.url(field)?)));
    Some(RemoteVideo {
        id: data.id(if is_agent { kind.strategy().id } else { "id" })?,
        status,
        title: data.text("title", MAX_TEXT),
        created_at: data.instant("created_at"),
        completed_at: data.instant("completed_at"),
        urls: urls.collect(),
        session: is_agent.then(|| session(data)),
        duration: data.number("duration").filter(|seconds| *seconds >= 0.0),
        folder_id: data.text("folder_id", MAX_WORD),
        output_language: data.text("output_language", MAX_WORD),
        failure_code: data.code("failure_code"),
        failure_message: data.clean("failure_message", MAX_TEXT),
        video_page_url: data.url("video_page_url"),
    })
}

#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/answers.rs"]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
