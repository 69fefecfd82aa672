//! When to try again, as values: nothing here sleeps, reads a clock or rolls dice.

use std::time::Duration;

/// Exponential backoff with jitter, bounded in tries and in time. The caller does the sleeping.
#[derive(Clone, Debug)]
pub struct Backoff {
    retries_left: u32,
    budget: Duration,
    step: Duration,
    cap: Duration,
}

impl Backoff {
    /// `tries` counts the first one; `budget` bounds what the caller reports as spent plus the next wait;
    /// the steps are `base`, doubled each time, at most `cap`.
    pub fn new(tries: u32, budget: Duration, base: Duration, cap: Duration) -> Self {
        Self {
            retries_left: tries.saturating_sub(1),
            budget,
            step: base.min(cap),
            cap,
        }
    }

    /// How long to wait before the next try; `None` when the tries are used up or the wait does not fit the budget.
    /// `spent` is how much of the budget is gone, `retry_after` what the server asked for (never waited shorter),
    /// `jitter` a random number in `0..=1` that picks a point between half the step and all of it.
    pub fn next(
        &mut self,
        spent: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        self.retries_left = self.retries_left.checked_sub(1)?;
        let half = self.step / 2;
        let wait = half
            .saturating_add(half.mul_f64(jitter.clamp(0.0, 1.0)))
            .max(retry_after.unwrap_or_default());
        self.step = self.step.saturating_mul(2).min(self.cap);
        (spent.saturating_add(wait) <= self.budget).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn steps_double_up_to_the_cap() {
        let mut backoff = Backoff::new(6, Duration::MAX, SECOND, 5 * SECOND);
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next(Duration::ZERO, None, 1.0))
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_stays_between_half_the_step_and_all_of_it() {
        for (jitter, millis) in [(0.0, 1000), (0.5, 1500), (1.0, 2000), (9.0, 2000)] {
            let mut backoff = Backoff::new(2, Duration::MAX, 2 * SECOND, 8 * SECOND);
            let wait = backoff.next(Duration::ZERO, None, jitter);
            assert_eq!(wait, Some(Duration::from_millis(millis)), "{jitter}");
        }
    }

    #[test]
    fn the_server_is_never_asked_earlier_than_it_said() {
        let mut backoff = Backoff::new(3, 30 * SECOND, SECOND, 8 * SECOND);
        assert_eq!(
            backoff.next(Duration::ZERO, Some(20 * SECOND), 0.0),
            Some(20 * SECOND)
        );
        assert_eq!(
            backoff.next(20 * SECOND, Some(Duration::ZERO), 0.0),
            Some(SECOND)
        );
    }

    #[test]
    fn a_wait_that_does_not_fit_the_budget_is_not_begun() {
        let table = [
            (Duration::ZERO, Some(30 * SECOND), true),
            (Duration::ZERO, Some(31 * SECOND), false),
            (29 * SECOND, None, true),
            (30 * SECOND, None, false),
            (Duration::MAX, Some(Duration::MAX), false),
        ];
        for (spent, retry_after, fits) in table {
            let mut backoff = Backoff::new(3, 30 * SECOND, SECOND, SECOND);
            assert_eq!(
                backoff.next(spent, retry_after, 1.0).is_some(),
                fits,
                "{spent:?}"
            );
        }
    }

    #[test]
    fn one_try_or_none_means_no_retry() {
        for tries in [0, 1] {
            let mut backoff = Backoff::new(tries, Duration::MAX, SECOND, SECOND);
            assert_eq!(backoff.next(Duration::ZERO, None, 1.0), None);
        }
    }

    #[test]
    fn extreme_durations_do_not_overflow() {
        let mut backoff = Backoff::new(u32::MAX, Duration::MAX, Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            assert!(backoff.next(Duration::ZERO, None, 1.0).is_some());
        }
    }
}
