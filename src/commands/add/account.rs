//! `add --all` and `add --batch`: what the account has becomes rows, a page of it at a time.

use std::collections::BTreeSet;

use super::record::{MadeElsewhere, Recorder};
use super::{Args, counted};
use crate::commands::Context;
use crate::commands::options::time_of;
use crate::decide::{self, Verdict};
use crate::error::{Exit, Problem, Result};
use crate::heygen::{BatchItem, RemoteVideo};
use crate::import::Made;
use crate::kind::Kind;
use crate::pass::{self, Access, Level, PassOptions, Reporter, Scope};
use crate::time::{self, Timestamp};
use crate::video::{Job, RowId};

/// Adds everything of a kind that no row knows. What was added before a cut stays; the next run adds the rest.
pub(super) fn all(args: &Args, context: &Context) -> Result<Exit> {
    let kind = args.kind.unwrap_or_default();
    if kind == Kind::Template || kind.strategy().list.is_none() {
        return Err(Problem::usage(
            format!("HeyGen has no list of the kind {kind}"),
            "what is made from a template is listed as a video: leave out --kind",
        ));
    }
    let since = args.since.as_deref();
    let since = since.map(|when| time_of("since", when, time::now()));
    let since = since.transpose()?;
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut recorder = Recorder::new(args, Some(access.account.clone()), context)?;
    if kind == Kind::Video {
        let exit = learn_videos_of_sessions(&mut recorder, context)?;
        if exit != Exit::Ok {
            return Ok(exit);
        }
    }
    let lost = recorder.lost(&access.account)?;
    let (mut left_out, mut withheld, mut may_have) = (0, 0, BTreeSet::new());
    let read = access.pages(
        |client, token| client.jobs(kind, token),
        |page| {
            left_out += page.skipped;
            let is_old = |job: &RemoteVideo| since.is_some_and(|since| is_before(job, since));
            let go_on = !page.items.last().is_some_and(is_old);
            let mut found = Vec::new();
            for job in page.items.into_iter().filter(|job| !is_old(job)) {
                let rows = lost.iter().filter(|lost| lost.may_be(kind, &job));
                let rows: Vec<RowId> = rows.map(|lost| lost.video.id).collect();
                let made = MadeElsewhere::listed(kind, job.clone());
                if !rows.is_empty() && recorder.known(&made)?.is_none() {
                    withheld += 1;
                    may_have.extend(rows);
                } else if kind == Kind::Agent {
                    found.push(session(job, &recorder, &access)?);
                } else {
                    found.push(made);
                }
            }
            recorder.record(&found)?;
            Ok(go_on)
        },
    );
    recorder.finish(false)?;
    if withheld > 0 {
        note_withheld(withheld, &may_have, context);
    }
    if left_out > 0 {
        let entries = counted(left_out, "entry", "entries");
        let note = format!("{entries} without a usable id left out");
        context.screen.note(&note);
    }
    read.map(|()| Exit::Ok)
}

fn note_withheld(jobs: usize, rows: &BTreeSet<RowId>, context: &Context) {
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let (jobs, rows) = (counted(jobs, "job", "jobs"), rows.join(" "));
    context.screen.note(&format!(
        "{jobs} left out that the unanswered submission of {rows} may have created; tracker check {rows} finds out"
    ));
}

/// Newest first: the first that is older ends the list. What has no date is taken.
fn is_before(job: &RemoteVideo, since: Timestamp) -> bool {
    job.created_at.is_some_and(|at| at < since)
}

/// The list of videos has those of sessions, too, and does not tell: a session that we track and whose video we do not
/// know yet is asked for it, or it would get a second row.
fn learn_videos_of_sessions(recorder: &mut Recorder<'_>, context: &Context) -> Result<Exit> {
    let Some(store) = recorder.store() else {
        return Ok(Exit::Ok);
    };
    let rows = store.read(|tx| tx.sessions_without_video())?;
    let options = context.with_hook(PassOptions {
        download: false,
        ..PassOptions::default()
    })?;
    let scope = Scope::Named(rows);
    let mut reporter = Reporter::new(&context.screen, Level::Outages, true);
    pass::run(store, &context.env, scope, &options, &mut reporter)?;
    Ok(reporter.tally.exit(false))
}

/// The list of sessions tells next to nothing: neither how far each is nor which video it made.
fn session(listed: RemoteVideo, recorder: &Recorder<'_>, access: &Access) -> Result<MadeElsewhere> {
    let kind = Kind::Agent;
    let id = listed.id.clone();
    let found = MadeElsewhere::listed(kind, listed);
    if recorder.known(&found)?.is_some() {
        return Ok(found);
    }
    match access.job(&Job { kind, id }) {
        Ok(session) => Ok(MadeElsewhere::listed(kind, session)),
        Err(error) if Verdict::of(&error).is_heygens() => Ok(found),
        Err(error) => Err(pass::unread(error)),
    }
}

/// Adds the videos of a batch, and a row for each of its bodies that HeyGen refused.
pub(super) fn batch(id: &str, args: &Args, context: &Context) -> Result<Exit> {
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut recorder = Recorder::new(args, Some(access.account.clone()), context)?;
    let (mut left_out, mut waiting) = (0, 0);
    let read = access.pages(
        |client, token| client.batch(id, token),
        |page| {
            left_out += page.skipped;
            let all = page.items.len();
            let found = page.items.into_iter();
            let found: Vec<_> = found.filter_map(|item| from_batch(id, item)).collect();
            waiting += all - found.len();
            recorder.record(&found)?;
            Ok(true)
        },
    );
    recorder.finish(true)?;
    let screen = &context.screen;
    if waiting > 0 {
        let items = counted(waiting, "item has", "items have");
        screen.note(&format!("{items} no video yet: add the batch again later"));
    }
    if left_out > 0 {
        let items = counted(left_out, "item", "items");
        screen.note(&format!("{items} without a number left out"));
    }
    read.map(|()| Exit::Ok)
}

/// Its place in the batch is all that tells one refused body from another.
fn from_batch(batch: &str, item: BatchItem) -> Option<MadeElsewhere> {
    let name = format!("batch:{batch}:{}", item.index);
    match decide::refusal(&item) {
        Some(why) => Some(MadeElsewhere::Refused(name, why)),
        None => item.video_id.map(|id| {
            let made = Made {
                kind: Some(Kind::Video),
                ..Made::new(id)
            };
            MadeElsewhere::Job(made, None)
        }),
    }
}
