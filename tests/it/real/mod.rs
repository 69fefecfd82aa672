//! Real programs of others in the places that the other tests play themselves.
//!
//! A program that is missing is said (`SKIPPED`); where `.ci/run` runs, none may be.

mod cron;
mod litestream;
mod logs;
mod nginx;
mod proxy;
mod readers;
mod server;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::heygen::Port;
use crate::support::{Bench, files_below};

/// A program that runs until the test is over.
struct Daemon(Child);

impl Daemon {
    /// Starts it, with whatever it says in that file.
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self(child)
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).ok();
    }

    /// Ends it as the kernel does when memory is short.
    fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.0.wait().ok();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::SIGTERM);
        // unshare does not heed it.
        let soon = Instant::now() + Duration::from_secs(10);
        while !self.has_ended() {
            if Instant::now() > soon {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether somebody listens there.
fn listens(port: &Port) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port.number())).is_ok()
}

/// Bytes that a download under way has brought so far.
fn part_size(bench: &Bench) -> u64 {
    let files = files_below(&bench.path("output"));
    let parts = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "part"));
    parts
        .filter_map(|part| fs::metadata(part).ok())
        .map(|meta| meta.len())
        .sum()
}
