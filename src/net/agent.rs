//! How an agent of ureq's is made: nothing is followed, nothing is compressed, everything has a time-out.

use std::sync::OnceLock;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Proxy;
use super::resolver::PatientResolver;
use super::transport::WatchingConnector;

/// At least the largest number of threads that ask at once, so that none has to connect anew.
const IDLE_CONNECTIONS: usize = 32;

/// Whether a connection carries more than one request; see [`crate::net`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Checked,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, and again TCP, proxy and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the end of the answer's headers; also bounds the sending.
    pub response: Duration,
    /// Silence within an answer that has begun.
    pub per_read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(60),
            per_read: Duration::from_secs(30),
        }
    }
}

pub(crate) struct AgentOptions<'a> {
    pub(crate) https: bool,
    /// This machine is never asked through a proxy.
    pub(crate) loopback: bool,
    pub(crate) proxy: Option<&'a Proxy>,
    pub(crate) reuse: Reuse,
    pub(crate) timeouts: Timeouts,
    pub(crate) whole: Option<Duration>,
}

pub(crate) fn agent(options: &AgentOptions<'_>, connector: WatchingConnector) -> Agent {
    let idle = match options.reuse {
        Reuse::Checked => IDLE_CONNECTIONS,
        Reuse::Never => 0,
    };
    let timeouts = options.timeouts;
    let proxy = options.proxy.filter(|_| !options.loopback);
    let mut config = Agent::config_builder()
        .https_only(options.https)
        .http_status_as_error(false)
        // ureq would send the key header along to wherever a redirect points.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("heygen-tracker/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        // ureq fills both with zeros for every connection; its default of twice 128 KiB would be 4 MiB for 16. What is
        // sent besides bodies fits, what is answered may be longer. After an interim answer (1xx) ureq takes all that it
        // has read for headers, the beginning of a body included: a buffer of them is allowed.
        .max_response_header_size(64 * 1024)
        .input_buffer_size(64 * 1024)
        .output_buffer_size(16 * 1024)
        .timeout_global(options.whole)
        .timeout_resolve(Some(timeouts.connect))
        .timeout_connect(Some(timeouts.connect))
        .timeout_send_request(Some(timeouts.response))
        .timeout_send_body(Some(timeouts.response))
        .timeout_recv_response(Some(timeouts.response))
        .timeout_per_read(Some(timeouts.per_read))
        .timeout_per_write(Some(timeouts.per_read))
        // Set in every case: ureq would read the environment, and ask directly where it cannot use what it finds.
        .proxy(proxy.map(|proxy| proxy.inner.clone()));
    if options.https {
        let tls = TlsConfig::builder().root_certs(system_roots()).build();
        config = config.tls_config(tls);
    }
    Agent::with_parts(config.build(), connector, PatientResolver)
}

/// The certificates this machine trusts (a company's own included), or Mozilla's where it has none, as in a bare
/// container. Read by the first request over TLS, since that takes longer than most commands.
fn system_roots() -> RootCerts {
    static ROOTS: OnceLock<RootCerts> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs().certs;
        if found.is_empty() {
            return RootCerts::WebPki;
        }
        found
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .into()
    };
    ROOTS.get_or_init(read).clone()
}
