//! Runs the program and stops it at its system calls: to count them, to kill it there, to make them fail.
//!
//! `strace -e inject=NAME:signal=SIGKILL:when=N` would do the same, but its counter is per thread: `when=N` strikes in
//! whichever thread reaches its own N-th call first, so what a worker does early in its life is never struck once the
//! main thread has made more such calls. Here one counter runs over all threads and all calls, so that counting once
//! and then striking at 1, 2, … reaches each of them, in the order in which the program really makes them.
//!
//! The tracer is the test's own thread (ptrace(2)); only its children are waited for, so tests run side by side. A
//! tracee dies with its tracer. Linux on `x86_64` only, for the names and registers of calls.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::Run;

/// What a call of these names does is seen by others: the disk, HeyGen, another process.
const WATCHED: &[(libc::c_long, &str)] = &[
    (libc::SYS_openat, "openat"),
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_fcntl, LOCK),
    (libc::SYS_connect, "connect"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_recvfrom, "recvfrom"),
];

/// How an fcntl is called that takes a lock, and one that gives it back.
const LOCK: &str = "fcntl(lock)";
const UNLOCK: &str = "fcntl(unlock)";

/// One system call, about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: &'static str,
    /// Its first argument as a descriptor; meaningless for calls that take a path.
    pub fd: i32,
}

impl Call {
    /// Whether a system may refuse it: giving a lock back always works.
    pub fn can_fail(&self) -> bool {
        self.name != UNLOCK
    }

    /// Whether it wants something of the disk, rather than of the network, of a lock or of a reader.
    pub fn is_disk(&self) -> bool {
        let talk = self.name.starts_with("write") && self.fd <= 2;
        !talk
            && !matches!(
                self.name,
                "connect" | "sendto" | "sendmsg" | "recvfrom" | LOCK | UNLOCK
            )
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is made.
    Go,
    /// It is not made, and the whole process ends by SIGKILL.
    Kill,
    /// It is not made, and the program is told this.
    Fail(Errno),
}

/// What a traced run did.
#[derive(Debug)]
pub struct Traced {
    pub run: Run,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// The watched calls, in order.
    pub calls: Vec<Call>,
}

impl Traced {
    pub fn was_killed(&self) -> bool {
        self.signal == Some(Signal::SIGKILL)
    }
}

/// Why nothing can be traced here; `None` where it can.
pub fn why_not() -> Option<String> {
    match trace(&mut Command::new("/bin/true"), |_, _| Act::Go) {
        Ok(_) => None,
        Err(errno) => Some(format!(
            "this system does not let a process trace its child: {errno}"
        )),
    }
}

/// Runs `command`, which must have its own environment, asking `decide` about each watched call with its number, from 1.
pub fn trace(
    command: &mut Command,
    mut decide: impl FnMut(usize, &Call) -> Act,
) -> Result<Traced, Errno> {
    let (mut stdout, mut stderr) = (capture(), capture());
    let root = command.get_current_dir().map(Path::to_owned);
    // It is waited for below, together with its threads. It stops itself before it becomes the program, so that not one call of the program is missed.
    #[allow(clippy::zombie_processes, reason = "waited for by its number")]
    let child = stopped(command)
        .stdout(stdout.try_clone().expect("a descriptor"))
        .stderr(stderr.try_clone().expect("a descriptor"))
        .spawn()
        .expect("a shell");
    let leader = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    waitpid(leader, Some(WaitPidFlag::WUNTRACED))?;
    let seized = ptrace::seize(
        leader,
        Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC,
    );
    if let Err(errno) = seized {
        kill(leader, Signal::SIGKILL).ok();
        waitpid(leader, None).ok();
        return Err(errno);
    }
    kill(leader, Signal::SIGCONT)?;

    let mut calls = Vec::new();
    let mut failing: HashMap<Pid, Errno> = HashMap::new();
    let mut started = false;
    let (code, signal) = loop {
        // Only children of this thread: other tests have theirs.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD))?;
        let (pid, pass_on) = match status {
            WaitStatus::Exited(pid, code) if pid == leader => break (Some(code), None),
            WaitStatus::Signaled(pid, signal, _) if pid == leader => break (None, Some(signal)),
            WaitStatus::PtraceEvent(pid, _, event) => {
                started |= event == libc::PTRACE_EVENT_EXEC;
                (pid, None)
            }
            WaitStatus::PtraceSyscall(pid) if started => {
                let about_to = ptrace::syscall_info(pid).map(|info| info.op);
                match about_to {
                    Ok(libc::PTRACE_SYSCALL_INFO_ENTRY) => {
                        if let Some(call) = watched(pid, root.as_deref()) {
                            calls.push(call);
                            match decide(calls.len(), &calls[calls.len() - 1]) {
                                Act::Go => {}
                                Act::Kill => kill(leader, Signal::SIGKILL)?,
                                Act::Fail(errno) => {
                                    skip_call(pid);
                                    failing.insert(pid, errno);
                                }
                            }
                        }
                    }
                    Ok(_) => {
                        if let Some(errno) = failing.remove(&pid) {
                            answer(pid, errno);
                        }
                    }
                    // Killed meanwhile.
                    Err(_) => {}
                }
                (pid, None)
            }
            WaitStatus::PtraceSyscall(pid) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        match ptrace::syscall(pid, pass_on) {
            // ESRCH: it was killed meanwhile, and is about to be reported as gone.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
    };
    let run = Run {
        code,
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
    };
    Ok(Traced { run, signal, calls })
}

fn stopped(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    shell
}

fn capture() -> std::fs::File {
    tempfile::tempfile().expect("a file for what is said")
}

fn text(file: &mut std::fs::File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).expect("the beginning");
    file.read_to_string(&mut text).expect("UTF-8");
    text
}

/// The call a thread is about to make, if others can see what it does.
fn watched(pid: Pid, root: Option<&Path>) -> Option<Call> {
    let registers = ptrace::getregs(pid).ok()?;
    let (number, name) = *WATCHED
        .iter()
        .find(|(number, _)| *number == registers.orig_rax as libc::c_long)?;
    let fd = registers.rdi as i32;
    let visible = match number {
        libc::SYS_fcntl => matches!(
            registers.rsi as i32,
            libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK
        ),
        // Libraries and certificates are only read; our own directories are opened for reading, too: to be synced.
        libc::SYS_openat => {
            let changes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT;
            registers.rdx as i32 & changes != 0 || is_below(pid, registers.rsi, root)
        }
        // The thread that waits for signals is woken by a socket of our own.
        libc::SYS_recvfrom => !is_named(pid, "signals"),
        _ => true,
    };
    let unlocks = name == LOCK
        && ptrace::read(pid, registers.rdx as ptrace::AddressType)
            .is_ok_and(|flock| flock as i16 == libc::F_UNLCK as i16);
    let name = if unlocks { UNLOCK } else { name };
    visible.then_some(Call { name, fd })
}

fn is_named(thread: Pid, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{thread}/comm")).is_ok_and(|comm| comm.trim() == name)
}

fn is_below(pid: Pid, address: u64, root: Option<&Path>) -> bool {
    let Some(root) = root.map(|root| root.as_os_str().as_bytes()) else {
        return false;
    };
    let mut path = Vec::new();
    while path.len() < root.len() {
        let Ok(word) = ptrace::read(pid, (address + path.len() as u64) as ptrace::AddressType)
        else {
            return false;
        };
        path.extend_from_slice(&word.to_ne_bytes());
    }
    path.starts_with(root)
}

/// There is no call of this number: the kernel does nothing.
fn skip_call(pid: Pid) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        registers.orig_rax = u64::MAX;
        ptrace::setregs(pid, registers).ok();
    }
}

fn answer(pid: Pid, errno: Errno) {
    if let Ok(mut registers) = ptrace::getregs(pid) {
        registers.rax = -i64::from(errno as i32) as u64;
        ptrace::setregs(pid, registers).ok();
    }
}
