//! Knows for certain whether a request was handed to a connection.
//!
//! A POST that was never sent cannot have bought anything and may be sent at any time; one that *may* have been sent binds its
//! row to one key, one account and 20 hours. ureq's errors do not tell the two apart: a reset during the TLS handshake and one
//! after the request are the same `Io`, a time-out names only the budget that ran out. So every connection is wrapped, and the
//! wrapper notes the first byte it is given. ureq does all I/O of a call on the calling thread, hence a thread-local note.

use std::cell::Cell;
use std::sync::Arc;

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};

thread_local! {
    static HANDED_OVER: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn begin_request() {
    HANDED_OVER.set(false);
}

/// Whether any byte of this thread's request, since [`begin_request`], was given to an established connection.
pub(super) fn was_handed_over() -> bool {
    HANDED_OVER.get()
}

/// ureq's own connector, with a note-taker around what it makes. Clones share their TLS sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct NotingConnector(Arc<DefaultConnector>);

impl Connector for NotingConnector {
    type Out = NotingTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let connection = self.0.connect(details, chained);
        // To reach a proxy ureq runs this connector inside itself; the `CONNECT` and the TLS handshake that went
        // through that inner connection are not the request.
        begin_request();
        Ok(connection?.map(|inner| NotingTransport {
            inner,
            answering: false,
        }))
    }
}

#[derive(Debug)]
pub(super) struct NotingTransport {
    inner: Box<dyn Transport>,
    answering: bool,
}

impl Transport for NotingTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        HANDED_OVER.set(true);
        self.answering = false;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, Error> {
        if !self.answering {
            // Thinking is not stalling: until the answer begins, only the time-out for the response counts. ureq would
            // apply the one per read as well and so give up on a slow answer early.
            timeout.per_read = None;
        }
        let progress = self.inner.await_input(timeout)?;
        self.answering = true;
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
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
                NotingConnector::default(),
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
