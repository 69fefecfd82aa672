//! The one pass: what `check`, `submit`, `download` and their kin do with some rows.
//!
//! ```text
//! repair what a crash left ─▶ ask HeyGen (bulk, then own GETs) ─▶ replays ─▶ queued rows
//!                                        └─▶ save each file as soon as its own detail is in
//! ```
//!
//! The main thread owns the store. Worker threads make the requests and write the files; each sends what it learnt
//! as a [`Message`], and all that has arrived since the last commit is decided and written in one transaction, then
//! reported. Two things wait for their commit: a POST (the row must be `sending` before the first byte leaves) and a
//! rename (the file's digest must be known before its final name exists).
//!
//! Nothing here is joined or flushed at the end: a signal, a kill and a power cut all leave a database that the next
//! pass carries on from.

mod access;
mod account;
mod calls;
mod hooks;
mod limiter;
mod lost;
mod messages;
mod outages;
mod poll;
mod pool;
mod report;
mod save;
mod save_job;
mod send;
mod wait;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub(crate) use access::Access;
pub(crate) use calls::{CallError, Caller};
pub(crate) use lost::Lost;
pub(crate) use report::{Level, Reporter, Tally};
pub(crate) use wait::Wait;

use calls::Posted;
use hooks::{Hooked, Hooks};
use limiter::RateLimiter;
use outages::Outages;
use poll::Polls;
use pool::Pool;
use save::{FileFailure, Saves, StalePart};
use send::Sends;

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Environment;
use crate::decide::{self, Decision, Entry, FileFact};
use crate::download::FileClient;
use crate::error::{Exit, Problem, Result};
use crate::event::Event;
use crate::heygen::{BulkStatus, RemoteVideo, Timeouts};
use crate::locks::{Guard, Locks};
use crate::store::{Asked, CHECKED, DueHook, Identity, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{Account, Asset, IdempotencyKey, Operation, Outage, RowId, Video, VideoId};

#[derive(Clone, Debug)]
pub(crate) struct PassOptions {
    pub jobs: usize,
    pub download: bool,
    /// How many videos HeyGen may have in work before no further one is sent.
    pub max_active: Option<u64>,
    pub retries: u32,
    pub retry_delay: Duration,
    pub read_timeout: Duration,
    /// How long one request to HeyGen may take, with all its tries.
    pub budget: Duration,
    pub hook: Option<String>,
    /// Whether this run also runs the command; otherwise it only notes what is due.
    pub run_hooks: bool,
    pub replace: bool,
    pub deadline: Option<Instant>,
    pub max_size: u64,
}

impl Default for PassOptions {
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

#[derive(Debug)]
pub(crate) enum Scope {
    Unfinished,
    Named {
        rows: Vec<RowId>,
        /// The spacing of replays does not hold them back: a person asked.
        ignore_backoff: bool,
    },
    /// Rows just recorded: sent and nothing else. Their send locks were taken before they became visible.
    Fresh(Vec<(RowId, Guard)>),
    /// None: only hooks that are due.
    Hooks,
}

impl Scope {
    pub(crate) fn asked_for(rows: &[RowId]) -> Self {
        Self::Named {
            rows: rows.to_vec(),
            ignore_backoff: true,
        }
    }

    pub(crate) fn look_at(rows: Vec<RowId>) -> Self {
        Self::Named {
            rows,
            ignore_backoff: false,
        }
    }
}

/// # Errors
/// What makes going on senseless: the database, the command line. Everything else is reported, counted in the reporter's
/// [`Tally`], and left to the next pass.
pub(crate) fn run(
    store: &mut Store,
    env: &Environment,
    scope: Scope,
    options: &PassOptions,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    let everything = matches!(scope, Scope::Unfinished);
    let hooks = options.hook.is_some();
    if everything && !store.read(|tx| Ok(has_work(tx)? || (hooks && tx.has_hooks()?)))? {
        return Ok(());
    }
    let mut run = Run::new(store, env, options, reporter)?;
    run.gather(store, scope)?;
    if hooks {
        run.hooks.look();
    }
    let result = run.finish(store);
    run.hooks.end();
    if everything {
        if result.is_ok() {
            store.write(|tx| tx.mark_unless_lately(CHECKED, time::now(), SIGN_OF_LIFE))?;
        }
        run.note_outbox_seen(store)?;
    }
    run.reporter.tally.requests += run.limiter.passed();
    result
}

fn has_work(tx: &Tx<'_>) -> Result<bool> {
    let since = time::now().before(decide::MISSING_ASKED_FOR);
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

struct Run<'a, 's> {
    env: &'a Environment,
    options: &'a PassOptions,
    ignore_backoff: bool,
    locks: Locks,
    identity: Identity,
    access: Option<Access>,
    limiter: Arc<RateLimiter>,
    outbox: Sender<Message>,
    inbox: Receiver<Message>,
    started: Timestamp,
    /// When the transaction under way began.
    now: Timestamp,
    api: Pool,
    savers: Pool,
    polls: Polls,
    sends: Sends,
    saves: Saves,
    hooks: Hooks,
    outages: Outages,
    /// Rows that may have become something nobody knows.
    lost: Vec<RowId>,
    after: AfterCommit,
    reporter: &'a mut Reporter<'s>,
}

enum Message {
    Bulk {
        rows: Vec<Asked>,
        answer: Result<Vec<BulkStatus>, CallError>,
    },
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
    /// Where the disk is mounted that a row's files go to.
    Disk {
        row: RowId,
        point: PathBuf,
    },
    /// The old URLs of a row's files were refused; these are new.
    Refreshed {
        row: RowId,
        remote: Box<RemoteVideo>,
    },
    File {
        row: RowId,
        asset: Asset,
        fact: FileFact,
        ack: Option<Sender<()>>,
    },
    NotSaved {
        row: RowId,
        asset: Asset,
        failure: FileFailure,
    },
    /// A row's files were dealt with; its save lock comes back.
    SavesDone {
        row: RowId,
        guard: Guard,
    },
    Hooked(Box<Hooked>, Result<(), String>),
}

#[derive(Default)]
struct AfterCommit {
    said: Vec<(Rc<Video>, Entry)>,
    /// Workers that wait for their commit.
    acks: Vec<Sender<()>>,
    guards: Vec<Guard>,
    /// Rows HeyGen answered about without news.
    seen: Vec<RowId>,
    stale_parts: Vec<StalePart>,
    failed_hooks: Vec<(Video, DueHook, String)>,
    /// The database cannot be used any more.
    moved: Option<Problem>,
}

/// How often a run leaves a sign of life at most: each costs a commit.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// How many answers about rows go into one transaction at most, give or take one bulk answer: bounds how long another
/// writer waits.
const BATCH: usize = 512;

/// How long the request that only explains something may take.
const HASTE: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(3),
    per_read: Duration::from_secs(1),
};

/// How long hooks may go on when everything else is done, altogether.
const HOOKS_GET: Duration = Duration::from_secs(60);
const HOOK_DIES: Duration = Duration::from_secs(2);

impl<'a, 's> Run<'a, 's> {
    fn new(
        store: &Store,
        env: &'a Environment,
        options: &'a PassOptions,
        reporter: &'a mut Reporter<'s>,
    ) -> Result<Self> {
        let jobs = options.jobs.min(affordable_jobs());
        let (outbox, inbox) = channel();
        Ok(Self {
            env,
            options,
            ignore_backoff: false,
            locks: store.locks()?,
            identity: store.identity(),
            access: None,
            limiter: Arc::new(RateLimiter::default()),
            outbox,
            inbox,
            started: time::now(),
            now: time::now(),
            api: Pool::new("api", jobs),
            savers: Pool::new("save", jobs),
            polls: Polls::default(),
            sends: Sends::default(),
            saves: Saves::default(),
            hooks: Hooks::default(),
            outages: Outages::default(),
            lost: Vec::new(),
            after: AfterCommit::default(),
            reporter,
        })
    }

    /// What is to be done. What needs neither key nor network is done at once.
    fn gather(&mut self, store: &mut Store, scope: Scope) -> Result<()> {
        match scope {
            Scope::Unfinished => {
                self.saves.one_at_a_time = store.read(|tx| tx.has_trouble("disk"))?;
                self.repair(store, None)?;
                self.expire_old(store)?;
                if store.read(has_work)? {
                    self.polls.everything();
                    self.sends.everything();
                }
            }
            Scope::Named {
                rows,
                ignore_backoff,
            } => {
                self.ignore_backoff = ignore_backoff;
                self.repair(store, Some(&rows))?;
                for row in &rows {
                    self.expire_one(store, *row)?;
                }
                if ignore_backoff {
                    self.lost.extend(&rows);
                }
                self.name(store, rows)?;
            }
            Scope::Fresh(rows) => self.sends.fresh(rows),
            Scope::Hooks => {}
        }
        Ok(())
    }

    fn finish(&mut self, store: &mut Store) -> Result<()> {
        if self.work_through(store)? {
            std::mem::take(&mut self.outages).settle(store, self.reporter, time::now())?;
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
        self.look_for_lost(store)?;
        self.explain_no_credit();
        Ok(true)
    }

    /// Whoever reads that the account has no credit wants to know what it has. Asked once, in haste, and only where
    /// somebody looks.
    fn explain_no_credit(&mut self) {
        let Some(access) = &self.access else { return };
        if !self.reporter.reports_again() || !self.outages.has(Outage::Credit) {
            return;
        }
        let caller = Caller {
            client: access.client.with_timeouts(HASTE),
            limiter: Arc::clone(&self.limiter),
            budget: Duration::ZERO,
        };
        if let Ok(balance) = caller.get(|client| client.whoami()) {
            self.outages.explain(Outage::Credit, &balance.to_string());
        }
    }

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
            let received = match [until, hook].into_iter().flatten().min() {
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
        let rows = |message: &Message| match message {
            Message::Bulk { rows, .. } => rows.len(),
            _ => 1,
        };
        let mut about = rows(&first);
        let mut batch = vec![first];
        while about < BATCH
            && let Ok(message) = self.inbox.try_recv()
        {
            about += rows(&message);
            batch.push(message);
        }
        self.take_in(store, batch)?;
        Ok(true)
    }

    /// Starts jobs while workers are free. Downloads have their own pool, so that status requests never wait for them.
    fn dispatch(&mut self, store: &mut Store) -> Result<()> {
        self.dispatch_polls(store)?;
        if self.polls.are_over() {
            self.dispatch_sends(store)?;
        }
        self.dispatch_saves(store)?;
        self.dispatch_hooks(store)
    }

    /// Runs `change` in one transaction, and then what had to wait for it.
    fn commit<T>(
        &mut self,
        store: &mut Store,
        change: impl FnOnce(&mut Self, &Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.now = time::now();
        let value = store.write(|tx| change(self, tx))?;
        self.committed()?;
        Ok(value)
    }

    fn take_in(&mut self, store: &mut Store, batch: Vec<Message>) -> Result<()> {
        let accepted: Vec<String> = batch.iter().filter_map(accepted).collect();
        self.now = time::now();
        let written = store.write(|tx| {
            for message in batch {
                self.learn(tx, message)?;
            }
            match std::mem::take(&mut self.after.seen).as_slice() {
                [] => Ok(()),
                seen => tx.seen(seen, self.now),
            }
        });
        if written.is_err() {
            // The answer must not be lost with the database: the next check replays it, and a person can, too.
            for what in accepted {
                self.reporter.unrecorded(&what);
            }
        }
        written?;
        self.committed()
    }

    fn learn(&mut self, tx: &Tx<'_>, message: Message) -> Result<()> {
        match message {
            Message::Bulk { rows, answer } => {
                self.api.done();
                self.polls.answered();
                self.bulk_answer(tx, rows, answer)
            }
            Message::Detail { row, answer } => {
                self.api.done();
                self.polls.answered();
                self.detail_answer(tx, row, answer)
            }
            Message::Posted {
                row, posted, guard, ..
            } => {
                self.api.done();
                self.sends.answered();
                self.after.guards.push(guard);
                self.post_answer(tx, row, posted)
            }
            Message::Disk { row, point } => tx.set_output_device(row, Some(&point)),
            Message::Refreshed { row, remote } => self.refreshed(tx, row, &remote),
            Message::File {
                row,
                asset,
                fact,
                ack,
            } => {
                self.after.acks.extend(ack);
                self.file(tx, row, asset, fact)
            }
            Message::NotSaved {
                row,
                asset,
                failure,
            } => self.not_saved(tx, row, asset, failure),
            Message::SavesDone { row, guard } => {
                self.savers.done();
                self.saves.done(row);
                self.after.guards.push(guard);
                Ok(())
            }
            Message::Hooked(hooked, outcome) => self.hooked(tx, *hooked, outcome),
        }
    }

    fn committed(&mut self) -> Result<()> {
        let after = std::mem::take(&mut self.after);
        for ack in after.acks {
            // A worker that is gone needs no answer.
            ack.send(()).ok();
        }
        for (video, entry) in &after.said {
            self.reporter.say(video, entry);
        }
        for (video, hook, why) in &after.failed_hooks {
            self.say_hook_failed(video, hook, why);
        }
        for part in &after.stale_parts {
            self.sweep(part);
        }
        after.moved.map_or(Ok(()), Err)
    }

    /// Writes a decision about a row that was read in this transaction, and keeps what happened until that is durable.
    fn write(&mut self, tx: &Tx<'_>, mut decision: Decision) -> Result<()> {
        let row = decision.video.id;
        for Entry { event, .. } in &decision.events {
            if let Event::Error(failure) = event {
                // What is said at a terminal only has not been said where cron's mail is read.
                let said = failure.notify || failure.own && self.reporter.reports_again();
                if said
                    && !self.reporter.is_at_terminal()
                    && let Some(error) = &mut decision.video.last_error
                {
                    error.notified_at = Some(self.now);
                }
                if failure.operation == Operation::Save {
                    self.saves.has_error(row);
                }
            }
        }
        if !tx.apply(&decision, self.now)? {
            return Ok(());
        }
        let finishes = decision.finishes();
        let video = Rc::new(decision.video);
        for part_name in decision.stale_parts {
            let dir = video.output_dir.clone();
            self.after.stale_parts.push(StalePart {
                row,
                dir,
                part_name,
            });
        }
        for entry in decision.events {
            if let Event::Unknown { .. } = entry.event {
                self.lost.push(row);
            }
            if let Some(hook) = entry.hook(&video) {
                self.due_hook(tx, row, hook, entry.event.saved_path())?;
            }
            self.after.said.push((Rc::clone(&video), entry));
        }
        if finishes {
            self.maybe_idle(tx, row)?;
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
                Err(problem) if problem.exit == Exit::Auth => self.stop(Outage::Key, problem),
                Err(problem) => return Err(problem),
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

    /// Asks HeyGen something in a worker thread; `false` without a key. When the run is over by then, nobody listens, and
    /// nothing is lost by it.
    fn request(&mut self, ask: impl FnOnce(&Caller) -> Message + Send + 'static) -> Result<bool> {
        let Some((caller, _)) = self.caller()? else {
            return Ok(false);
        };
        let outbox = self.outbox.clone();
        let job = move || drop(outbox.send(ask(&caller)));
        if self.api.has_thread() {
            self.api.start(job);
        } else {
            // Its message waits in the channel.
            self.api.begin();
            job();
        }
        Ok(true)
    }

    fn account(&self) -> Account {
        let access = self.access.as_ref();
        access.map_or_else(|| Account::new(String::new()), |a| a.account.clone())
    }

    fn file_client(&mut self) -> FileClient {
        let access = self.access.as_ref();
        let loopback = access.is_some_and(|access| access.loopback);
        let proxy = access.and_then(|access| access.proxy.clone());
        self.saves
            .client(loopback, self.options.read_timeout, proxy)
    }

    /// What HeyGen's clock says, as far as this run knows; this machine's otherwise.
    fn heygen_now(&self) -> Timestamp {
        let skew = self.access.as_ref().and_then(|a| a.client.clock_skew());
        Timestamp::from_millis(self.now.millis().saturating_add(skew.unwrap_or_default()))
    }

    /// The run met an outage; the first of a kind is the one that is reported.
    fn outage(&mut self, outage: Outage, problem: impl Into<Problem>) {
        self.outages.note(outage, &self.account(), problem.into());
    }

    fn works(&mut self, outage: Outage) {
        self.outages.disprove(outage, &self.account());
    }

    fn reachable(&mut self) {
        self.works(Outage::Network);
        self.works(Outage::Key);
        self.works(Outage::RateLimit);
    }

    fn stop(&mut self, outage: Outage, problem: impl Into<Problem>) {
        if matches!(
            outage,
            Outage::Key | Outage::Forbidden | Outage::SubmitForbidden
        ) {
            self.reporter.tally.auth = true;
        }
        self.outage(outage, problem);
        self.limiter.close();
    }
}

/// What a person needs to find the video of a row, and to ask for it again.
fn unrecorded(row: RowId, video_id: &VideoId, key: &str) -> String {
    format!(
        "row {row} became video {video_id} (Idempotency-Key {key}), and that could not be recorded"
    )
}

/// What has to be said of an accepted POST when its answer cannot be recorded.
fn accepted(message: &Message) -> Option<String> {
    let Message::Posted {
        row, key, posted, ..
    } = message
    else {
        return None;
    };
    let created = posted.answer.as_ref().ok()?;
    Some(unrecorded(*row, &created.video_id, key.as_str()))
}
