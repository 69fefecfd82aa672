//! The oracle's memory: what arrived and what was charged.

use std::time::Instant;

use heygen_tracker::http::Request;
use heygen_tracker::sandbox::Host;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When its last byte had arrived.
    pub at: Instant,
    /// Where it arrived.
    pub server: Host,
    /// As sent.
    pub method: String,
    /// As sent, percent-encoded.
    pub path: String,
    /// As sent, percent-encoded, without the `?`.
    pub query: String,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// Without its transfer encoding.
    pub body: Vec<u8>,
    /// The status sent back; `None` while there is none, and when a fault kept the answer back.
    pub answered: Option<u16>,
}

impl Recorded {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One POST that was accepted and may be charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billed {
    /// What it made.
    pub video_id: String,
    /// The API key that pays.
    pub key: String,
    /// The `Idempotency-Key` it came with.
    pub idempotency_key: Option<String>,
    /// The request body.
    pub body: Vec<u8>,
}

/// All requests, in order of arrival.
#[derive(Default)]
pub(super) struct Log {
    requests: Vec<Recorded>,
}

impl Log {
    /// Remembers a request; returns its number.
    pub(super) fn arrived(&mut self, server: Host, request: &Request) -> usize {
        self.requests.push(Recorded {
            at: Instant::now(),
            server,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            answered: None,
        });
        self.requests.len()
    }

    /// Notes the answer to the request of that number.
    pub(super) fn answered(&mut self, number: usize, status: u16) {
        self.requests[number - 1].answered = Some(status);
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.requests.clone()
    }
}
