//! Power cuts: what is on the disk when everything that was only in memory is lost.
//!
//! A scene is played on an ext4 file system in an image file, mounted so that nothing reaches the image by itself: the
//! journal is committed every 5 minutes, and a rename does not flush the file it renames (`noauto_da_alloc`). At the
//! chosen system call the program is killed and the image is copied: it holds what was synced until then, and no more.
//! The copy is mounted in its place, its journal replayed, and `check` has to carry on from there.
//!
//! Mounting needs root and loop devices; elsewhere the tests are skipped and say so. Every test mounts in a mount
//! namespace of its own thread, so that the kernel removes the mounts however the test ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::{eventually, skipped};
use crate::sweep::{CHECK, REPAIR, RESUME, SUBMIT, Scene, Strikes, chosen, kill_at};
use crate::tracer::why_not;

const SIZE: u64 = 24 * 1024 * 1024;

#[test]
fn a_power_cut_during_submit() {
    power_cuts(&SUBMIT, 8);
}

#[test]
fn a_power_cut_during_check() {
    power_cuts(&CHECK, 14);
}

#[test]
fn a_power_cut_during_a_resumption() {
    power_cuts(&RESUME, 8);
}

#[test]
fn a_power_cut_during_a_repair() {
    power_cuts(&REPAIR, 6);
}

fn power_cuts(scene: &Scene, sample: usize) {
    if let Some(reason) = why_not().or_else(|| Disk::new().err()) {
        skipped(&reason);
        return;
    }
    let (calls, end) = scene.undisturbed();
    let mut strikes = Strikes::default();
    for number in chosen(calls.len(), sample) {
        let mut disk = Disk::new().expect("another disk");
        let bench = scene.bench_within(&disk.mounted);
        disk.sync();
        let killed = kill_at(&bench, scene.arguments, number);
        // A run that took a shorter way was over when the power went.
        if killed.was_killed() {
            strikes.hit(&killed.calls[number - 1]);
        } else {
            strikes.missed();
        }
        disk.cut();
        scene.assert_unharmed(&bench, &killed.run);
        let lost = scene.converge(&bench);
        assert!(
            !(lost && killed.run.code == Some(0)),
            "what a finished submit recorded is lost"
        );
        scene.assert_ends_as(&bench, &end);
        drop(bench);
    }
    strikes.conclude(&format!("power cuts during {}", scene.name), calls.len());
}

/// A file system in a file.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
    /// Where both are.
    dir: tempfile::TempDir,
}

impl Disk {
    /// Or why there can be none.
    fn new() -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| {
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount::<str, str, str, str>(None, "/", None, private, None)
            })
            .map_err(|errno| format!("mounting needs root: {errno}"))?;
        let dir = tempfile::tempdir().expect("a directory");
        let (image, mounted) = (dir.path().join("image"), dir.path().join("mounted"));
        std::fs::create_dir(&mounted).expect("a mount point");
        File::create(&image)
            .and_then(|file| file.set_len(SIZE))
            .expect("an image");
        tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self {
            image,
            mounted,
            dir,
        };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        let options = "loop,commit=300,noauto_da_alloc";
        tool(
            Command::new("mount")
                .args(["-o", options])
                .arg(&self.image)
                .arg(&self.mounted),
        )
    }

    fn umount(&self) -> Result<(), String> {
        tool(Command::new("umount").arg(&self.mounted))
    }

    /// What happened so far is on the disk.
    fn sync(&self) {
        tool(Command::new("sync").arg("-f").arg(&self.mounted)).expect("sync");
    }

    /// The power goes and comes back.
    fn cut(&mut self) {
        let after = self.dir.path().join("after");
        // Unmounting writes everything back, so first the copy.
        std::fs::copy(&self.image, &after).expect("a copy");
        eventually("nobody uses it any more", || self.umount().is_ok());
        self.image = after;
        self.mount().expect("a journal that can be replayed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At the latest the end of the thread's name space does it.
        self.umount().ok();
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
