//! What `submit` and `retry` share, in this order: [`record`] everything, send it, [`report`] what became of it.

use std::time::Duration;

use serde::Serialize;

use crate::bodies::Body;
use crate::commands::file_options::WantedFiles;
use crate::commands::options::WaitArgs;
use crate::commands::{Context, load, pulse, retry};
use crate::error::{Exit, Problem, Result, code};
use crate::locks::{Guard, Locks, Purpose};
use crate::pass::{self, Access, Level, PassOptions, Reporter, Scope, Tally};
use crate::render::fields::Field;
use crate::render::json::RequestBody;
use crate::render::show::lost_hint;
use crate::render::{human, text};
use crate::store::{NewVideo, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{Account, File, IdempotencyKey, Phase, RowId, Video};

/// A completed duplicate older than this is submitted again by `--if-new`.
const DUPLICATE_AGE: Duration = Duration::from_secs(24 * 3600);
const CAP_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How long a row is tried before it is left to `check`.
const BUDGET: Duration = Duration::from_secs(10);
/// Why a row is rejected whose answer named a video that another row has.
pub(super) const ALREADY_TRACKED: &str = "already_tracked";
/// More duplicates than this are only counted.
const NAMED: usize = 5;

/// When and how videos are submitted: options of every verb that does so.
#[derive(Debug, clap::Args)]
pub(super) struct SubmitOptions {
    /// Only record; check sends
    #[arg(long, conflicts_with = "wait")]
    queue: bool,
    /// Skip a body identical to one in progress, or completed and under 24 h old
    #[arg(long)]
    if_new: bool,
    /// Validate only: print what would be sent, and every row with the same body
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Refuse what would make more than N submissions in 24 h, whoever made them [env: TRACKER_MAX_PER_DAY]
    #[arg(long, value_name = "N")]
    max_per_day: Option<u64>,
    /// The caller's own name for one submission: the same again is the same row, for ever
    #[arg(long, value_name = "KEY", hide = true)]
    request_key: Option<String>,
    /// Wait until everything is rendered and saved
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    waiting: WaitArgs,
}

/// What a row is made of: a body, labels, and where its files go.
pub(super) fn new_video(
    body: &Body,
    tags: Vec<String>,
    mut files: WantedFiles,
    now: Timestamp,
) -> NewVideo {
    files.assets.retain(|asset| body.kind.has(*asset));
    let video = Video {
        kind: body.kind,
        template_id: body.template.clone(),
        idempotency_key: Some(IdempotencyKey::random()),
        data: body.data.clone(),
        title: body.title(),
        script: body.script(),
        avatar_id: body.avatar_id(),
        voice_id: body.voice_id(),
        tags,
        submitted_at: now,
        output_dir: files.output_dir,
        name_template: files.name_template,
        files: files.assets.into_iter().map(File::wanted).collect(),
        ..Video::default()
    };
    NewVideo {
        video,
        request: Some(body.raw.clone()),
        body_hash: Some(body.hash()),
        request_key: None,
    }
}

impl SubmitOptions {
    /// Records `new`, sends it, and prints one line per body. `again`: rows that were retried before are retried once
    /// more.
    ///
    /// # Errors
    /// Nothing was recorded then. Once it is, this succeeds: see [`exit`].
    pub(super) fn submit(&self, context: &Context, new: &[NewVideo], again: bool) -> Result<Exit> {
        let account = match Access::resolve(&context.env) {
            Ok(access) => Some(access.account),
            Err(_) if self.queue => None,
            // Without a usable key nothing is recorded: the user is there and can fix it.
            Err(error) => return Err(error),
        };
        context.heed_signals();
        let mut store = context.open_or_create()?;
        let rules = Rules {
            if_new: self.if_new,
            again,
            account,
            max_per_day: self.max_per_day(context)?,
            request_key: self.request_key.as_deref(),
            now: time::now(),
        };
        let recorded = record(&mut store, new, &rules)?;
        // Before anything is sent: there is still time for Ctrl-C and forget.
        recorded.note_duplicates(context, rules.now);

        // At a terminal what becomes of the videos is said as it happens; a pipe gets one line per body at the end.
        let live = self.wait && context.screen.out_is_terminal && !context.screen.json;
        let voice = if live { Level::Events } else { Level::Outages };
        let mut reporter = Reporter::new(&context.screen, voice, true);
        // From here on everything is recorded: what goes wrong is reported, and is no reason to submit again.
        let (fresh, rows) = (recorded.fresh, &recorded.rows);
        let sent = self.send(&mut store, context, fresh, rows, &mut reporter);
        let sent = sent.unwrap_or_else(|error| context.screen.problem(&error));
        let videos = match load(&store, rows) {
            Ok(videos) => videos,
            Err(error) => {
                context.screen.problem(&error);
                let all = rows.len();
                context.screen.warn(&format!(
                    "all {all} were recorded; do not submit again: check sends the rest"
                ));
                return Ok(if self.wait { Exit::Trouble } else { Exit::Ok });
            }
        };
        if !live {
            self.print(context, &videos);
        }
        report(context, &videos, recorded.known, self.queue);
        if let Err(error) = pulse::note_silence(&store, context) {
            context.screen.problem(&error);
        }
        Ok(exit(&reporter.tally, &videos, self.wait.then_some(sent)))
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
        let options = context.with_hook(PassOptions::default())?;
        let wait = self.waiting.wait(Some(rows.to_vec()));
        let impatient = PassOptions {
            budget: BUDGET,
            deadline: wait.deadline.filter(|_| self.wait),
            ..options.clone()
        };
        let scope = Scope::Fresh(fresh);
        pass::run(store, &context.env, scope, &impatient, reporter)?;
        if !self.wait {
            return Ok(Exit::Ok);
        }
        wait.until_finished(store, &context.env, &options, reporter)
    }

    fn max_per_day(&self, context: &Context) -> Result<Option<u64>> {
        let text = context.env.text("TRACKER_MAX_PER_DAY")?;
        match (self.max_per_day, text) {
            (None, Some(text)) => text.trim().parse().map(Some).map_err(|_| {
                let message = format!("TRACKER_MAX_PER_DAY is not a number: {text}");
                Problem::usage(message, "a number of submissions, or unset it")
            }),
            (flag, _) => Ok(flag),
        }
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
}

/// 0 once everything is recorded and nothing refused: a script that retries on failure must never submit twice.
fn exit(tally: &Tally, videos: &[Video], waited: Option<Exit>) -> Exit {
    let rejected = videos.iter().any(|video| video.phase == Phase::Rejected);
    if tally.auth {
        Exit::Auth
    } else if rejected {
        Exit::Trouble
    } else {
        waited.unwrap_or(Exit::Ok)
    }
}

/// What makes submitting a body needless.
struct Rules<'a> {
    if_new: bool,
    again: bool,
    /// Whom the new rows belong to: no run with another key may submit them.
    account: Option<Account>,
    max_per_day: Option<u64>,
    request_key: Option<&'a str>,
    now: Timestamp,
}

#[derive(Default)]
struct Recorded {
    /// A row for each body, in order.
    rows: Vec<RowId>,
    /// The new ones among them, each under its send lock.
    fresh: Vec<(RowId, Guard)>,
    /// How many rows were there before.
    known: usize,
    /// New rows, each with the newest other row that has the same body.
    duplicates: Vec<(RowId, Video)>,
}

/// Writes all bodies down in one transaction: all of them or none. Each new row's send lock is taken before the row
/// becomes visible, so that no `check` comes between recording and sending.
fn record(store: &mut Store, new: &[NewVideo], rules: &Rules<'_>) -> Result<Recorded> {
    let locks = store.locks()?;
    store.write(|tx| {
        let mut recorded = Recorded::default();
        for video in new {
            let row = record_one(tx, &locks, video, rules, &mut recorded)?;
            recorded.rows.push(row);
        }
        if let Some(most) = rules.max_per_day
            && !recorded.fresh.is_empty()
        {
            refuse_over_cap(tx, most, rules.now)?;
        }
        Ok(recorded)
    })
}

fn record_one(
    tx: &Tx<'_>,
    locks: &Locks,
    new: &NewVideo,
    rules: &Rules<'_>,
    recorded: &mut Recorded,
) -> Result<RowId> {
    let mut new = new.clone();
    new.video.account.clone_from(&rules.account);
    if let Some(key) = rules.request_key {
        if let Some(row) = tx.by_request_key(key)? {
            recorded.known += 1;
            return Ok(row);
        }
        new.request_key = Some(key.to_owned());
    }
    let found = match new.video.retry_of {
        Some(original) => retry::settle(tx, &mut new, original, rules.again)?,
        None => None,
    };
    let found = match (&new.body_hash, found) {
        (Some(hash), None) if rules.if_new => {
            tx.recent_duplicate(hash, rules.now.before(DUPLICATE_AGE), new.video.retry_of)?
        }
        (_, found) => found,
    };
    if let Some(row) = found {
        recorded.known += 1;
        return Ok(row);
    }
    // A retry has the body of its original, and is asked for by name.
    let duplicate = match &new.body_hash {
        Some(hash) if new.video.retry_of.is_none() => tx.duplicates(hash)?.into_iter().next(),
        _ => None,
    };
    let row = tx.insert(&new, rules.now)?;
    recorded
        .duplicates
        .extend(duplicate.map(|video| (row, video)));
    let guard = locks.try_row(Purpose::Send, row)?;
    recorded.fresh.extend(guard.map(|guard| (row, guard)));
    Ok(row)
}

/// Counts what is recorded by now, this transaction included, so that submissions at once do not pass the cap together.
fn refuse_over_cap(tx: &Tx<'_>, most: u64, now: Timestamp) -> Result<()> {
    let since = now.before(CAP_PERIOD);
    let (count, first) = tx.submitted_since(since)?;
    if count <= most {
        return Ok(());
    }
    let hint = match first {
        Some(first) if first < now => format!(
            "nothing was recorded; the oldest of them is 24 h old at {}",
            human::clock(first.after(CAP_PERIOD), now, human::here)
        ),
        _ => "nothing was recorded; submit fewer at once".to_owned(),
    };
    let message = format!("that would be more than {most} submissions in 24 hours");
    Err(Problem::new(code::CAP_REACHED, message).with_hint(hint))
}

impl Recorded {
    /// Not notes that `-q` drops: they are about money.
    fn note_duplicates(&self, context: &Context, now: Timestamp) {
        for (row, other) in self.duplicates.iter().take(NAMED) {
            let (id, status) = (other.id, other.status());
            let ago = human::ago_phrase(other.submitted_at, now);
            context.screen.warn(&format!(
                "{row} has the same body as {id} ({status}, submitted {ago}); --if-new skips such a body"
            ));
        }
        if self.duplicates.len() > NAMED {
            let (known, all) = (self.duplicates.len(), self.rows.len());
            context.screen.warn(&format!(
                "{known} of these {all} bodies are in other rows, too; --if-new skips such bodies"
            ));
        }
    }
}

/// Not a note that -q drops: whoever misses this may submit twice.
pub(super) fn warn_unanswered(video: &Video, context: &Context) {
    let (id, hint) = (video.id, lost_hint(video));
    let warning = format!("{id}: an attempt of it has no answer: {hint}");
    context.screen.warn(&warning);
}

/// What the status column does not say loudly enough.
fn report(context: &Context, videos: &[Video], known: usize, queued: bool) {
    let screen = &context.screen;
    if known > 0 {
        let all = videos.len();
        screen.note(&format!(
            "{known} of {all} had been submitted before and were not submitted again"
        ));
    }
    for video in videos.iter().filter(|video| video.is_lost()) {
        warn_unanswered(video, context);
    }
    for video in videos.iter().filter(|v| v.phase == Phase::Rejected) {
        let (id, code) = (video.id, video.failure_code.as_deref());
        let message = video.failure_message.as_deref().unwrap_or_default();
        let (why, message) = (text::fit(code.unwrap_or("?"), 80), text::fit(message, 400));
        screen.error(&format!("{id} rejected: {why}: {message}"));
        screen.hint(&match code {
            Some(ALREADY_TRACKED) => format!("tracker show {id} shows which row has the video"),
            _ => format!(
                "fix what it says: tracker retry {id} with other fields, or submit another body"
            ),
        });
    }
    let in_phase = |phase| videos.iter().filter(|video| video.phase == phase).count();
    let (unsent, sending) = (in_phase(Phase::Unsent), in_phase(Phase::Sending));
    let sent = videos.len() - unsent - sending;
    if unsent + sending > 0 && !queued {
        // Not a note that -q drops: whoever misses this may submit twice.
        screen.warn(&match (videos.len(), sending) {
            (1, 0) => {
                "it is recorded but not sent yet; do not submit again: check sends it".to_owned()
            }
            (1, _) => "it is recorded and was sent, but no answer came yet; do not submit again: \
                       check repeats it under the same key"
                .to_owned(),
            (all, 0) => format!(
                "all {all} are recorded, {sent} sent; do not submit again: check sends the rest"
            ),
            (all, _) => format!(
                "all {all} are recorded, {sent} sent, {sending} sent without an answer yet; \
                 do not submit again: check sends the rest"
            ),
        });
    } else if screen.out_is_terminal && videos.iter().any(|video| !video.finished) {
        let ids = videos.iter().map(|video| format!(" {}", video.id));
        let which: String = ids.filter(|_| videos.len() <= 3).collect();
        screen.note(&format!(
            "follow up with: tracker check (from cron), or tracker check --wait{which}"
        ));
    }
}

/// Prints what would be sent, and every row with the same body; a row that is to be retried is no duplicate of itself.
pub(super) fn dry_run(bodies: &[(Option<RowId>, Body)], context: &Context) -> Result<Exit> {
    let screen = &context.screen;
    let store = context.open_if_there()?;
    for (original, body) in bodies {
        let mut duplicates = match &store {
            Some(store) => store.read(|tx| tx.duplicates(&body.hash()))?,
            None => Vec::new(),
        };
        duplicates.retain(|video| Some(video.id) != *original);
        let request = RequestBody::new(&body.raw);
        if screen.json {
            screen.json_row(&DryRun {
                kind: "dry_run",
                place: &body.place,
                request,
                duplicates: duplicates.iter().map(|video| video.id.0).collect(),
            });
            continue;
        }
        screen.row(&text::sanitize(request.text()));
        for video in duplicates {
            screen.note(&format!(
                "{}: the same body is {} ({}), submitted {}",
                body.place,
                video.id,
                video.status(),
                video.submitted_at
            ));
        }
    }
    let count = bodies.len();
    screen.note(&format!(
        "{count} would be submitted; nothing was sent or recorded"
    ));
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    place: &'a str,
    request: RequestBody<'a>,
    duplicates: Vec<i64>,
}
