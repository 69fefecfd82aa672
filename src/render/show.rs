//! `show ID`: the support ticket. Everything known about one row, for a person to read or to send on.
//!
//! The one rendering for people in which presigned URLs appear.

use std::fmt::Write as _;

use chrono::TimeZone;

use crate::render::style::{Tone, paint, status_tone};
use crate::render::table::reason;
use crate::render::{View, human, json_text, text};
use crate::time::Timestamp;
use crate::video::{Account, Asset, Event, FileState, IdempotencyKey, Phase, Video, VideoId};

/// Lines of the request body that are shown.
const MAX_REQUEST_LINES: usize = 60;
/// Columns of one value: a title is cut to the terminal, but a message that explains something may wrap.
const MAX_MESSAGE: usize = 2000;
/// Columns of the labels on the left.
const LABEL: usize = 13;

/// Everything about `video`: its facts, files, URLs, the request body as it was sent, and its timeline (oldest first).
pub fn show<Tz: TimeZone>(
    video: &Video,
    request: Option<&str>,
    events: &[Event],
    view: &View<Tz>,
) -> String {
    let mut ticket = Ticket {
        out: String::new(),
        view,
    };
    ticket.facts(video);
    ticket.ending(video);
    ticket.files(video);
    ticket.urls(video);
    if let Some(request) = request {
        ticket.request(request);
    }
    ticket.timeline(events);
    ticket.out
}

struct Ticket<'a, Tz> {
    out: String,
    view: &'a View<Tz>,
}

impl<Tz: TimeZone> Ticket<'_, Tz> {
    fn facts(&mut self, video: &Video) {
        let status = video.status();
        self.labelled("status", status, MAX_MESSAGE, status_tone(video));
        if let Some(since) = video.stalled_at.filter(|_| !video.finished) {
            let since = format!("since {}", self.when(since));
            self.labelled("stalled", &since, MAX_MESSAGE, Tone::Bad);
        }
        self.short("title", video.title.as_deref());
        self.long("id", Some(&video.id.to_string()));
        self.long("video id", video.video_id.as_ref().map(VideoId::as_str));
        self.short("tags", Some(&video.tags.join(", ")));
        self.long("account", video.account.as_ref().map(base_url));
        self.short("script", video.script.as_deref());
        self.long("avatar", video.avatar_id.as_deref());
        self.long("voice", video.voice_id.as_deref());
        self.long("folder", video.folder_id.as_deref());
        self.long("language", video.output_language.as_deref());
        self.time("submitted", Some(video.submitted_at));
        self.time("accepted", video.accepted_at);
        self.time("completed", video.completed_at);
        self.long("rendered in", render_time(video).as_deref());
        let length = video.duration.filter(|seconds| seconds.is_finite());
        self.long(
            "length",
            length.map(|seconds| format!("{seconds:.1}s")).as_deref(),
        );
        if let Some(last) = video.last_checked_at {
            let last = self.when(last);
            let checked = match video.check_count {
                ..=1 => last,
                times => format!("{times} times, last {last}"),
            };
            self.long("checked", Some(&checked));
        }
        let unfinished = Some(video.send_after).filter(|_| !video.finished);
        self.time("send after", unfinished.flatten());
        let key = video.idempotency_key.as_ref();
        self.long("key", key.map(IdempotencyKey::as_str));
        self.long("output dir", Some(&video.output_dir.to_string_lossy()));
        self.long("name", video.name_template.as_deref());
        let retry_of = video.retry_of.map(|id| id.to_string());
        self.long("retry of", retry_of.as_deref());
        self.long("page", video.video_page_url.as_deref());
    }

    /// What went wrong, and what can be done about it.
    fn ending(&mut self, video: &Video) {
        let failure = reason(
            video.failure_code.as_deref(),
            video.failure_message.as_deref(),
        );
        self.labelled("failure", &failure, MAX_MESSAGE, Tone::Bad);
        if let Some(error) = &video.last_error {
            let said = reason(Some(&error.code), Some(&error.message));
            self.labelled("last error", &said, MAX_MESSAGE, Tone::Bad);
            let at = self.when(error.at);
            let times = if error.count > 1 {
                format!("{at}, ×{}", error.count)
            } else {
                at
            };
            self.long("", Some(&times));
        }
        self.long("hint", hint(video).as_deref());
    }

    fn files(&mut self, video: &Video) {
        // Files that a video without an end to its rendering, or with a bad one, will not have.
        let none = video.ended_badly()
            && video
                .files
                .iter()
                .all(|file| file.state == FileState::Wanted);
        if video.files.is_empty() || none {
            return;
        }
        self.heading("files");
        for file in &video.files {
            let size = match (file.bytes, &file.part) {
                (Some(bytes), _) => human::bytes(bytes),
                (None, Some(part)) => format!("{} so far", human::bytes(part.bytes)),
                (None, None) => String::new(),
            };
            let path = file.path.as_deref().map(|path| path.to_string_lossy());
            let digest = file.sha256.as_deref().map(|digest| text::fit(digest, 13));
            let mut line = format!("  {:<10} {:<11} {size:<9}", file.asset, file.state);
            if let Some(path) = path {
                let _infallible = write!(line, " {}", text::sanitize(&path));
            }
            if let Some(digest) = digest {
                let digest = paint(&format!("sha256 {digest}"), Tone::Dim);
                let _infallible = write!(line, "  {digest}");
            }
            self.line(line.trim_end());
        }
    }

    fn urls(&mut self, video: &Video) {
        let urls = Asset::ALL
            .iter()
            .filter_map(|&asset| Some((asset, video.urls.get(asset)?)));
        let urls: Vec<_> = urls.collect();
        if urls.is_empty() {
            return;
        }
        let minted = video
            .urls_at
            .map(|at| format!(" (as of {}; they expire 7 days after)", self.when(at)));
        self.heading(&format!("URLs{}", minted.unwrap_or_default()));
        for (asset, url) in urls {
            self.line(&format!("  {asset:<10} {}", text::sanitize(url)));
        }
    }

    fn request(&mut self, body: &str) {
        self.heading("request");
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok();
        let (lines, complete) = if is_json {
            json_text::pretty(body, MAX_REQUEST_LINES)
        } else {
            (vec![body.to_owned()], true)
        };
        for line in lines {
            self.line(&format!("  {}", text::fit(&line, MAX_MESSAGE)));
        }
        if !complete {
            self.line("  … (all of it: --json)");
        }
    }

    fn timeline(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.heading("timeline");
        for event in events {
            let at = human::clock_exact(event.at, &self.view.tz);
            let at = paint(&at, Tone::Dim);
            let mut line = format!("  {at}  {:<11}", event.kind);
            if event.count > 1 {
                let _infallible = write!(line, " ×{}", event.count);
            }
            let facts = facts(&event.detail);
            if !facts.is_empty() {
                let _infallible = write!(line, " {}", text::fit(&facts, MAX_MESSAGE));
            }
            self.line(line.trim_end());
        }
    }

    /// A value that is cut to the terminal.
    fn short(&mut self, label: &str, value: Option<&str>) {
        let width = self.view.width.saturating_sub(LABEL).max(LABEL);
        self.labelled(label, value.unwrap_or_default(), width, Tone::Plain);
    }

    /// A value that matters to its end.
    fn long(&mut self, label: &str, value: Option<&str>) {
        self.labelled(label, value.unwrap_or_default(), MAX_MESSAGE, Tone::Plain);
    }

    fn time(&mut self, label: &str, at: Option<Timestamp>) {
        let when = at.map(|at| self.when(at));
        self.long(label, when.as_deref());
    }

    /// One line, or none for an empty value.
    fn labelled(&mut self, label: &str, value: &str, width: usize, tone: Tone) {
        if value.is_empty() {
            return;
        }
        let label = paint(&text::pad(label, LABEL), Tone::Dim);
        let value = paint(&text::fit(value, width), tone);
        self.line(&format!("{label}{value}"));
    }

    fn heading(&mut self, title: &str) {
        let title = paint(title, Tone::Heading);
        self.line(&format!("\n{title}"));
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn when(&self, at: Timestamp) -> String {
        let clock = human::clock_exact(at, &self.view.tz);
        format!("{clock} ({})", human::ago_phrase(at, self.view.now))
    }
}

/// The account without its key's fingerprint, which tells a reader nothing.
fn base_url(account: &Account) -> &str {
    let text = account.as_str();
    text.rsplit_once('#').map_or(text, |(base, _)| base)
}

/// How long rendering took: by HeyGen's clock, else by ours, which is late by up to one round of polling.
fn render_time(video: &Video) -> Option<String> {
    let by_heygen = video.created_at.zip(video.completed_at);
    let by_us = video.accepted_at.zip(video.ended_at);
    let (start, end) = by_heygen.or(by_us)?;
    Some(human::duration(end.since(start)))
}

/// What a person can do about the state of `video`; `None` when there is nothing to do.
fn hint(video: &Video) -> Option<String> {
    let id = video.id;
    let file = video.file(Asset::Video).map(|file| file.state);
    match video.phase {
        Phase::Unknown => Some(format!(
            "HeyGen may have bought it: look there, then `tracker add VIDEO_ID --as {id}`, or `tracker retry {id}`"
        )),
        Phase::Missing => Some(format!(
            "`tracker check {id}` asks again, `tracker retry {id}` buys it again"
        )),
        Phase::Rejected => Some(format!(
            "`tracker retry {id}` sends it again as a new video"
        )),
        Phase::Accepted if video.is_failed() => {
            Some(format!("`tracker retry {id}` buys it again as a new video"))
        }
        Phase::Accepted if file == Some(FileState::Gone) => {
            Some(format!("`tracker download {id}` fetches it again"))
        }
        Phase::Unsent | Phase::Sending | Phase::Accepted => video
            .last_error
            .as_ref()
            .map(|_| format!("`tracker check {id}` tries again now; nothing is lost meanwhile")),
    }
}

/// An event's detail as `key=value` pairs; values that need it are quoted as in JSON. Not yet sanitized.
fn facts(detail: &serde_json::Value) -> String {
    let serde_json::Value::Object(pairs) = detail else {
        return match detail {
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
    };
    let fact = |(key, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(word) if is_bare(word) => Some(format!("{key}={word}")),
        other => Some(format!("{key}={other}")),
    };
    let facts: Vec<_> = pairs.iter().filter_map(fact).collect();
    facts.join(" ")
}

fn is_bare(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
}

#[cfg(test)]
mod tests;
