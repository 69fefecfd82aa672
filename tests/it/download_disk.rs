//! Downloads onto disks and directories that are not as they should be: D10–D13, D18, D20 of the fault list.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::heygen::{Fault, Options};

use crate::rendered::Rendered;
use crate::support::{Run, TRACKER, run, skipped};

const MIB: u64 = 1024 * 1024;
const ALL: &str = "--assets video,captioned,subtitle,thumbnail,gif";

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A file system mounted for one test.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// `None`, with the reason printed, where nothing can be mounted.
    fn new(arguments: &[&str], on: &'a Path) -> Option<Self> {
        fs::create_dir_all(on).expect("a directory");
        let mount = run(Command::new("mount").args(arguments).arg(on));
        if mount.code != Some(0) {
            skipped(&format!("cannot mount: {}", mount.stderr));
            return None;
        }
        Some(Self(on))
    }

    fn again(&self, options: &str) {
        let options = format!("remount,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(self.0)).exits(0);
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg("-l").arg(self.0));
        assert!(unmounted.code == Some(0) || std::thread::panicking());
    }
}

/// A check in which a system call on `path` is tampered with: `renameat2:error=EIO`. `None`, with the reason printed,
/// where strace cannot run.
fn check_with(row: &Rendered, tamper: &str, path: &Path) -> Option<Run> {
    let trace = row.bench.path("trace");
    let name = tamper.split(':').next().expect("a name");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "signal=none", "-P"])
        .arg(path)
        .args(["-e", &format!("trace={name}")])
        .args(["-e", &format!("inject={tamper}"), "-o"])
        .arg(&trace)
        .args([TRACKER, "check", "--retries", "3", "--retry-delay", "1ms"]);
    row.bench.prepare(&mut command);
    let Ok(output) = command.output() else {
        skipped("there is no strace");
        return None;
    };
    let traced = fs::read_to_string(&trace).unwrap_or_default();
    if traced.is_empty() && String::from_utf8_lossy(&output.stderr).contains("ptrace") {
        skipped("strace may not trace");
        return None;
    }
    let struck = traced.contains("INJECTED") || output.status.code().is_none();
    assert!(struck, "{tamper} never struck: {traced}");
    Some(output.into())
}

#[test]
fn d10_a_full_disk_is_told_once_and_goes_on_when_there_is_room() {
    let row = Rendered::new();
    let out = row.out();
    let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", "size=32k", "none"], &out) else {
        return;
    };
    let check = row.check("").exits(1);
    assert!(check.stderr.contains("No space left"), "{}", check.screen());
    assert_eq!(row.error_code(), "disk_full");
    assert_eq!(row.ranges().len(), 1, "no retry storm");
    assert_eq!(row.names(), [".part"], "no final name");
    row.check("").exits(1).silent();
    assert_eq!(row.ranges().len(), 2);

    disk.again("size=1m");
    let check = row.check("").exits(0);
    assert!(
        check.stderr.contains("resolved after"),
        "{}",
        check.screen()
    );
    assert!(
        row.ranges()[2].starts_with("bytes="),
        "what was there is used"
    );
    row.is_saved();
}

#[test]
fn d10_a_disk_without_room_for_a_byte_or_a_name_is_a_full_disk() {
    for options in ["size=4k", "size=1m,nr_inodes=1"] {
        let row = Rendered::new();
        let out = row.out();
        let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", options, "none"], &out) else {
            return;
        };
        fs::write(out.join("taken"), vec![1; 4096]).unwrap_or_default();
        row.check("").exits(1);
        assert_eq!(row.error_code(), "disk_full", "{options}");
        fs::remove_file(out.join("taken")).unwrap_or_default();
        disk.again("size=1m,nr_inodes=100");
        row.converges();
    }
}

#[test]
fn d10_one_full_disk_is_one_line_for_all_rows() {
    let row = Rendered::new();
    let bench = &row.bench;
    bench.submit(3).exits(0);
    (2..=4).for_each(|other| bench.heygen.finish(&bench.video_id(other)));
    let out = row.out();
    let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "none"], &out) else {
        return;
    };
    fs::write(out.join("taken"), vec![1; 60 * 1024]).unwrap();
    let check = row.check("").exits(1);
    let errors = check.stderr.lines().filter(|l| l.starts_with("error"));
    assert_eq!(errors.count(), 1, "{}", check.screen());
    fs::remove_file(out.join("taken")).unwrap();
    disk.again("size=1m");
    row.check("").exits(0);
    let saved = "SELECT count(*) FROM files WHERE state = 'saved'";
    assert_eq!(bench.query(saved), "4");
    bench.assert_invariants();
}

#[test]
fn d10_a_limit_on_file_sizes_is_an_error_not_a_crash() {
    let options = Options {
        file_size: 4 * MIB,
        ..Options::default()
    };
    let row = Rendered::with(options, "");
    // 2048 blocks of 512 bytes.
    let check = row.check_after("ulimit -f 2048").exits(1);
    assert!(
        check.stderr.contains("File too large"),
        "{}",
        check.screen()
    );
    assert_eq!(row.error_code(), "file_error");
    assert_eq!(row.ranges().len(), 1, "no retry storm");
    assert_eq!(row.names(), [".part"]);
    let kept = row.bench.query("SELECT part_bytes FROM files");
    row.converges();
    assert_eq!(row.ranges()[1], format!("bytes={kept}-"));
}

#[test]
fn d10_a_disk_that_fails_before_the_rename_leaves_no_final_name() {
    for (tamper, code) in [
        ("write:error=ENOSPC", "disk_full"),
        ("write:error=EIO", "file_error"),
        ("write:error=EDQUOT", "disk_full"),
        ("fsync:error=EIO", "file_error"),
        ("fchmod:error=EIO", "file_error"),
        ("renameat2:error=EIO", "file_error"),
        ("renameat2:error=ENOSPC", "disk_full"),
    ] {
        let row = Rendered::partial(20_000);
        let Some(check) = check_with(&row, tamper, &row.part()) else {
            return;
        };
        check.exits(1);
        assert!(!row.path().exists(), "{tamper}");
        // A full disk is the whole run's trouble; the row keeps what was told of it before.
        let codes = row.bench.query(
            "SELECT group_concat(code) FROM (SELECT error_code AS code FROM videos UNION SELECT code FROM troubles)",
        );
        assert!(
            codes.split(',').any(|told| told == code),
            "{tamper}: {codes}"
        );
        assert_eq!(row.ranges().len(), 2, "{tamper}: no retry storm");
        row.converges();
    }
}

#[test]
fn d10_a_failed_fsync_is_not_believed_later() {
    let row = Rendered::partial(20_000);
    let tamper = "fsync,fdatasync:error=EIO:when=1";
    let Some(check) = check_with(&row, tamper, &row.part()) else {
        return;
    };
    check.exits(1);
    assert_eq!(
        row.state(),
        "partial 20000",
        "only what an earlier sync proved"
    );
    row.converges();
}

#[test]
fn d10_a_directory_that_cannot_be_synced_is_not_called_saved() {
    let row = Rendered::partial(20_000);
    let Some(check) = check_with(&row, "fsync:error=EIO", &row.out()) else {
        return;
    };
    check.exits(1);
    assert_eq!(row.state(), "publishing 65536");
    row.converges();
    assert_eq!(row.ranges().len(), 2, "nothing is fetched again");
}

#[test]
fn d10_a_file_system_without_renameat2_gets_the_same_file() {
    for tamper in [
        "renameat2:error=EINVAL",
        "renameat2:error=ENOSYS",
        // Nor are there links.
        "renameat2,linkat:error=EOPNOTSUPP",
    ] {
        let row = Rendered::partial(20_000);
        let Some(check) = check_with(&row, tamper, &row.part()) else {
            return;
        };
        check.exits(0);
        row.is_saved();
    }
}

#[test]
fn d11_a_missing_directory_is_created() {
    let row = Rendered::with(Options::default(), "--output-dir a/b/c");
    row.check_after("umask 077").exits(0);
    row.is_saved();
    let file = row.bench.path(&format!("a/b/c/{}.mp4", row.id));
    assert!(file.exists());
}

#[test]
fn d11_a_file_where_the_directory_should_be_costs_no_poll() {
    let row = Rendered::new();
    row.bench.file("output", "mine");
    row.check("").exits(1);
    assert_eq!(row.error_code(), "file_error");
    assert_eq!(row.bench.status(1), "completed");
    row.check("").exits(1).silent();
    assert_eq!(row.ranges().len(), 0, "no request without a place for it");
    assert_eq!(fs::read(row.out()).unwrap(), b"mine");
    fs::remove_file(row.out()).unwrap();
    row.converges();
}

#[test]
fn d11_a_read_only_mount_costs_no_poll() {
    let row = Rendered::new();
    let out = row.out();
    let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", "ro", "none"], &out) else {
        return;
    };
    let check = row.check("").exits(1);
    assert!(check.stderr.contains("Read-only"), "{}", check.screen());
    assert_eq!(row.error_code(), "file_error");
    assert_eq!(row.bench.status(1), "completed");
    row.check("").exits(1).silent();
    disk.again("rw");
    row.converges();
}

/// A check by nobody, whom everything belongs to but `anothers`; then it is all ours again. `None`, with the reason
/// printed, where that cannot be.
fn check_as_nobody(row: &Rendered, anothers: &Path) -> Option<Run> {
    const NOBODY: u32 = 65534;
    if !is_root() {
        skipped("only root can be somebody else");
        return None;
    }
    let chown = |options: &[&str], user: u32, path: &Path| {
        let mut chown = Command::new("chown");
        run(chown.args(options).arg(user.to_string()).arg(path)).exits(0);
    };
    chown(&["-R"], NOBODY, row.bench.dir.path());
    chown(&[], 0, anothers);
    let check = row.bench.command(["check"]).uid(NOBODY).output();
    chown(&["-R"], 0, row.bench.dir.path());
    match check {
        Ok(output) => Some(Run::from(output)),
        Err(error) => {
            skipped(&format!("nobody cannot run {TRACKER}: {error}"));
            None
        }
    }
}

#[test]
fn d11_a_directory_of_somebody_else_costs_no_poll() {
    let row = Rendered::new();
    fs::create_dir(row.out()).unwrap();
    let Some(check) = check_as_nobody(&row, &row.out()) else {
        return;
    };
    check.exits(1);
    assert_eq!(row.error_code(), "file_error");
    assert_eq!(row.bench.status(1), "completed");
    row.converges();
}

#[test]
fn d11_a_part_of_somebody_else_is_no_beginning() {
    let row = Rendered::partial(20_000);
    let Some(check) = check_as_nobody(&row, &row.part()) else {
        return;
    };
    check.exits(0);
    assert_eq!(row.ranges(), ["", ""]);
    row.converges();
}

#[test]
fn d12_the_same_content_under_the_final_name_is_adopted() {
    let row = Rendered::new();
    fs::create_dir(row.out()).unwrap();
    fs::write(row.path(), row.expected()).unwrap();
    let before = fs::metadata(row.path()).unwrap().ino();
    row.check("").exits(0);
    assert_eq!(fs::metadata(row.path()).unwrap().ino(), before);
    row.is_saved();
}

#[test]
fn d12_other_content_is_never_overwritten_and_told_once() {
    let mut changed = vec![0; 64 * 1024];
    changed[9] = 1;
    for mine in [b"mine".to_vec(), changed] {
        let row = Rendered::new();
        fs::create_dir(row.out()).unwrap();
        fs::write(row.path(), &mine).unwrap();
        let check = row.check("").exits(1);
        assert!(check.stderr.contains("file_exists"), "{}", check.screen());
        assert_eq!(row.error_code(), "file_exists");
        for _ in 0..2 {
            row.check("").exits(1).silent();
        }
        assert!(fs::read(row.path()).unwrap() == mine);
        assert_eq!(
            row.bench
                .query("SELECT count(*) FROM events WHERE kind = 'error'"),
            "1"
        );
        fs::remove_file(row.path()).unwrap();
        row.converges();
    }
}

#[test]
fn d12_show_says_what_helps_and_it_does() {
    let mut changed = vec![0; 64 * 1024];
    changed[9] = 1;
    for mine in [b"mine".to_vec(), changed] {
        for way in [
            "check 1",
            "download 1 --output-dir elsewhere",
            "download 1 --force",
        ] {
            let row = Rendered::new();
            fs::create_dir(row.out()).unwrap();
            fs::write(row.path(), &mine).unwrap();
            row.check("").exits(1);
            let shown = row.bench.tracker("show 1").exits(0).stdout;
            let said = way.replace("elsewhere", "DIR");
            assert!(shown.contains(&format!("`tracker {said}`")), "{shown}");
            if way == "check 1" {
                assert!(shown.contains("move away"), "{shown}");
                fs::rename(row.path(), row.bench.path("away")).unwrap();
            }
            row.bench.tracker(way).exits(0);
            assert_eq!(row.bench.query("SELECT state FROM files"), "saved", "{way}");
            let hint = row.bench.tracker("show 1").exits(0).stdout;
            assert!(!hint.contains("hint"), "{hint}");
        }
    }
}

#[test]
fn d12_a_conflict_is_not_downloaded_at_every_check() {
    // Larger than what the host can push into its sockets before it notices that nobody reads.
    let options = || Options {
        file_size: 24 * MIB,
        ..Options::default()
    };
    for (size, at_most) in [(4, 16 * MIB), (24 * MIB, 0)] {
        let row = Rendered::with(options(), "");
        fs::create_dir(row.out()).unwrap();
        fs::write(row.path(), vec![7; size as usize]).unwrap();
        row.check("").exits(1);
        let served = row.bench.heygen.bytes_served();
        row.check("").exits(1).silent();
        let again = row.bench.heygen.bytes_served() - served;
        assert!(again <= at_most, "{again} bytes at the second check");
        fs::remove_file(row.path()).unwrap();
        row.converges();
    }
}

#[test]
fn d12_what_is_no_file_is_neither_replaced_nor_written_through() {
    let row = Rendered::new();
    fs::create_dir(row.out()).unwrap();
    let victim = row.bench.file("victim", "mine");
    let path = row.path();
    let occupants: [(&str, &dyn Fn()); 5] = [
        ("directory", &|| fs::create_dir(&path).unwrap()),
        ("symlink", &|| symlink(&victim, &path).unwrap()),
        ("dangling symlink", &|| symlink("nowhere", &path).unwrap()),
        ("right but symlink", &|| {
            fs::write(&victim, row.expected()).unwrap();
            symlink(&victim, &path).unwrap();
        }),
        ("fifo", &|| {
            run(Command::new("mkfifo").arg(&path)).exits(0);
        }),
    ];
    for (n, (what, occupy)) in occupants.into_iter().enumerate() {
        occupy();
        let before = fs::symlink_metadata(&path).unwrap().ino();
        let check = row.check("").exits(1);
        assert_eq!(check.stderr.is_empty(), n > 0, "{what}: {}", check.screen());
        assert_eq!(row.error_code(), "file_exists", "{what}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before, "{what}");
        assert_eq!(row.names().len(), 1, "{what}: {:?}", row.names());
        run(Command::new("rm").arg("-r").arg(&path)).exits(0);
    }
    assert_eq!(row.ranges().len(), 0, "known before any request");
    assert!(fs::read(victim).unwrap() == row.expected());
    row.converges();
}

#[test]
fn d12_a_name_taken_at_the_last_moment_is_left_alone() {
    let row = Rendered::partial(20_000);
    let Some(check) = check_with(&row, "renameat2:error=EEXIST", &row.part()) else {
        return;
    };
    check.exits(1);
    row.converges();
    assert_eq!(
        row.ranges().len(),
        2,
        "the complete part is not fetched again"
    );
}

#[test]
fn d13_a_part_that_is_a_link_is_never_followed() {
    let row = Rendered::partial(20_000);
    let victim = row.bench.file("victim", &row.expected()[..20_000]);
    let part = row.part();
    fs::remove_file(&part).unwrap();
    symlink(&victim, &part).unwrap();
    row.check("").exits(0);
    assert_eq!(row.ranges(), ["", ""], "not resumed");
    assert!(fs::read(&victim).unwrap() == row.expected()[..20_000]);
    assert!(
        fs::symlink_metadata(&part).unwrap().is_symlink(),
        "not ours"
    );
    fs::remove_file(&part).unwrap();
    row.is_saved();

    let row = Rendered::partial(20_000);
    let twin = row.bench.path("twin");
    fs::hard_link(row.part(), &twin).unwrap();
    row.converges();
    assert_eq!(row.ranges(), ["", ""], "not resumed");
    assert!(fs::read(&twin).unwrap() == row.expected()[..20_000]);
}

#[test]
fn d13_a_part_larger_than_the_whole_is_started_afresh() {
    let row = Rendered::partial(20_000);
    let mut bytes = row.expected();
    bytes.push(0);
    fs::write(row.part(), bytes).unwrap();
    row.converges();
    assert_eq!(row.ranges(), ["", ""]);
}

#[test]
fn d18_a_part_that_is_not_as_it_was_left_is_started_afresh() {
    let change = |change: &dyn Fn(&Path)| {
        let row = Rendered::partial(20_000);
        change(&row.part());
        row.converges();
        assert_eq!(row.ranges(), ["", ""]);
    };
    change(&|part| fs::remove_file(part).unwrap());
    change(&|part| fs::write(part, vec![0; 20_000]).unwrap());
    change(&|part| fs::write(part, b"short").unwrap());
}

#[test]
fn d18_bytes_behind_what_was_recorded_are_cut_off() {
    let row = Rendered::partial(20_000);
    let mut part = row.expected()[..20_000].to_vec();
    part.extend([7; 1000]);
    fs::write(row.part(), part).unwrap();
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-"]);
}

#[test]
fn d18_a_directory_that_went_away_is_made_again() {
    let row = Rendered::partial(20_000);
    fs::remove_dir_all(row.out()).unwrap();
    row.converges();
}

#[test]
fn d24_nothing_is_written_below_the_mount_point_of_a_disk_that_is_not_there() {
    let row = Rendered::new();
    let out = row.out();
    let disk = |out| Mount::new(&["-t", "tmpfs", "-o", "size=1m", "none"], out);
    let Some(mounted) = disk(&out) else {
        return;
    };
    row.cut_after(20_000);
    drop(mounted);
    let check = row.check("").exits(1);
    assert!(
        check.stderr.contains("no disk is mounted"),
        "{}",
        check.screen()
    );
    assert_eq!(row.names(), [""; 0], "nothing below the mount point");
    row.check("").exits(1).silent();
    assert_eq!(row.names(), [""; 0], "nothing below the mount point");

    let mounted = disk(&out).expect("it could be mounted before");
    row.converges();
    drop(mounted);
    // A person says that the place is right without a disk.
    row.bench.tracker("download 1 --output-dir output").exits(0);
    assert!(fs::read(row.path()).expect("the file") == row.expected());
}

#[test]
fn d24_a_directory_that_cannot_be_looked_at_for_a_moment_is_no_mount_point() {
    let row = Rendered::new();
    if check_with(&row, "statx:error=EIO", row.bench.dir.path()).is_some() {
        let recorded = "SELECT output_device IS NOT NULL FROM videos";
        assert_eq!(row.bench.query(recorded), "0", "nothing is known of it");
        row.converges();
    }
}

#[test]
fn d18_a_part_of_a_video_that_is_gone_is_not_left_behind() {
    let row = Rendered::partial(20_000);
    row.bench.heygen.forget_video(&row.id);
    for _ in 0..2 {
        row.check("").exits(1);
        row.keeps(20_000);
        row.bench.advance(Duration::from_secs(1801));
    }
    row.check("");
    assert_eq!(row.state(), "unavailable 20000");
    assert_eq!(row.names(), [""; 0]);
    row.check("").exits(0).silent();
    row.bench.assert_invariants();
}

#[test]
fn d18_a_saved_file_that_was_deleted_is_not_looked_for_by_check() {
    let row = Rendered::new();
    row.converges();
    let requests = row.bench.heygen.requests().len();
    fs::remove_file(row.path()).unwrap();
    row.check("").exits(0).silent();
    assert_eq!(row.bench.heygen.requests().len(), requests);
    assert_eq!(row.names(), [""; 0]);
}

#[test]
fn d20_killed_around_the_rename_and_then_deleted_at_heygen() {
    // At the rename, at the sync of the directory behind it.
    for (call, on_part) in [("renameat2", true), ("fsync", false)] {
        let row = Rendered::partial(20_000);
        let path = if on_part { row.part() } else { row.out() };
        let Some(killed) = check_with(&row, &format!("{call}:signal=SIGKILL"), &path) else {
            return;
        };
        assert_eq!(killed.code, None, "{call}: {}", killed.screen());
        assert_eq!(row.path().exists(), !on_part, "{call}");
        assert_eq!(row.state(), "publishing 65536");
        row.bench.heygen.forget_video(&row.id);
        let requests = row.bench.heygen.requests().len();
        let check = row.check("").exits(0);
        assert!(check.stdout.contains("repaired"), "{}", check.screen());
        assert_eq!(row.bench.heygen.requests().len(), requests, "{call}");
        row.is_saved();
    }
}

#[test]
fn d20_every_asset_is_adopted_by_its_digest() {
    let row = Rendered::with(Options::default(), ALL);
    row.check("").exits(0);
    row.is_saved();
    let undo = "UPDATE files SET state = 'publishing', saved_at = NULL, part_name = '.x.part',
                part_bytes = bytes, part_sha256 = sha256, total = bytes";
    assert_eq!(row.bench.db().execute(undo, []).unwrap(), 5);
    row.bench.heygen.forget_video(&row.id);
    let requests = row.bench.heygen.requests().len();
    let check = row.check("").exits(0);
    assert_eq!(check.stdout.matches("repaired").count(), 5);
    assert_eq!(row.bench.heygen.requests().len(), requests);
    row.is_saved();
}

#[test]
fn d20_a_file_that_is_not_the_recorded_one_is_not_adopted() {
    let row = Rendered::new();
    row.check("").exits(0);
    let undo = "UPDATE files SET state = 'publishing', saved_at = NULL, part_name = '.x.part',
                part_bytes = bytes, part_sha256 = sha256";
    row.bench.db().execute(undo, []).unwrap();
    let mut torn = row.expected();
    torn[40_000..].fill(0);
    fs::write(row.path(), &torn).unwrap();
    let check = row.check("").exits(1);
    assert!(check.stdout.contains("fetched again"), "{}", check.screen());
    assert!(fs::read(row.path()).unwrap() == torn, "not overwritten");
    fs::remove_file(row.path()).unwrap();
    row.converges();
}

#[test]
fn d12_two_files_in_different_trouble_are_told_once() {
    let row = Rendered::with(Options::default(), "--assets video,gif");
    fs::create_dir(row.out()).unwrap();
    fs::write(row.path(), "mine").unwrap();
    let gif = "GET /files/{id}/gif";
    row.bench.heygen.fault(gif, Fault::html(200).times(3));
    let first = row.check("").exits(1);
    assert!(!first.stderr.is_empty());
    for _ in 0..2 {
        row.check("").exits(1).silent();
    }
    let events = "SELECT count(*) FROM events WHERE kind = 'error'";
    assert_eq!(row.bench.query(events), "1");
    fs::remove_file(row.path()).unwrap();
    let last = row.check("").exits(0);
    assert_eq!(last.stderr.lines().count(), 1, "{}", last.screen());
    row.is_saved();
}
