//! `tracker submit`: put bodies into the outbox, POST them, return.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bodies::{self, Body, Overrides};
use crate::commands::file_options::{FileOptions, WantedFiles};
use crate::commands::{Context, WaitArgs};
use crate::error::{Error, Exit};
use crate::locks::{Guard, Locks, Purpose};
use crate::pass::{self, Access, Options, Reporter, Scope, Tally, Voice};
use crate::render::fields::Field;
use crate::render::{table, text, tsv};
use crate::store::{NewVideo, Store};
use crate::time::{self, Timestamp};
use crate::video::{IdempotencyKey, Phase, RowId, Video};

/// All input of one command; far more than anybody buys at once.
const MAX_INPUT: u64 = 512 * 1024 * 1024;

/// A twin this old is bought again by `--if-new`.
const TWIN_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long `submit` tries to get a row sent before it leaves the row to `check`.
const BUDGET: Duration = Duration::from_secs(10);

/// Buy videos: record them, send them, return at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker submit body.json                 # one object, an array, or JSON Lines
  jq -c '.[]' all.json | tracker submit -
  tracker submit --avatar-id A --voice-id V --script @hello.txt --title Hello
  tracker submit body.json --wait          # generate, poll, download, print the path

What is recorded is never lost and never bought twice: when submit returns 0, do not
submit again; `tracker check` sends what could not be sent yet.")]
pub struct Args {
    /// Request bodies: files, or - for standard input
    #[arg(value_name = "BODY.json|-")]
    bodies: Vec<PathBuf>,

    /// Set the body's avatar_id
    #[arg(long, value_name = "ID", help_heading = "Body")]
    avatar_id: Option<String>,
    /// Set the body's voice_id
    #[arg(long, value_name = "ID", help_heading = "Body")]
    voice_id: Option<String>,
    /// Set the body's script
    #[arg(long, value_name = "TEXT|@FILE", help_heading = "Body")]
    script: Option<String>,
    /// Set the body's title
    #[arg(long, value_name = "TEXT", help_heading = "Body")]
    title: Option<String>,

    /// Label the videos
    #[arg(long = "tag", value_name = "T", num_args = 1..)]
    tags: Vec<String>,
    #[command(flatten)]
    files: FileOptions,

    /// Only record; check sends
    #[arg(long, conflicts_with = "wait")]
    queue: bool,
    /// Buy nothing that is in work, or was made within 24 h, with an equal body
    #[arg(long)]
    if_new: bool,
    /// Validate only; print what would be sent, and every equal body of before
    #[arg(long)]
    dry_run: bool,
    /// Wait until everything is rendered and saved
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    waiting: WaitArgs,
}

/// Runs `tracker submit`.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let bodies = read_bodies(&args)?;
    let files = args.files.resolve(context)?;
    if args.dry_run {
        return dry_run(&bodies, context);
    }
    if !args.queue {
        // Without a usable key nothing is recorded: the user is there and can mend it.
        Access::resolve(&context.env)?;
    }
    context.heed_signals()?;
    let now = time::now();
    let new: Vec<NewVideo> = bodies
        .iter()
        .map(|body| new_video(body, &args.tags, &files, now))
        .collect();
    let mut store = context.open_or_create()?;
    let locks = store.locks()?;
    let recorded = record(&mut store, &locks, &new, args.if_new, now)?;
    let rows: Vec<RowId> = recorded.iter().map(|(row, _)| *row).collect();
    let fresh: Vec<(RowId, Guard)> = recorded
        .into_iter()
        .filter_map(|(row, guard)| Some((row, guard?)))
        .collect();
    let bought = fresh.len();

    let mut reporter = Reporter::new(&context.screen, Voice::RunTrouble, true);
    let mut waited = Exit::Ok;
    if !args.queue {
        // From here on everything is recorded: what goes wrong is told, and is no reason to submit again.
        waited = send(&mut store, context, &args, fresh, &rows, &mut reporter)
            .unwrap_or_else(|error| crate::tell(&context.screen, &error));
    }
    match load(&store, &rows) {
        Ok(videos) => {
            print(context, &videos, &files, args.wait);
            notes(context, &videos, bought, args.queue);
            Ok(exit(reporter.tally(), &videos, waited, args.wait))
        }
        Err(error) => {
            crate::tell(&context.screen, &error);
            context.screen.warn(&format!(
                "all {} were recorded; do not submit again: check sends the rest",
                rows.len()
            ));
            Ok(if args.wait { Exit::Trouble } else { Exit::Ok })
        }
    }
}

/// Sends what was recorded and, if asked to, waits for all of it.
fn send(
    store: &mut Store,
    context: &Context,
    args: &Args,
    fresh: Vec<(RowId, Guard)>,
    rows: &[RowId],
    reporter: &mut Reporter<'_>,
) -> Result<Exit, Error> {
    let options = Options {
        budget: BUDGET,
        ..Options::default()
    };
    let scope = Scope::Fresh(fresh);
    pass::run(store, &context.env, scope, &options, reporter)?;
    if !args.wait {
        return Ok(Exit::Ok);
    }
    let wait = args.waiting.wait(Some(rows.to_vec()));
    wait.until_finished(store, &context.env, &Options::default(), reporter)
}

/// 0 once everything is recorded and nothing refused: a script that retries on failure must never buy twice.
fn exit(tally: &Tally, videos: &[Video], waited: Exit, wait: bool) -> Exit {
    let rejected = videos.iter().any(|video| video.phase == Phase::Rejected);
    if tally.auth {
        Exit::Auth
    } else if rejected {
        Exit::Trouble
    } else if wait {
        waited
    } else {
        Exit::Ok
    }
}

fn read_bodies(args: &Args) -> Result<Vec<Body>, Error> {
    let overrides = Overrides {
        avatar_id: args.avatar_id.clone(),
        voice_id: args.voice_id.clone(),
        script: args.script.as_deref().map(script_text).transpose()?,
        title: args.title.clone(),
    };
    if args.bodies.is_empty() {
        if overrides.is_empty() {
            return Err(Error::usage(
                "nothing to submit",
                "name a file with a request body, - for standard input, or use --avatar-id, --voice-id and --script",
            ));
        }
        return Ok(vec![overrides.alone()?]);
    }
    let mut all = Vec::new();
    for path in &args.bodies {
        let (origin, bytes) = read_input(path)?;
        all.extend(bodies::parse(&origin, &bytes)?);
    }
    all.into_iter().map(|body| overrides.over(body)).collect()
}

/// `--script TEXT|@FILE`
fn script_text(given: &str) -> Result<String, Error> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let path = Path::new(path);
    let (origin, bytes) = read_input(path)?;
    let text = String::from_utf8(bytes).map_err(|error| Error::InvalidBody {
        place: origin,
        why: format!("is not UTF-8: {error}"),
    })?;
    Ok(text.trim_end().to_owned())
}

fn read_input(path: &Path) -> Result<(String, Vec<u8>), Error> {
    let unreadable = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let (origin, mut input): (String, Box<dyn Read>) = if path == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin()))
    } else {
        let file = fs::File::open(path).map_err(|source| match source.kind() {
            // A name that was mistyped is the command line's fault.
            io::ErrorKind::NotFound => Error::usage(
                format!("no such file: {}", path.display()),
                "check the path",
            ),
            _ => unreadable(source),
        })?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    (&mut input)
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Error::InvalidBody {
            place: origin,
            why: format!("is longer than {MAX_INPUT} bytes"),
        });
    }
    Ok((origin, bytes))
}

fn new_video(body: &Body, tags: &[String], files: &WantedFiles, now: Timestamp) -> NewVideo {
    NewVideo {
        request: Some((body.raw.clone(), IdempotencyKey::random())),
        body_hash: Some(body.hash()),
        video_id: None,
        title: body.title(),
        script: body.script(),
        avatar_id: body.avatar_id(),
        voice_id: body.voice_id(),
        tags: tags.to_owned(),
        submitted_at: now,
        output_dir: files.output_dir.clone(),
        name_template: files.name_template.clone(),
        assets: files.assets.clone(),
        retry_of: None,
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
            let twin = match &video.body_hash {
                Some(hash) if if_new => tx.recent_twin(hash, now.before(TWIN_AGE))?,
                _ => None,
            };
            if let Some(twin) = twin {
                recorded.push((twin, None));
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

fn load(store: &Store, rows: &[RowId]) -> Result<Vec<Video>, Error> {
    Ok(store.read(|tx| {
        let mut videos = Vec::with_capacity(rows.len());
        for row in rows {
            videos.extend(tx.video(*row)?);
        }
        Ok(videos)
    })?)
}

fn print(context: &Context, videos: &[Video], files: &WantedFiles, waited: bool) {
    let screen = &context.screen;
    let mut fields = Field::SUBMIT.to_vec();
    if waited {
        fields.push(Field::Path);
    }
    if screen.json {
        for video in videos {
            screen.json_row(&crate::render::json::VideoObject::new(video));
        }
    } else if screen.out_is_terminal {
        fields.push(Field::Title);
        screen.block(&table::fields_table(videos, &fields, &context.view()));
        if !files.assets.is_empty() {
            screen.note(&format!("files go to {}", files.output_dir.display()));
        }
    } else {
        for video in videos {
            screen.row(&tsv::row(video, &fields));
        }
    }
}

/// What the status column does not say loudly enough.
fn notes(context: &Context, videos: &[Video], bought: usize, queued: bool) {
    let screen = &context.screen;
    let known = videos.len() - bought;
    if known > 0 {
        screen.note(&format!(
            "{known} of {} had an equal body before and were not bought again",
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
    } else if screen.out_is_terminal {
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

fn dry_run(bodies: &[Body], context: &Context) -> Result<Exit, Error> {
    let screen = &context.screen;
    let store = match context.open_for_reading() {
        Ok(store) => Some(store),
        Err(Error::Store(crate::store::StoreError::NoDatabase { .. })) => None,
        Err(error) => return Err(error),
    };
    for body in bodies {
        let twins = match &store {
            Some(store) => store.read(|tx| tx.twins(&body.hash()))?,
            None => Vec::new(),
        };
        if screen.json {
            let request: &serde_json::value::RawValue =
                serde_json::from_str(&body.raw).map_err(|error| Error::InvalidBody {
                    place: body.place.clone(),
                    why: error.to_string(),
                })?;
            screen.json_row(&DryRun {
                kind: "dry_run",
                place: &body.place,
                request,
                twins: twins.iter().map(|video| video.id.0).collect(),
            });
            continue;
        }
        screen.row(&text::harmless(&body.raw));
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

#[derive(serde::Serialize)]
struct DryRun<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    place: &'a str,
    request: &'a serde_json::value::RawValue,
    twins: Vec<i64>,
}
