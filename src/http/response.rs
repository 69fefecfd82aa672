//! What a handler answers with.

use std::fmt;
use std::io::{self, Read};

use super::wire::Wire;

/// A well-formed response. `Content-Length` and `Connection` are added when it is sent, unless it names its own.
#[derive(Debug)]
pub struct Response {
    /// The status code; the reason phrase follows from it.
    pub status: u16,
    /// In the order sent.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: Body,
}

/// The bytes after the head.
pub enum Body {
    /// Held in memory; a small one leaves together with the head in one write.
    Bytes(Vec<u8>),
    /// Made while it is sent: a range of something shared, or too large to hold.
    Stream {
        /// Exactly as many bytes as `source` gives.
        length: u64,
        /// Read once, front to back.
        source: Box<dyn Read + Send>,
    },
}

/// An answer that writes itself; an error ends the connection.
pub type TakeOver = Box<dyn FnOnce(&mut Wire<'_>) -> io::Result<Ending> + Send>;

/// What becomes of a request.
pub enum Answer {
    /// A response like any other; the connection lives on if both sides want it.
    Respond(Response),
    /// The handler speaks to the socket itself: late, lying, partial or not at all.
    TakeOver(TakeOver),
}

/// What happens to a connection after its handler took it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer was well-formed: the next request may follow.
    KeepAlive,
    /// An orderly close (FIN).
    Close,
    /// An abortive close (RST). On Linux; elsewhere it may be an orderly one.
    Reset,
}

impl Response {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
        }
    }

    /// The same with a body in memory.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.set_header("Content-Type", content_type);
        self.body = Body::Bytes(bytes.into());
        self
    }

    /// The same with a header, replacing one of that name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value);
        self
    }

    /// Sets a header, replacing one of that name.
    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Removes a header, whatever its case.
    pub fn remove_header(&mut self, name: &str) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Whether a header of that name is set, whatever its case.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The status line, the headers as they are and the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Body {
    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }

    /// The bytes, front to back.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::Stream { source, .. } => source,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.length())
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// The usual phrase; clients ignore it, people reading a trace do not.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
