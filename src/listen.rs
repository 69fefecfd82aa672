//! The receiving half of `tracker listen`: from a socket to a committed row and an answer.
//!
//! ```text
//! connection thread: signature, time, shape ─▶ commit ─▶ answer 2xx, and a signal to the main thread,
//!                            └─▶ 4xx, one line              which acts (commands/listen.rs)
//! ```
//!
//! HeyGen wants its answer fast, and acting on an event may take as long as a download does. So receiving has a database
//! connection of its own: SQLite takes turns between the writers, each for one short transaction.
//!
//! # What a crash leaves
//! * before the commit: nothing. HeyGen had no 2xx and delivers again; if it does not, the next `check` asks anyway;
//! * after the commit, before the answer: a pending row. HeyGen delivers again, and that is a duplicate;
//! * after the answer: a pending row. The next `listen` acts on it first thing. `check` knows nothing of it and need
//!   not: the video is unfinished, so it is asked about.
//!
//! What nobody signed costs one line on stderr and never reaches the database. Lines have a thread of their own: where
//! nobody reads them they are dropped and counted, and receiving goes on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Problem;
use crate::http::{Limits, Request, Response, Server};
use crate::render::screen::Screen;
use crate::secret::Secret;
use crate::store::{Store, Taken};
use crate::time;
use crate::webhook::{self, Delivery};

/// Where anybody may ask whether the program is alive.
pub(crate) const HEALTH: &str = "/health";

/// HeyGen's events have a few hundred bytes.
const MAX_BODY: usize = 256 * 1024;
const WAITING_LINES: usize = 256;
/// How long a delivery is remembered after it was acted on: a repetition within that time costs nothing.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What one client may cost: everybody on the internet can be one.
const LIMITS: Limits = Limits {
    connections: 256,
    idle: Duration::from_secs(10),
    header: Duration::from_secs(5),
    body: Duration::from_secs(10),
    write: Duration::from_secs(5),
    max_header: 16 * 1024,
    max_body: MAX_BODY,
};

#[derive(Debug)]
pub(crate) enum Signal {
    Pending,
    /// A pass over these deliveries has ended.
    Acted(Vec<i64>),
    /// The database failed; whoever waited was answered 503.
    Failed(Problem),
}

/// Receives deliveries at `path` until the server is dropped. `store` is used for nothing else.
pub(crate) fn start(
    listener: TcpListener,
    path: String,
    secret: Secret,
    store: Store,
    signals: Sender<Signal>,
    screen: &Arc<Screen>,
) -> io::Result<Server> {
    let (lines, waiting) = sync_channel(WAITING_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let (counted, shown_on) = (Arc::clone(&dropped), Arc::clone(screen));
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || print_all(&waiting, &counted, &shown_on))?;
    let reception = Arc::new(Reception {
        path,
        secret,
        store: Mutex::new(store),
        signals,
        lines,
        dropped,
        verbose: screen.verbose > 0,
    });
    let refusing = Arc::clone(&reception);
    Server::start(
        listener,
        LIMITS,
        move |request, wire| wire.send(reception.answer(request)),
        move |peer, status| refusing.log_refusal(peer, status, refused_unread(status)),
    )
}

struct Reception {
    path: String,
    secret: Secret,
    store: Mutex<Store>,
    signals: Sender<Signal>,
    /// On their way to stderr, which nobody may be reading.
    lines: SyncSender<LogLine>,
    dropped: Arc<AtomicU64>,
    verbose: bool,
}

impl Reception {
    fn answer(&self, request: &Request) -> Response {
        match request.method.as_str() {
            "POST" if request.path == self.path => self.delivery(request),
            // HeyGen's check when an endpoint is registered; it waits for one second.
            "OPTIONS" if request.path == self.path => {
                Response::new(204).with_header("Allow", "OPTIONS, POST")
            }
            "GET" | "HEAD" if request.path == HEALTH => {
                Response::new(200).with_body("text/plain", "ok\n")
            }
            _ if request.path == self.path => self
                .refuse(request, 405, "only POST delivers")
                .with_header("Allow", "OPTIONS, POST"),
            _ => self.refuse(request, 404, "nothing is there"),
        }
    }

    fn delivery(&self, request: &Request) -> Response {
        let header = |name: &str| request.header(name);
        match webhook::read(&self.secret, header, &request.body, time::now()) {
            Err((status, why)) => self.refuse(request, status, why),
            // What went wrong is said once, by the thread that acts.
            Ok(delivery) => Response::new(if self.record(&delivery) { 200 } else { 503 }),
        }
    }

    /// How long it takes is bounded by the store's patience for other writers.
    fn record(&self, delivery: &Delivery) -> bool {
        let now = time::now();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = store.write(|tx| {
            tx.prune_webhooks(now.before(REMEMBERED))?;
            let video_id = delivery.video_id.as_ref();
            tx.take_webhook(&delivery.key, &delivery.event_type, video_id, now)
        });
        drop(store);
        match taken {
            Ok(taken) => {
                if self.verbose {
                    self.log(Screen::note, step(delivery, taken));
                }
                !matches!(taken, Taken::Accepted(_)) || self.signals.send(Signal::Pending).is_ok()
            }
            Err(error) => {
                // Without a main thread there is nobody left to tell.
                self.signals.send(Signal::Failed(error)).ok();
                false
            }
        }
    }

    fn refuse(&self, request: &Request, status: u16, why: &str) -> Response {
        self.log_refusal(request.peer, status, why);
        Response::new(status)
    }

    /// Nothing of what was sent is repeated: a log is no place for a stranger's text.
    fn log_refusal(&self, peer: SocketAddr, status: u16, why: &str) {
        let text = format!("refused a request from {peer}: {status}, {why}");
        self.log(Screen::warn, text);
    }

    fn log(&self, say: fn(&Screen, &str), text: String) {
        if self.lines.try_send((say, text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type LogLine = (fn(&Screen, &str), String);

/// Waits for room before it prints: whoever waits inside the screen holds up everybody who has something to say there.
fn print_all(lines: &Receiver<LogLine>, dropped: &AtomicU64, screen: &Screen) {
    while let Ok((say, text)) = lines.recv() {
        let stderr = io::stderr();
        let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        // Where that cannot be asked, printing says what is wrong.
        poll(&mut room, PollTimeout::NONE).ok();
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            more => screen.warn(&format!("{more} lines were dropped while nobody read them")),
        }
        say(screen, &text);
    }
}

fn refused_unread(status: u16) -> &'static str {
    match status {
        408 => "it came too slowly",
        413 => "the body is too large",
        431 => "the headers are too large",
        503 => "too many connections at once",
        _ => "it is not HTTP as this server speaks it",
    }
}

fn step(delivery: &Delivery, taken: Taken) -> String {
    let event = &delivery.event_type;
    match taken {
        Taken::Accepted(row) => format!("{event} about {row}"),
        Taken::Duplicate(row) => format!("{event} about {row}, again"),
        Taken::UnknownVideo => format!("{event} about a video that is not tracked here"),
        Taken::OtherEvent => format!("{event} about no video"),
    }
}
