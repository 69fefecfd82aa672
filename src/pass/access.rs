//! Which account this run works for; found out at the first request, so that an idle run needs no key.

use crate::config::{self, Environment};
use crate::error::Result;
use crate::heygen::{Client, Timeouts, account};
use crate::net::Proxy;
use crate::video::Account;

#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub client: Client,
    pub account: Account,
    /// Whether the API is on this machine, so that its files may be, too.
    pub loopback: bool,
    pub proxy: Option<Proxy>,
}

impl Access {
    pub(crate) fn resolve(env: &Environment) -> Result<Self> {
        let base = config::base_url(env)?;
        let key = config::api_key(env)?.secret;
        let proxy = config::proxy(env)?;
        Ok(Self {
            account: account(&base, &key),
            loopback: base.is_loopback(),
            client: Client::new(&base, key, Timeouts::default(), proxy.clone()),
            proxy,
        })
    }
}
