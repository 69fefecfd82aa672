//! From a fault and the real answer to bytes on the wire.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use heygen_tracker::http::{Payload, Response, Wire};
use heygen_tracker::sandbox::Host;
use serde_json::{Value, json};
use socket2::SockRef;

use super::fault::{Content, Cut, Ending, Fault, Framing, Gate, Manner, Then};

/// After this much even an endless answer ends.
const ENDLESS: u64 = 1024 * 1024 * 1024;

/// After this long nothing is held any more: even a test that forgets to release it ends.
const HELD_AT_MOST: Duration = Duration::from_secs(300);

/// The answer's content and headers: what the fault wants, made from the real answer where it wants that.
pub(super) fn compose(fault: &Fault, real: Option<Response>, host: Host) -> Response {
    let real = real.unwrap_or_else(|| Response::new(200));
    let mut response = match &fault.content {
        Content::Real => real,
        Content::Patched(fields) => patched(real, fields),
        Content::Error(status) => match host {
            Host::Api => of_status(*status),
            Host::Files => xml(*status),
        },
        Content::Bytes {
            status,
            kind,
            bytes,
        } => Response::new(*status).with_body(kind, bytes.clone()),
        Content::Huge(length) => huge(*length),
    };
    if let Some(status) = fault.status {
        response.status = status;
    }
    for (name, value) in &fault.headers {
        match value {
            Some(value) => response.set_header(name, value),
            None => response.remove_header(name),
        }
    }
    response
}

/// The envelope HeyGen would send with that status.
pub(super) fn of_status(status: u16) -> Response {
    let (code, message) = match status {
        400 | 422 => ("invalid_parameter", "The request is invalid."),
        401 => ("unauthorized", "The API key is missing or wrong."),
        402 => ("insufficient_credit", "Not enough credit."),
        403 => ("forbidden", "Access denied."),
        404 => ("not_found", "Not found."),
        405 => ("method_not_allowed", "Method not allowed."),
        409 => (
            "request_in_progress",
            "A request with this key is in progress.",
        ),
        413 => ("payload_too_large", "The request is too large."),
        429 => ("rate_limit_exceeded", "Too many requests."),
        500.. => ("internal_error", "Something went wrong."),
        _ => ("error", "Refused."),
    };
    let error = json!({"error": {"code": code, "message": message}});
    Response::new(status).with_body("application/json", error.to_string())
}

/// What an object store answers with that status.
fn xml(status: u16) -> Response {
    let (code, message) = match status {
        403 => (
            "AccessDenied",
            "Request has expired or its signature does not match",
        ),
        404 => ("NoSuchKey", "The specified key does not exist."),
        416 => ("InvalidRange", "The requested range is not satisfiable"),
        503 => ("SlowDown", "Please reduce your request rate."),
        500.. => ("InternalError", "We encountered an internal error."),
        _ => ("Error", "Refused."),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    );
    Response::new(status).with_body("application/xml", body)
}

/// Anything but an object in `data` stays as it is.
fn patched(response: Response, fields: &Value) -> Response {
    let Payload::Bytes(bytes) = &response.body else {
        return response;
    };
    let mut answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    match (answer.get_mut("data"), fields) {
        (Some(Value::Object(data)), Value::Object(fields)) => {
            data.extend(fields.clone());
            Response::new(response.status).with_body("application/json", answer.to_string())
        }
        _ => response,
    }
}

fn huge(length: u64) -> Response {
    let zeros = length.saturating_sub(1) / 2 * 2;
    let (start, end): (&[u8], &[u8]) = (b"{\"data\":[", b"0]}");
    let middle = Zeros { left: zeros };
    let mut response = Response::new(200).with_header("Content-Type", "application/json");
    response.body = Payload::Stream {
        length: start.len() as u64 + zeros + end.len() as u64,
        source: Box::new(start.chain(middle).chain(end)),
    };
    response
}

/// `0,0,0,…`: an even number of bytes.
struct Zeros {
    left: u64,
}

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(most);
        for byte in &mut buffer[..count] {
            *byte = if self.left.is_multiple_of(2) {
                b'0'
            } else {
                b','
            };
            self.left -= 1;
        }
        Ok(count)
    }
}

/// The answer as the fault wants it sent, `wait` from now; `told` hears the status just before its first byte leaves.
pub(super) fn deliver(
    fault: Fault,
    response: Response,
    wait: Duration,
    wire: &mut Wire<'_>,
    told: impl FnOnce(u16),
) -> io::Result<()> {
    let plain = matches!(fault.manner, Manner::Answer)
        && fault.framing == Framing::Length
        && fault.cut.is_none()
        && fault.extra == 0
        && !response.has_header("Content-Length");
    wire.pause(wait)?;
    if fault.held {
        until_open(wire, &fault.gate)?;
    }
    if let Manner::Silence(silence) = fault.manner {
        wire.pause(silence)?;
        return end(wire, Ending::Close);
    }
    told(response.status);
    match fault.manner {
        Manner::EndlessHeaders => endless_headers(wire, response.status),
        Manner::Drip(pause) => drip(wire, pause, response),
        Manner::Answer | Manner::Silence(_) if plain => wire.send(response),
        Manner::Answer | Manner::Silence(_) => send(wire, &fault, response),
    }
}

/// Waits without sending anything; an error when the server stops meanwhile.
fn until_open(wire: &Wire<'_>, gate: &Gate) -> io::Result<()> {
    let _one_more = gate.wait_at();
    let start = Instant::now();
    while !gate.is_open() && start.elapsed() < HELD_AT_MOST {
        wire.pause(Duration::from_millis(2))?;
    }
    Ok(())
}

/// The server closes a connection after an error.
fn end(wire: &Wire<'_>, ending: Ending) -> io::Result<()> {
    match ending {
        Ending::Close => wire.stream().shutdown(Shutdown::Write)?,
        Ending::Reset => SockRef::from(wire.stream()).set_linger(Some(Duration::ZERO))?,
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Head and body with the fault's framing, cut and extra bytes; the connection ends with it.
fn send(wire: &mut Wire<'_>, fault: &Fault, mut response: Response) -> io::Result<()> {
    match fault.framing {
        Framing::Length if response.has_header("Content-Length") => {}
        Framing::Length => {
            response.set_header("Content-Length", response.body.length().to_string());
        }
        Framing::Close => {}
        Framing::Chunked { .. } => response.set_header("Transfer-Encoding", "chunked"),
    }
    response.set_header("Connection", "close");
    wire.write_all(&response.head())?;
    let mut body = response.body.into_reader();
    if let Some(Cut { after, then }) = fault.cut {
        frame(wire, fault.framing, &mut body.as_mut().take(after))?;
        match then {
            Then::End(ending) => return end(wire, ending),
            Then::GoOnAfter(silence) => wire.pause(silence)?,
            Then::GoOnOnceReleased => until_open(wire, &fault.gate)?,
        }
    }
    frame(wire, fault.framing, &mut body)?;
    frame(wire, fault.framing, &mut io::repeat(b'+').take(fault.extra))?;
    if fault.framing == (Framing::Chunked { terminated: true }) {
        wire.write_all(b"0\r\n\r\n")?;
    }
    end(wire, Ending::Close)
}

/// Everything `source` gives, in chunks where the framing says so.
fn frame(wire: &mut Wire<'_>, framing: Framing, source: &mut dyn Read) -> io::Result<()> {
    let Framing::Chunked { .. } = framing else {
        return wire.copy(source).map(drop);
    };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                let head = format!("{count:x}\r\n");
                wire.write_all(&[head.as_bytes(), &buffer[..count], b"\r\n"].concat())?;
            }
        }
    }
}

fn endless_headers(wire: &mut Wire<'_>, status: u16) -> io::Result<()> {
    let mut start = Response::new(status).head();
    start.truncate(start.len() - 2);
    wire.write_all(&start)?;
    let line = b"X-Filler: ........................................\r\n".repeat(100);
    for _ in 0..ENDLESS / line.len() as u64 {
        wire.write_all(&line)?;
    }
    end(wire, Ending::Close)
}

fn drip(wire: &mut Wire<'_>, pause: Duration, mut response: Response) -> io::Result<()> {
    response.set_header("Content-Length", response.body.length().to_string());
    let mut answer = io::Cursor::new(response.head()).chain(response.body.into_reader());
    let mut byte = [0];
    while answer.read(&mut byte)? > 0 {
        wire.write_all(&byte)?;
        wire.pause(pause)?;
    }
    end(wire, Ending::Close)
}
