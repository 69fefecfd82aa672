//! `show ID`: the support ticket. Everything known about one row, for a person to read or to send on.
//!
//! With `--verbose` the one rendering for people in which presigned URLs appear.

use std::fmt::Write as _;

use anstream::adapter::strip_str;
use chrono::TimeZone;

use crate::decide::{self, Trace};
use crate::event::TimelineEntry;
use crate::kind::Kind;
use crate::render::json::TicketObject;
use crate::render::style::{Tone, paint, status_tone};
use crate::render::table::reason;
use crate::render::{View, human, json_text, text};
use crate::time::Timestamp;
use crate::video::{Account, Asset, FileState, IdempotencyKey, Phase, RowId, Video, VideoId};

/// Lines of the request body that are shown.
const MAX_REQUEST_LINES: usize = 60;
/// Columns of one value on a single line.
const MAX_VALUE: usize = 2000;
/// Candidates named in a sentence.
const MAX_CANDIDATES: usize = 3;
const MAX_TITLE: usize = 60;
/// Lines of a message that explains something, and of a title or a script.
const MAX_LINES: usize = 40;
const TEXT_LINES: usize = 4;
/// Columns of the kind of an event.
const EVENT: usize = 12;
/// Columns of the labels on the left.
const LABEL: usize = 13;

/// Everything about a row: its facts, files, the request body as it was sent, its timeline (oldest first), and what a
/// support desk asks for. Presigned URLs, secrets of a kind, only where somebody asked to see more.
pub fn show<Tz: TimeZone>(
    row: &TicketObject<'_>,
    retried_as: Option<RowId>,
    view: &View<Tz>,
) -> String {
    let mut ticket = Ticket {
        out: String::new(),
        view,
    };
    let video = row.video;
    ticket.facts(video);
    ticket.ending(video, retried_as);
    ticket.files(video);
    if view.verbose {
        ticket.urls(video);
    }
    if let Some(request) = row.request {
        ticket.request(request);
    }
    ticket.timeline(row.events);
    ticket.reference(video);
    ticket.out
}

struct Ticket<'a, Tz> {
    out: String,
    view: &'a View<Tz>,
}

impl<Tz: TimeZone> Ticket<'_, Tz> {
    fn facts(&mut self, video: &Video) {
        self.labelled("status", video.status(), MAX_LINES, status_tone(video));
        if let Some(since) = video.stalled_at.filter(|_| !video.finished) {
            let since = format!("since {}", self.when(since));
            self.labelled("stalled", &since, MAX_LINES, Tone::Bad);
        }
        self.text("title", video.title.as_deref());
        self.exact("id", Some(&video.id.to_string()));
        if video.kind != Kind::default() {
            self.exact("kind", Some(video.kind.word()));
        }
        let session = video.session_id.as_ref().map(VideoId::as_str);
        self.exact("session", session);
        self.exact("template", video.template_id.as_deref());
        let progress = video.progress.filter(|_| !video.finished);
        self.exact(
            "progress",
            progress.map(|per_cent| format!("{per_cent}%")).as_deref(),
        );
        self.exact("video id", video.video_id.as_ref().map(VideoId::as_str));
        self.text("tags", Some(&video.tags.join(", ")));
        self.text("script", video.script.as_deref());
        let data = video.data.as_ref().map(serde_json::to_string);
        self.text("data", data.and_then(Result::ok).as_deref());
        self.exact("avatar", video.avatar_id.as_deref());
        self.exact("voice", video.voice_id.as_deref());
        self.exact("folder", video.folder_id.as_deref());
        self.exact("language", video.output_language.as_deref());
        self.time("submitted", Some(video.submitted_at));
        self.time("accepted", video.accepted_at);
        if video.ended_badly() {
            self.time("ended", video.completed_at.or(video.ended_at));
        } else {
            self.time("completed", video.completed_at);
            self.exact(
                "rendered in",
                video.render_time().map(human::duration).as_deref(),
            );
        }
        let length = video.duration.filter(|seconds| seconds.is_finite());
        self.exact(
            "length",
            length.map(|seconds| format!("{seconds:.1}s")).as_deref(),
        );
        if let Some(last) = video.last_checked_at {
            let last = self.when(last);
            let checked = match video.check_count {
                ..=1 => last,
                times => format!("{times} times, last {last}"),
            };
            self.exact("checked", Some(&checked));
        }
        let unanswered = video.first_unanswered_at;
        self.time(
            "unanswered",
            unanswered.filter(|_| video.has_unanswered_attempt()),
        );
        let unfinished = video.send_after.filter(|_| !video.finished);
        self.time("send after", unfinished);
        self.exact("output dir", Some(&video.output_dir.to_string_lossy()));
        self.exact("name", video.name_template.as_deref());
        let retry_of = video.retry_of.map(|id| id.to_string());
        self.exact("retry of", retry_of.as_deref());
        self.exact("page", video.video_page_url.as_deref());
    }

    /// What went wrong, and what can be done about it.
    fn ending(&mut self, video: &Video, retried_as: Option<RowId>) {
        let failure = reason(
            video.failure_code.as_deref(),
            video.failure_message.as_deref(),
        );
        self.labelled("failure", &failure, MAX_LINES, Tone::Bad);
        if let Some(error) = &video.last_error {
            let said = reason(Some(&error.code), Some(&error.message));
            self.labelled("last error", &said, MAX_LINES, Tone::Bad);
            let at = self.when(error.at);
            let times = if error.count > 1 {
                format!("{at}, ×{}", error.count)
            } else {
                at
            };
            self.exact("", Some(&times));
            self.exact("request id", error.request_id.as_deref());
        }
        let hint = match retried_as {
            Some(retry) => Some(format!("it was retried as {retry}: `tracker show {retry}`")),
            None if self.view.is_another_accounts(video) => Some(
                "it belongs to another account: only `tracker check` with the key it was submitted with sends it".to_owned(),
            ),
            None => hint(video),
        };
        self.labelled("hint", &hint.unwrap_or_default(), MAX_LINES, Tone::Plain);
        if let Trace::Candidates(found) = decide::trace(video) {
            self.heading("candidates");
            for found in found {
                let title = text::fit(found.title.as_deref().unwrap_or_default(), MAX_TITLE);
                let command = found.command(video.id);
                let line = format!("  {}  {title}", found.created_at);
                self.line(&text::sanitize(line.trim_end()));
                self.line(&format!("    {}", text::sanitize(&command)));
            }
        }
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
            let mut line = format!("  {:<10} {:<11} {size:<9}", file.asset, file.state);
            if let Some(path) = file.path.as_deref() {
                let path = self.view.places.shorten(path);
                let _infallible = write!(line, " {}", text::sanitize(&path));
            }
            if let Some(digest) = file.sha256.as_deref().filter(|_| self.view.verbose) {
                let digest = format!("sha256 {}", text::fit(digest, 64));
                let _infallible = write!(line, "  {}", paint(&digest, Tone::Dim));
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
            let indent = line.len() - line.trim_start().len() + 2;
            self.wrapped(
                &" ".repeat(indent),
                line.trim_start(),
                indent + 2,
                MAX_LINES,
                Tone::Plain,
            );
        }
        if !complete {
            self.line("  … (all of it: --json)");
        }
    }

    fn timeline(&mut self, events: &[TimelineEntry]) {
        if events.is_empty() {
            return;
        }
        self.heading("timeline");
        for event in events {
            let at = human::clock_exact(event.at, &self.view.tz);
            let indent = at.len() + 4;
            let mut line = format!("  {}  {:<11}", paint(&at, Tone::Dim), event.kind);
            if event.count > 1 {
                let _infallible = write!(line, " ×{}", event.count);
            }
            let facts = facts(&event.detail);
            if facts.is_empty() {
                self.line(line.trim_end());
            } else {
                let room = self.view.width.saturating_sub(indent + EVENT);
                if self.view.wraps && text::fit(&facts, room) != text::sanitize(&facts) {
                    self.line(line.trim_end());
                    line = "   ".to_owned();
                }
                line.push(' ');
                self.wrapped(&line, &facts, 4, MAX_LINES, Tone::Plain);
            }
        }
    }

    /// What only a support desk asks for.
    fn reference(&mut self, video: &Video) {
        let key = video.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        let account = video.account.as_ref().map(base_url);
        if key.is_some() || account.is_some() {
            self.line("");
            self.exact("account", account);
            self.exact("key", key);
        }
    }

    /// Prose, of which the beginning is enough.
    fn text(&mut self, label: &str, value: Option<&str>) {
        self.labelled(label, value.unwrap_or_default(), TEXT_LINES, Tone::Plain);
    }

    /// A value to be copied: never broken.
    fn exact(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let label = paint(&text::pad(label, LABEL), Tone::Dim);
            self.line(&format!("{label}{}", text::fit(value, MAX_VALUE)));
        }
    }

    fn time(&mut self, label: &str, at: Option<Timestamp>) {
        let when = at.map(|at| self.when(at));
        self.exact(label, when.as_deref());
    }

    /// Prose under its label; nothing for an empty value.
    fn labelled(&mut self, label: &str, value: &str, lines: usize, tone: Tone) {
        if !value.is_empty() {
            let label = paint(&text::pad(label, LABEL), Tone::Dim);
            self.wrapped(&label, value, LABEL, lines, tone);
        }
    }

    /// `value` after `start`, with `indent` on the lines that follow; on a single line where nobody looks.
    fn wrapped(&mut self, start: &str, value: &str, indent: usize, lines: usize, tone: Tone) {
        let used = text::shown_width(&strip_str(start).to_string());
        let (width, lines) = match self.view.wraps {
            true => (
                self.view.width.saturating_sub(used.max(indent)).max(LABEL),
                lines,
            ),
            false => (MAX_VALUE, 1),
        };
        let mut start = start.to_owned();
        for line in text::wrap(value, width, lines) {
            self.line(&format!("{start}{}", paint(&line, tone)));
            start = " ".repeat(indent);
        }
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

/// The account without its key's fingerprint, which says nothing to a reader.
fn base_url(account: &Account) -> &str {
    let text = account.as_str();
    text.rsplit_once('#').map_or(text, |(base, _)| base)
}

/// What a person can do about the state of `video`; `None` when there is nothing to do.
fn hint(video: &Video) -> Option<String> {
    let id = video.id;
    let file = video.file(Asset::Video).map(|file| file.state);
    match video.phase {
        Phase::Unknown => Some(lost_hint(video)),
        Phase::Rejected if video.is_lost() => Some(format!(
            "that was the answer to a later attempt; an earlier one has none. {}",
            lost_hint(video)
        )),
        Phase::Missing => Some(format!(
            "`tracker check {id}` asks again, `tracker retry {id}` submits it again"
        )),
        Phase::Rejected => Some(format!(
            "`tracker retry {id}` submits it again as a new video"
        )),
        Phase::Accepted if video.is_failed() => Some(format!(
            "`tracker retry {id}` submits it again as a new video"
        )),
        Phase::Accepted if file == Some(FileState::Gone) => {
            Some(format!("`tracker download {id}` fetches it again"))
        }
        Phase::Unsent | Phase::Sending | Phase::Accepted => video
            .last_error
            .as_ref()
            .map(|_| format!("`tracker check {id}` tries again now; nothing is lost meanwhile")),
    }
}

/// How a person finds out what a submission became that was never answered.
pub(crate) fn lost_hint(video: &Video) -> String {
    let id = video.id;
    match decide::trace(video) {
        Trace::Open => format!(
            "HeyGen may or may not have made it; found at app.heygen.com: tracker add VIDEO_ID --as {id}; \
             not there: tracker retry {id}"
        ),
        Trace::NotYet => format!(
            "HeyGen does not list it so far; tracker check {id} looks again, and an hour after it was sent \
             that is an answer"
        ),
        Trace::Nowhere => format!(
            "HeyGen lists nothing that it can have become: tracker retry {id} is as safe as it gets"
        ),
        Trace::Candidates(found) => {
            let shown = found.iter().take(MAX_CANDIDATES);
            let commands: Vec<String> = shown.map(|found| found.command(id)).collect();
            let more = if found.len() > MAX_CANDIDATES {
                " …"
            } else {
                ""
            };
            format!(
                "HeyGen may have made it; if it is this one: {}{more}; if not: tracker retry {id}",
                commands.join(" or ")
            )
        }
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
