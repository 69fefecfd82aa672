//! SIGINT and SIGTERM: a crash with manners. One line, the exit code a shell expects, nothing joined or flushed:
//! what matters is on disk already, and the way back after a crash is the only way back there is.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::render::screen::Screen;

/// From here on the two signals end the process at once, and a file that grows beyond `ulimit -f` is an error like any
/// other (EFBIG) instead of the end: for that its signal must be handled, by whatever.
pub fn install(screen: &Arc<Screen>) -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default())?;
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
