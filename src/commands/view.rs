//! What renderings for people depend on, taken from the outside once.

use chrono::Local;

use super::Context;
use crate::render::View;
use crate::time;

impl Context {
    /// The terminal, the time zone and the directories of whoever is looking.
    pub(super) fn view(&self) -> View<Local> {
        View {
            now: time::now(),
            tz: Local,
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
