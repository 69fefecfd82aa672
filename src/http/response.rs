use std::io::{self, Read};

use ureq::http::StatusCode;

/// A well-formed response. `Content-Length` and `Connection` are added when it is sent, unless it names its own.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Payload,
}

pub enum Payload {
    /// A small one leaves together with the head in one write.
    Bytes(Vec<u8>),
    /// Made while it is sent: a range of something shared, or too large to hold.
    Stream {
        /// Exactly as many bytes as `source` gives.
        length: u64,
        source: Box<dyn Read + Send>,
    },
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Payload::Bytes(Vec::new()),
        }
    }

    #[must_use]
    pub fn with_body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Payload::Bytes(bytes.into());
        self.with_header("Content-Type", content_type)
    }

    /// The same with a header, replacing one of that name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value);
        self
    }

    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub fn remove_header(&mut self, name: &str) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub fn head(&self) -> Vec<u8> {
        let code = StatusCode::from_u16(self.status).ok();
        let reason = code.and_then(|code| code.canonical_reason());
        let reason = reason.unwrap_or("Status");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }
}

impl Payload {
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }

    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::Stream { source, .. } => source,
        }
    }
}
