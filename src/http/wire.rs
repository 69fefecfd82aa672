//! Writing one answer onto a socket.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::request::Request;
use super::response::{Payload, Response};
use super::server::House;

const SMALL: usize = 64 * 1024;

pub struct Wire<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) house: &'a House,
    /// `None` where it was not read to its end: the connection ends with the answer.
    pub(super) request: Option<&'a Request>,
}

impl Wire<'_> {
    /// Writes a well-formed response. A stream shorter than it promised is an error, so the connection ends.
    pub fn send(&mut self, mut response: Response) -> io::Result<()> {
        let bodiless = matches!(response.status, 100..=199 | 204 | 304);
        if !bodiless && !response.has_header("Content-Length") {
            response.set_header("Content-Length", response.body.length().to_string());
        }
        if !self.request.is_some_and(|request| request.keep_alive) {
            response.set_header("Connection", "close");
        }
        let mut head = response.head();
        let head_only = self.request.is_some_and(|request| request.method == "HEAD");
        match response.body {
            _ if bodiless || head_only => self.write_all(&head)?,
            Payload::Bytes(bytes) if bytes.len() <= SMALL => {
                head.extend(bytes);
                self.write_all(&head)?;
            }
            body => {
                let length = body.length();
                self.write_all(&head)?;
                if self.copy(&mut body.into_reader().take(length))? != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }

    /// The connection: a handler that ends it returns an error.
    pub fn stream(&self) -> &TcpStream {
        self.stream
    }

    /// Writes everything `source` gives, in large pieces; says how much that was.
    pub fn copy(&mut self, source: &mut dyn Read) -> io::Result<u64> {
        io::copy(&mut BufReader::with_capacity(SMALL, source), self)
    }

    /// Waits without sending anything; an error when the server stops meanwhile.
    pub fn pause(&self, duration: Duration) -> io::Result<()> {
        if self.house.sleep(duration) {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else {
            Ok(())
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
