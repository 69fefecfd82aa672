//! Whose fault a failure is: a circuit breaker, folded over the outcomes of one run's requests.
//!
//! A request that fails for reasons of the whole run (no network, a gateway's pages) must not be repeated for every
//! row; a request that fails for reasons of its row must not stop the others.

use super::verdict::Verdict;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    Closed,
    HalfOpen,
    Open,
}

/// The fold. `limit` failures in a row without a success open the circuit.
#[derive(Clone, Debug)]
pub struct Breaker {
    circuit: Circuit,
    limit: u32,
    failures: u32,
    worked: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::closed(4)
    }
}

impl Breaker {
    pub fn closed(limit: u32) -> Self {
        Self {
            circuit: Circuit::Closed,
            limit,
            failures: 0,
            worked: false,
        }
    }

    /// Nothing is known yet, or something was wrong: one request goes first, and `limit` failures end it.
    pub fn half_open(limit: u32) -> Self {
        Self {
            circuit: Circuit::HalfOpen,
            ..Self::closed(limit)
        }
    }

    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Whether HeyGen answered anything as asked.
    pub fn worked(&self) -> bool {
        self.worked
    }

    pub fn success(&mut self) {
        self.worked = true;
        self.failures = 0;
        if self.circuit == Circuit::HalfOpen {
            self.circuit = Circuit::Closed;
        }
    }

    /// A request for many rows failed: one row is asked alone, and decides for all.
    pub fn bulk_failure(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::NotSent | Verdict::KeyRefused | Verdict::Forbidden | Verdict::Busy => {
                self.open();
            }
            _ if self.circuit == Circuit::Closed => {
                self.circuit = Circuit::HalfOpen;
                self.failures = self.limit.saturating_sub(1);
            }
            _ => {}
        }
    }

    pub fn failure(&mut self, verdict: Verdict) {
        match verdict {
            // Nothing else of this run has a chance. (Waiting within the run was tried before.)
            Verdict::NotSent | Verdict::KeyRefused | Verdict::Busy => self.open(),
            // HeyGen is there, and this is about the row.
            _ if verdict.is_heygens() => self.success(),
            // A whole answer, however useless, is the row's own where others got theirs.
            Verdict::Garbled if self.worked => {
                if self.circuit == Circuit::HalfOpen {
                    self.circuit = Circuit::Closed;
                }
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.limit {
                    self.open();
                }
            }
        }
    }

    pub fn open(&mut self) {
        self.circuit = Circuit::Open;
    }

    /// Whether the failures of `rows` rows, now that everything was asked, are the connection's, the key's or HeyGen's.
    /// A row has its own where others worked.
    pub fn blames_everybody(&self, rows: usize) -> bool {
        !self.worked && (self.circuit == Circuit::Open || rows > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{
        Busy, Forbidden, Garbled, Gateway, KeyRefused, NotFound, NotSent, Refused, Unanswered,
    };

    /// `+` a success, `b` a failed bulk request, `f` a failure, `g` a useless answer, `4` HeyGen's own no.
    fn fold(mut breaker: Breaker, outcomes: &str) -> Breaker {
        for outcome in outcomes.chars() {
            match outcome {
                '+' => breaker.success(),
                'b' => breaker.bulk_failure(Unanswered),
                'f' => breaker.failure(Unanswered),
                'p' => breaker.failure(Gateway),
                'g' => breaker.failure(Garbled),
                '4' => breaker.failure(NotFound),
                _ => unreachable!(),
            }
        }
        breaker
    }

    #[test]
    fn a_run_s_outcomes_decide_how_it_goes_on() {
        use Circuit::{Closed, HalfOpen, Open};
        let table = [
            ("", Closed),
            ("fff", Closed),
            ("ffff", Open),
            ("fff+fff", Closed),
            ("fffp", Open),
            ("fff4fff", Closed),
            ("+ggggggg", Closed),
            ("gggg", Open),
            ("b", HalfOpen),
            ("bb", HalfOpen),
            ("bf", Open),
            ("bg", Open),
            ("+bg", Closed),
            ("b+", Closed),
            ("b4", Closed),
            ("b+b", HalfOpen),
        ];
        for (outcomes, circuit) in table {
            let outcomes = outcomes.trim();
            assert_eq!(
                fold(Breaker::closed(4), outcomes).circuit(),
                circuit,
                "{outcomes}"
            );
        }
    }

    #[test]
    fn what_refuses_everybody_opens_at_once() {
        for verdict in [NotSent, KeyRefused, Busy] {
            let mut breaker = Breaker::closed(4);
            breaker.failure(verdict);
            assert_eq!(breaker.circuit(), Circuit::Open, "{verdict:?}");
        }
        let mut breaker = Breaker::closed(4);
        breaker.failure(Forbidden);
        breaker.failure(Refused);
        assert_eq!(breaker.circuit(), Circuit::Closed, "one row's own");
        breaker.bulk_failure(Forbidden);
        assert_eq!(breaker.circuit(), Circuit::Open);
    }

    #[test]
    fn one_request_goes_first_until_something_works() {
        for (outcomes, circuit) in [
            ("", Circuit::HalfOpen),
            ("ff", Circuit::HalfOpen),
            ("fff", Circuit::Open),
            ("f+", Circuit::Closed),
        ] {
            assert_eq!(
                fold(Breaker::half_open(3), outcomes).circuit(),
                circuit,
                "{outcomes}"
            );
        }
    }

    #[test]
    fn blame_is_a_row_s_own_where_others_worked() {
        // outcomes, failures since the last success, everybody's fault
        for (outcomes, rows, everybodys) in [
            ("f", 1, false),
            ("ff", 2, true),
            ("+ff", 2, false),
            ("+ffff", 4, false),
            ("bf", 1, true),
            ("bf", 100, true),
        ] {
            let breaker = fold(Breaker::closed(4), outcomes);
            assert_eq!(breaker.blames_everybody(rows), everybodys, "{outcomes}");
        }
    }
}
