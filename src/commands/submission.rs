//! What `submit` and `retry` share, in this order: record everything, send it, report what became of it.

use clap::builder::NonEmptyStringValueParser;
use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::commands::options::WaitArgs;
use crate::commands::{Context, load, pulse, retry};
use crate::decide;
use crate::error::{Exit, Problem, Result, code};
use crate::locks::{Guard, Purpose};
use crate::pass::{self, Access, Level, PassOptions, Reporter, Scope};
use crate::render::fields::Field;
use crate::render::screen::Screen;
use crate::render::show::lost_hint;
use crate::render::{human, json, text};
use crate::signals;
use crate::store::{NewVideo, Store, Tx};
use crate::time::{self, DAY, Timestamp};
use crate::video::{Phase, RowId, Video};

/// How long a row is tried before it is left to `check`.
const BUDGET: Duration = Duration::from_secs(10);
/// More duplicates than this are only counted.
const NAMED: usize = 5;

/// A row to be, and the place where its body was read.
pub(super) type Placed = (NewVideo, String);

/// When and how videos are submitted: options of every verb that does so.
#[derive(Debug, clap::Args)]
pub(super) struct SubmitOptions {
    /// Only record; check sends
    #[arg(long, conflicts_with_all = ["wait", "timeout", "interval"])]
    queue: bool,
    /// Skip a body that is in progress, or was submitted within 24 h and completed or never answered
    #[arg(long)]
    if_new: bool,
    /// Validate only: print what would be sent, and every row with the same body; --max-per-day is not looked at
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Refuse what would make more than N submissions in 24 h, whoever made them [env: TRACKER_MAX_PER_DAY]
    #[arg(long, value_name = "N")]
    max_per_day: Option<u64>,
    /// The caller's own name for one submission: the same again is the same row, for ever
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    request_key: Option<String>,
    /// Wait until everything is rendered and saved
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    waiting: WaitArgs,
    // Rows that were retried before are retried once more.
    #[arg(skip)]
    pub(super) again: bool,
}

impl SubmitOptions {
    /// Records `new`, sends it, and prints one line per row.
    ///
    /// # Errors
    /// Nothing was recorded then. Once it is, this succeeds.
    pub(super) fn submit(&self, context: &Context, new: Vec<Placed>) -> Result<Exit> {
        if self.dry_run {
            return self.preview(context, new, usize::MAX);
        }
        self.refuse_shared_key(new.len())?;
        let account = match Access::resolve(&context.env) {
            Ok(access) => Some(access.account),
            Err(_) if self.queue => None,
            // Without a usable key nothing is recorded: the user is there and can fix it.
            Err(error) => return Err(error),
        };
        let mut store = context.open_or_create()?;
        let now = time::now();
        let new = new.into_iter().map(|(mut new, _)| {
            // Whom it belongs to: no run with another key may submit it.
            new.video.account.clone_from(&account);
            new.video.submitted_at = now;
            new.request_key.clone_from(&self.request_key);
            new
        });
        let most = max_per_day(self.max_per_day, context)?;
        let recorded = signals::recording(|| {
            context.heed_signals();
            self.record(&mut store, new, most, now)
        })?;
        // Before anything is sent: there is still time for Ctrl-C and forget.
        recorded.note_duplicates(context, now);
        Ok(self.send_and_report(context, &mut store, recorded))
    }

    fn refuse_shared_key(&self, count: usize) -> Result<()> {
        if self.request_key.is_some() && count > 1 {
            return Err(Problem::usage(
                format!("--request-key names one submission, not {count}"),
                "submit them one by one, each with a key of its own",
            ));
        }
        Ok(())
    }

    /// Everything is recorded: what goes wrong from here on is reported, and is no reason to submit again. Hence 0 where
    /// nothing is refused: a script that retries on failure must never submit twice.
    fn send_and_report(&self, context: &Context, store: &mut Store, recorded: Recorded) -> Exit {
        let screen = &context.screen;
        // At a terminal what becomes of the videos is said as it happens; a pipe gets one line per body at the end.
        let live = self.wait && screen.out_is_terminal && !screen.json;
        let voice = if live { Level::Events } else { Level::Outages };
        let mut reporter = Reporter::new(screen, voice, true);
        let (rows, known) = (recorded.rows, recorded.known);
        let sent = self.send(store, context, recorded.fresh, &rows, &mut reporter);
        let sent = sent.unwrap_or_else(|error| screen.problem(&error));
        let videos = match load(store, &rows) {
            Ok(videos) => videos,
            Err(error) => {
                screen.problem(&error);
                let all = rows.len();
                screen.warn(&format!(
                    "all {all} were recorded; do not submit again: check sends the rest"
                ));
                return if self.wait { Exit::Trouble } else { Exit::Ok };
            }
        };
        if !live {
            self.print(context, &videos);
        }
        if known > 0 {
            let all = videos.len();
            let were = if known == 1 { "was" } else { "were" };
            screen.note(&format!(
                "{known} of {all} had been submitted before and {were} not submitted again"
            ));
        }
        self.report(context, &videos);
        if let Err(error) = pulse::note_silence(store, context) {
            screen.problem(&error);
        }
        if let Some(problem) = &reporter.tally.auth {
            if screen.json {
                screen.problem(problem);
            }
            Exit::Auth
        } else if videos.iter().any(|video| video.phase == Phase::Rejected) {
            Exit::Trouble
        } else if self.wait && videos.iter().any(|v| v.ended_badly() || v.is_given_up()) {
            // Perhaps before, as a row that was known already.
            sent.or(Exit::BadEnd)
        } else if self.wait {
            sent
        } else {
            Exit::Ok
        }
    }

    /// Writes all of it down in one transaction: all or nothing. Each new row's send lock is taken before the row becomes
    /// visible, so that no `check` comes between recording and sending.
    fn record(
        &self,
        store: &mut Store,
        new: impl Iterator<Item = NewVideo>,
        most: Option<u64>,
        now: Timestamp,
    ) -> Result<Recorded> {
        let locks = store.locks()?;
        store.write(|tx| {
            let mut recorded = Recorded::default();
            for mut new in new {
                if let Some(row) = self.recorded_before(tx, &mut new)? {
                    recorded.known += 1;
                    recorded.rows.push(row);
                    continue;
                }
                // A retry has the body of its original, and is asked for by name.
                let other = match &new.body_hash {
                    Some(hash) if new.video.retry_of.is_none() => {
                        tx.duplicates(hash, None, 1)?.pop()
                    }
                    _ => None,
                };
                let if_new_skips = other.is_some() && recent_duplicate(tx, &new)?.is_some();
                let row = tx.insert(&new, now)?;
                let guard = locks.try_row(Purpose::Send, row)?;
                recorded.rows.push(row);
                recorded.fresh.extend(guard.map(|guard| (row, guard)));
                recorded.duplicates.extend(other.map(|other| Duplicate {
                    row,
                    other,
                    if_new_skips,
                }));
            }
            match most {
                Some(most) if !recorded.fresh.is_empty() => refuse_over_cap(tx, most, now)?,
                _ => {}
            }
            Ok(recorded)
        })
    }

    /// The row that makes recording another one needless.
    fn recorded_before(&self, tx: &Tx<'_>, new: &mut NewVideo) -> Result<Option<RowId>> {
        if let Some(key) = &new.request_key
            && let Some((row, hash)) = tx.by_request_key(key)?
        {
            if hash.is_some() && hash != new.body_hash {
                return Err(Problem::usage(
                    format!("{row} has another body under the request key {key}"),
                    format!(
                        "tracker show {row} shows that one; another submission needs another key"
                    ),
                ));
            }
            return Ok(Some(row));
        }
        match retry::settle(tx, new, self.again)? {
            None if self.if_new => recent_duplicate(tx, new),
            found => Ok(found),
        }
    }

    /// Prints what of the first `shown` would be sent, and every row with the same body; a row that is to be retried is no
    /// duplicate of itself.
    pub(super) fn preview(
        &self,
        context: &Context,
        mut new: Vec<Placed>,
        shown: usize,
    ) -> Result<Exit> {
        self.refuse_shared_key(new.len())?;
        let screen = &context.screen;
        let (store, now) = (context.open_if_there()?, time::now());
        for (new, _) in &mut new {
            new.video.submitted_at = now;
            new.request_key.clone_from(&self.request_key);
        }
        let mut known = vec![None; new.len()];
        // Nothing is printed before all are known to be usable.
        if let Some(store) = &store {
            store.read(|tx| {
                for ((new, _), known) in new.iter_mut().zip(&mut known) {
                    *known = self.recorded_before(tx, new)?;
                }
                Ok(())
            })?;
        }
        let (mut count, mut duplicated, mut seen) = (0, 0, HashSet::new());
        for (index, ((new, place), known)) in new.into_iter().zip(known).enumerate() {
            let mut is_first = || !self.if_new || seen.insert(new.body_hash.clone());
            let is_fresh = known.is_none() && is_first();
            count += u64::from(is_fresh);
            let hash = new.body_hash.as_deref().unwrap_or_default();
            let (original, most) = (new.video.retry_of, if index < shown { 100 } else { 1 });
            let read = |store: &Store| store.read(|tx| tx.duplicates(hash, original, most));
            let duplicates = store.as_ref().map(read).transpose()?.unwrap_or_default();
            if index >= shown {
                duplicated += u64::from(is_fresh && !duplicates.is_empty());
                continue;
            }
            let body = new.request.unwrap_or_default();
            let line = DryRun {
                kind: "dry_run",
                place: &place,
                request: json::request(&body),
                duplicates: duplicates.iter().map(|video| video.id.0).collect(),
                known: known.map(|row| row.0),
            };
            line.print(&duplicates, is_fresh, screen);
        }
        if duplicated > 0 {
            screen.warn(&format!(
                "bodies not shown that are in rows already: {duplicated}"
            ));
        }
        screen.note(&format!(
            "{count} would be submitted; nothing was sent or recorded"
        ));
        Ok(Exit::Ok)
    }

    fn send(
        &self,
        store: &mut Store,
        context: &Context,
        fresh: Vec<(RowId, Guard)>,
        rows: &[RowId],
        reporter: &mut Reporter<'_>,
    ) -> Result<Exit> {
        if self.queue {
            return Ok(Exit::Ok);
        }
        let options = PassOptions {
            hook: context.hook(None)?,
            // Among the rows may be one that was there before.
            keep_held: true,
            ..PassOptions::default()
        };
        let wait = self.waiting.wait(Some(rows.to_vec()));
        let impatient = PassOptions {
            budget: BUDGET,
            deadline: wait.cut_off.filter(|_| self.wait),
            ..options.clone()
        };
        let scope = Scope::Fresh(fresh);
        pass::run(store, &context.env, scope, &impatient, reporter)?;
        if !self.wait {
            return Ok(Exit::Ok);
        }
        wait.until_finished(store, &context.env, &options, reporter)
    }

    fn print(&self, context: &Context, videos: &[Video]) {
        let mut fields = Field::SUBMIT.to_vec();
        if self.wait {
            fields.push(Field::Path);
        }
        context.print_rows(videos, &fields);
        let screen = &context.screen;
        if screen.out_is_terminal
            && let Some(video) = videos.iter().find(|video| !video.files.is_empty())
        {
            screen.note(&format!("files go to {}", video.output_dir.display()));
        }
    }

    /// What the status column does not say loudly enough.
    fn report(&self, context: &Context, videos: &[Video]) {
        let screen = &context.screen;
        for video in videos.iter().filter(|video| video.is_lost()) {
            warn_unanswered(video, context);
        }
        for video in videos.iter().filter(|video| video.is_given_up()) {
            context.note_earlier_end(video);
        }
        for video in videos.iter().filter(|v| v.phase == Phase::Rejected) {
            let (id, code) = (video.id, video.failure_code.as_deref());
            let message = video.failure_message.as_deref().unwrap_or_default();
            let (why, message) = (text::fit(code.unwrap_or("?"), 80), text::fit(message, 400));
            screen.error(&format!("{id} rejected: {why}: {message}"));
            screen.hint(&match decide::refuse_retry(video) {
                Err(why) => why.hint.unwrap_or_default(),
                Ok(()) => format!(
                    "fix what it says: tracker retry {id} with other fields, or submit another body"
                ),
            });
        }
        let in_phase = |phase| videos.iter().filter(|video| video.phase == phase).count();
        let (unsent, sending) = (in_phase(Phase::Unsent), in_phase(Phase::Sending));
        if unsent + sending > 0 && !self.queue {
            // Not a note that -q drops: whoever misses this may submit twice.
            screen.warn(&not_sent(videos.len(), unsent, sending));
        } else if screen.out_is_terminal && videos.iter().any(|video| !video.finished) {
            let ids = videos.iter().map(|video| format!(" {}", video.id));
            let which: String = ids.filter(|_| videos.len() <= 3).collect();
            screen.note(&format!(
                "follow up with: tracker check (from cron), or tracker check --wait{which}"
            ));
        }
    }
}

fn not_sent(all: usize, unsent: usize, sending: usize) -> String {
    let sent = all - unsent - sending;
    let state = if sending > 0 { "answered" } else { "sent" };
    match all {
        1 => format!("it is recorded but not {state} yet; do not submit again: check sends it"),
        _ => format!(
            "all {all} are recorded, {sent} {state}; do not submit again: check sends the rest"
        ),
    }
}

#[derive(Default)]
struct Recorded {
    /// A row for each body, in order.
    rows: Vec<RowId>,
    /// The new ones among them, each under its send lock.
    fresh: Vec<(RowId, Guard)>,
    /// How many rows were there before.
    known: usize,
    duplicates: Vec<Duplicate>,
}

impl Recorded {
    /// Not notes that `-q` drops: they are about money.
    fn note_duplicates(&self, context: &Context, now: Timestamp) {
        let (found, screen) = (&self.duplicates, &context.screen);
        for duplicate in found.iter().take(NAMED) {
            let Duplicate { row, other, .. } = duplicate;
            let (id, status) = (other.id, other.status());
            let ago = human::ago_phrase(other.submitted_at, now);
            let tip = if duplicate.if_new_skips {
                "; --if-new skips such a body"
            } else {
                ""
            };
            screen.warn(&format!(
                "{row} has the same body as {id} ({status}, submitted {ago}){tip}"
            ));
        }
        if found.len() > NAMED {
            let (known, all) = (found.len(), self.rows.len());
            let any = found.iter().any(|duplicate| duplicate.if_new_skips);
            let tip = if any {
                "; --if-new skips those in progress, completed within 24 h or never answered"
            } else {
                ""
            };
            screen.warn(&format!(
                "{known} of these {all} bodies are in other rows, too{tip}"
            ));
        }
    }
}

/// A new row, and the newest other row that has the same body.
struct Duplicate {
    row: RowId,
    other: Video,
    /// Whether `--if-new` would not have recorded the new one.
    if_new_skips: bool,
}

/// The row that `--if-new` takes for this body.
fn recent_duplicate(tx: &Tx<'_>, new: &NewVideo) -> Result<Option<RowId>> {
    let since = new.video.submitted_at.before(DAY);
    let Some(hash) = &new.body_hash else {
        return Ok(None);
    };
    tx.recent_duplicate(hash, since, new.video.retry_of)
}

/// The most submissions in 24 hours: the flag, else `TRACKER_MAX_PER_DAY`.
pub(super) fn max_per_day(flag: Option<u64>, context: &Context) -> Result<Option<u64>> {
    match (flag, context.env.text("TRACKER_MAX_PER_DAY")?) {
        (None, Some(text)) => text.trim().parse().map(Some).map_err(|_| {
            let message = format!("TRACKER_MAX_PER_DAY is not a number: {text}");
            Problem::usage(message, "a number of submissions, or unset it")
        }),
        (flag, _) => Ok(flag),
    }
}

/// Counts what is recorded by now, this transaction included, so that submissions at once do not pass the cap together.
fn refuse_over_cap(tx: &Tx<'_>, most: u64, now: Timestamp) -> Result<()> {
    let since = now.before(DAY);
    let (count, first) = tx.submitted_since(since)?;
    if count <= most {
        return Ok(());
    }
    let hint = match first {
        Some(first) if first < now => format!(
            "nothing was recorded; the oldest of them is 24 h old at {}",
            human::clock(first.after(DAY), now, human::here)
        ),
        _ => "nothing was recorded; submit fewer at once".to_owned(),
    };
    let message = format!("that would be more than {most} submissions in 24 hours");
    Err(Problem::new(code::CAP_REACHED, message).with_hint(hint))
}

/// Not a note that -q drops: whoever misses this may submit twice.
pub(super) fn warn_unanswered(video: &Video, context: &Context) {
    let (id, hint) = (video.id, lost_hint(video));
    let warning = format!("{id}: an attempt of it has no answer: {hint}");
    context.screen.warn(&warning);
}

#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    place: &'a str,
    request: Box<RawValue>,
    duplicates: Vec<i64>,
    /// The row that would be printed instead of submitting this.
    known: Option<i64>,
}

impl DryRun<'_> {
    fn print(&self, duplicates: &[Video], is_fresh: bool, screen: &Screen) {
        let place = self.place;
        if let Some(row) = self.known {
            screen.note(&format!("{place}: submitted before as {row}"));
        } else if !is_fresh {
            screen.note(&format!("{place}: the same body as one before it"));
        }
        if screen.json {
            return screen.json_row(self);
        } else if !is_fresh {
            return;
        }
        screen.row(&text::sanitize(self.request.get()));
        for video in duplicates {
            let (id, status, at) = (video.id, video.status(), video.submitted_at);
            screen.note(&format!(
                "{place}: the same body is {id} ({status}), submitted {at}"
            ));
        }
    }
}
