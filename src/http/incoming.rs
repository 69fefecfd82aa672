//! Reading one request off a socket, with a deadline on everything and a bound on everything.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::request::Request;
use super::server::Limits;

/// Most headers a request may have; more is 431.
const MAX_HEADERS: usize = 100;
/// Most bytes of one line between chunks.
const MAX_CHUNK_LINE: usize = 1024;

/// Why there is no request to handle.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody is there to be told.
    Gone,
    /// To be answered with this status; the connection ends.
    Status(u16),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Status(408),
            _ => Self::Gone,
        }
    }
}

/// The reading half of a connection.
///
/// After every read the last byte consumed so far is *held*: it was peeked at and still lies in the kernel's buffer.
/// Closing a socket with unread bytes makes Linux send RST instead of FIN, which std offers no other way to ask for.
pub(super) struct Incoming<'a> {
    stream: &'a TcpStream,
    limits: &'a Limits,
    held: bool,
    deadline: Option<Instant>,
}

/// What the head says about the rest.
enum Framing {
    Length(usize),
    Chunked,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(stream: &'a TcpStream, limits: &'a Limits) -> Self {
        Self {
            stream,
            limits,
            held: false,
            deadline: None,
        }
    }

    /// Takes the held byte, so that closing is orderly and the next request can be read.
    pub(super) fn release(&mut self) -> io::Result<()> {
        if self.held {
            let mut byte = [0];
            let mut stream = self.stream;
            stream.read_exact(&mut byte)?;
            self.held = false;
        }
        Ok(())
    }

    /// The next request; `None` when the client has no more. `go_on` is called when it waits to be told to send its body.
    pub(super) fn request(
        &mut self,
        peer: SocketAddr,
        go_on: impl FnOnce() -> io::Result<()>,
    ) -> Result<Option<Request>, Refusal> {
        self.release()?;
        if !self.wait_for_first_byte()? {
            return Ok(None);
        }
        self.deadline = Some(Instant::now() + self.limits.header);
        let head = self.until(b"\r\n\r\n", self.limits.max_header, 431)?;
        self.deadline = None;

        let (mut request, framing) = parse(&head, peer)?;
        if matches!(framing, Framing::Length(length) if length > self.limits.max_body) {
            return Err(Refusal::Status(413));
        }
        let expects = request.header("Expect");
        if expects.is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            go_on()?;
        }
        self.deadline = Some(Instant::now() + self.limits.body);
        request.body = match framing {
            Framing::Length(length) => self.exactly(length)?,
            Framing::Chunked => self.chunks()?,
        };
        self.deadline = None;
        Ok(Some(request))
    }

    /// Between requests a client may be silent for `limits.idle`, and silence is no error.
    fn wait_for_first_byte(&mut self) -> Result<bool, Refusal> {
        self.stream.set_read_timeout(Some(self.limits.idle))?;
        match self.stream.peek(&mut [0]) {
            Ok(count) => Ok(count > 0),
            Err(_) => Err(Refusal::Gone),
        }
    }

    /// Arms the socket's time-out for the next read.
    fn arm(&self) -> Result<(), Refusal> {
        let patience = match self.deadline {
            None => self.limits.read,
            Some(deadline) => deadline
                .saturating_duration_since(Instant::now())
                .min(self.limits.read),
        };
        if patience < Duration::from_millis(1) {
            return Err(Refusal::Status(408));
        }
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        self.arm()?;
        match self.stream.peek(buffer)? {
            0 => Err(Refusal::Gone),
            count => Ok(count),
        }
    }

    /// Everything up to and including `end`; its last byte is held.
    fn until(&mut self, end: &[u8], limit: usize, too_long: u16) -> Result<Vec<u8>, Refusal> {
        self.release()?;
        let mut text = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let count = self.peek(&mut buffer)?;
            let before = text.len();
            text.extend_from_slice(&buffer[..count]);
            let from = before.saturating_sub(end.len() - 1);
            let found = text[from..]
                .windows(end.len())
                .position(|window| window == end);
            let mut stream = self.stream;
            if let Some(position) = found {
                text.truncate(from + position + end.len());
                let fresh = text.len() - before;
                stream.read_exact(&mut buffer[..fresh - 1])?;
                self.held = true;
                return if text.len() > limit {
                    Err(Refusal::Status(too_long))
                } else {
                    Ok(text)
                };
            }
            stream.read_exact(&mut buffer[..count])?;
            if text.len() > limit {
                return Err(Refusal::Status(too_long));
            }
        }
    }

    /// Exactly `length` bytes; the last one is held.
    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        if length == 0 {
            return Ok(bytes);
        }
        self.release()?;
        let mut buffer = vec![0; length.min(64 * 1024)];
        while bytes.len() < length - 1 {
            self.arm()?;
            let want = (length - 1 - bytes.len()).min(buffer.len());
            let mut stream = self.stream;
            match stream.read(&mut buffer[..want])? {
                0 => return Err(Refusal::Gone),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        let mut last = [0];
        self.peek(&mut last)?;
        self.held = true;
        bytes.extend_from_slice(&last);
        Ok(bytes)
    }

    /// A chunked body (RFC 9112, section 7.1) without its framing, extensions and trailers.
    fn chunks(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n", MAX_CHUNK_LINE, 400)?;
            let size = chunk_size(&line).ok_or(Refusal::Status(400))?;
            if size == 0 {
                while self.until(b"\r\n", MAX_CHUNK_LINE, 400)?.len() > 2 {}
                return Ok(body);
            }
            if size > self.limits.max_body.saturating_sub(body.len()) {
                return Err(Refusal::Status(413));
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(Refusal::Status(400));
            }
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    // from_str_radix would take a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    usize::from_str_radix(digits, 16).ok().filter(|_| plain)
}

fn parse(head: &[u8], peer: SocketAddr) -> Result<(Request, Framing), Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Status(431)),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::Status(400)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::Status(400));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_owned(), value)
            })
            .collect(),
        body: Vec::new(),
        peer,
        keep_alive: false,
    };
    let connection = request.header("Connection").unwrap_or("");
    request.keep_alive = match version {
        0 => connection.eq_ignore_ascii_case("keep-alive"),
        _ => !connection.eq_ignore_ascii_case("close"),
    };
    let framing = framing(&request)?;
    Ok((request, framing))
}

/// Two framings at once is how requests are smuggled past proxies: refused, as RFC 9112 section 6.1 allows.
fn framing(request: &Request) -> Result<Framing, Refusal> {
    let lengths = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    match (request.header("Transfer-Encoding"), lengths.count()) {
        (None, 0) => Ok(Framing::Length(0)),
        (None, 1) => {
            let text = request.header("Content-Length").unwrap_or_default();
            let plain = text.bytes().all(|digit| digit.is_ascii_digit());
            let length = text.parse().ok().filter(|_| plain);
            length.map(Framing::Length).ok_or(Refusal::Status(400))
        }
        (Some(coding), 0) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(_), 0) => Err(Refusal::Status(501)),
        _ => Err(Refusal::Status(400)),
    }
}
