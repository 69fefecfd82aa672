//! `add --all` and `add --batch`: what the account has becomes rows, a page of it at a time.

use std::collections::BTreeSet;

use super::record::{MadeElsewhere, Recorder};
use super::{Args, counted};
use crate::commands::Context;
use crate::commands::options::since;
use crate::decide::{self, Verdict};
use crate::error::{Exit, Problem, Result};
use crate::heygen::{BatchItem, RemoteVideo};
use crate::import;
use crate::kind::Kind;
use crate::pass::{self, Access, Level, Lost, PassOptions, Scope, Tally};
use crate::store::NewVideo;
use crate::time;
use crate::video::{Account, RowId, Video};

/// Adds everything of a kind that no row knows. What was added before a cut stays; the next run adds the rest.
pub(super) fn all(args: &Args, context: &Context) -> Result<Exit> {
    let kind = args.kind.unwrap_or_default();
    let list = kind.strategy().list.filter(|_| kind != Kind::Template);
    let Some(list) = list else {
        return Err(Problem::usage(
            format!("HeyGen has no list of the kind {kind}"),
            "what is made from a template is listed as a video: leave out --kind",
        ));
    };
    let since = since(args.since.as_deref(), time::now())?;
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut recorder = recorder(args, &access, context)?;
    let mut exit = Exit::Ok;
    if kind == Kind::Video {
        let tally = learn_videos_of_sessions(&mut recorder, context)?;
        exit = tally.exit(false);
        // One session that HeyGen says nothing about keeps nobody else's videos out.
        if tally.outages > 0 || tally.auth.is_some() {
            return Ok(exit);
        }
    }
    let lost = lost(&recorder, &access.account)?;
    let (mut left_out, mut withheld, mut may_have) = (0, 0, BTreeSet::new());
    let read = access.pages(
        |client, token| client.jobs(kind, list, token),
        |page| {
            left_out += page.skipped;
            // Newest first: the first that is older ends the list. What has no date is taken.
            let is_old = |job: &RemoteVideo| {
                let both = job.created_at.zip(since);
                both.is_some_and(|(at, since)| at < since)
            };
            let go_on = !page.items.last().is_some_and(is_old);
            let mut found = Vec::new();
            for job in page.items.into_iter().filter(|job| !is_old(job)) {
                let rows = lost.iter().filter(|lost| lost.may_be(kind, &job));
                let rows: Vec<RowId> = rows.map(|lost| lost.video.id).collect();
                let listed = found_job(kind, job, &recorder.base);
                let is_new = recorder.known(&listed)?.is_none();
                if !rows.is_empty() && is_new {
                    withheld += 1;
                    may_have.extend(rows);
                } else if kind == Kind::Agent && is_new {
                    found.push(session(listed, &recorder.base, &access)?);
                } else {
                    found.push(listed);
                }
            }
            recorder.record(&found)?;
            Ok(go_on)
        },
    );
    recorder.finish(false)?;
    note_withheld(withheld, &may_have, context);
    note_left_out(left_out, "a usable id", context);
    read.map(|()| exit)
}

fn note_left_out(count: usize, without: &str, context: &Context) {
    if count > 0 {
        let entries = counted(count, "entry", "entries");
        let note = format!("{entries} without {without} left out");
        context.screen.note(&note);
    }
}

fn note_withheld(jobs: usize, rows: &BTreeSet<RowId>, context: &Context) {
    if jobs == 0 {
        return;
    }
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let (jobs, rows) = (counted(jobs, "job", "jobs"), rows.join(" "));
    context.screen.note(&format!(
        "{jobs} left out that the unanswered submission of {rows} may have created; tracker check {rows} finds out"
    ));
}

fn recorder<'a>(args: &Args, access: &Access, context: &'a Context) -> Result<Recorder<'a>> {
    let base = Video {
        account: Some(access.account.clone()),
        ..args.row(context)?
    };
    Recorder::new(base, args.dry_run, context)
}

/// Rows of the account that may have become a job which no row knows.
fn lost(recorder: &Recorder<'_>, account: &Account) -> Result<Vec<Lost>> {
    let Some(store) = &recorder.store else {
        return Ok(Vec::new());
    };
    store.read(|tx| {
        let rows = tx.unanswered()?.into_iter();
        rows.filter_map(|row| Lost::read(tx, row, account).transpose())
            .collect()
    })
}

/// The list of videos has those of sessions, too, and does not tell: a session that we track and whose video we do not
/// know yet is asked for it, or it would get a second row.
fn learn_videos_of_sessions(recorder: &mut Recorder<'_>, context: &Context) -> Result<Tally> {
    let store = recorder.store.as_mut().filter(|_| !recorder.dry_run);
    let Some(store) = store else {
        return Ok(Tally::default());
    };
    let rows = store.read(|tx| tx.sessions_without_video())?;
    let options = PassOptions {
        download: false,
        ..PassOptions::default()
    };
    let tally = context.pass(store, Scope::Named(rows), Level::Aside, options)?;
    if let (true, Some(problem)) = (context.screen.json, &tally.auth) {
        context.screen.problem(problem);
    }
    Ok(tally)
}

fn found_job(kind: Kind, job: RemoteVideo, base: &Video) -> MadeElsewhere {
    let mut video = import::made(kind, job.id.clone(), job.created_at, base);
    video.title.clone_from(&job.title);
    if let Some(session) = &job.session
        && kind == Kind::Agent
    {
        video.video_id.clone_from(&session.video_id);
    }
    MadeElsewhere::job(video, Some(job))
}

/// The list of sessions tells next to nothing: neither how far each is nor which video it made.
fn session(listed: MadeElsewhere, base: &Video, access: &Access) -> Result<MadeElsewhere> {
    let Some(job) = listed.new.video.job() else {
        return Ok(listed);
    };
    match access.job(&job) {
        Ok(session) => Ok(found_job(Kind::Agent, session, base)),
        Err(error) if Verdict::of(&error).is_heygens() => Ok(listed),
        Err(error) => Err(pass::unread(error)),
    }
}

/// Adds the videos of a batch, and a row for each of its bodies that HeyGen refused.
pub(super) fn batch(id: &str, args: &Args, context: &Context) -> Result<Exit> {
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut recorder = recorder(args, &access, context)?;
    let (mut left_out, mut waiting) = (0, 0);
    let read = access.pages(
        |client, token| client.batch(id, token),
        |page| {
            left_out += page.skipped;
            let all = page.items.len();
            let found = page.items.into_iter();
            let found = found.filter_map(|item| found_item(id, item, &recorder.base));
            let found: Vec<_> = found.collect();
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
    note_left_out(left_out, "a number", context);
    read.map(|()| Exit::Ok)
}

fn found_item(batch: &str, item: BatchItem, base: &Video) -> Option<MadeElsewhere> {
    let Some(why) = decide::refusal(&item) else {
        let video = import::made(Kind::Video, item.video_id?, None, base);
        return Some(MadeElsewhere::job(video, None));
    };
    let video = Video {
        files: Vec::new(),
        ..base.clone()
    };
    // Its place in the batch is all that tells one refused body from another.
    let name = format!("batch:{batch}:{}", item.index);
    Some(MadeElsewhere {
        new: NewVideo {
            video,
            request_key: Some(name),
            ..NewVideo::default()
        },
        said: Some(Err(why)),
    })
}
