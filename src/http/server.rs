use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::incoming::{Incoming, Patient, Unread};
use super::request::Request;
use super::response::Response;
use super::wire::Wire;

#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; one more is answered 503.
    pub connections: usize,
    pub idle: Duration,
    /// From the first byte of a request to the end of its headers.
    pub header: Duration,
    /// From the end of the headers to the end of the body: a client that drips would hold its place for ever.
    pub body: Duration,
    /// How long a write may block on a client that does not read.
    pub write: Duration,
    pub max_header: usize,
    pub max_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            idle: Duration::from_secs(30),
            header: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write: Duration::from_secs(30),
            max_header: 64 * 1024,
            max_body: 1024 * 1024,
        }
    }
}

/// How long a server that ends waits for connection threads before it leaves them to end by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long and how much of an unwanted request is read, so that the client gets to see the refusal.
const DRAIN: (Duration, u64) = (Duration::from_millis(500), 8 * 1024 * 1024);

type Handler = dyn Fn(&Request, &mut Wire<'_>) -> io::Result<()> + Send + Sync;
type Observer = dyn Fn(SocketAddr, u16) + Send + Sync;

pub(super) struct House {
    handler: Box<Handler>,
    refused: Box<Observer>,
    limits: Limits,
    stopped: AtomicBool,
    /// The open connections, so that stopping can end their reads.
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// A connection is closed, or the server stops.
    changed: Condvar,
}

impl House {
    /// Sleeps for `duration` or until the server stops; says whether it does.
    pub(super) fn sleep(&self, duration: Duration) -> bool {
        let goes_on = |_: &mut _| !self.stopped.load(Ordering::Relaxed);
        let changed = &self.changed;
        drop(changed.wait_timeout_while(lock(&self.open), duration, goes_on));
        self.stopped.load(Ordering::Relaxed)
    }

    fn wire<'a>(&'a self, stream: &'a TcpStream, request: Option<&'a Request>) -> Wire<'a> {
        Wire {
            stream,
            house: self,
            request,
        }
    }
}

pub struct Server {
    address: SocketAddr,
    house: Arc<House>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `listener` until stopped. `handler` runs on many threads at once; its panics and errors end their
    /// connection only. `refused` hears of every request that is answered without the handler (malformed, too large,
    /// too slow, one connection too many): from where, and with which status.
    pub fn start(
        listener: TcpListener,
        limits: Limits,
        handler: impl Fn(&Request, &mut Wire<'_>) -> io::Result<()> + Send + Sync + 'static,
        refused: impl Fn(SocketAddr, u16) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let house = Arc::new(House {
            handler: Box::new(handler),
            refused: Box::new(refused),
            limits,
            stopped: AtomicBool::new(false),
            open: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&house);
        let acceptor = thread::Builder::new()
            .name("http-accept".to_owned())
            .spawn(move || accept(&listener, &theirs))?;
        Ok(Self {
            address,
            house,
            acceptor: Some(acceptor),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and lets requests that have arrived be answered, for at most `patience`; then stops. A request
    /// that is still on its way gets no answer.
    pub fn drain(&mut self, patience: Duration) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        let open = lock(&self.house.open);
        self.house.stopped.store(true, Ordering::Relaxed);
        drop(open);
        self.house.changed.notify_all();
        // accept() has no time-out: a connection of our own wakes it.
        if TcpStream::connect_timeout(&self.address, STOP_PATIENCE).is_ok() {
            acceptor.join().ok();
        }
        if !patience.is_zero() {
            self.close_connections(Shutdown::Read, patience);
        }
        self.close_connections(Shutdown::Both, STOP_PATIENCE);
    }

    fn close_connections(&self, how: Shutdown, patience: Duration) {
        let open = lock(&self.house.open);
        for stream in open.values() {
            stream.shutdown(how).ok();
        }
        let changed = &self.house.changed;
        drop(changed.wait_timeout_while(open, patience, |open| !open.is_empty()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

fn accept(listener: &TcpListener, house: &Arc<House>) {
    for number in 0_u64.. {
        let accepted = listener.accept();
        if house.stopped.load(Ordering::Relaxed) {
            return;
        }
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: some must come back first.
            house.sleep(Duration::from_millis(10));
            continue;
        };
        let mut open = lock(&house.open);
        if open.len() >= house.limits.connections {
            drop(open);
            turn_away(&stream, house);
            (house.refused)(peer, 503);
            continue;
        }
        let stream = Arc::new(stream);
        open.insert(number, Arc::clone(&stream));
        drop(open);
        let visit = Visit(Arc::clone(house), number);
        // When no thread can be had, dropping both closes the connection.
        drop(
            thread::Builder::new()
                .name("http-connection".to_owned())
                .spawn(move || {
                    // Closed in the opposite order: the socket before a waiting `Server::drain` hears of it.
                    let visit = visit;
                    let stream = stream;
                    // On an error the client went away: nobody is there to answer to.
                    serve(&stream, peer, &visit.0).ok();
                }),
        );
    }
}

/// A connection's entry in [`House::open`], given up even when the handler panics.
struct Visit(Arc<House>, u64);

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.0.open).remove(&self.1);
        self.0.changed.notify_all();
    }
}

fn serve(stream: &TcpStream, peer: SocketAddr, house: &House) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(house.limits.write))?;
    let mut incoming = Incoming::new(stream, &house.limits);
    loop {
        let request = match incoming.request(peer) {
            Ok(Some(request)) => request,
            Ok(None) | Err(Unread::Gone) => return Ok(()),
            Err(Unread::Status(status)) => {
                (house.refused)(peer, status);
                return refuse(stream, house, status);
            }
        };
        (house.handler)(&request, &mut house.wire(stream, Some(&request)))?;
        if !request.keep_alive {
            return stream.shutdown(Shutdown::Write);
        }
    }
}

/// Answers a request that was not read to its end. Closing at once would reset the connection and take the answer along.
fn refuse(stream: &TcpStream, house: &House, status: u16) -> io::Result<()> {
    house.wire(stream, None).send(Response::new(status))?;
    stream.shutdown(Shutdown::Write)?;
    let (patience, most) = DRAIN;
    let deadline = Instant::now() + patience;
    let rest = Patient { stream, deadline };
    io::copy(&mut rest.take(most), &mut io::sink()).map(drop)
}

/// Over the cap: a best effort that costs the accepting thread nothing.
fn turn_away(mut stream: &TcpStream, house: &House) {
    let busy = Response::new(503).with_header("Retry-After", "1");
    let mut wire = house.wire(stream, None);
    if stream.set_nonblocking(true).is_ok() && wire.send(busy).is_ok() {
        // What has arrived is read, so that the close is not a reset.
        while matches!(stream.read(&mut [0; 8192]), Ok(1..)) {}
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
