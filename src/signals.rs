//! SIGINT and SIGTERM: a crash with manners. One line, the exit code a shell expects, nothing joined or flushed:
//! what matters is on disk already, and the way back after a crash is the only way back there is.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::render::screen::Screen;

/// From here on a write beyond `ulimit -f` fails with an error like any other instead of ending the process.
pub fn outlive_file_size_limit() -> io::Result<()> {
    // A handler and not "ignore": hooks must not inherit it.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// From here on the two signals end the process at once.
pub fn install(screen: &Arc<Screen>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let screen = Arc::clone(screen);
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                screen.progress().end();
                screen.note("interrupted; nothing is lost, the next check carries on");
                low_level::exit(128 + signal);
            }
        })?;
    Ok(())
}
