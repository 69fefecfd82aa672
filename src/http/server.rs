//! The listener and its threads.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::incoming::{Incoming, Refusal};
use super::request::Request;
use super::response::{Answer, Ending, Response};
use super::wire::Wire;

/// What one client may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; one more is answered 503.
    pub connections: usize,
    /// Silence between two requests.
    pub idle: Duration,
    /// From the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Silence within a request.
    pub read: Duration,
    /// From the end of the headers to the end of the body: a client that drips would hold its place for ever.
    pub body: Duration,
    /// How long a write may block on a client that does not read.
    pub write: Duration,
    /// Bytes of request line and headers; more is 431.
    pub max_header: usize,
    /// Bytes of body; more is 413.
    pub max_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            idle: Duration::from_secs(30),
            header: Duration::from_secs(10),
            read: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write: Duration::from_secs(30),
            max_header: 64 * 1024,
            max_body: 1024 * 1024,
        }
    }
}

/// How long [`Server::stop`] waits for connection threads before it leaves them to end by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long and how much of an unwanted request is read after its refusal, so that the client gets to see the refusal.
const DRAIN: (Duration, u64) = (Duration::from_millis(500), 8 * 1024 * 1024);

/// A flag that sleepers notice at once.
#[derive(Default)]
pub(crate) struct Stop {
    raised: Mutex<bool>,
    bell: Condvar,
}

impl Stop {
    /// Wakes every sleeper, now and from now on.
    pub(crate) fn raise(&self) {
        *lock(&self.raised) = true;
        self.bell.notify_all();
    }

    fn is_raised(&self) -> bool {
        *lock(&self.raised)
    }

    /// Sleeps for `duration` or until the flag is raised; says whether it is.
    pub(crate) fn wait(&self, duration: Duration) -> bool {
        let guard = lock(&self.raised);
        let waited = self
            .bell
            .wait_timeout_while(guard, duration, |raised| !*raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;
type Observer = dyn Fn(SocketAddr, u16) + Send + Sync;

/// What the threads of one server share.
struct Shared {
    handler: Box<Handler>,
    refused: Box<Observer>,
    limits: Limits,
    stop: Stop,
    /// The open connections, so that stopping can end their reads.
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    closed: Condvar,
}

/// A running server; stops when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener` until stopped. `handler` runs on many threads at once; its panics end their connection only.
    pub fn start(
        listener: TcpListener,
        limits: Limits,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::observed(listener, limits, handler, |_, _| {})
    }

    /// Like [`Server::start`]; `refused` hears of every request that is answered without the handler (malformed, too
    /// large, too slow, one connection too many): from where, and with which status.
    pub fn observed(
        listener: TcpListener,
        limits: Limits,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        refused: impl Fn(SocketAddr, u16) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            refused: Box::new(refused),
            limits,
            stop: Stop::default(),
            open: Mutex::default(),
            closed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("http-accept".to_owned())
            .spawn(move || accept(&listener, &theirs))?;
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection. Waits for their threads, but not for ever.
    pub fn stop(&mut self) {
        if self.close_listener() {
            self.close_connections(Shutdown::Both, STOP_PATIENCE);
        }
    }

    /// Closes the listener and lets requests that have arrived be answered, for at most `patience`; then stops.
    ///
    /// Connections can be read no further than what has arrived: a request that is still on its way gets no answer.
    pub fn drain(&mut self, patience: Duration) {
        if self.close_listener() {
            self.close_connections(Shutdown::Read, patience);
            self.close_connections(Shutdown::Both, STOP_PATIENCE);
        }
    }

    /// Says whether it was open.
    fn close_listener(&mut self) -> bool {
        let Some(acceptor) = self.acceptor.take() else {
            return false;
        };
        self.shared.stop.raise();
        // accept() has no time-out: a connection of our own wakes it.
        if TcpStream::connect_timeout(&self.address, STOP_PATIENCE).is_ok() {
            acceptor.join().ok();
        }
        true
    }

    fn close_connections(&self, how: Shutdown, patience: Duration) {
        let open = lock(&self.shared.open);
        for stream in open.values() {
            stream.shutdown(how).ok();
        }
        drop(
            self.shared
                .closed
                .wait_timeout_while(open, patience, |open| !open.is_empty()),
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0_u64.. {
        let accepted = listener.accept();
        if shared.stop.is_raised() {
            return;
        }
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: some must come back first.
            shared.stop.wait(Duration::from_millis(10));
            continue;
        };
        let stream = Arc::new(stream);
        {
            let mut open = lock(&shared.open);
            if open.len() >= shared.limits.connections {
                drop(open);
                turn_away(&stream);
                (shared.refused)(peer, 503);
                continue;
            }
            open.insert(number, Arc::clone(&stream));
        }
        let place = Place {
            shared: Arc::clone(shared),
            number,
        };
        // When no thread can be had, dropping `place` and `stream` closes the connection.
        drop(
            thread::Builder::new()
                .name("http-connection".to_owned())
                .spawn(move || {
                    // On an error the client went away: there is nobody to tell.
                    serve(&stream, peer, &place.shared).ok();
                    place.leave(stream);
                }),
        );
    }
}

/// A connection's entry in [`Shared::open`], given up even when the handler panics.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Place {
    /// Closes the socket before a waiting [`Server::stop`] hears of it.
    fn leave(self, stream: Arc<TcpStream>) {
        drop(stream);
        drop(self);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shared.open).remove(&self.number);
        self.shared.closed.notify_all();
    }
}

/// One connection, request after request.
fn serve(stream: &TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(shared.limits.write))?;
    let mut incoming = Incoming::new(stream, &shared.limits);
    loop {
        let go_on = || {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        };
        let request = match incoming.request(peer, go_on) {
            Ok(Some(request)) => request,
            Ok(None) | Err(Refusal::Gone) => return Ok(()),
            Err(Refusal::Status(status)) => {
                (shared.refused)(peer, status);
                return refuse(stream, shared, status);
            }
        };
        let head_only = request.method == "HEAD";
        let mut wire = Wire::new(stream, &shared.stop, head_only, request.keep_alive);
        let ending = match (shared.handler)(&request) {
            Answer::Respond(response) => {
                wire.send(response)?;
                Ending::KeepAlive
            }
            Answer::TakeOver(speak) => speak(&mut wire)?,
        };
        match ending {
            Ending::KeepAlive if request.keep_alive => {}
            // The held byte stays unread: that is the reset.
            Ending::Reset => return Ok(()),
            Ending::KeepAlive | Ending::Close => {
                incoming.release()?;
                return stream.shutdown(Shutdown::Write);
            }
        }
    }
}

/// Answers a request that was not read to its end. Closing at once would reset the connection and take the answer along.
fn refuse(stream: &TcpStream, shared: &Shared, status: u16) -> io::Result<()> {
    Wire::new(stream, &shared.stop, false, false).send(Response::new(status))?;
    stream.shutdown(Shutdown::Write)?;
    let (patience, most) = DRAIN;
    let deadline = Instant::now() + patience;
    let mut rest = stream.take(most);
    let mut buffer = [0; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if rest.read(&mut buffer)? == 0 {
            return Ok(());
        }
    }
}

/// Over the cap: a best effort that costs the accepting thread nothing.
fn turn_away(stream: &TcpStream) {
    let head = Response::new(503)
        .with_header("Retry-After", "1")
        .with_header("Content-Length", "0")
        .with_header("Connection", "close")
        .head();
    let mut stream = stream;
    if stream.set_nonblocking(true).is_ok() && stream.write_all(&head).is_ok() {
        // What has arrived is read, so that the close is not a reset.
        while matches!(stream.read(&mut [0; 8192]), Ok(1..)) {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
