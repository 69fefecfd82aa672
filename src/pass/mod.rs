//! The one pass: what `check`, `submit`, `download` and their kin do with some rows.
//!
//! ```text
//! repair what a crash left ─▶ ask HeyGen (bulk, then own GETs) ─▶ replays ─▶ queued rows
//!                                        └─▶ save each file as soon as its own detail is in
//! ```
//!
//! The main thread owns the store. Worker threads make the requests and write the files; each sends what it learnt
//! as a [`Message`], and all that has arrived since the last commit is decided and written in one transaction, then
//! told. Two things wait for their commit: a POST (the row must be `sending` before the first byte leaves) and a
//! rename (the file's digest must be known before its final name exists).
//!
//! Nothing here is joined or flushed at the end: a signal, a kill and a power cut all leave a database that the next
//! pass carries on from.

mod access;
mod account;
mod calls;
mod hooks;
mod limiter;
mod messages;
mod poll;
mod pool;
mod report;
mod save;
mod save_job;
mod send;
mod troubles;
mod wait;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub(crate) use access::Access;
pub(crate) use account::{list_batch, list_jobs};
pub(crate) use report::{Reporter, Tally, Voice, unknown_hint};
pub(crate) use wait::Wait;

use calls::{CallError, Caller, Posted};
use hooks::{Hooked, Hooks};
use limiter::RateLimiter;
use poll::Polls;
use pool::Pool;
use save::{Learnt, Saves, StalePart};
use send::Sends;
use troubles::{Kind, Troubles};

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Environment;
use crate::decide::{self, Decision, Entry};
use crate::download::FileClient;
use crate::error::{Exit, Result};
use crate::event::Event;
use crate::heygen::{ApiError, BulkStatus, RemoteVideo, Timeouts};
use crate::locks::{Guard, Locks};
use crate::store::{Asked, CHECKED, DueHook, Identity, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{Account, IdempotencyKey, LastError, Operation, RowId, Video, VideoId};

/// How a pass works.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Requests at once, and downloads at once.
    pub jobs: usize,
    /// Whether files are downloaded.
    pub download: bool,
    /// How many videos HeyGen may have in work before no further one is sent.
    pub max_active: Option<u64>,
    /// Further tries per file.
    pub retries: u32,
    /// The first pause between tries of a file.
    pub retry_delay: Duration,
    /// The longest silence within a download.
    pub read_timeout: Duration,
    /// How long one request to HeyGen may take, with all its tries.
    pub budget: Duration,
    /// The user's command to tell of what happens.
    pub hook: Option<String>,
    /// Whether this run also runs the command; otherwise it only notes what is due.
    pub run_hooks: bool,
    /// Files replace others that have their final names.
    pub replace: bool,
    /// Nothing is waited for any longer than this.
    pub deadline: Option<Instant>,
    /// No larger file is taken, in bytes.
    pub max_size: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: 16,
            download: true,
            max_active: None,
            retries: 5,
            retry_delay: Duration::from_secs(2),
            read_timeout: Duration::from_secs(60),
            budget: Duration::from_secs(30),
            hook: None,
            run_hooks: true,
            replace: false,
            deadline: None,
            max_size: 64 << 30,
        }
    }
}

/// Which rows a pass is about.
#[derive(Debug)]
pub(crate) enum Scope {
    /// Everything unfinished.
    Unfinished,
    /// These rows, whatever their state.
    Named {
        /// The rows.
        rows: Vec<RowId>,
        /// The spacing of replays does not hold them back: a person asked.
        ignore_backoff: bool,
    },
    /// Rows just recorded: sent and nothing else. Their send locks were taken before they became visible.
    Fresh(Vec<(RowId, Guard)>),
    /// None: only hooks that are due.
    Hooks,
}

/// Runs one pass and says what happened.
///
/// # Errors
/// What makes going on senseless: the database, the command line. Everything else is told, counted in the reporter's
/// [`Tally`], and left to the next pass.
pub(crate) fn run(
    store: &mut Store,
    env: &Environment,
    scope: Scope,
    options: &Options,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    if matches!(scope, Scope::Unfinished) {
        let hooks = options.hook.is_some();
        let now = time::now();
        let work = store.read(|tx| Ok(has_work(tx, now)? || (hooks && tx.has_hooks()?)))?;
        if !work {
            return Ok(());
        }
    }
    let ignore_backoff = matches!(
        scope,
        Scope::Named {
            ignore_backoff: true,
            ..
        }
    );
    let everything = matches!(scope, Scope::Unfinished);
    let jobs = options.jobs.min(affordable_jobs());
    let (outbox, inbox) = channel();
    let mut run = Run {
        env,
        options,
        ignore_backoff,
        locks: store.locks()?,
        identity: store.identity(),
        access: None,
        limiter: Arc::new(RateLimiter::default()),
        outbox,
        inbox,
        started: time::now(),
        api: Pool::new("api", jobs),
        savers: Pool::new("save", jobs),
        polls: Polls::default(),
        sends: Sends::default(),
        saves: Saves::default(),
        hooks: Hooks::default(),
        troubles: Troubles::default(),
        after: AfterCommit::default(),
        reporter,
    };
    match scope {
        Scope::Unfinished => {
            run.saves.alone = store.read(|tx| tx.has_trouble("disk"))?;
            run.repair(store, None)?;
            run.expire_old(store)?;
            // What is over by now needs no key.
            if store.read(|tx| has_work(tx, run.started))? {
                run.polls.everything();
                run.sends.everything();
            }
        }
        Scope::Named { rows, .. } => {
            run.repair(store, Some(&rows))?;
            for row in &rows {
                run.expire_one(store, *row)?;
            }
            run.name(store, rows)?;
        }
        Scope::Fresh(rows) => run.sends.fresh(rows),
        Scope::Hooks => {}
    }
    if options.hook.is_some() {
        run.hooks.look();
    }
    let result = run.finish(store);
    run.hooks.end();
    if everything && result.is_ok() {
        store.write(|tx| tx.mark_unless_lately(CHECKED, time::now(), SIGN_OF_LIFE))?;
    }
    if everything {
        run.note_outbox_seen(store)?;
    }
    run.reporter.tally.requests += run.limiter.passed();
    result
}

/// Whether there is anything to ask HeyGen or to send.
fn has_work(tx: &Tx<'_>, now: Timestamp) -> Result<bool> {
    let since = now.before(decide::MISSING_ASKED_FOR);
    Ok(tx.has_unfinished()? || !tx.missing_since(since, 1)?.is_empty())
}

/// How many jobs there are file descriptors for: the program itself needs some, each request one, each download up to
/// four.
fn affordable_jobs() -> usize {
    const PROGRAM: u64 = 14;
    const JOB: u64 = 5;
    // What cannot be asked is as it usually is.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let jobs = limit.saturating_sub(PROGRAM) / JOB;
    usize::try_from(jobs.max(1)).unwrap_or(usize::MAX)
}

/// One pass under way.
struct Run<'a, 's> {
    env: &'a Environment,
    options: &'a Options,
    ignore_backoff: bool,
    locks: Locks,
    identity: Identity,
    access: Option<Access>,
    limiter: Arc<RateLimiter>,
    outbox: Sender<Message>,
    inbox: Receiver<Message>,
    started: Timestamp,
    api: Pool,
    savers: Pool,
    polls: Polls,
    sends: Sends,
    saves: Saves,
    hooks: Hooks,
    troubles: Troubles,
    after: AfterCommit,
    reporter: &'a mut Reporter<'s>,
}

/// What a worker learnt.
enum Message {
    /// The bulk status answer for some rows.
    Bulk {
        rows: Vec<Asked>,
        answer: Result<Vec<BulkStatus>, CallError>,
    },
    /// The answer to a row's own GET.
    Detail {
        row: Asked,
        answer: Result<Box<RemoteVideo>, CallError>,
    },
    /// What became of a row's POST; the row's send lock comes back with it.
    Posted {
        row: RowId,
        key: IdempotencyKey,
        posted: Posted,
        guard: Guard,
    },
    /// Something about a file.
    File { row: RowId, learnt: Learnt },
    /// A row's files were dealt with; its save lock comes back.
    SavesDone { row: RowId, guard: Guard },
    /// A hook ended.
    Hooked(Box<Hooked>, Result<(), String>),
}

impl Message {
    /// How many rows it is about.
    fn rows(&self) -> usize {
        match self {
            Self::Bulk { rows, .. } => rows.len(),
            Self::Detail { .. }
            | Self::Posted { .. }
            | Self::File { .. }
            | Self::SavesDone { .. }
            | Self::Hooked(..) => 1,
        }
    }
}

/// What has to wait until the transaction under way is durable.
#[derive(Default)]
struct AfterCommit {
    said: Vec<(Rc<Video>, Event)>,
    /// Workers that wait for their commit.
    acks: Vec<Sender<()>>,
    /// Locks to be given back.
    guards: Vec<Guard>,
    /// Rows HeyGen answered about without news.
    seen: Vec<RowId>,
    /// Parts of files that will never be complete.
    stale_parts: Vec<StalePart>,
    failed_hooks: Vec<(Video, DueHook, String)>,
}

/// How often a run leaves a sign of life at most: each costs a commit.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// How many answers about rows go into one transaction at most, give or take one bulk answer: bounds how long another
/// writer waits.
const BATCH: usize = 512;

/// How long hooks may go on when everything else is done, altogether.
const HOOKS_GET: Duration = Duration::from_secs(60);
/// How long the request that only explains something may take.
const HASTE: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(3),
    per_read: Duration::from_secs(1),
};
/// How long one that was killed may take to end.
const HOOK_DIES: Duration = Duration::from_secs(2);

impl Run<'_, '_> {
    fn finish(&mut self, store: &mut Store) -> Result<()> {
        if self.work_through(store)? {
            std::mem::take(&mut self.troubles).settle(store, self.reporter, time::now())?;
            if self.options.run_hooks {
                self.finish_hooks(store)?;
            }
        }
        Ok(())
    }

    /// `false` when the time was up first.
    fn work_through(&mut self, store: &mut Store) -> Result<bool> {
        loop {
            self.dispatch(store)?;
            if self.api.is_idle() && self.savers.is_idle() {
                break;
            }
            if !self.step(store, self.options.deadline)? {
                return Ok(false);
            }
        }
        self.conclude_polls(store)?;
        self.conclude_sends();
        self.send_messages(store)?;
        self.explain_no_credit();
        Ok(true)
    }

    /// Whoever is told that the account has no credit wants to know what it has. Asked once, in haste, and only where
    /// somebody looks.
    fn explain_no_credit(&mut self) {
        let Some(access) = &self.access else { return };
        if !self.reporter.is_chatty() || !self.troubles.has(Kind::Credit) {
            return;
        }
        let caller = Caller {
            client: access.client.with_timeouts(HASTE),
            limiter: Arc::clone(&self.limiter),
            budget: Duration::ZERO,
        };
        if let Ok(balance) = caller.get(|client| client.whoami()) {
            self.troubles.explain(Kind::Credit, &balance.to_string());
        }
    }

    /// Everything else is done: hooks get a little longer.
    fn finish_hooks(&mut self, store: &mut Store) -> Result<()> {
        let patience = Instant::now() + HOOKS_GET;
        let until = self
            .options
            .deadline
            .map_or(patience, |at| at.min(patience));
        loop {
            self.dispatch_hooks(store)?;
            if self.hooks.are_over() {
                return Ok(());
            }
            if !self.step(store, Some(until))? {
                break;
            }
        }
        self.hooks.stop();
        self.hooks.kill();
        let dead = Instant::now() + HOOK_DIES;
        while !self.hooks.are_over() && self.step(store, Some(dead))? {
            self.hooks.stop();
        }
        Ok(())
    }

    /// Waits for what the workers learnt, at most `until`, and takes it in. `false` when there was nothing by then.
    fn step(&mut self, store: &mut Store, until: Option<Instant>) -> Result<bool> {
        let first = loop {
            let hook = self.hooks.until();
            let next = [until, hook].into_iter().flatten().min();
            let received = match next {
                // `self.outbox` keeps the channel open.
                None => self.inbox.recv().ok(),
                Some(at) => {
                    let patience = at.saturating_duration_since(Instant::now());
                    self.inbox.recv_timeout(patience).ok()
                }
            };
            match received {
                Some(message) => break message,
                None if until.is_none_or(|at| Instant::now() < at) && hook.is_some() => {
                    self.hooks.kill();
                }
                None => return Ok(false),
            }
        };
        let mut rows = first.rows();
        let mut batch = vec![first];
        while rows < BATCH
            && let Ok(message) = self.inbox.try_recv()
        {
            rows += message.rows();
            batch.push(message);
        }
        self.take_in(store, batch)?;
        Ok(true)
    }

    /// Starts as much as there are hands for. Saving has hands of its own: status requests never queue behind it.
    fn dispatch(&mut self, store: &mut Store) -> Result<()> {
        self.dispatch_polls(store)?;
        if self.polls.are_over() {
            self.dispatch_sends(store)?;
        }
        self.dispatch_saves(store)?;
        self.dispatch_hooks(store)
    }

    /// Decides and writes what was learnt, in one transaction; then lets everybody know.
    fn take_in(&mut self, store: &mut Store, batch: Vec<Message>) -> Result<()> {
        let now = time::now();
        let bought: Vec<String> = batch.iter().filter_map(purchase).collect();
        for message in &batch {
            match message {
                Message::Bulk { .. } | Message::Detail { .. } => {
                    self.api.done();
                    self.polls.answered();
                }
                Message::Posted { .. } => {
                    self.api.done();
                    self.sends.answered();
                }
                Message::SavesDone { .. } => self.savers.done(),
                Message::File { .. } | Message::Hooked(..) => {}
            }
        }
        let mut moved = None;
        let written = store.write(|tx| {
            for message in batch {
                match message {
                    Message::Bulk { rows, answer } => self.bulk_answer(tx, rows, answer, now)?,
                    Message::Detail { row, answer } => self.detail_answer(tx, row, answer, now)?,
                    Message::Posted {
                        row,
                        key: _,
                        posted,
                        guard,
                    } => {
                        moved = self.post_answer(tx, row, posted, now)?.or(moved.take());
                        self.after.guards.push(guard);
                    }
                    Message::File { row, learnt } => self.learnt(tx, row, learnt, now)?,
                    Message::Hooked(hooked, outcome) => self.hooked(tx, *hooked, outcome, now)?,
                    Message::SavesDone { row, guard } => {
                        self.saves.done(row);
                        self.after.guards.push(guard);
                    }
                }
            }
            let seen = std::mem::take(&mut self.after.seen);
            if seen.is_empty() {
                Ok(())
            } else {
                tx.seen(&seen, now)
            }
        });
        if let Err(error) = written {
            // The answer must not be lost with the database: the next check replays it, and a person can, too.
            for purchase in bought {
                self.reporter.unrecorded(&purchase);
            }
            return Err(error);
        }
        self.committed();
        match moved {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn committed(&mut self) {
        let after = std::mem::take(&mut self.after);
        for ack in after.acks {
            // A worker that is gone needs no answer.
            ack.send(()).ok();
        }
        for (video, event) in &after.said {
            self.reporter.say(video, event);
        }
        for (video, hook, why) in &after.failed_hooks {
            self.say_hook_failed(video, hook, why);
        }
        for part in &after.stale_parts {
            self.sweep(part);
        }
    }

    /// Writes a decision about a row that was read in this transaction, and keeps what happened until that is durable.
    fn write(&mut self, tx: &Tx<'_>, mut decision: Decision, now: Timestamp) -> Result<()> {
        for Entry { event, .. } in &decision.events {
            if let Event::Error(failure) = event {
                if failure.own && self.reporter.is_chatty() {
                    decision.video.last_error = decision.video.last_error.map(|error| LastError {
                        notified_at: Some(now),
                        ..error
                    });
                }
                if failure.operation == Operation::Save {
                    self.saves.has_error(decision.video.id);
                }
            }
        }
        if !tx.apply(&decision, now)? {
            return Ok(());
        }
        let finishes = decision.finishes();
        let row = decision.video.id;
        let video = Rc::new(decision.video);
        for part_name in decision.stale_parts {
            let dir = video.output_dir.clone();
            self.after.stale_parts.push(StalePart {
                row,
                dir,
                part_name,
            });
        }
        for Entry { event, .. } in decision.events {
            if let Some(hook) = event.hook(&video) {
                self.due_hook(tx, row, hook, event.saved_path(), now)?;
            }
            self.after.said.push((Rc::clone(&video), event));
        }
        if finishes {
            self.maybe_idle(tx, row, now)?;
        }
        if !decision.fetch.is_empty() && self.options.download {
            self.saves.queue(row);
        }
        Ok(())
    }

    /// The client, found out at the first request. Without a key the run goes on with what needs none.
    fn caller(&mut self) -> Result<Option<(Caller, Account)>> {
        if self.access.is_none() && !self.limiter.is_closed() {
            match Access::resolve(self.env) {
                Ok(access) => self.access = Some(access),
                Err(error) if error.exit == Exit::Auth => {
                    self.reporter.tally.auth = true;
                    self.troubles.note(Kind::Key, "", error);
                    self.limiter.close();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.access.as_ref().map(|access| {
            let caller = Caller {
                client: access.client.clone(),
                limiter: Arc::clone(&self.limiter),
                budget: self.options.budget,
            };
            (caller, access.account.clone())
        }))
    }

    /// The account of the requests under way.
    fn account(&self) -> Account {
        self.access
            .as_ref()
            .map_or_else(|| Account::new(String::new()), |a| a.account.clone())
    }

    fn file_client(&mut self) -> FileClient {
        let access = self.access.as_ref();
        let loopback = access.is_some_and(|access| access.loopback);
        let proxy = access.and_then(|access| access.proxy.clone());
        let silence = self.options.read_timeout;
        self.saves
            .client
            .get_or_insert_with(|| FileClient::new(loopback, silence, proxy))
            .clone()
    }

    /// The host and the account of this run, as outages are recorded under them.
    fn scopes(&self) -> (String, String) {
        let account = self.account();
        (account.host().to_owned(), account.as_str().to_owned())
    }

    /// What HeyGen's clock says, as far as this run knows; this machine's otherwise.
    fn heygen_now(&self, now: Timestamp) -> Timestamp {
        let skew = self.access.as_ref().and_then(|a| a.client.clock_skew());
        Timestamp::from_millis(now.millis().saturating_add(skew.unwrap_or_default()))
    }

    /// HeyGen answered.
    fn reachable(&mut self) {
        let (host, account) = self.scopes();
        self.troubles.proves(Kind::Network, &host);
        self.troubles.proves(Kind::Key, &account);
        self.troubles.proves(Kind::RateLimit, &account);
    }

    /// No request of this run has a chance any more.
    fn stop(&mut self, kind: Kind, scope: &str, error: &ApiError) {
        if matches!(kind, Kind::Key | Kind::Forbidden | Kind::SubmitForbidden) {
            self.reporter.tally.auth = true;
        }
        self.troubles.note(kind, scope, error.clone());
        self.limiter.close();
    }
}

/// What a person needs to find the video of a row, and to ask for it again.
fn unrecorded(row: RowId, video_id: &VideoId, key: &str) -> String {
    format!(
        "row {row} became video {video_id} (Idempotency-Key {key}), and that could not be recorded"
    )
}

/// What must be told of an accepted POST whose answer could not be recorded.
fn purchase(message: &Message) -> Option<String> {
    match message {
        Message::Posted {
            row,
            key,
            posted: Posted {
                answer: Ok(created),
                ..
            },
            ..
        } => Some(unrecorded(*row, &created.video_id, key.as_str())),
        _ => None,
    }
}
