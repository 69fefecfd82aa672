//! What a run says: one plain sentence or one JSON line per thing that happened, and what it all amounts to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::decide::News;
use crate::error::Exit;
use crate::render::progress::{Progress, Rendering};
use crate::render::screen::Screen;
use crate::render::{human, text};
use crate::store::Trouble;
use crate::time::Timestamp;
use crate::video::{Asset, HookEvent, LastError, RowId, Video};

/// Something that happened and is committed.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// To a row; `video` is the row as it is now.
    Row { video: Box<Video>, news: News },
    /// A file is durable under its final name.
    Saved {
        video: Box<Video>,
        asset: Asset,
        path: PathBuf,
        bytes: u64,
        sha256: String,
        /// By finishing what an earlier run left.
        repaired: bool,
    },
    /// A crash's traces were cleared up.
    Repaired {
        video: Box<Video>,
        what: &'static str,
    },
    /// HeyGen has no such file.
    Unavailable { video: Box<Video>, asset: Asset },
}

/// What a run amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Videos HeyGen took.
    pub sent: u64,
    /// Videos HeyGen answered about.
    pub polled: u64,
    /// Status words that changed.
    pub changed: u64,
    /// Files saved.
    pub saved: u64,
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
    pub fn exit(&self, tell_bad_ends: bool) -> Exit {
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
    pub fn next_round(&mut self, round: &Self) {
        self.sent += round.sent;
        self.polled += round.polled;
        self.changed += round.changed;
        self.saved += round.saved;
        self.failed += round.failed;
        self.requests += round.requests;
        self.rejected += round.rejected;
        self.errors = round.errors;
        self.auth = round.auth;
    }
}

/// How much a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Outcomes and new trouble: what cron mails.
    Outcomes,
    /// Trouble only, each kind of it once, and all on stderr; the command itself prints the rows.
    RunTrouble,
}

/// Says what happened, and counts it.
pub struct Reporter<'a> {
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
    pub fn new(screen: &'a Screen, voice: Voice, named: bool) -> Self {
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
    pub fn tally(&self) -> &Tally {
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

    pub(super) fn is_chatty(&self) -> bool {
        self.chatty
    }

    pub(super) fn say(&mut self, said: &Said) {
        self.count(said);
        if let Said::Row { video, .. } = said
            && !video.is_rendering()
        {
            self.progress().rendered(video.id);
        }
        if self.voice == Voice::RunTrouble {
            self.say_once(said);
            return;
        }
        if self.screen.json {
            if let Some(line) = event(said) {
                self.screen.json_line(&line);
            }
            return;
        }
        match sentence(said) {
            Some((Weight::Step, line)) if self.screen.verbose > 0 => self.screen.line(&line),
            Some((Weight::Step, _)) | None => {}
            Some((Weight::Outcome, _)) if self.screen.quiet => {}
            Some((Weight::Outcome | Weight::Bad, line)) => self.screen.line(&line),
            Some((Weight::Trouble { tell }, line)) => {
                if tell || self.chatty {
                    self.screen.error(&line);
                }
            }
            Some((Weight::Relief, line)) => {
                if !self.screen.quiet {
                    self.screen.note(&line);
                }
            }
        }
    }

    /// One row's trouble for all rows in the same: the row counts as told, and nobody wants to read it a hundred times.
    fn say_once(&mut self, said: &Said) {
        if let Said::Row {
            video,
            news: News::Trouble { .. },
        } = said
            && let Some(error) = &video.last_error
            && self.told.insert(error.code.clone())
        {
            self.screen.error(&trouble_sentence(video));
        }
    }

    fn count(&mut self, said: &Said) {
        match said {
            Said::Row { video, news } => match news {
                News::Sent => self.tally.sent += 1,
                News::Status { .. } => {
                    self.tally.changed += 1;
                    if video.ended_badly() {
                        self.tally.failed += 1;
                    }
                    match video.phase {
                        crate::video::Phase::Rejected => {
                            self.tally.rejected += 1;
                            // An earlier attempt is unanswered all the same.
                            if video.first_unanswered_at.is_some() {
                                self.tally.errors += 1;
                            }
                        }
                        // Somebody has to look whether it was bought.
                        crate::video::Phase::Unknown => self.tally.errors += 1,
                        _ => {}
                    }
                }
                News::Trouble { .. } => self.tally.errors += 1,
                News::Recovered { .. } | News::Postponed | News::Stalled => {}
            },
            Said::Saved { .. } => self.tally.saved += 1,
            Said::Repaired { .. } | Said::Unavailable { .. } => {}
        }
    }

    /// Trouble of the whole run.
    pub(super) fn trouble(&mut self, trouble: &Trouble, hint: Option<&str>, tell: bool) {
        self.tally.errors += 1;
        if !tell && !self.chatty {
            return;
        }
        if self.screen.json && self.voice == Voice::Outcomes {
            self.screen.json_line(&json!({
                "type": "error",
                "id": null,
                "error": { "code": trouble.code, "message": trouble.message, "hint": hint, "request_id": null },
            }));
        } else {
            self.screen.error(&trouble.message);
            if let Some(hint) = hint {
                self.screen.hint(hint);
            }
        }
    }

    /// Trouble of whole runs that is over.
    pub(super) fn relief(&mut self, trouble: &Trouble, now: Timestamp) {
        if !self.screen.json {
            self.screen.note(&format!(
                "{}: over after {}",
                trouble.message,
                human::duration(now.since(trouble.since))
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
        self.screen.error(purchase);
        self.screen
            .hint("the next check with this database finds out by itself; do not submit again");
    }

    /// The last line of `check --json`.
    pub fn summary(&self, unfinished: u64, next_check_seconds: Option<u64>) {
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

enum Weight {
    /// Only with `-v`.
    Step,
    /// One line, unless `-q`.
    Outcome,
    /// Needs a person.
    Bad,
    /// On stderr, when it is time.
    Trouble { tell: bool },
    /// On stderr.
    Relief,
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

fn sentence(said: &Said) -> Option<(Weight, String)> {
    Some(match said {
        Said::Row { video, news } => match news {
            News::Sent => (Weight::Step, subject(video, "sent")),
            News::Postponed => (
                Weight::Step,
                format!("{}: HeyGen asks to wait", subject(video, "postponed")),
            ),
            News::Status { .. } => status_sentence(video),
            News::Trouble { tell } => (Weight::Trouble { tell: *tell }, trouble_sentence(video)),
            News::Stalled => (
                Weight::Bad,
                format!(
                    "{}: renders unusually long, since {}; still asked about (tracker show {})",
                    subject(video, "stalled"),
                    rendering_since(video),
                    video.id
                ),
            ),
            News::Recovered { code } => (
                Weight::Relief,
                format!(
                    "{}: no {} any more",
                    subject(video, "works again"),
                    text::sanitize(code)
                ),
            ),
        },
        Said::Saved {
            video,
            asset,
            path,
            bytes,
            repaired,
            ..
        } => {
            let verb = if *repaired { "repaired" } else { "saved" };
            let what = if *asset == Asset::Video {
                ""
            } else {
                asset.word()
            };
            let gap = if what.is_empty() { "" } else { " " };
            (
                Weight::Outcome,
                format!(
                    "{}{gap}{what}: {} ({})",
                    subject(video, verb),
                    shown_path(path),
                    human::bytes(*bytes)
                ),
            )
        }
        Said::Repaired { video, what } => (
            Weight::Outcome,
            format!("{}: {what}", subject(video, "repaired")),
        ),
        Said::Unavailable { video, asset } => (
            // Without the video itself there is nothing left of what was paid for.
            if *asset == Asset::Video {
                Weight::Bad
            } else {
                Weight::Outcome
            },
            format!(
                "{}: HeyGen has no {asset} for it",
                subject(video, "goes without")
            ),
        ),
    })
}

fn rendering_since(video: &Video) -> String {
    let since = video.accepted_at;
    since.unwrap_or(video.submitted_at).rfc3339()
}

fn shown_path(path: &Path) -> String {
    text::sanitize(&path.to_string_lossy()).into_owned()
}

fn status_sentence(video: &Video) -> (Weight, String) {
    use crate::video::Phase;
    let id = video.id;
    let why = reason(
        video.failure_code.as_deref(),
        video.failure_message.as_deref(),
    );
    let head = subject(video, video.status());
    match video.phase {
        Phase::Rejected => (Weight::Bad, format!("{head}: {why} (tracker show {id})")),
        Phase::Unknown => (Weight::Bad, format!("{head}: {}", unknown_hint(id))),
        Phase::Missing => (
            Weight::Bad,
            format!("{head}: HeyGen does not have it any more (tracker show {id})"),
        ),
        Phase::Accepted if video.is_failed() => {
            (Weight::Bad, format!("{head}: {why} (tracker show {id})"))
        }
        Phase::Accepted | Phase::Unsent | Phase::Sending => (Weight::Step, head),
    }
}

/// How a person finds out whether an `unknown` row was bought.
pub fn unknown_hint(id: RowId) -> String {
    format!(
        "HeyGen may or may not have made it; found at app.heygen.com: tracker add VIDEO_ID --as {id}; \
         not there: tracker retry {id}"
    )
}

fn trouble_sentence(video: &Video) -> String {
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

/// The JSON line of something that happened; `None` for what only sentences tell.
fn event(said: &Said) -> Option<serde_json::Value> {
    let id = |video: &Video| video.id.0;
    let video_id = |video: &Video| video.video_id.as_ref().map(|id| id.as_str().to_owned());
    Some(match said {
        Said::Row { video, news } => match news {
            News::Sent => json!({
                "type": "sent", "id": id(video), "video_id": video_id(video), "status": video.status(),
            }),
            News::Status { from } => json!({
                "type": "change", "id": id(video), "video_id": video_id(video),
                "from": from, "to": video.status(),
                "failure_code": video.failure_code, "failure_message": video.failure_message,
            }),
            News::Trouble { .. } => {
                let error = video.last_error.as_ref();
                json!({
                    "type": "error", "id": id(video),
                    "error": {
                        "code": error.map(|e| &e.code), "message": error.map(|e| &e.message),
                        "hint": format!("tracker show {}", video.id), "request_id": null,
                    },
                })
            }
            News::Stalled => json!({
                "type": "stalled", "id": id(video), "video_id": video_id(video), "since": rendering_since(video),
            }),
            News::Recovered { .. } | News::Postponed => return None,
        },
        Said::Saved {
            video,
            asset,
            path,
            bytes,
            sha256,
            ..
        } => json!({
            "type": "saved", "id": id(video), "video_id": video_id(video), "asset": asset.word(),
            "path": path.to_string_lossy(), "bytes": bytes, "sha256": sha256,
        }),
        Said::Repaired { .. } | Said::Unavailable { .. } => return None,
    })
}
