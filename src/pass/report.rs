//! What a run says: one plain sentence or one JSON line per thing that happened, and what it all amounts to.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::error::{Exit, Problem};
use crate::event::{Event, Severity};
use crate::render::progress::{Progress, Rendering};
use crate::render::screen::Screen;
use crate::render::{human, text};
use crate::store::Trouble;
use crate::time::Timestamp;
use crate::video::{Asset, HookEvent, LastError, MessageState, Phase, RowId, Video, VideoId};

/// What a run amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Videos HeyGen took.
    pub sent: u64,
    /// Videos HeyGen answered about.
    pub polled: u64,
    /// Status words that changed.
    pub changed: u64,
    /// Files saved.
    pub saved: u64,
    /// Their size.
    pub bytes: u64,
    /// Videos that ended badly.
    pub failed: u64,
    /// Rows and runs in trouble.
    pub errors: u64,
    /// Requests to HeyGen's API.
    pub requests: u64,
    /// The key was refused or is missing.
    pub auth: bool,
    /// Rows that were refused for good.
    pub rejected: u64,
}

impl Tally {
    /// The exit code of a run: the first of 3, 1, 5 that applies.
    pub(crate) fn exit(&self, tell_bad_ends: bool) -> Exit {
        if self.auth {
            Exit::Auth
        } else if self.errors > 0 {
            Exit::Trouble
        } else if tell_bad_ends && self.failed > 0 {
            Exit::BadEnd
        } else {
            Exit::Ok
        }
    }

    /// Adds what a later round did; its trouble replaces the earlier one's, which is cured or told again.
    pub(crate) fn next_round(&mut self, round: &Self) {
        self.sent += round.sent;
        self.polled += round.polled;
        self.changed += round.changed;
        self.saved += round.saved;
        self.bytes += round.bytes;
        self.failed += round.failed;
        self.requests += round.requests;
        self.rejected += round.rejected;
        self.errors = round.errors;
        self.auth = round.auth;
    }
}

/// How much a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Outcomes and new trouble: what cron mails.
    Outcomes,
    /// Trouble only, each kind of it once, and all on stderr; the command itself prints the rows.
    RunTrouble,
}

/// Says what happened, and counts it.
pub(crate) struct Reporter<'a> {
    screen: &'a Screen,
    voice: Voice,
    /// Tell trouble even when it was told before.
    chatty: bool,
    /// Codes of rows' trouble that were told in the name of all such rows.
    told: BTreeSet<String>,
    pub(super) tally: Tally,
}

impl<'a> Reporter<'a> {
    /// `named`: the user asked for particular rows.
    pub(crate) fn new(screen: &'a Screen, voice: Voice, named: bool) -> Self {
        let chatty = named || screen.json || screen.verbose > 0 || screen.err_is_terminal;
        Self {
            screen,
            voice,
            chatty,
            told: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// What the run amounts to so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts the next round of a wait apart from those before; returns what to give to [`Reporter::end_round`].
    pub(super) fn begin_round(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Adds the round up.
    pub(super) fn end_round(&mut self, mut before: Tally) {
        before.next_round(&self.tally);
        self.tally = before;
    }

    /// Tells somebody who waits how a row is doing.
    pub(super) fn progress_line(&self, video: &Video, elapsed: Duration, usual: &str) {
        if !self.screen.json {
            let elapsed = human::duration(elapsed);
            let doing = subject(video, video.status());
            self.screen.note(&format!("{doing}, {elapsed} ({usual})"));
        }
    }

    /// Shows somebody at a terminal what is rendering.
    pub(super) fn show_rendering(&self, videos: &[(Video, Duration)], usual: &str) {
        let lines: Vec<Rendering> = videos
            .iter()
            .map(|(video, elapsed)| Rendering {
                row: video.id,
                label: subject(video, video.status()),
                elapsed: *elapsed,
            })
            .collect();
        self.progress().rendering(&lines, usual);
    }

    /// The moving part of the screen.
    pub(super) fn progress(&self) -> Progress {
        self.screen.progress()
    }

    /// Whether trouble is said although it was said before.
    pub(crate) fn is_chatty(&self) -> bool {
        self.chatty
    }

    /// Whether only the person who is there now reads it.
    pub(super) fn is_at_terminal(&self) -> bool {
        self.screen.err_is_terminal
    }

    /// Says what happened and is committed; `video` is the row afterwards.
    pub(super) fn say(&mut self, video: &Video, event: &Event) {
        let severity = event.severity(video);
        self.count(video, event, severity);
        if !video.is_rendering() {
            self.progress().rendered(video.id);
        }
        if self.voice == Voice::RunTrouble {
            self.say_once(video, severity);
            return;
        }
        if self.screen.json {
            if let Some(line) = json_line(video, event) {
                self.screen.json_line(&line);
            }
            return;
        }
        let shown = match severity {
            Severity::Silent => false,
            Severity::Step => self.screen.verbose > 0,
            Severity::Outcome | Severity::Recovered => !self.screen.quiet,
            Severity::Bad => true,
            Severity::Error { notify } => notify || self.chatty,
        };
        if !shown {
            return;
        }
        let line = sentence(video, event);
        match severity {
            Severity::Silent => {}
            Severity::Step | Severity::Outcome | Severity::Bad => self.screen.line(&line),
            Severity::Error { .. } => self.screen.error(&line),
            Severity::Recovered => self.screen.note(&line),
        }
    }

    /// One row's error for all rows with the same: nobody wants to read it a hundred times.
    fn say_once(&mut self, video: &Video, severity: Severity) {
        if let Severity::Error { .. } = severity
            && let Some(error) = &video.last_error
            && self.told.insert(error.code.clone())
        {
            self.screen.error(&error_sentence(video));
        }
    }

    fn count(&mut self, video: &Video, event: &Event, severity: Severity) {
        let tally = &mut self.tally;
        match event {
            Event::Accepted { .. } => tally.sent += 1,
            Event::Saved { bytes, .. } => {
                tally.saved += 1;
                tally.bytes += bytes;
            }
            Event::Repaired { .. } => tally.saved += 1,
            _ => {}
        }
        if let Severity::Error { .. } = severity {
            tally.errors += 1;
        }
        if event.status_before().is_none() {
            return;
        }
        tally.changed += 1;
        tally.failed += u64::from(video.ended_badly());
        tally.rejected += u64::from(video.phase == Phase::Rejected);
        // Somebody has to look whether HeyGen made it: an attempt of it is unanswered.
        let open = match video.phase {
            Phase::Unknown => true,
            Phase::Rejected => video.first_unanswered_at.is_some(),
            Phase::Unsent | Phase::Sending | Phase::Accepted | Phase::Missing => false,
        };
        tally.errors += u64::from(open);
    }

    /// Trouble of the whole run; `is_failure` where it left something undone.
    pub(super) fn trouble(&mut self, problem: &Problem, is_failure: bool, tell: bool) {
        self.tally.errors += u64::from(is_failure);
        if !tell && !self.chatty {
            return;
        }
        if self.screen.json && self.voice == Voice::Outcomes {
            let line = json!({ "type": "error", "id": null, "error": problem });
            self.screen.json_line(&line);
        } else {
            match is_failure {
                true => self.screen.error(&problem.message),
                false => self.screen.warn(&problem.message),
            }
            if let Some(hint) = &problem.hint {
                self.screen.hint(hint);
            }
        }
    }

    /// Trouble of whole runs that is over.
    pub(super) fn relief(&mut self, trouble: &Trouble, now: Timestamp) {
        if !self.screen.json {
            self.screen.note(&format!(
                "resolved after {}: {}",
                human::duration(now.since(trouble.since)),
                trouble.message
            ));
        }
    }

    /// A hook did not do its work.
    ///
    /// Told at the first try and when it is given up; in between only where everything is told.
    pub(super) fn hook_failed(
        &mut self,
        video: &Video,
        event: HookEvent,
        why: &str,
        (first, last): (bool, bool),
    ) {
        self.tally.errors += 1;
        if !first && !last && !self.chatty {
            return;
        }
        let next = if last {
            "it is not tried again"
        } else {
            "the next check tries again"
        };
        let message = format!("the hook failed for {event} of {}: {why}; {next}", video.id);
        if self.screen.json {
            self.screen.json_line(&json!({
                "type": "error", "id": video.id.0,
                "error": { "code": "hook_failed", "message": message, "hint": null, "request_id": null },
            }));
        } else {
            self.screen.error(&message);
        }
    }

    /// A purchase that the database could not take; told whatever else is silent.
    pub(super) fn unrecorded(&self, purchase: &str) {
        const HINT: &str =
            "the next check with this database finds out by itself; do not submit again";
        if self.screen.json {
            self.screen.json_message(&json!({
                "error": { "code": "database_error", "message": purchase, "hint": HINT, "request_id": null },
            }));
        } else {
            self.screen.error(purchase);
            self.screen.hint(HINT);
        }
    }

    /// The last line of `check --json`.
    pub(crate) fn summary(&self, unfinished: u64, next_check_seconds: Option<u64>) {
        let t = &self.tally;
        self.screen.json_line(&Summary {
            kind: "summary",
            sent: t.sent,
            polled: t.polled,
            changed: t.changed,
            saved: t.saved,
            failed: t.failed,
            errors: t.errors,
            unfinished,
            requests: t.requests,
            next_check_seconds,
        });
    }
}

#[derive(Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    sent: u64,
    polled: u64,
    changed: u64,
    saved: u64,
    failed: u64,
    errors: u64,
    unfinished: u64,
    requests: u64,
    next_check_seconds: Option<u64>,
}

/// `14 saved "Launch teaser"`: the beginning of every sentence about a row.
fn subject(video: &Video, verb: &str) -> String {
    let title = video.title.as_deref().unwrap_or_default();
    let title = text::fit(title, 60);
    if title.is_empty() {
        format!("{} {}", video.id, text::sanitize(verb))
    } else {
        format!("{} {} \"{title}\"", video.id, text::sanitize(verb))
    }
}

/// Reasons are bounded on screen; the database keeps them whole.
const REASON_WIDTH: usize = 500;

fn reason(code: Option<&str>, message: Option<&str>) -> String {
    let parts: Vec<String> = [code, message]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| text::fit(part, REASON_WIDTH))
        .collect();
    parts.join(": ")
}

fn sentence(video: &Video, event: &Event) -> String {
    match event {
        Event::Accepted { .. } => subject(video, "sent"),
        Event::Postponed { .. } => format!("{}: HeyGen asks to wait", subject(video, "postponed")),
        Event::Error(_) => error_sentence(video),
        Event::Stalled => format!(
            "{}: renders unusually long, since {}; still asked about (tracker show {})",
            subject(video, "stalled"),
            rendering_since(video),
            video.id
        ),
        Event::Attention { said, page } => {
            attention_sentence(video, said.as_deref(), page.as_deref())
        }
        Event::Message {
            message,
            state,
            why,
            ..
        } => format!(
            "{}: {}",
            subject(video, message.word()),
            match (state, why) {
                (MessageState::Sent, _) => "sent".to_owned(),
                (MessageState::Refused, Some(why)) =>
                    format!("refused: {}", text::fit(why, REASON_WIDTH)),
                _ => format!(
                    "no answer came, and it is not sent twice (tracker show {})",
                    video.id
                ),
            }
        ),
        Event::Recovered { code, .. } => format!(
            "{}: no {} any more",
            subject(video, "works again"),
            text::sanitize(code)
        ),
        Event::Saved {
            asset, path, bytes, ..
        } => saved_sentence(&subject(video, "saved"), *asset, path, *bytes),
        Event::Repaired {
            asset, path, bytes, ..
        } => saved_sentence(&subject(video, "repaired"), *asset, path, *bytes),
        Event::Lost { .. } => format!(
            "{}: a finished download is gone and is fetched again",
            subject(video, "repaired")
        ),
        Event::Unavailable { asset, why: None } => {
            format!(
                "{}: HeyGen has no {asset} file for it",
                subject(video, "unavailable")
            )
        }
        Event::Unavailable {
            asset,
            why: Some(why),
        } => format!(
            "{}: its {asset} file is given up: {}",
            subject(video, "unavailable"),
            text::fit(why, REASON_WIDTH)
        ),
        Event::Rejected { .. }
        | Event::Unknown { .. }
        | Event::Status { .. }
        | Event::Missing { .. }
        | Event::Found { .. } => status_sentence(video),
        Event::Recorded
        | Event::Sending { .. }
        | Event::Gone { .. }
        | Event::Edited { .. }
        | Event::Hook { .. } => subject(video, video.status()),
    }
}

fn attention_sentence(video: &Video, said: Option<&str>, page: Option<&str>) -> String {
    let said = said.map_or_else(String::new, |said| {
        format!(": {}", text::fit(said, REASON_WIDTH))
    });
    let page = page.map_or_else(String::new, |page| format!(", {}", text::sanitize(page)));
    let id = video.id;
    format!(
        "{}{said} (tracker reply {id} TEXT{page})",
        subject(video, video.status())
    )
}

fn saved_sentence(head: &str, asset: Asset, path: &str, bytes: u64) -> String {
    let what = match asset {
        Asset::Video => String::new(),
        other => format!(" {other}"),
    };
    let path = text::sanitize(path);
    format!("{head}{what}: {path} ({})", human::bytes(bytes))
}

fn rendering_since(video: &Video) -> String {
    let since = video.accepted_at;
    since.unwrap_or(video.submitted_at).rfc3339()
}

fn status_sentence(video: &Video) -> String {
    let id = video.id;
    let head = subject(video, video.status());
    if !video.ended_badly() {
        return head;
    }
    match video.phase {
        Phase::Unknown => format!("{head}: {}", unknown_hint(id)),
        Phase::Missing => {
            format!("{head}: HeyGen does not have it any more (tracker show {id})")
        }
        Phase::Rejected | Phase::Accepted | Phase::Unsent | Phase::Sending => {
            let (code, message) = (&video.failure_code, &video.failure_message);
            match reason(code.as_deref(), message.as_deref()) {
                why if why.is_empty() => format!("{head} (tracker show {id})"),
                why => format!("{head}: {why} (tracker show {id})"),
            }
        }
    }
}

/// How a person finds out whether an `unknown` row was bought.
pub(crate) fn unknown_hint(id: RowId) -> String {
    format!(
        "HeyGen may or may not have made it; found at app.heygen.com: tracker add VIDEO_ID --as {id}; \
         not there: tracker retry {id}"
    )
}

fn error_sentence(video: &Video) -> String {
    match &video.last_error {
        Some(LastError { code, message, .. }) => format!(
            "{}: {} (tracker show {})",
            subject(video, video.status()),
            reason(Some(code), Some(message)),
            video.id
        ),
        None => subject(video, video.status()),
    }
}

/// The JSON line of something that happened; `None` for what only sentences say.
fn json_line(video: &Video, event: &Event) -> Option<serde_json::Value> {
    let id = video.id.0;
    let video_id = video.video_id.as_ref().map(VideoId::as_str);
    if let Some(from) = event.status_before() {
        return Some(json!({
            "type": "change", "id": id, "video_id": video_id, "from": from, "to": video.status(),
            "failure_code": video.failure_code, "failure_message": video.failure_message,
        }));
    }
    match event {
        Event::Accepted { .. } => Some(json!({
            "type": "sent", "id": id, "video_id": video_id, "status": video.status(),
        })),
        Event::Error(failure) if failure.own => {
            let hint = format!("tracker show {id}");
            Some(json!({
                "type": "error", "id": id,
                "error": {
                    "code": failure.code, "message": failure.message, "hint": hint,
                    "request_id": failure.request_id,
                },
            }))
        }
        Event::Stalled => Some(json!({
            "type": "stalled", "id": id, "video_id": video_id, "since": rendering_since(video),
        })),
        Event::Saved {
            asset,
            path,
            bytes,
            sha256,
        }
        | Event::Repaired {
            asset,
            path,
            bytes,
            sha256,
        } => Some(json!({
            "type": "saved", "id": id, "video_id": video_id, "asset": asset,
            "path": path, "bytes": bytes, "sha256": sha256,
        })),
        _ => None,
    }
}
