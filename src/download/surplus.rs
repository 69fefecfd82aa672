//! Noticing bytes after the announced end of a body.
//!
//! ureq stops reading at `Content-Length` and silently closes a connection on which more arrives. Here more means
//! that the announced length was wrong, so that what was read may be the beginning of something longer. ureq gives a
//! spent connection back on the thread that read its last byte, so a transport wrapped around every connection can
//! look at it there and leave word in a thread-local. What arrives more than [`GRACE`] after the end stays unseen.

use std::cell::Cell;
use std::io;
use std::time::{self, Instant};

use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::stop;

const SLICE: time::Duration = time::Duration::from_millis(100);
/// How long a spent connection is listened to.
const GRACE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Off,
    /// The outermost transport that is given back or closed is to be looked at.
    Armed,
    Seen,
}

thread_local! {
    static WATCH: Cell<Watch> = const { Cell::new(Watch::Off) };
}

/// Runs one read of a body; also says whether that read ended it with bytes left over.
pub(super) fn watch<T>(read: impl FnOnce() -> T) -> (T, bool) {
    WATCH.set(Watch::Armed);
    let result = read();
    (result, WATCH.replace(Watch::Off) == Watch::Seen)
}

#[derive(Debug)]
pub(super) struct WatchConnector;

impl<In: Transport> Connector<In> for WatchConnector {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(Watched))
    }
}

#[derive(Debug)]
pub(super) struct Watched<T: Transport>(T);

impl<T: Transport> Watched<T> {
    fn look(&mut self) {
        // Disarmed first: a proxied connection has one of these inside its TLS, where a close_notify looks like surplus.
        if WATCH.get() != Watch::Armed {
            return;
        }
        WATCH.set(Watch::Off);
        let wait = NextTimeout {
            after: GRACE,
            reason: ureq::Timeout::PerRead,
            ..NextTimeout::default()
        };
        let more =
            !self.0.buffers().input().is_empty() || matches!(self.0.await_input(wait), Ok(true));
        // The beginning of another answer is no more of this one.
        if more && !self.0.buffers().input().starts_with(b"HTTP/1.") {
            WATCH.set(Watch::Seen);
        }
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    /// In slices: a signal ends a transfer although nothing comes.
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        let begun = Instant::now();
        loop {
            if stop::is_requested() {
                return Err(ureq::Error::Io(io::ErrorKind::ConnectionAborted.into()));
            }
            let left = timeout.after.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            let slice = NextTimeout {
                after: Duration::from(left.min(SLICE)),
                reason: timeout.reason,
                ..NextTimeout::default()
            };
            match self.0.await_input(slice) {
                Err(ureq::Error::Timeout(_)) if left > SLICE => {}
                result => return result,
            }
        }
    }

    /// Asked by ureq before it keeps a connection; one with bytes left over is not kept.
    fn is_open(&mut self) -> bool {
        self.look();
        WATCH.get() != Watch::Seen && self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

impl<T: Transport> Drop for Watched<T> {
    fn drop(&mut self) {
        self.look();
    }
}
