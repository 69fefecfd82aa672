//! Which account this run works for; found out at the first request, so that an idle run needs no key.

use std::sync::Arc;
use std::time::Duration;

use super::Run;
use super::calls::Caller;
use super::commit::Message;
use super::limiter::RateLimiter;
use crate::config::{self, Environment};
use crate::error::{Exit, Problem, Result, code};
use crate::heygen::{Client, Timeouts, account};
use crate::net::Proxy;
use crate::time::Timestamp;
use crate::video::{Account, Outage, Video};

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

    pub(super) fn caller(&self, limiter: &Arc<RateLimiter>, budget: Duration) -> Caller {
        Caller {
            client: self.client.clone(),
            account: self.account.clone(),
            limiter: Arc::clone(limiter),
            budget,
        }
    }
}

/// Whether `video` is this account's, or nobody's yet.
pub(super) fn may_ask(account: &Account, video: &Video) -> bool {
    let owner = video.account.as_ref();
    owner.is_none_or(|owner| owner.covers(account))
}

impl Run<'_, '_> {
    /// Without a key the run goes on with what needs none.
    pub(super) fn caller(&mut self) -> Result<Option<Caller>> {
        if self.access.is_none() && !self.limiter.is_closed() {
            match Access::resolve(self.env) {
                Ok(access) => self.access = Some(access),
                Err(problem) if problem.exit == Exit::Auth => self.stop(Outage::Key, problem),
                Err(problem) => return Err(problem),
            }
        }
        let access = self.access.as_ref();
        Ok(access.map(|access| access.caller(&self.limiter, self.options.budget)))
    }

    /// Asks HeyGen something in a worker thread, where there is a key. When the run is over by then, nobody listens, and
    /// nothing is lost by it.
    pub(super) fn request(
        &mut self,
        ask: impl FnOnce(&Caller) -> Message + Send + 'static,
    ) -> Result<()> {
        let Some(caller) = self.caller()? else {
            return Ok(());
        };
        let outbox = self.outbox.clone();
        let job = move || {
            let Message {
                rows,
                accepted,
                learn,
            } = ask(&caller);
            let message = Message::new(move |run, tx| {
                run.api.done();
                learn(run, tx)
            });
            let message = Message {
                rows,
                accepted,
                ..message
            };
            outbox.send(message).ok();
        };
        self.api.start(job);
        Ok(())
    }

    /// Whose answers these are: whoever asked had a key.
    pub(super) fn account(&self) -> Result<Account> {
        let account = self.access.as_ref().map(|access| access.account.clone());
        account.ok_or_else(|| Problem::new(code::AUTH, "HeyGen was asked without a key"))
    }

    pub(super) fn clock_skew(&self) -> Option<i64> {
        self.access.as_ref()?.client.clock_skew()
    }

    /// What HeyGen's clock says, as far as this run knows; this machine's otherwise.
    pub(super) fn heygen_now(&self) -> Timestamp {
        let skew = self.clock_skew().unwrap_or_default();
        Timestamp::from_millis(self.now.millis().saturating_add(skew))
    }
}
