//! The program from outside: the real binary, the real SQLite, and the stand-in as server and as oracle.
//!
//! | file | what it shows |
//! |---|---|
//! | `support` | a bench: a directory, a stand-in and a clean environment; how to run the program on it |
//! | `tracer` | the program, stopped, killed or refused at its system calls |
//! | `sweep` | scenes for the sweeps, the way back from a disturbance, and what must hold then |
//! | `listener` | a `tracker listen` to call, and somebody who calls it as HeyGen does |
//! | `heygen` | (in `tests/support`) the stand-in for HeyGen, what can go wrong with it, and what it saw |
//! | `standin` | the stand-in itself, as its clients see it |
//! | `balance` | what is left to pay with: `doctor`, and refusals for want of it |
//! | `candidates` | submissions whose answer never came: what they may have become, and who says so |
//! | `contract` | what the documents name exists, and the other way round |
//! | `documents` | links lead somewhere, the reference of verbs is the program's, and every command shown works |
//! | `hooks` | hooks and stalled videos |
//! | `account` | `add --all` and `add --batch`: what the account has becomes rows, once |
//! | `kinds` | every kind of job, from its body to its files |
//! | `listen` | webhooks: end to end, 200 at once, refused; what it needs to start |
//! | `kind_options` | the options of every kind of job; agents that fail and recover, wait and are answered |
//! | `listen_faults` | webhooks: killed at each step, beside downloads and checks, SIGTERM |
//! | `submit_faults` | submitting when things go wrong: S1 to S18 and S20 of the fault table |
//! | `poll_faults` | what goes wrong while HeyGen is asked (faults P1 to P12) |
//! | `telling` | what is said, how often, and how a run exits |
//! | `real` | nginx, tinyproxy, cron, Litestream and Datasette in the places that the rest of the tests play |
//! | `rendered` | a bench with one rendered video, and what must be true once its files are saved |
//! | `mcp` | the server for agents, by hand and by real clients |
//! | `witness` | a backup that is put back: what the lock file knows |
//! | `workflow` | the main job end to end |
//! | `snapshot` | what a person sees, without what differs from run to run |
//! | `verbs_files` | what `download` fetches, moves and refuses, and what `show` notices about files |
//! | `verbs_list` | what `list` selects, and how much of it; what `submit --if-new` finds |
//! | `verbs_rows` | what `add`, `retry` and `forget` do to rows, and what they refuse |
//! | `verbs_screens` | what each verb prints into a pipe: text and JSON |
//! | `verbs_setup` | `doctor`, `completions`, `man`, `sandbox` |
//! | `verbs_terminal` | what a person sees at terminals of several widths |
//! | `verbs_errors` | each error a person meets: message, hint, exit code, envelope |
//! | `download_faults` | D1–D9, X1, X2: hosts and networks that misbehave during a download |
//! | `download_hosts` | D17, D21–D23: a raw file host that says anything, and a meddler in the output directory |
//! | `download_disk` | D10–D13, D18, D20: disks, directories and file names that are not as they should be |
//! | `download_runs` | D14, D15, D17, D19, X6: names, overlapping and interrupted runs, certificates |
//! | `database_faults` | B1 to B9: locked, damaged, newer, full, read-only and moved databases |
//! | `process` | T1 to T5: hostile text and arguments, closed outputs, cron's environment |
//! | `relay` | what stands between the program and HeyGen, and answers twice, late or out of turn: S19 |
//! | `security` | X1 to X6: where the key and signatures go, file modes, hostile servers |
//! | `lanes` | who waits for whom within a run: agents, hooks, jobs that hang or panic |
//! | `browser` | the page of `gallery` in a real browser |
//! | `gallery` | the page of `gallery`: what it shows, and what it must not |
//! | `each` | `submit --each`: a table becomes a video for each line |
//! | `frozen` | databases of earlier schema versions still open |
//! | `rescue` | `doctor --rescue`: what is left of a database with pages overwritten |
//! | `overlap` | T6, S12, D15, B4: many processes at once, and random kills |
//! | `kill_kinds` | the same for every kind's submit, and for replies, nudges and files of agents |
//! | `kill_sweep` | D16, S1, S2: SIGKILL at every state-changing system call of every scene |
//! | `power_cut` | D16, promise 1: what a disk has when the power goes, at chosen system calls; needs root |
//! | `model` | random sequences of operations against a small model |
//! | `error_sweep` | D10, S14, S15, B6: ENOSPC and EIO at the same calls, once, from then on, and again in the recovery |

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::type_complexity,
    reason = "a test that cannot go on says so by panicking, and tells its figures"
)]

#[path = "../support/mod.rs"]
mod heygen;
mod listener;
mod rendered;
mod snapshot;
mod support;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sweep;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod error_sweep;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kill_kinds;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kill_sweep;
mod kind_options;
mod kinds;
mod lanes;
mod mcp;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod model;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod power_cut;

mod account;
mod balance;
mod browser;
mod candidates;
mod contract;
mod database_faults;
mod documents;
mod download_disk;
mod download_faults;
mod download_hosts;
mod download_runs;
mod each;
mod frozen;
mod gallery;
mod hooks;
mod listen;
mod listen_faults;
mod overlap;
mod poll_faults;
mod process;
#[cfg(target_os = "linux")]
mod real;
mod relay;
mod rescue;
mod security;
mod standin;
mod submit_faults;
mod telling;
mod verbs_errors;
mod verbs_files;
mod verbs_list;
mod verbs_rows;
mod verbs_screens;
mod verbs_setup;
mod verbs_terminal;
mod witness;
mod workflow;
