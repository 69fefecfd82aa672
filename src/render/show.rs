//! `show ID`: the support ticket. Everything known about one row, for a person to read or to send on.
//!
//! With `--verbose` the one rendering for people in which presigned URLs appear.

use anstream::adapter::strip_str;
use anstyle::Style;
use serde_json::Value;

use crate::decide::{self, Trace};
use crate::error::code;
use crate::event::TimelineEntry;
use crate::kind::Kind;
use crate::render::json::TicketObject;
use crate::render::style::{self, paint, status_tone};
use crate::render::table::failure;
use crate::render::{View, human, text};
use crate::time::Timestamp;
use crate::video::{Account, Asset, File, FileState, IdempotencyKey, Phase, RowId, Video};

const MAX_REQUEST_LINES: usize = 60;
/// Of a value on one line: a body may have 10,000 characters in it, of two columns each.
const MAX_VALUE: usize = 24_000;
const MAX_CANDIDATES: usize = 3;
/// Lines of a message that explains something, and of a title or a script.
const MAX_LINES: usize = 40;
const TEXT_LINES: usize = 4;
const EVENT: usize = 12;
const LABEL: usize = 13;

/// Everything about a row: its facts, files, the request body as it was sent, its timeline (oldest first), and what a
/// support desk asks for. Presigned URLs, secrets of a kind, only where somebody asked to see more.
pub fn show(row: &TicketObject<'_>, retried_as: Option<RowId>, view: &View) -> String {
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

struct Ticket<'a> {
    out: String,
    view: &'a View,
}

impl Ticket<'_> {
    fn facts(&mut self, video: &Video) {
        let mark = video.may_recover().then_some(" (may recover)");
        let status = format!("{}{}", video.status(), mark.unwrap_or_default());
        self.labelled("status", &status, MAX_LINES, status_tone(video));
        if let Some(since) = video.stalled_at.filter(|_| !video.finished) {
            let since = format!("since {}", self.when(since));
            self.labelled("stalled", &since, MAX_LINES, style::BAD);
        }
        self.text("title", video.title.as_deref());
        self.exact("id", Some(video.id));
        let unusual = (video.kind != Kind::default()).then_some(video.kind);
        self.exact("kind", unusual);
        self.exact("session", video.session_id.as_ref());
        self.exact("template", video.template_id.as_ref());
        let progress = video.progress.filter(|_| !video.finished);
        self.exact("progress", progress.map(|percent| format!("{percent}%")));
        self.exact("video id", video.video_id.as_ref());
        self.text("tags", Some(&video.tags.join(", ")));
        self.text("script", video.script.as_deref());
        let data = video.data.as_ref().map(serde_json::to_string);
        self.text("data", data.and_then(Result::ok).as_deref());
        self.exact("avatar", video.avatar_id.as_ref());
        self.exact("voice", video.voice_id.as_ref());
        self.exact("folder", video.folder_id.as_ref());
        self.exact("language", video.output_language.as_ref());
        self.times(video);
        self.exact("output dir", Some(video.output_dir.to_string_lossy()));
        self.exact("name", video.name_template.as_ref());
        self.exact("retry of", video.retry_of);
        self.exact("page", video.video_page_url.as_ref());
    }

    fn times(&mut self, video: &Video) {
        self.time("submitted", Some(video.submitted_at));
        self.time("accepted", video.accepted_at);
        if video.ended_badly() {
            self.time("ended", video.completed_at.or(video.ended_at));
        } else {
            self.time("completed", video.completed_at);
            self.exact("rendered in", video.render_time().map(human::duration));
        }
        let length = video.duration.filter(|seconds| seconds.is_finite());
        self.exact("length", length.map(|seconds| format!("{seconds:.1}s")));
        let checked = video.last_checked_at.map(|last| match video.check_count {
            ..=1 => self.when(last),
            times => format!("{times} times, last {}", self.when(last)),
        });
        self.exact("checked", checked);
        let unanswered = video.first_unanswered_at;
        let unanswered = unanswered.filter(|_| video.has_unanswered_attempt());
        self.time("unanswered", unanswered);
        let unfinished = video.send_after.filter(|_| !video.finished);
        self.time("send after", unfinished);
    }

    fn ending(&mut self, video: &Video, retried_as: Option<RowId>) {
        self.labelled("failure", &failure(video), MAX_LINES, style::BAD);
        if let Some(error) = &video.last_error {
            let said = format!("{}: {}", error.code, error.message);
            self.labelled("last error", &said, MAX_LINES, style::BAD);
            let mut times = self.when(error.at);
            if error.count > 1 {
                times += &format!(", ×{}", error.count);
            }
            self.exact("", Some(times));
            self.exact("request id", error.request_id.as_ref());
        }
        let hint = match retried_as {
            Some(retry) => Some(format!("it was retried as {retry}: `tracker show {retry}`")),
            None if self.view.is_another_accounts(video) => Some(
                "it belongs to another account: only `tracker check` with the key it was submitted with sends it".to_owned(),
            ),
            None => hint(video),
        };
        self.labelled("hint", &hint.unwrap_or_default(), MAX_LINES, style::PLAIN);
        if let Trace::Candidates(found) = decide::trace(video) {
            self.heading("candidates");
            for found in found {
                let title = found.title.as_deref().unwrap_or_default();
                let made = format!("{}  {title}", found.created_at);
                self.wrapped("  ", &made, 4, TEXT_LINES, style::PLAIN);
                let command = found.command(video.id);
                self.line(&format!("    {}", text::sanitize(&command)));
            }
        }
    }

    fn files(&mut self, video: &Video) {
        let is_wanted = |file: &File| file.state == FileState::Wanted;
        // Files that a video with a bad end will not have.
        let none = video.ended_badly() && video.files.iter().all(is_wanted);
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
                line += " ";
                line += &text::sanitize(&self.view.shorten(path));
            }
            if let Some(digest) = file.sha256.as_deref().filter(|_| self.view.verbose) {
                let digest = format!("sha256 {}", text::fit(digest, 64));
                line += "  ";
                line += &paint(&digest, style::DIM);
            }
            self.line(line.trim_end());
        }
    }

    fn urls(&mut self, video: &Video) {
        if video.urls.is_empty() {
            return;
        }
        let at = video.urls_at.map(|at| self.when(at));
        let at = at.map(|at| format!(" (as of {at}; they expire 7 days after)"));
        self.heading(&format!("URLs{}", at.unwrap_or_default()));
        for (asset, url) in &video.urls {
            self.line(&format!("  {asset:<10} {}", text::sanitize(url)));
        }
    }

    fn request(&mut self, body: &str) {
        self.heading("request");
        // A tab in JSON is one of the indent.
        let body = body.replace('\t', "  ");
        let start = self.out.len();
        let mut lines = body.lines();
        for line in lines.by_ref().take(MAX_REQUEST_LINES) {
            self.wrapped("  ", line, 4, MAX_REQUEST_LINES, style::PLAIN);
        }
        if lines.next().is_some() || self.out[start..].contains("…\n") {
            self.line("  … (all of it: --json)");
        }
    }

    fn timeline(&mut self, events: &[TimelineEntry]) {
        if events.is_empty() {
            return;
        }
        self.heading("timeline");
        for event in events {
            let at = human::clock_exact(event.at, self.view.local);
            let indent = at.len() + 4;
            let mut line = format!("  {}  {:<11}", paint(&at, style::DIM), event.kind);
            if event.count > 1 {
                line += &format!(" ×{}", event.count);
            }
            let facts = facts(&event.detail);
            let room = self.view.width.saturating_sub(indent + EVENT);
            let too_long = self.view.wraps && text::width(&facts) > room;
            if facts.is_empty() || too_long {
                self.line(line.trim_end());
                line = "   ".to_owned();
            }
            if !facts.is_empty() {
                self.wrapped(&(line + " "), &facts, 4, MAX_LINES, style::PLAIN);
            }
        }
    }

    fn reference(&mut self, video: &Video) {
        let key = video.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        // Its key's fingerprint says nothing to a reader.
        let account = video.account.as_ref().map(Account::host);
        if key.is_some() || account.is_some() {
            self.line("");
            self.exact("account", account);
            self.exact("key", key);
        }
    }

    /// Prose, of which the beginning is enough.
    fn text(&mut self, label: &str, value: Option<&str>) {
        self.labelled(label, value.unwrap_or_default(), TEXT_LINES, style::PLAIN);
    }

    /// A value to be copied: never broken.
    fn exact(&mut self, label: &str, value: Option<impl ToString>) {
        let value = value.map_or_else(String::new, |value| value.to_string());
        if !value.is_empty() {
            let label = paint(&text::pad(label, LABEL), style::DIM);
            self.line(&format!("{label}{}", text::fit(&value, MAX_VALUE)));
        }
    }

    fn time(&mut self, label: &str, at: Option<Timestamp>) {
        self.exact(label, at.map(|at| self.when(at)));
    }

    fn labelled(&mut self, label: &str, value: &str, lines: usize, tone: Style) {
        if !value.is_empty() {
            let label = paint(&text::pad(label, LABEL), style::DIM);
            self.wrapped(&label, value, LABEL, lines, tone);
        }
    }

    /// `value` after `start`, with `indent` on the lines that follow; on a single line where nobody looks.
    fn wrapped(&mut self, start: &str, value: &str, indent: usize, lines: usize, tone: Style) {
        let used = text::shown_width(&strip_str(start).to_string()).max(indent);
        let (width, lines) = match self.view.wraps {
            true => (self.view.width.saturating_sub(used).max(LABEL), lines),
            false => (MAX_VALUE, 1),
        };
        let mut start = start.to_owned();
        for line in text::wrap(value, width, lines) {
            self.line(&format!("{start}{}", paint(&line, tone)));
            start = " ".repeat(indent);
        }
    }

    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(&paint(title, style::HEADING));
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn when(&self, at: Timestamp) -> String {
        let clock = human::clock_exact(at, self.view.local);
        format!("{clock} ({})", human::ago_phrase(at, self.view.now))
    }
}

/// What a person can do about the state of `video`; `None` when there is nothing to do.
fn hint(video: &Video) -> Option<String> {
    let id = video.id;
    let retry = || match decide::refuse_retry(video) {
        Ok(()) => format!("`tracker retry {id}` submits it again as a new video"),
        Err(why) => why.message,
    };
    let file = video.file(Asset::Video).map(|file| file.state);
    match video.phase {
        Phase::Unknown => Some(lost_hint(video)),
        Phase::Rejected if video.is_lost() => Some(format!(
            "that was the answer to a later attempt; an earlier one has none. {}",
            lost_hint(video)
        )),
        Phase::Missing => Some(format!("`tracker check {id}` asks again; {}", retry())),
        Phase::Rejected => Some(retry()),
        Phase::Accepted if video.is_failed() => Some(retry()),
        Phase::Accepted
            if video
                .remote_status
                .as_ref()
                .is_some_and(decide::wants_answer) =>
        {
            Some(format!("`tracker reply {id} TEXT` answers it"))
        }
        Phase::Accepted if file == Some(FileState::Gone) => {
            Some(format!("`tracker download {id}` fetches it again"))
        }
        Phase::Unsent | Phase::Sending | Phase::Accepted => {
            let error = video.last_error.as_ref()?;
            Some(match error.code.as_str() {
                code::FILE_EXISTS => format!(
                    "move away what has that name, then `tracker check {id}`; or `tracker download {id} --output-dir \
                     DIR` saves elsewhere; or `tracker download {id} --force` replaces that file"
                ),
                _ => format!("`tracker check {id}` tries again now; nothing is lost meanwhile"),
            })
        }
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
        Trace::Held => format!(
            "found at app.heygen.com: tracker add VIDEO_ID --as {id}; not there: tracker check {id} submits it"
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
            let is_cut = found.len() > MAX_CANDIDATES;
            format!(
                "HeyGen may have made it; if it is this one: {}{}; if not: tracker retry {id}",
                commands.join(" or "),
                if is_cut { " …" } else { "" }
            )
        }
    }
}

/// An event's detail as `key=value` pairs; values that need it are quoted as in JSON. Not yet sanitized.
fn facts(detail: &Value) -> String {
    let pairs = match detail {
        Value::Object(pairs) => pairs,
        Value::Null => return String::new(),
        other => return other.to_string(),
    };
    let fact = |(key, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::String(word) if is_bare(word) => Some(format!("{key}={word}")),
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
