//! What can go wrong, as values; `script` says when it strikes and `reply` carries it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

/// Something that goes wrong with a request.
///
/// It is three independent choices, each with a default, put together by one-line constructors:
///
/// - *when*: the route it was scripted for ([`super::Heygen::fault`]), [`Fault::nth`], [`Fault::times`], [`Fault::forever`];
/// - *work*: whether the request is carried out (a POST: whether it is billed). Faults that only change how the real
///   answer travels need it and carry it out. Faults that replace the answer stand for a server that refused or broke
///   before doing anything: they do not. [`Fault::after_work`] and [`Fault::before_work`] decide otherwise;
/// - *answer*: what goes onto the wire: content, headers, framing, and where the connection breaks.
///
/// [`Fault::and`] joins two: `Fault::etag(None).and(Fault::truncate_body(100))`.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Fault {
    pub(super) skip: u32,
    pub(super) times: Times,
    pub(super) work: Option<bool>,
    pub(super) content: Content,
    pub(super) remembered: bool,
    pub(super) status: Option<u16>,
    /// Set, or with `None` removed, after everything else.
    pub(super) headers: Vec<(String, Option<String>)>,
    /// The file host takes this for the request's `Range`.
    pub(super) range: Option<Option<String>>,
    /// The file host takes this for the file's entity tag.
    pub(super) etag: Option<Option<String>>,
    pub(super) delay: Duration,
    /// Nothing is sent before the gate is opened.
    pub(super) held: bool,
    pub(super) gate: Gate,
    pub(super) manner: Manner,
    pub(super) framing: Framing,
    pub(super) cut: Option<Cut>,
    pub(super) extra: u64,
}

/// What held requests wait at, until [`super::Heygen::release`].
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<(AtomicBool, AtomicUsize)>);

impl Gate {
    pub(super) fn open(&self) {
        self.0.0.store(true, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// One request more waits, until the answer is dropped.
    pub(super) fn wait_at(&self) -> impl Drop {
        self.0.1.fetch_add(1, Ordering::AcqRel);
        Waits(self.clone())
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.1.load(Ordering::Acquire)
    }
}

struct Waits(Gate);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.1.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many requests a fault applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Times {
    #[default]
    Once,
    Exactly(u32),
    Forever,
}

/// What the answer says.
#[derive(Clone, Debug, Default)]
pub(super) enum Content {
    /// What the stand-in says by itself.
    #[default]
    Real,
    /// The same, with fields of `data` replaced.
    Patched(Value),
    /// The usual error of that status: JSON from the API, XML from the file host.
    Error(u16),
    Bytes {
        status: u16,
        kind: String,
        bytes: Vec<u8>,
    },
    /// One JSON array of that many bytes, made while it is sent.
    Huge(u64),
}

/// How the answer begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Manner {
    #[default]
    Answer,
    /// Nothing for this long, then the connection is closed.
    Silence(Duration),
    /// A status line and headers without end.
    EndlessHeaders,
    /// One byte at a time, this far apart.
    Drip(Duration),
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Length,
    /// By closing the connection.
    Close,
    /// In chunks, with or without the one that ends them.
    Chunked { terminated: bool },
}

/// Where the body breaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) after: u64,
    pub(super) then: Then,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Close,
    /// An abortive close (RST).
    Reset,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    End(Ending),
    GoOnAfter(Duration),
    GoOnOnceReleased,
}

/// Answers instead of the real one. The request is *not* carried out.
impl Fault {
    /// The error envelope HeyGen sends with that status (the file host: XML).
    pub fn status(status: u16) -> Self {
        Self::content(Content::Error(status))
    }

    /// Any body.
    pub fn body(status: u16, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::content(Content::Bytes {
            status,
            kind: content_type.to_owned(),
            bytes: bytes.into(),
        })
    }

    /// A gateway's error page.
    pub fn html(status: u16) -> Self {
        let page = format!("<html><body><h1>{status} from the gateway</h1></body></html>\n");
        Self::body(status, "text/html", page)
    }

    /// Any JSON.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::body(status, "application/json", value.to_string())
    }

    /// A redirect with an empty body.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::body(status, "text/plain", "").header("Location", location)
    }

    /// The usual error of that status with any text as `Retry-After`.
    pub fn retry_after(status: u16, value: &str) -> Self {
        Self::status(status).header("Retry-After", value)
    }

    /// 200 with a JSON object whose `data` is an array of about that many bytes; generated, not held.
    pub fn huge_json(bytes: u64) -> Self {
        Self::content(Content::Huge(bytes))
    }

    /// 200 with `data` nested that deep.
    pub fn deep_json(depth: usize) -> Self {
        let text = format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        Self::body(200, "application/json", text)
    }

    /// The connection is closed (FIN) without an answer.
    pub fn drop_request() -> Self {
        Self::cut_before_answer().before_work()
    }

    fn content(content: Content) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }
}

/// The real answer, arriving badly or not at all. The request *is* carried out.
impl Fault {
    /// The connection is closed (FIN) without an answer; a POST has been billed.
    pub fn cut_before_answer() -> Self {
        Self::stall(Duration::ZERO)
    }

    /// Silence for that long, then the connection is closed without an answer; a POST has been billed, and a repetition
    /// during the silence gets its answer.
    pub fn stall(silence: Duration) -> Self {
        Self {
            manner: Manner::Silence(silence),
            ..Self::default()
        }
    }

    /// The answer as of the request's arrival is sent that much later; until then a repeated POST with the same
    /// `Idempotency-Key` is answered 409.
    pub fn delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// The answer as of the request's arrival is sent once [`super::Heygen::release`] says so; until then a repeated POST
    /// with the same `Idempotency-Key` is answered 409. For whatever must happen while HeyGen is busy: no time has to be
    /// guessed.
    pub fn held() -> Self {
        Self {
            held: true,
            ..Self::default()
        }
    }

    /// The right `Content-Length`, then only `bytes` bytes and FIN.
    pub fn truncate_body(bytes: u64) -> Self {
        Self::cut(bytes, Then::End(Ending::Close))
    }

    /// The right `Content-Length`, then only `bytes` bytes and RST.
    pub fn reset_after(bytes: u64) -> Self {
        Self::cut(bytes, Then::End(Ending::Reset))
    }

    /// `bytes` bytes of body, silence, then the rest.
    pub fn stall_body_after(bytes: u64, silence: Duration) -> Self {
        Self::cut(bytes, Then::GoOnAfter(silence))
    }

    /// `bytes` bytes of body, then the rest once [`super::Heygen::release`] says so.
    pub fn held_body_after(bytes: u64) -> Self {
        Self::cut(bytes, Then::GoOnOnceReleased)
    }

    /// The right `Content-Length`, the whole body, `bytes` bytes more and FIN.
    pub fn longer_body(bytes: u64) -> Self {
        Self {
            extra: bytes,
            ..Self::default()
        }
    }

    /// No `Content-Length`: the body ends with the connection.
    pub fn no_length_close() -> Self {
        Self::framing(Framing::Close)
    }

    /// `Transfer-Encoding: chunked`; unless `terminated` all bytes come but the last, empty chunk does not.
    pub fn chunked(terminated: bool) -> Self {
        Self::framing(Framing::Chunked { terminated })
    }

    /// A status line, then headers until the client gives up (at most 1 GiB).
    pub fn endless_headers() -> Self {
        Self {
            manner: Manner::EndlessHeaders,
            ..Self::default()
        }
    }

    /// The answer, head included, one byte at a time, this far apart.
    pub fn drip(pause: Duration) -> Self {
        Self {
            manner: Manner::Drip(pause),
            ..Self::default()
        }
    }

    /// Fields put into `data`, replacing those of the same name; for answers whose `data` is an object.
    pub fn patch_detail(fields: Value) -> Self {
        Self::content(Content::Patched(fields))
    }

    /// Another status code over the real headers and body.
    pub fn relabel(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// The file host answers as if there were no `Range`: 200 and everything.
    pub fn ignore_range() -> Self {
        Self {
            range: Some(None),
            ..Self::default()
        }
    }

    /// The file host answers as if this had been the `Range`: `"bytes=5-9"`.
    pub fn as_if_range(range: &str) -> Self {
        Self {
            range: Some(Some(range.to_owned())),
            ..Self::default()
        }
    }

    /// The file has this entity tag, quotes included, or none. It takes part in `If-Range`: an honest server whose file
    /// changed. For a server that lies use [`Fault::set_header`].
    pub fn etag(etag: Option<&str>) -> Self {
        Self {
            etag: Some(etag.map(str::to_owned)),
            ..Self::default()
        }
    }

    /// This `Content-Range` over the real status and bytes.
    pub fn content_range(value: &str) -> Self {
        Self::set_header("Content-Range", value)
    }

    /// This header over the real answer; a `Content-Length` is sent as given, however long the body is.
    pub fn set_header(name: &str, value: &str) -> Self {
        Self::default().header(name, value)
    }

    fn framing(framing: Framing) -> Self {
        Self {
            framing,
            ..Self::default()
        }
    }

    fn cut(after: u64, then: Then) -> Self {
        Self {
            cut: Some(Cut { after, then }),
            ..Self::default()
        }
    }
}

/// Refinements of any fault.
impl Fault {
    /// Lets the next `skip` matching requests pass first, whatever happens to them.
    pub fn nth(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// For so many requests instead of one.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Times::Exactly(times);
        self
    }

    /// For every request from then on. It need not be used.
    pub fn forever(mut self) -> Self {
        self.times = Times::Forever;
        self
    }

    /// The request is carried out first (a POST is billed), then this is answered.
    pub fn after_work(mut self) -> Self {
        self.work = Some(true);
        self
    }

    /// The request is not carried out. Faults that need the real answer get an empty 200 instead.
    pub fn before_work(mut self) -> Self {
        self.work = Some(false);
        self
    }

    /// The answer is also stored under the request's `Idempotency-Key` and replayed, as if HeyGen had meant it.
    pub fn remembered(mut self) -> Self {
        self.remembered = true;
        self
    }

    /// With this header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Without this header; without `Content-Length` the body ends with the connection.
    pub fn without_header(mut self, name: &str) -> Self {
        if name.eq_ignore_ascii_case("Content-Length") {
            self.framing = Framing::Close;
        }
        self.headers.push((name.to_owned(), None));
        self
    }

    /// Both at once. Where both say something about the same choice, `other` wins; *when* is taken from `self`.
    pub fn and(mut self, other: Self) -> Self {
        self.work = other.work.or(self.work);
        if !matches!(other.content, Content::Real) {
            self.content = other.content;
        }
        self.remembered |= other.remembered;
        self.status = other.status.or(self.status);
        self.headers.extend(other.headers);
        self.range = other.range.or(self.range);
        self.etag = other.etag.or(self.etag);
        self.delay += other.delay;
        self.held |= other.held;
        if !matches!(other.manner, Manner::Answer) {
            self.manner = other.manner;
        }
        if other.framing != Framing::Length {
            self.framing = other.framing;
        }
        self.cut = other.cut.or(self.cut);
        self.extra += other.extra;
        self
    }

    /// Whether the request is carried out.
    pub(super) fn does_work(&self) -> bool {
        self.work
            .unwrap_or(matches!(self.content, Content::Real | Content::Patched(_)))
    }
}
