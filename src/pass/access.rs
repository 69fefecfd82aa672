//! Whom HeyGen is asked as, found out at the first request, so that an idle run needs no key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::Message;
use super::limiter::RateLimiter;
use super::{PassOptions, Run};
use crate::config::{self, Environment};
use crate::download::FileClient;
use crate::error::{Exit, Problem, Result, code};
use crate::heygen::{Client, Timeouts, account};
use crate::time::Timestamp;
use crate::video::{Account, Outage, Video};

#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub client: Client,
    pub account: Account,
    pub(super) files: FileClient,
    pub(super) limiter: Arc<RateLimiter>,
    /// How long one request may take, pauses between its tries included, before the next run has to go on.
    pub(super) budget: Duration,
}

impl Access {
    pub(crate) fn resolve(env: &Environment) -> Result<Self> {
        Self::of_run(env, &PassOptions::default(), Arc::default())
    }

    pub(super) fn of_run(
        env: &Environment,
        options: &PassOptions,
        limiter: Arc<RateLimiter>,
    ) -> Result<Self> {
        let base = config::base_url(env)?;
        let key = config::api_key(env)?.secret;
        let proxy = config::proxy(env)?;
        Ok(Self {
            account: account(&base, &key),
            // Where the API is on this machine, its files may be, too.
            files: FileClient::new(base.is_loopback(), options.read_timeout, proxy.clone()),
            client: Client::new(&base, key, Timeouts::default(), proxy),
            limiter,
            budget: options.budget,
        })
    }
}

/// What a request takes when all is well.
const ANSWER: Duration = Duration::from_secs(1);
const SLOW_ANSWER: Duration = Duration::from_secs(15);

/// Whether `video` is this account's, or nobody's yet.
pub(super) fn may_ask(account: &Account, video: &Video) -> bool {
    let owner = video.account.as_ref();
    owner.is_none_or(|owner| owner.covers(account))
}

impl Run<'_, '_> {
    pub(super) fn resolve(&self) -> Result<Access> {
        Access::of_run(self.env, self.options, Arc::clone(&self.limiter))
    }

    /// Without a key the run goes on with what needs none.
    pub(super) fn access(&mut self) -> Result<Option<Access>> {
        if self.access.is_none() && !self.limiter.is_closed() {
            match self.resolve() {
                Ok(access) => self.access = Some(access),
                Err(problem) if problem.exit == Exit::Auth => self.stop(Outage::Key, problem),
                Err(problem) => return Err(problem),
            }
        }
        Ok(self.access.clone())
    }

    /// Asks HeyGen something in a worker thread, where there is a key. When the run is over by then, nobody listens, and
    /// nothing is lost by it.
    pub(super) fn request(
        &mut self,
        ask: impl FnOnce(&Access) -> Message + Send + 'static,
    ) -> Result<()> {
        if let Some(access) = self.access()? {
            let outbox = self.outbox.clone();
            self.api.start(move || {
                let message = Message {
                    ends_request: true,
                    ..ask(&access)
                };
                outbox.send(message).ok();
            });
        }
        Ok(())
    }

    /// For a request that the whole run waits for: it takes no longer than the run may.
    pub(super) fn in_time(&self, access: &Access) -> Access {
        Access {
            client: access.client.until(self.options.deadline),
            budget: access.budget.min(self.left()),
            ..access.clone()
        }
    }

    pub(super) fn left(&self) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.options.deadline.map_or(Duration::MAX, left)
    }

    /// For how long a request may still be begun, if at all: the process ends at the deadline, and what has no answer by
    /// then stays without. `once`: it can never be asked for again, so a slow answer is waited for, too.
    pub(super) fn spare(&mut self, once: bool) -> Option<Duration> {
        let needed = if once { SLOW_ANSWER } else { ANSWER };
        let spare = self.left().checked_sub(needed);
        self.reporter.tally.out_of_time |= spare.is_none();
        spare
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
