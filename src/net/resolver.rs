//! Name resolution that needs no thread to be had.
//!
//! The system's resolver has no time-out, so ureq asks it on a thread of its own, and panics where none can be started.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

#[derive(Debug)]
pub(super) struct PatientResolver;

impl Resolver for PatientResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let place = uri.scheme().zip(uri.authority());
        let place = place.and_then(|(scheme, host)| DefaultResolver::host_and_port(scheme, host));
        let place = place.ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let found = match place.parse::<SocketAddr>() {
            Ok(address) => vec![address],
            Err(_) => look_up(place, timeout)?,
        };
        let mut addresses = self.empty();
        for address in found.into_iter().take(16) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}

/// Without a thread the system's own patience has to do.
fn look_up(place: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let (sender, answer) = sync_channel(1);
    let theirs = place.clone();
    let spawned = thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || sender.send(theirs.to_socket_addrs()));
    let found = match spawned {
        Err(_) => place.to_socket_addrs(),
        Ok(_) => match answer.recv_timeout(*timeout.after) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => return Err(Error::Timeout(timeout.reason)),
            Err(RecvTimeoutError::Disconnected) => return Err(Error::HostNotFound),
        },
    };
    Ok(found?.collect())
}
