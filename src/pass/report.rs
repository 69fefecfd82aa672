//! What a run says: one plain sentence or one JSON line per thing that happened, and what it all amounts to.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::hooks::TRIES;
use crate::error::{Exit, Problem, code};
use crate::event::{Entry, Event, SavedFile, Severity};
use crate::render::fields::Field;
use crate::render::screen::Screen;
use crate::render::show::lost_hint;
use crate::render::{human, text};
use crate::store::Trouble;
use crate::time::Timestamp;
use crate::video::{Asset, HookEvent, MessageKind, MessageState, Phase, RowId, Video, VideoId};

/// What a run did; as JSON its summary line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "summary")]
pub(crate) struct Tally {
    pub sent: u64,
    pub polled: u64,
    pub changed: u64,
    pub saved: u64,
    #[serde(skip)]
    pub bytes: u64,
    pub failed: u64,
    pub errors: u64,
    unfinished: u64,
    pub requests: u64,
    next_check_seconds: Option<u64>,
    /// Why the key is of no use.
    #[serde(skip)]
    pub auth: Option<Problem>,
    #[serde(skip)]
    pub rejected: u64,
    #[serde(skip)]
    pub replies: u64,
    /// What kept the whole run from something.
    #[serde(skip)]
    pub outages: u64,
    /// Something was left for later for lack of time.
    #[serde(skip)]
    pub out_of_time: bool,
}

impl Tally {
    /// The exit code of a run: the first of 3, 1, 5 that applies.
    pub(crate) fn exit(&self, with_bad_ends: bool) -> Exit {
        if self.auth.is_some() {
            Exit::Auth
        } else if self.errors > 0 {
            Exit::Trouble
        } else if with_bad_ends && self.failed > 0 {
            Exit::BadEnd
        } else {
            Exit::Ok
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Outcomes and new trouble: what cron mails.
    Events,
    /// What needs a person and trouble, each kind of it once, and all on stderr: the command's results are others.
    Aside,
    /// The same but for how rows end and what they may have become: the command itself prints the rows.
    Outages,
}

pub(crate) struct Reporter<'a> {
    pub(super) screen: &'a Screen,
    level: Level,
    pub(crate) reports_again: bool,
    /// Codes of rows' errors that were said in the name of all such rows, and messages of outages.
    said: BTreeSet<String>,
    pub(crate) tally: Tally,
}

impl<'a> Reporter<'a> {
    /// `named`: the user asked for particular rows.
    pub(crate) fn new(screen: &'a Screen, level: Level, named: bool) -> Self {
        let reports_again = named || screen.json || screen.verbose > 0 || screen.err_is_terminal;
        Self {
            screen,
            level,
            reports_again,
            said: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Says what happened and is committed; `video` is the row afterwards.
    pub(super) fn say(&mut self, video: &Video, entry: &Entry) {
        if let Event::Hook {
            event,
            tries,
            error,
        } = &entry.event
        {
            error
                .iter()
                .for_each(|why| self.hook_failed(video, *event, why, *tries));
            return;
        }
        let severity = entry.severity(video);
        self.count(video, entry, severity);
        if !video.is_rendering() {
            self.screen.progress.rendered(video.id);
        }
        if self.level != Level::Events {
            self.say_aside(video, entry, severity);
            return;
        }
        if self.screen.json {
            if let Some(line) = json_line(video, entry) {
                self.screen.json_line(&line);
            }
            return;
        }
        let (is_shown, say): (bool, fn(&Screen, &str)) = match severity {
            Severity::Silent => return,
            Severity::Step => (self.screen.verbose > 0, Screen::line),
            Severity::Outcome => (!self.screen.quiet, Screen::line),
            Severity::Bad => (true, Screen::line),
            Severity::Error { notify } => (notify || self.reports_again, Screen::error),
            Severity::Recovered => (!self.screen.quiet, Screen::note),
        };
        if is_shown {
            say(self.screen, &sentence(video, &entry.event));
        }
    }

    fn say_aside(&mut self, video: &Video, entry: &Entry, severity: Severity) {
        let is_new = match severity {
            // One row's error stands for all rows with the same: nobody wants to read it a hundred times.
            Severity::Error { .. } => {
                let error = video.last_error.as_ref();
                error.is_some_and(|error| self.said.insert(error.code.clone()))
            }
            // It is news once: no later run hears of it.
            Severity::Bad if self.level == Level::Aside => true,
            Severity::Bad => {
                entry.was.is_none() && !matches!(entry.event, Event::Candidates { .. })
            }
            _ => false,
        };
        if is_new {
            let say = match severity {
                Severity::Bad => Screen::warn,
                _ => Screen::error,
            };
            say(self.screen, &sentence(video, &entry.event));
        }
    }

    fn count(&mut self, video: &Video, entry: &Entry, severity: Severity) {
        let tally = &mut self.tally;
        match &entry.event {
            Event::Accepted { .. } => tally.sent += 1,
            Event::Saved(file) => {
                tally.saved += 1;
                tally.bytes += file.bytes;
            }
            Event::Repaired(_) => tally.saved += 1,
            Event::Message { message, .. } => {
                tally.replies += u64::from(*message == MessageKind::Reply);
            }
            _ => tally.failed += u64::from(entry.loses_the_video(video)),
        }
        if let Severity::Error { .. } = severity {
            tally.errors += 1;
        }
        if entry.was.is_none() {
            return;
        }
        tally.changed += 1;
        tally.failed += u64::from(video.ended_badly());
        tally.rejected += u64::from(video.phase == Phase::Rejected);
        // Somebody has to look whether HeyGen made it: an attempt of it is unanswered.
        tally.errors += u64::from(video.phase == Phase::Unknown || video.is_lost());
    }

    /// An outage of the whole run; `is_failure` where it left something undone.
    pub(super) fn outage(&mut self, problem: &Problem, is_failure: bool, is_news: bool) {
        self.tally.errors += u64::from(is_failure);
        self.tally.outages += u64::from(is_failure);
        if !is_news && !self.reports_again {
            return;
        }
        // Each round of a wait meets it; at a terminal it is news each time.
        let is_first = self.said.insert(problem.message.clone());
        let is_known = !is_first && (!is_news || self.screen.err_is_terminal);
        if is_known && !self.screen.json && self.screen.verbose == 0 {
            return;
        }
        let say = match is_failure {
            true => Screen::error,
            false => Screen::warn,
        };
        self.problem(None, problem, say);
    }

    /// As a JSON line where those are the results, else on stderr.
    fn problem(&self, row: Option<RowId>, problem: &Problem, say: fn(&Screen, &str)) {
        if self.is_json() {
            self.screen
                .json_line(&json!({"type": "error", "id": row, "error": problem}));
        } else if !self.screen.json || self.tally.auth.as_ref() != Some(problem) {
            // What ends a run whose results are rows is said at its end.
            say(self.screen, &problem.message);
            problem.hint.iter().for_each(|hint| self.screen.hint(hint));
        }
    }

    /// Something that only somebody who wants to know everything wants to know.
    pub(super) fn step(&self, what: &str) {
        if self.screen.verbose > 0 {
            self.screen.note(what);
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.screen.json && self.level == Level::Events
    }

    pub(super) fn outage_over(&mut self, trouble: &Trouble, now: Timestamp) {
        self.said.remove(&trouble.message);
        if !self.screen.json {
            let lasted = human::duration(now.since(trouble.since));
            let note = format!("resolved after {lasted}: {}", trouble.message);
            self.screen.note(&note);
        }
    }

    /// Said at the first try and when it is given up; in between only where everything is said.
    fn hook_failed(&mut self, video: &Video, event: HookEvent, why: &str, tries: i64) {
        self.tally.errors += 1;
        let next = match tries {
            TRIES.. => "it is not tried again",
            1 => "the next check tries again",
            _ if self.reports_again => "the next check tries again",
            _ => return,
        };
        let message = format!("the hook failed for {event} of {}: {why}; {next}", video.id);
        let problem = Problem::new("hook_failed", message);
        self.problem(Some(video.id), &problem, Screen::error);
    }

    /// A video that the database could not take; said whatever else is silent.
    pub(super) fn unrecorded(&self, what: &str, hint: &str) {
        let problem = Problem::new(code::DATABASE, what).with_hint(hint);
        self.screen.problem(&problem);
    }

    pub(crate) fn summary(&self, unfinished: u64, next_check_seconds: Option<u64>) {
        self.screen.json_line(&Tally {
            unfinished,
            next_check_seconds,
            ..self.tally.clone()
        });
    }
}

/// `14 saved "Launch teaser"`: the beginning of every sentence about a row.
pub(super) fn subject(video: &Video, verb: &str) -> String {
    let title = video.title.as_deref().unwrap_or_default();
    let title = text::fit(title, 60);
    let title = match title.is_empty() {
        true => String::new(),
        false => format!(" \"{title}\""),
    };
    format!("{} {}{title}", video.id, text::sanitize(verb))
}

/// Reasons are bounded on screen; the database keeps them whole.
const REASON_WIDTH: usize = 500;

fn because(row: RowId, code: Option<&str>, message: Option<&str>) -> String {
    let parts = [code, message].into_iter().flatten();
    let parts = parts.filter(|part| !part.is_empty());
    let parts: Vec<String> = parts.map(|part| text::fit(part, REASON_WIDTH)).collect();
    match parts.join(": ") {
        why if why.is_empty() => format!(" (tracker show {row})"),
        why => format!(": {why} (tracker show {row})"),
    }
}

fn sentence(video: &Video, event: &Event) -> String {
    let (id, fit) = (video.id, |text: &str| text::fit(text, REASON_WIDTH));
    let (verb, details) = match event {
        Event::Accepted { .. } => ("sent", String::new()),
        Event::Postponed { .. } => ("postponed", ": HeyGen asks to wait".to_owned()),
        Event::Error(_) => {
            let error = video.last_error.as_ref();
            let why = error.map(|error| because(id, Some(&error.code), Some(&error.message)));
            (video.status(), why.unwrap_or_default())
        }
        Event::Candidates { .. } => (video.status(), format!(": {}", lost_hint(video))),
        Event::Stalled => (
            "stalled",
            format!(
                ": renders unusually long, since {}; still asked about (tracker show {id})",
                video.began_at()
            ),
        ),
        Event::Attention { said, page } => {
            let (said, page) = (said.as_deref(), page.as_deref());
            (video.status(), attention(id, said, page))
        }
        Event::Message {
            message,
            state,
            why,
            ..
        } => (message.word(), message_end(id, *state, why.as_deref())),
        Event::Recovered { code, .. } => (
            "works again",
            format!(": no {} any more", text::sanitize(code)),
        ),
        Event::Saved(file) => ("saved", saved(file)),
        Event::Repaired(file) => ("repaired", saved(file)),
        Event::Lost { .. } => {
            let what = ": a finished download is gone and is fetched again".to_owned();
            ("repaired", what)
        }
        Event::Unavailable { asset, why, .. } => {
            let why = match why {
                None => format!(": HeyGen has no {asset} file for it"),
                Some(why) => format!(": its {asset} file is given up: {}", fit(why)),
            };
            ("unavailable", why)
        }
        Event::Rejected(_)
        | Event::Unknown { .. }
        | Event::Status { .. }
        | Event::Missing { .. }
        | Event::Found { .. } => (video.status(), end(video)),
        Event::Recorded
        | Event::Sending { .. }
        | Event::Gone { .. }
        | Event::Edited(_)
        | Event::RetryForgotten { .. }
        | Event::Hook { .. } => (video.status(), String::new()),
    };
    format!("{}{details}", subject(video, verb))
}

fn message_end(row: RowId, state: MessageState, why: Option<&str>) -> String {
    match (state, why) {
        (MessageState::Sent, _) => ": sent".to_owned(),
        (MessageState::Refused, Some(why)) => {
            format!(": refused: {}", text::fit(why, REASON_WIDTH))
        }
        _ => format!(": no answer came, and it is not sent twice (tracker show {row})"),
    }
}

fn attention(row: RowId, said: Option<&str>, page: Option<&str>) -> String {
    let said = said.map(|said| format!(": {}", text::fit(said, REASON_WIDTH)));
    let page = page.map(|page| format!(", {}", text::sanitize(page)));
    let (said, page) = (said.unwrap_or_default(), page.unwrap_or_default());
    format!("{said} (tracker reply {row} TEXT{page})")
}

fn saved(file: &SavedFile) -> String {
    let what = match file.asset {
        Asset::Video => String::new(),
        other => format!(" {other}"),
    };
    let (path, size) = (text::sanitize(&file.path), human::bytes(file.bytes));
    format!("{what}: {path} ({size})")
}

fn end(video: &Video) -> String {
    let id = video.id;
    match video.phase {
        _ if !video.ended_badly() => String::new(),
        Phase::Unknown => format!(": {}", lost_hint(video)),
        Phase::Missing => format!(": HeyGen does not have it any more (tracker show {id})"),
        _ => because(
            id,
            video.failure_code.as_deref(),
            video.failure_message.as_deref(),
        ),
    }
}

pub(crate) fn message_line(
    row: RowId,
    message: MessageKind,
    state: MessageState,
    why: Option<&str>,
) -> serde_json::Value {
    json!({"type": "message", "id": row, "message": message, "state": state, "why": why})
}

fn json_line(video: &Video, entry: &Entry) -> Option<serde_json::Value> {
    let id = video.id.0;
    let video_id = video.video_id.as_ref().map(VideoId::as_str);
    if let Some(from) = &entry.was {
        return Some(json!({
            "type": "change", "id": id, "video_id": video_id, "from": from, "to": video.status(),
            "failure_code": video.failure_code, "failure_message": video.failure_message,
        }));
    }
    match &entry.event {
        Event::Accepted { .. } => Some(json!({
            "type": "sent", "id": id, "video_id": video_id, "status": video.status(),
        })),
        Event::Error(failure) if failure.own => Some(json!({
            "type": "error", "id": id,
            "error": {
                "code": failure.code, "message": failure.message,
                "hint": format!("tracker show {id}"), "request_id": failure.request_id,
            },
        })),
        Event::Candidates { .. } => Some(json!({
            "type": "candidates", "id": id, "candidates": Field::Candidates.of(video),
        })),
        Event::Stalled => Some(json!({
            "type": "stalled", "id": id, "video_id": video_id, "since": video.began_at(),
        })),
        Event::Message {
            message,
            state,
            why,
            ..
        } => Some(message_line(video.id, *message, *state, why.as_deref())),
        Event::Unavailable {
            asset,
            why,
            elsewhere: false,
        } => Some(json!({
            "type": "unavailable", "id": id, "video_id": video_id, "asset": asset, "why": why,
        })),
        Event::Saved(file) | Event::Repaired(file) => Some(json!({
            "type": "saved", "id": id, "video_id": video_id, "asset": file.asset,
            "path": file.path, "bytes": file.bytes, "sha256": file.sha256,
        })),
        _ => None,
    }
}
