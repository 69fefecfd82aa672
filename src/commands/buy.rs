//! Buying: what `submit` and `retry` share. Write everything down, send it, say what became of it.

use std::time::Duration;

use serde::Serialize;

use crate::bodies::Body;
use crate::commands::pulse;
use crate::commands::{Context, WaitArgs, load};
use crate::error::{Error, Exit};
use crate::locks::{Guard, Locks, Purpose};
use crate::pass::{self, Access, Options, Reporter, Scope, Tally, Voice};
use crate::render::fields::Field;
use crate::render::json::{RequestBody, VideoObject};
use crate::render::{table, text, tsv};
use crate::store::{NewVideo, Store, StoreError, Tx};
use crate::time::{self, Timestamp};
use crate::video::{Phase, RowId, Video};

/// A twin this old is bought again by `--if-new`.
const TWIN_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long a row is tried before it is left to `check`.
const BUDGET: Duration = Duration::from_secs(10);

/// When and how what is bought is sent: options of every verb that buys.
#[derive(Debug, clap::Args)]
pub(super) struct BuyArgs {
    /// Only record; check sends
    #[arg(long, conflicts_with = "wait")]
    queue: bool,
    /// Buy nothing that is in work, or was made within 24 h, with an equal body
    #[arg(long)]
    if_new: bool,
    /// Validate only: print what would be sent, and every equal body of before
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait until everything is rendered and saved
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    waiting: WaitArgs,
}

impl BuyArgs {
    /// Records `new`, sends it, and prints one line per body.
    ///
    /// # Errors
    /// Nothing was recorded then. Once it is, this succeeds: see [`exit`].
    pub(super) fn buy(&self, context: &Context, new: &[NewVideo]) -> Result<Exit, Error> {
        if !self.queue {
            // Without a usable key nothing is recorded: the user is there and can mend it.
            Access::resolve(&context.env)?;
        }
        context.heed_signals()?;
        let mut store = context.open_or_create()?;
        let locks = store.locks()?;
        let recorded = record(&mut store, &locks, new, self.if_new, time::now());
        if let Err(Error::Store(StoreError::Sqlite { .. })) = recorded {
            // A commit whose fsync failed is undone for us, and still there for whoever opens the log after us.
            context.screen.warn(
                "the disk failed while recording; look with tracker list before you submit again",
            );
        }
        let recorded = recorded?;
        let rows: Vec<RowId> = recorded.iter().map(|(row, _)| *row).collect();
        let fresh: Vec<(RowId, Guard)> = recorded
            .into_iter()
            .filter_map(|(row, guard)| Some((row, guard?)))
            .collect();
        let known = rows.len() - fresh.len();

        // At a terminal what becomes of the videos is said as it happens; a pipe gets one line per body at the end.
        let tell_all = self.wait && context.screen.out_is_terminal && !context.screen.json;
        let voice = if tell_all {
            Voice::Outcomes
        } else {
            Voice::RunTrouble
        };
        let mut reporter = Reporter::new(&context.screen, voice, true);
        // From here on everything is recorded: what goes wrong is told, and is no reason to submit again.
        let sent = self
            .send(&mut store, context, fresh, &rows, &mut reporter)
            .unwrap_or_else(|error| crate::tell(&context.screen, &error));
        let videos = match load(&store, &rows) {
            Ok(videos) => videos,
            Err(error) => {
                crate::tell(&context.screen, &error);
                context.screen.warn(&format!(
                    "all {} were recorded; do not submit again: check sends the rest",
                    rows.len()
                ));
                return Ok(if self.wait { Exit::Trouble } else { Exit::Ok });
            }
        };
        if !tell_all {
            print(context, &videos, self.wait);
        }
        notes(context, &videos, known, self.queue);
        if let Err(error) = pulse::note_silence(&store, context) {
            crate::tell(&context.screen, &error);
        }
        Ok(exit(reporter.tally(), &videos, self.wait.then_some(sent)))
    }

    /// Sends what was recorded and, if asked to, waits for all of it.
    fn send(
        &self,
        store: &mut Store,
        context: &Context,
        fresh: Vec<(RowId, Guard)>,
        rows: &[RowId],
        reporter: &mut Reporter<'_>,
    ) -> Result<Exit, Error> {
        if self.queue {
            return Ok(Exit::Ok);
        }
        let options = Options {
            hook: context.hook(None)?,
            ..Options::default()
        };
        let impatient = Options {
            budget: BUDGET,
            ..options.clone()
        };
        let scope = Scope::Fresh(fresh);
        pass::run(store, &context.env, scope, &impatient, reporter)?;
        if !self.wait {
            return Ok(Exit::Ok);
        }
        let wait = self.waiting.wait(Some(rows.to_vec()));
        wait.until_finished(store, &context.env, &options, reporter)
    }
}

/// 0 once everything is recorded and nothing refused: a script that retries on failure must never buy twice.
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

/// Writes all bodies down in one transaction: all of them or none. Each new row's send lock is taken before the row
/// becomes visible, so that no `check` comes between recording and sending.
fn record(
    store: &mut Store,
    locks: &Locks,
    new: &[NewVideo],
    if_new: bool,
    now: Timestamp,
) -> Result<Vec<(RowId, Option<Guard>)>, Error> {
    store.write_checked(|tx| {
        let mut recorded = Vec::with_capacity(new.len());
        for video in new {
            if let Some(row) = bought_before(tx, video, if_new, now)? {
                recorded.push((row, None));
                continue;
            }
            let row = tx.insert(video, now)?;
            match locks.try_row(Purpose::Send, row) {
                Ok(guard) => recorded.push((row, guard)),
                Err(source) => {
                    return Ok(Err(Error::System {
                        action: "lock a row",
                        source,
                    }));
                }
            }
        }
        Ok(Ok(recorded))
    })?
}

fn print(context: &Context, videos: &[Video], waited: bool) {
    let screen = &context.screen;
    let mut fields = Field::SUBMIT.to_vec();
    if waited {
        fields.push(Field::Path);
    }
    if screen.json {
        for video in videos {
            screen.json_row(&VideoObject::new(video));
        }
    } else if screen.out_is_terminal {
        fields.push(Field::Title);
        screen.painted(&table::fields_table(videos, &fields, &context.view()));
        if let Some(video) = videos.iter().find(|video| !video.files.is_empty()) {
            screen.note(&format!("files go to {}", video.output_dir.display()));
        }
    } else {
        for video in videos {
            screen.row(&tsv::row(video, &fields));
        }
    }
}

/// What the status column does not say loudly enough.
fn notes(context: &Context, videos: &[Video], known: usize, queued: bool) {
    let screen = &context.screen;
    if known > 0 {
        screen.note(&format!(
            "{known} of {} had been bought before and were not bought again",
            videos.len()
        ));
    }
    for video in videos {
        if video.phase == Phase::Rejected {
            screen.error(&format!(
                "{} rejected: {}: {}",
                video.id,
                text::fit(video.failure_code.as_deref().unwrap_or("?"), 80),
                text::fit(video.failure_message.as_deref().unwrap_or_default(), 400)
            ));
            screen.hint(&format!(
                "mend what it says: tracker retry {} with other fields, or submit another body",
                video.id
            ));
        }
    }
    let waiting = videos
        .iter()
        .filter(|video| matches!(video.phase, Phase::Unsent | Phase::Sending))
        .count();
    let sent = videos.len() - waiting;
    if waiting > 0 && !queued {
        // Not a note that -q drops: whoever misses this may buy twice.
        screen.warn(&if videos.len() == 1 {
            "it is recorded but not sent yet; do not submit again: check sends it".to_owned()
        } else {
            format!(
                "all {} are recorded, {sent} sent; do not submit again: check sends the rest",
                videos.len()
            )
        });
    } else if screen.out_is_terminal && videos.iter().any(|video| !video.finished) {
        let ids: Vec<String> = videos.iter().take(3).map(|v| v.id.to_string()).collect();
        let which = if videos.len() > 3 {
            String::new()
        } else {
            format!(" {}", ids.join(" "))
        };
        screen.note(&format!(
            "follow up with: tracker check (from cron), or tracker check --wait{which}"
        ));
    }
}

/// The row that makes buying `video` needless: of an earlier run of this very `retry`, or a twin.
fn bought_before(
    tx: &Tx<'_>,
    video: &NewVideo,
    if_new: bool,
    now: Timestamp,
) -> rusqlite::Result<Option<RowId>> {
    if let Some(original) = video.retry_of
        && let Some(retry) = tx.retry_of(original)?
    {
        return Ok(Some(retry));
    }
    match &video.body_hash {
        Some(hash) if if_new => tx.recent_twin(hash, now.before(TWIN_AGE)),
        _ => Ok(None),
    }
}

/// Prints what would be sent, and every equal body of before.
pub(super) fn dry_run(bodies: &[Body], context: &Context) -> Result<Exit, Error> {
    let screen = &context.screen;
    let store = match context.open_for_reading() {
        Ok(store) => Some(store),
        Err(Error::Store(StoreError::NoDatabase { .. })) => None,
        Err(error) => return Err(error),
    };
    for body in bodies {
        let twins = match &store {
            Some(store) => store.read(|tx| tx.twins(&body.hash()))?,
            None => Vec::new(),
        };
        let request = RequestBody::new(&body.raw);
        if screen.json {
            screen.json_row(&DryRun {
                kind: "dry_run",
                place: &body.place,
                request,
                twins: twins.iter().map(|video| video.id.0).collect(),
            });
            continue;
        }
        screen.row(&text::sanitize(request.text()));
        for twin in twins {
            screen.note(&format!(
                "{}: the same body is {} ({}), submitted {}",
                body.place,
                twin.id,
                twin.status(),
                twin.submitted_at
            ));
        }
    }
    screen.note(&format!(
        "{} would be bought; nothing was sent or recorded",
        bodies.len()
    ));
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    place: &'a str,
    request: RequestBody<'a>,
    twins: Vec<i64>,
}
