//! B7: moved, deleted or replaced while it is in use.

use super::*;

/// Starts a check whose poll takes a while, and does something to the database meanwhile.
#[track_caller]
fn check_while(bench: &Bench, meanwhile: impl FnOnce()) -> Run {
    let posts = bench.heygen.posts().len();
    bench.heygen.fault("GET /v3/videos/{id}", Fault::held());
    bench.heygen.finish(&bench.video_id(1));
    let check = bench.start("check");
    eventually("the check asks", || bench.heygen.holding() == 1);
    meanwhile();
    bench.heygen.release();
    let check = end(check).exits(1);
    assert!(
        check
            .stderr
            .contains("was moved, deleted or replaced while it was in use"),
        "{}",
        check.screen()
    );
    assert!(check.stderr.contains("hint: "), "{}", check.screen());
    assert_eq!(
        bench.heygen.posts().len(),
        posts,
        "no POST whose answer nobody could read"
    );
    assert_eq!(files_below(&bench.path("output")), [] as [PathBuf; 0]);
    check
}

fn move_database(bench: &Bench, to: &str) {
    fs::create_dir_all(bench.path(to)).unwrap();
    for end in ["", "-wal", "-shm", "-lock"] {
        let name = format!("tracker.db{end}");
        fs::rename(bench.path(&name), bench.path(to).join(&name)).unwrap();
    }
}

#[test]
fn b07_a_database_moved_meanwhile_is_noticed_and_put_back() {
    let bench = in_use();
    check_while(&bench, || move_database(&bench, "away"));
    assert!(!bench.db_path().exists(), "nothing is created in its place");
    for end in ["", "-wal", "-shm", "-lock"] {
        let name = format!("tracker.db{end}");
        fs::rename(bench.path("away").join(&name), bench.path(&name)).ok();
    }
    bench.tracker("check").exits(0);
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);
    assert_eq!(bench.status(1), "completed");
    bench.assert_invariants();
}

#[test]
fn b07_a_database_deleted_meanwhile_is_noticed_and_not_recreated() {
    let bench = in_use();
    check_while(&bench, || {
        for end in ["", "-wal", "-shm"] {
            fs::remove_file(bench.path(&format!("tracker.db{end}"))).unwrap();
        }
    });
    assert!(!bench.db_path().exists());
    let check = bench.tracker("check").exits(1);
    assert!(
        check.stderr.contains("there is no database"),
        "{}",
        check.screen()
    );
}

#[test]
fn b07_a_database_replaced_meanwhile_is_noticed_and_the_new_one_is_left_alone() {
    let bench = in_use();
    let other = in_use();
    check_while(&bench, || {
        move_database(&bench, "away");
        fs::copy(other.db_path(), bench.db_path()).unwrap();
    });
    assert!(fs::read(bench.db_path()).unwrap() == fs::read(other.db_path()).unwrap());
    assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
}
