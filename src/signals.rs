//! SIGINT and SIGTERM: a crash with manners. One line, the exit code a shell expects, nothing joined or flushed:
//! what matters is on disk already, and the way back after a crash is the only way back there is.
//!
//! `listen` differs in two things: whoever is being answered gets the answer, and SIGTERM is its ordinary end.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::render::screen::Screen;

/// From here on a write beyond `ulimit -f` fails with an error like any other instead of ending the process.
pub fn outlive_file_size_limit() -> io::Result<()> {
    // A handler and not "ignore": hooks must not inherit it.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// How long the last line may take.
const MANNERS: Duration = Duration::from_millis(200);

/// From here on the two signals end the process at once.
pub fn install(screen: &Arc<Screen>) -> io::Result<()> {
    let screen = Arc::clone(screen);
    on_first(move |signal| {
        // Whoever reads our output may have stalled, and the screen with it; that must not keep us.
        let (said, done) = channel();
        thread::spawn(move || {
            screen.progress().end();
            screen.note("interrupted; nothing is lost, the next check carries on");
            said.send(()).ok();
        });
        done.recv_timeout(MANNERS).ok();
        low_level::exit(128 + signal);
    })
}

/// From here on the two signals end the process after `drain`, which must not take long: SIGTERM with 0, as a service
/// that was told to stop, SIGINT with 130.
pub fn install_draining(
    screen: &Arc<Screen>,
    drain: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let screen = Arc::clone(screen);
    on_first(move |signal| {
        screen.progress().end();
        drain();
        screen.note("ended; nothing is lost, the next listen or check carries on");
        low_level::exit(if signal == SIGTERM { 0 } else { 128 + signal });
    })
}

fn on_first(end: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            let mut signals = signals.forever();
            if let Some(signal) = signals.next() {
                thread::spawn(move || end(signal));
            }
            // The second one does not ask.
            if let Some(signal) = signals.next() {
                low_level::exit(128 + signal);
            }
        })?;
    Ok(())
}
