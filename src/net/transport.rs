//! What ureq does not say about a connection: whether a request was handed to it, and whether a body went on after its
//! announced end. Every connection is wrapped, and the wrapper notes both in thread-locals, since ureq does all I/O of
//! a call on the calling thread.
//!
//! A POST that was never sent cannot have created a video and may be sent at any time; one that *may* have been sent
//! binds its row to one key, one account and 20 hours. ureq's errors are the same for both: a reset during the TLS
//! handshake and one after the request are an `Io`, a time-out names only the budget that ran out. So the first byte is
//! noted.
//!
//! ureq stops reading at `Content-Length` and silently closes a connection on which more arrives. For a file more means
//! that the announced length was wrong, so that what was read may be the beginning of something longer. ureq gives a
//! spent connection back on the thread that read its last byte, where the wrapper can look at it. What arrives more
//! than [`GRACE`] after the end stays unseen.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{self, Instant};

use ureq::Error;
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};

const SLICE: time::Duration = time::Duration::from_millis(100);
/// How long a spent connection is listened to.
const GRACE: Duration = Duration::from_millis(1);

const INTERIM: &[u8] = b"HTTP/1.1 1";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surplus {
    Off,
    /// The outermost transport that is given back or closed is to be looked at.
    Armed,
    Seen,
}

thread_local! {
    static HANDED_OVER: Cell<bool> = const { Cell::new(false) };
    static SURPLUS: Cell<Surplus> = const { Cell::new(Surplus::Off) };
}

pub(crate) fn begin_request() {
    HANDED_OVER.set(false);
}

/// Whether any byte of this thread's request, since [`begin_request`], was given to an established connection.
pub(crate) fn was_handed_over() -> bool {
    HANDED_OVER.get()
}

/// Runs one read of a body; also says whether that read ended it with bytes left over.
pub(crate) fn read_noting_surplus<T>(read: impl FnOnce() -> T) -> (T, bool) {
    SURPLUS.set(Surplus::Armed);
    let result = read();
    (result, SURPLUS.replace(Surplus::Off) == Surplus::Seen)
}

/// ureq's own connector, with a watcher around what it makes. Clones share their TLS sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchingConnector {
    inner: Arc<DefaultConnector>,
    ends_when: Option<fn() -> bool>,
}

impl WatchingConnector {
    /// A connection on which nothing comes ends soon after `ends_when` says yes.
    pub(crate) fn ending(ends_when: fn() -> bool) -> Self {
        Self {
            inner: Arc::default(),
            ends_when: Some(ends_when),
        }
    }
}

impl Connector for WatchingConnector {
    type Out = Watched;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let connection = self.inner.connect(details, chained);
        // To reach a proxy ureq runs this connector inside itself; the `CONNECT` and the TLS handshake that went
        // through that inner connection are not the request.
        begin_request();
        Ok(connection?.map(|inner| Watched {
            inner,
            ends_when: self.ends_when,
            answering: false,
        }))
    }
}

#[derive(Debug)]
pub(crate) struct Watched {
    inner: Box<dyn Transport>,
    ends_when: Option<fn() -> bool>,
    answering: bool,
}

impl Watched {
    fn look(&mut self) {
        // Disarmed first: a proxied connection has one of these inside its TLS, where a close_notify looks like surplus.
        if SURPLUS.get() != Surplus::Armed {
            return;
        }
        SURPLUS.set(Surplus::Off);
        let wait = NextTimeout {
            after: GRACE,
            reason: ureq::Timeout::PerRead,
            ..NextTimeout::default()
        };
        let more =
            !self.buffers().input().is_empty() || matches!(self.inner.await_input(wait), Ok(true));
        // The beginning of another answer is no more of this one.
        if more && !self.buffers().input().starts_with(b"HTTP/1.") {
            SURPLUS.set(Surplus::Seen);
        }
    }

    fn await_answer(&mut self, mut timeout: NextTimeout) -> Result<bool, Error> {
        if !self.answering {
            // Thinking is not stalling: until the answer begins, only the time-out for the response counts. ureq
            // would apply the one per read as well and so give up on a slow answer early.
            timeout.per_read = None;
        }
        let progress = self.inner.await_input(timeout)?;
        let input = self.inner.buffers().input();
        self.answering =
            self.answering || !INTERIM.starts_with(&input[..input.len().min(INTERIM.len())]);
        Ok(progress)
    }

    fn await_in_slices(
        &mut self,
        ends_when: fn() -> bool,
        timeout: NextTimeout,
    ) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let begun = Instant::now();
        loop {
            if ends_when() {
                return Err(Error::Io(io::ErrorKind::ConnectionAborted.into()));
            }
            let left = timeout.after.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
            let slice = NextTimeout {
                after: Duration::from(left.min(SLICE)),
                reason: timeout.reason,
                ..NextTimeout::default()
            };
            match self.inner.await_input(slice) {
                Err(Error::Timeout(_)) if left > SLICE => {}
                result => return result,
            }
        }
    }
}

impl Transport for Watched {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        HANDED_OVER.set(true);
        self.answering = false;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match self.ends_when {
            Some(ends_when) => self.await_in_slices(ends_when, timeout),
            None => self.await_answer(timeout),
        }
    }

    /// Asked by ureq before it keeps a connection; one with bytes left over is not kept.
    fn is_open(&mut self) -> bool {
        self.look();
        SURPLUS.get() != Surplus::Seen && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;
    use ureq::unversioned::resolver::DefaultResolver;
    use ureq::{Agent, Proxy};

    /// Talking to a proxy, and through it to nobody, is not sending the request.
    #[test]
    fn a_proxy_that_leads_nowhere_got_no_request() {
        for reply in [
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nnot a TLS server",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let proxy = format!("http://{}", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                lines.find(|line| line.as_ref().unwrap().is_empty());
                stream.write_all(reply.as_bytes()).unwrap();
                first
            });
            let config = Agent::config_builder()
                .proxy(Some(Proxy::new(&proxy).unwrap()))
                .build();
            let agent = Agent::with_parts(
                config,
                WatchingConnector::default(),
                DefaultResolver::default(),
            );
            begin_request();
            assert!(agent.post("https://heygen.invalid/").send("body").is_err());
            assert!(!was_handed_over());
            assert_eq!(
                server.join().unwrap(),
                "CONNECT heygen.invalid:443 HTTP/1.1"
            );
        }
    }
}
