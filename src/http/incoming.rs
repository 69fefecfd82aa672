//! Reading one request off a socket, with a deadline on everything and a bound on everything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::request::Request;
use super::server::Limits;

const MAX_HEADERS: usize = 100;
const MAX_CHUNK_LINE: usize = 1024;

#[derive(Debug)]
pub(super) enum Unread {
    Gone,
    /// To be answered with this status; the connection ends.
    Status(u16),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Status(408),
            _ => Self::Gone,
        }
    }
}

/// Reads until a deadline.
pub(super) struct Patient<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) deadline: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A time-out of zero would be none at all.
        if left < Duration::from_millis(1) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

pub(super) struct Incoming<'a> {
    reader: BufReader<Patient<'a>>,
    limits: &'a Limits,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(stream: &'a TcpStream, limits: &'a Limits) -> Self {
        let deadline = Instant::now();
        Self {
            reader: BufReader::new(Patient { stream, deadline }),
            limits,
        }
    }

    fn allow(&mut self, time: Duration) {
        self.reader.get_mut().deadline = Instant::now() + time;
    }

    pub(super) fn request(&mut self, peer: SocketAddr) -> Result<Option<Request>, Unread> {
        self.allow(self.limits.idle);
        // Between requests silence is no error.
        match self.reader.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => {}
            Err(_) => return Err(Unread::Gone),
        }
        self.allow(self.limits.header);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let room = self.limits.max_header - head.len();
            head.extend(self.line(room, 431)?);
        }
        let (mut request, length) = parse(&head, peer)?;
        if length.is_some_and(|length| length > self.limits.max_body) {
            return Err(Unread::Status(413));
        }
        let expects = request.header("Expect");
        if expects.is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            let mut stream = self.reader.get_ref().stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.allow(self.limits.body);
        request.body = match length {
            Some(length) => self.exactly(length)?,
            None => self.chunks()?,
        };
        Ok(Some(request))
    }

    fn line(&mut self, most: usize, too_long: u16) -> Result<Vec<u8>, Unread> {
        let mut line = Vec::new();
        let mut bounded = self.reader.by_ref().take(most as u64 + 1);
        bounded.read_until(b'\n', &mut line)?;
        match line.last() {
            _ if line.len() > most => Err(Unread::Status(too_long)),
            Some(b'\n') => Ok(line),
            _ => Err(Unread::Gone),
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A chunked body (RFC 9112, section 7.1) without its framing, extensions and trailers.
    fn chunks(&mut self) -> Result<Vec<u8>, Unread> {
        let mut body = Vec::new();
        loop {
            let line = self.line(MAX_CHUNK_LINE, 400)?;
            let size = chunk_size(&line).ok_or(Unread::Status(400))?;
            if size == 0 {
                while self.line(MAX_CHUNK_LINE, 400)? != b"\r\n" {}
                return Ok(body);
            }
            if size > self.limits.max_body.saturating_sub(body.len()) {
                return Err(Unread::Status(413));
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(Unread::Status(400));
            }
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let digits = text.split(';').next()?.trim();
    // from_str_radix would take a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    usize::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// A request without its body, and how long that is: see [`length`].
fn parse(head: &[u8], peer: SocketAddr) -> Result<(Request, Option<usize>), Unread> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unread::Status(431)),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Unread::Status(400)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Unread::Status(400));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_owned(), value)
    };
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed.headers.iter().map(text).collect(),
        body: Vec::new(),
        peer,
        keep_alive: false,
    };
    let connection = request.header("Connection").unwrap_or("");
    request.keep_alive = match version {
        0 => connection.eq_ignore_ascii_case("keep-alive"),
        _ => !connection.eq_ignore_ascii_case("close"),
    };
    let length = length(&request)?;
    Ok((request, length))
}

/// `None` is a body in chunks. Two framings at once is how requests are smuggled past proxies: refused, as RFC 9112
/// section 6.1 allows.
fn length(request: &Request) -> Result<Option<usize>, Unread> {
    let named = |name: &str| -> Vec<&str> {
        let headers = request.headers.iter();
        let same = headers.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    };
    match (&*named("Transfer-Encoding"), &*named("Content-Length")) {
        ([], []) => Ok(Some(0)),
        ([], [text]) if text.bytes().all(|digit| digit.is_ascii_digit()) => {
            text.parse().map(Some).map_err(|_| Unread::Status(400))
        }
        ([coding, ..], []) if coding.eq_ignore_ascii_case("chunked") => Ok(None),
        ([_, ..], []) => Err(Unread::Status(501)),
        _ => Err(Unread::Status(400)),
    }
}

#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/requests.rs"]
pub(crate) mod fuzz;
