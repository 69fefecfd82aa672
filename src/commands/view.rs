//! What renderings for people depend on, taken from the outside once.

use super::Context;
use crate::render::{View, human};
use crate::time;

impl Context {
    /// The terminal, the time zone and the directories of whoever is looking.
    pub(super) fn view(&self) -> View {
        View {
            now: time::now(),
            local: human::here,
            width: self.screen.width,
            wraps: self.screen.out_is_terminal,
            verbose: self.screen.verbose > 0,
            account: self.account(),
            // A working directory that was removed makes no path shorter, and nothing else depends on it here.
            cwd: std::env::current_dir().ok(),
            home: self.env.path("HOME"),
        }
    }
}
