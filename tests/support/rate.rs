//! A limit on requests per second.

use std::time::Instant;

/// A bucket that holds one second's worth of requests and fills at the same rate.
pub(super) struct Bucket {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second,
            at: now,
        }
    }

    /// Takes one request out, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + refill).min(self.per_second);
        self.at = now;
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let burst = (0..20).filter(|_| bucket.take(start)).count();
        assert_eq!(burst, 10);
        let later = start + Duration::from_millis(500);
        let refilled = (0..20).filter(|_| bucket.take(later)).count();
        assert_eq!(refilled, 5);
    }
}
