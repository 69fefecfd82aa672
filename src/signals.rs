//! SIGINT and SIGTERM: a crash with manners. One line, the exit code a shell expects, nothing joined or flushed:
//! what matters is on disk already, and the way back after a crash is the only way back there is. Only downloads
//! get a moment to record how far they are: on a slow line that is all there is.
//!
//! `listen` differs in two things: whoever is being answered gets the answer, and SIGTERM is its ordinary end.

use std::io;
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::download::stop;
use crate::render::screen::Screen;

/// From here on a write beyond `ulimit -f` fails with an error like any other instead of ending the process.
pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
    // A handler and not "ignore": hooks must not inherit it.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// How long downloads may take to record what they have.
const LAST_RECORDS: Duration = Duration::from_millis(800);
const MANNERS: Duration = Duration::from_millis(200);

static RECORDING: AtomicBool = AtomicBool::new(false);

/// What `record` writes down is there or not when a signal comes meanwhile.
pub(crate) fn recording<T>(record: impl FnOnce() -> T) -> T {
    RECORDING.store(true, Ordering::Relaxed);
    let recorded = record();
    RECORDING.store(false, Ordering::Relaxed);
    recorded
}

/// From here on the two signals end the process at once.
pub(crate) fn install(screen: &Arc<Screen>) -> io::Result<()> {
    let screen = Arc::clone(screen);
    on_first(move |signal| {
        stop::stop_all(LAST_RECORDS);
        // Whoever reads our output may have stalled, and the screen with it; that must not keep us.
        let (said, done) = channel();
        let last_line = thread::Builder::new().spawn(move || {
            screen.progress.end();
            screen.note(match RECORDING.load(Ordering::Relaxed) {
                true => "interrupted; tracker list shows whether it was recorded",
                false => "interrupted; nothing is lost, the next check carries on",
            });
            said.send(()).ok();
        });
        if last_line.is_ok() {
            done.recv_timeout(MANNERS).ok();
        }
        exit(128 + signal);
    })
}

/// From here on the two signals end the process after `drain`, which must not take long: SIGTERM with 0, as a service
/// that was told to stop, SIGINT with 130.
pub(crate) fn install_draining(
    screen: &Arc<Screen>,
    drain: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let screen = Arc::clone(screen);
    on_first(move |signal| {
        stop::stop_all(LAST_RECORDS);
        screen.progress.end();
        drain();
        screen.note("ended; nothing is lost, the next listen or check carries on");
        exit(if signal == SIGTERM { 0 } else { 128 + signal });
    })
}

/// Process groups of commands that must not outlive this process.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A command that ends with this process where a signal ends that; dropping it forgets the command.
#[must_use = "it is forgotten when dropped"]
pub(crate) struct Child(Pid);

impl Child {
    /// `command` has to make a process group of its own.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<(process::Child, Self)> {
        // Held meanwhile: a signal between the two would not end it.
        let mut children = children();
        let child = command.spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        children.push(group);
        Ok((child, Self(group)))
    }

    pub(crate) fn kill(&self) {
        kill(self.0);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        children().retain(|group| *group != self.0);
    }
}

fn children() -> MutexGuard<'static, Vec<Pid>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exit(code: i32) -> ! {
    // Not given back: nothing may be started any more.
    let children = children();
    children.iter().copied().for_each(kill);
    low_level::exit(code)
}

fn kill(group: Pid) {
    // It may have ended this very moment.
    killpg(group, Signal::SIGKILL).ok();
}

/// Nothing is caught when there is no thread to wait for it: a signal then ends the process as it ends any other.
fn on_first(end: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let (caught, to_wait_for) = channel::<Signals>();
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || {
            let Ok(mut signals) = to_wait_for.recv() else {
                return;
            };
            let mut signals = signals.forever();
            if let Some(signal) = signals.next() {
                let ends = thread::Builder::new().spawn(move || end(signal));
                if ends.is_err() {
                    exit(128 + signal);
                }
            }
            // The second one does not ask, nor wait for a command that is being started.
            if let Some(signal) = signals.next() {
                let children = CHILDREN.try_lock();
                children
                    .iter()
                    .flat_map(|groups| groups.iter().copied())
                    .for_each(kill);
                low_level::exit(128 + signal);
            }
        })?;
    caught.send(Signals::new([SIGINT, SIGTERM])?).ok();
    Ok(())
}
