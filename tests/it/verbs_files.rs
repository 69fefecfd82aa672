//! What `download` fetches, moves and refuses, and what `show` notices about files.

use std::fs;
use std::path::Path;

use crate::heygen::{Fault, Options};

use heygen_tracker::video::Asset;

use crate::rendered::Rendered;
use crate::support::{Bench, Run};

/// One saved video.
fn saved() -> Rendered {
    let row = Rendered::with(Options::default(), "");
    row.converges();
    row
}

impl Rendered {
    /// A run, and what it asked the file host for.
    fn fetching(&self, arguments: &str) -> (Run, Vec<String>) {
        let before = self.bench.heygen.file_requests().len();
        let run = self.bench.tracker(arguments);
        let requests = self.bench.heygen.file_requests().split_off(before);
        let asset = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let fetched = requests.into_iter().map(|request| asset(request.path));
        (run, fetched.collect())
    }

    fn file_state(&self) -> String {
        let show = self.bench.tracker("show 1 --json").exits(0).json();
        show[0]["files"][0]["state"].as_str().unwrap().to_owned()
    }
}

#[test]
fn what_is_intact_is_not_fetched() {
    let row = saved();
    for arguments in [
        "download 1",
        "download 1 --force",
        "download 1 --assets video",
    ] {
        let (run, fetched) = row.fetching(arguments);
        assert_eq!(run.exits(0).stdout, "");
        assert_eq!(fetched, [""; 0], "{arguments}");
    }
    row.is_saved();
}

#[test]
fn other_assets_are_fetched_beside_what_is_there() {
    let row = saved();
    let (run, mut fetched) = row.fetching("download 1 --assets subtitle,thumbnail,captioned,gif");
    run.exits(0);
    fetched.sort();
    assert_eq!(fetched, ["captioned", "gif", "subtitle", "thumbnail"]);
    let mut names = row.names();
    names.sort();
    let ends = ["captioned.mp4", "gif", "jpg", "mp4", "srt"];
    assert_eq!(names, ends.map(|end| format!("{}.{end}", row.id)));
    row.is_saved();
}

#[test]
fn a_vanished_file_is_fetched_again() {
    let row = saved();
    fs::remove_file(row.path()).unwrap();
    assert_eq!(row.file_state(), "gone");
    let (run, fetched) = row.fetching("download 1");
    assert_eq!(fetched, ["video"], "{}", run.screen());
    assert_eq!(row.file_state(), "saved");
    row.is_saved();
}

#[test]
fn a_changed_file_is_replaced_by_force_only() {
    let row = saved();
    fs::write(row.path(), "edited by hand").unwrap();
    assert_eq!(row.file_state(), "gone");
    let run = row.bench.tracker("download 1").exits(1);
    assert!(run.screen().contains("file_exists"), "{}", run.screen());
    assert_eq!(fs::read_to_string(row.path()).unwrap(), "edited by hand");
    row.bench.tracker("download 1 --force").exits(0);
    row.is_saved();
}

#[test]
fn force_replaces_nothing_by_nothing() {
    let row = saved();
    fs::write(row.path(), "edited by hand").unwrap();
    row.bench.heygen.forget_video(&row.id);
    row.bench.tracker("download 1 --force").exits(1);
    assert_eq!(fs::read_to_string(row.path()).unwrap(), "edited by hand");
    assert_eq!(row.names().len(), 1, "nothing is left beside it");

    let row = saved();
    fs::write(row.path(), "edited by hand").unwrap();
    row.fault(Fault::truncate_body(1000));
    row.bench.tracker("download 1 --force --retries 0").exits(1);
    assert_eq!(fs::read_to_string(row.path()).unwrap(), "edited by hand");
    row.bench.tracker("download 1 --force").exits(0);
    row.is_saved();
}

/// The directory a row's files are at home in, and that of its saved file.
fn homes(bench: &Bench) -> (String, String) {
    let dir = bench.query("SELECT output_dir FROM videos");
    let path = bench.query("SELECT path FROM files");
    let parent = Path::new(&path).parent().unwrap();
    (dir, parent.to_str().unwrap().to_owned())
}

#[test]
fn files_that_were_moved_are_recognised_in_their_new_directory() {
    let row = saved();
    let new = row.bench.path("new");
    fs::rename(row.out(), &new).unwrap();
    assert_eq!(row.file_state(), "gone");
    let run = row.bench.tracker("download 1 --output-dir new").exits(0);
    let (home, place) = homes(&row.bench);
    assert_eq!(home, new.to_str().unwrap());
    assert_eq!(place, home, "{}", run.screen());
    assert_eq!(row.file_state(), "saved");
    assert!(!row.path().exists());
    row.is_saved();
}

#[test]
fn another_directory_gets_a_copy_of_its_own() {
    let row = saved();
    row.bench.tracker("download 1 --output-dir new").exits(0);
    let (home, place) = homes(&row.bench);
    assert_eq!(place, home);
    assert!(row.path().exists(), "nothing is deleted");
    row.bench.assert_files();
    row.is_saved();
}

#[test]
fn what_heygen_has_not_made_is_refused() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.tracker("submit bodies.jsonl --queue").exits(0);
    let run = bench.tracker("download 2").exits(2);
    assert!(
        run.stderr.contains("HeyGen has not made it"),
        "{}",
        run.screen()
    );
    let run = bench.tracker("download 1").exits(1);
    assert!(
        run.stderr.contains("tracker check 1 --wait"),
        "{}",
        run.screen()
    );
    bench.tracker("download 1 --assets nonsense").exits(2);
    bench.tracker("download 99").exits(1);
}

#[test]
fn show_notices_once_that_a_file_is_gone() {
    let row = saved();
    fs::remove_file(row.path()).unwrap();
    let first = row.bench.tracker("show 1").exits(0);
    assert!(first.stdout.contains("gone"), "{}", first.screen());
    row.bench.tracker("show 1").exits(0);
    let gone = row
        .bench
        .query("SELECT count(*) FROM events WHERE kind = 'gone'");
    assert_eq!(gone, "1");
    let open = row.bench.tracker("open 1").exits(2);
    let hint = "tracker download 1 --assets video fetches it";
    assert!(open.stderr.contains(hint), "{}", open.screen());
    let path = &row.bench.tracker("list --json").exits(0).json()[0]["path"];
    assert!(path.is_null(), "{path} is no saved file");
    row.check("").exits(0).silent();
    assert!(!row.path().exists(), "deleting it was no accident");
}

#[test]
fn download_force_replaces_no_file_of_a_row_that_was_not_named() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    bench.heygen.finish(&one);
    bench.heygen.finish(&two);
    // As long as the real one, so that the download is complete and only its name is taken.
    let mine = vec![b'm'; bench.heygen.expected(&two, Asset::Video).len()];
    std::fs::create_dir(bench.path("output")).expect("a directory");
    let path = bench.file(&format!("output/{two}.mp4"), &mine);
    bench.tracker("check").exits(1);
    assert_eq!(
        bench.query("SELECT state FROM files WHERE video = 2"),
        "publishing"
    );

    bench.file(&format!("output/{one}.mp4"), "changed");
    bench.tracker("download 1 --force").exits(0);
    assert!(std::fs::read(&path).expect("my file") == mine);
    bench.tracker("download 2 --force").exits(0);
    bench.assert_invariants();
}
