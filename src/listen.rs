//! The receiving half of `tracker listen`: from a socket to a committed row and an answer.
//!
//! ```text
//! connection threads ─▶ signature, time, shape ─▶ commit thread ─▶ answer 2xx
//!                            └─▶ 4xx, one line         └─▶ news for the main thread, which acts (commands/listen.rs)
//! ```
//!
//! HeyGen wants its answer fast, and acting on an event may take as long as a download does. So the two have a thread
//! and a database connection each: SQLite takes turns between the two writers, each for one short transaction. The
//! commit thread does nothing but commit: all deliveries that have arrived since its last commit go into the next one.
//!
//! # What a crash leaves
//! * before the commit: nothing. HeyGen had no 2xx and delivers again; if it does not, the next `check` asks anyway;
//! * after the commit, before the answer: a pending row. HeyGen delivers again, and that is a duplicate;
//! * after the answer: a pending row. The next `listen` acts on it first thing. `check` knows nothing of it and need
//!   not: the video is unfinished, so it is asked about.
//!
//! What nobody signed costs one line on stderr and never reaches the database.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::http::{Limits, Request, Response, Server};
use crate::render::screen::Screen;
use crate::store::{Store, Taken};
use crate::time;
use crate::webhook::{self, Claim, Delivery, Secret};

/// Where anybody may ask whether the program is alive.
pub const HEALTH: &str = "/health";

/// HeyGen's events have a few hundred bytes.
const MAX_BODY: usize = 256 * 1024;
/// How many deliveries go into one transaction at most: bounds how long another writer waits.
const BATCH: usize = 256;
/// How long a delivery is remembered after it was acted on: a repetition within that time costs nothing.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What one client may cost: everybody on the internet can be one.
fn limits() -> Limits {
    Limits {
        connections: 256,
        idle: Duration::from_secs(10),
        header: Duration::from_secs(5),
        read: Duration::from_secs(5),
        body: Duration::from_secs(10),
        write: Duration::from_secs(5),
        max_header: 16 * 1024,
        max_body: MAX_BODY,
    }
}

/// What the commit thread tells the thread that acts.
#[derive(Debug)]
pub enum News {
    /// There are pending deliveries.
    Pending,
    /// The database failed; whoever waited was answered 503, as everybody will be from now on.
    Failed(Error),
}

/// A signed delivery on its way into the database.
struct Arrival {
    delivery: Delivery,
    /// Told when the delivery is durable; dropped when it could not be recorded.
    committed: Sender<()>,
}

/// Receives deliveries at `path` until the server is dropped. `store` is used for nothing else.
pub fn start(
    listener: TcpListener,
    path: String,
    secret: Secret,
    store: Store,
    screen: &Arc<Screen>,
) -> io::Result<(Server, Receiver<News>)> {
    let (arrivals, inbox) = channel();
    let (sender, news) = channel();
    let theirs = Arc::clone(screen);
    thread::Builder::new()
        .name("webhooks".to_owned())
        .spawn(move || commit_all(store, &inbox, &sender, &theirs))?;
    let desk = Desk {
        path,
        secret,
        arrivals,
        screen: Arc::clone(screen),
    };
    let screen = Arc::clone(screen);
    let server = Server::observed(
        listener,
        limits(),
        move |request| desk.answer(request).into(),
        move |peer, status| log_refusal(&screen, peer, status, refused_unread(status)),
    )?;
    Ok((server, news))
}

/// Where requests are looked at.
struct Desk {
    path: String,
    secret: Secret,
    arrivals: Sender<Arrival>,
    screen: Arc<Screen>,
}

impl Desk {
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
        let signature = request
            .header(webhook::SIGNATURE)
            .or_else(|| request.header(webhook::SIGNATURE_FALLBACK));
        let claim = Claim {
            signature,
            timestamp: request.header(webhook::TIMESTAMP),
            body: &request.body,
        };
        match webhook::read(&self.secret, claim, time::now()) {
            Err(refusal) => self.refuse(request, refusal.status(), &refusal.to_string()),
            // What went wrong is told once, by the thread that acts.
            Ok(delivery) => Response::new(if self.record(delivery) { 200 } else { 503 }),
        }
    }

    /// Waits for the commit; how long is bounded by the store's patience for other writers.
    fn record(&self, delivery: Delivery) -> bool {
        let (committed, commit) = channel();
        let arrival = Arrival {
            delivery,
            committed,
        };
        self.arrivals.send(arrival).is_ok() && commit.recv().is_ok()
    }

    fn refuse(&self, request: &Request, status: u16, why: &str) -> Response {
        log_refusal(&self.screen, request.peer, status, why);
        Response::new(status)
    }
}

/// Nothing of what was sent is repeated: a log is no place for a stranger's text.
fn log_refusal(screen: &Screen, peer: SocketAddr, status: u16, why: &str) {
    screen.warn(&format!("refused a request from {peer}: {status}, {why}"));
}

/// Why a request was refused before it was read to its end.
fn refused_unread(status: u16) -> &'static str {
    match status {
        408 => "it came too slowly",
        413 => "the body is too large",
        431 => "the headers are too large",
        503 => "too many connections at once",
        _ => "it is not HTTP as this server speaks it",
    }
}

/// Commits what arrives, until nobody can send any more or the database fails.
fn commit_all(
    mut store: Store,
    inbox: &Receiver<Arrival>,
    news: &Sender<News>,
    screen: &Arc<Screen>,
) {
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(arrival) = inbox.try_recv()
        {
            batch.push(arrival);
        }
        let report = match commit(&mut store, &batch) {
            Ok(taken) => {
                let accepted = taken.iter().any(|one| matches!(one, Taken::Accepted(_)));
                for (arrival, taken) in batch.into_iter().zip(taken) {
                    // A client that went away needs no answer.
                    arrival.committed.send(()).ok();
                    if screen.verbose > 0 {
                        screen.note(&step(&arrival.delivery, taken));
                    }
                }
                accepted.then_some(News::Pending)
            }
            Err(error) => Some(News::Failed(error)),
        };
        let over = matches!(report, Some(News::Failed(_)));
        let heard = report.is_none_or(|report| news.send(report).is_ok());
        if over || !heard {
            return;
        }
    }
}

fn commit(store: &mut Store, batch: &[Arrival]) -> Result<Vec<Taken>, Error> {
    let now = time::now();
    store.write(|tx| {
        tx.prune_webhooks(now.before(REMEMBERED))?;
        batch
            .iter()
            .map(|Arrival { delivery, .. }| {
                let video_id = delivery.video_id.as_ref();
                tx.take_webhook(&delivery.key, &delivery.event_type, video_id, now)
            })
            .collect()
    })
}

/// What `-v` says of a delivery.
fn step(delivery: &Delivery, taken: Taken) -> String {
    let event = &delivery.event_type;
    match taken {
        Taken::Accepted(row) => format!("{event} about {row}"),
        Taken::Duplicate(row) => format!("{event} about {row}, again"),
        Taken::UnknownVideo => format!("{event} about a video that is not tracked here"),
        Taken::OtherEvent => format!("{event} about no video"),
    }
}
