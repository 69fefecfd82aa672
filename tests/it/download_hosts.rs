//! File hosts and neighbours that mean no good: D17 and D21–D23 of the fault list.
//!
//! The host is a raw socket that says anything; the neighbour is another program in the output directory.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::heygen::{Fault, Options, Render};
use crate::rendered::Rendered;
use crate::support::{Bench, Run, eventually, files_below};

const MIB: u64 = 1 << 20;

/// Serves every connection the same way until the test ends.
fn host(serve: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                serve(&String::from_utf8_lossy(&request), &mut stream);
            });
        }
    });
    format!("http://{address}")
}

/// Sends all of it with pauses; `false` once the other side is gone.
fn drip(stream: &mut TcpStream, bytes: &[u8], piece: usize, pause: Duration) -> bool {
    bytes.chunks(piece).all(|piece| {
        thread::sleep(pause);
        stream.write_all(piece).is_ok()
    })
}

fn say(stream: &mut TcpStream, head: &str) {
    let head = format!("HTTP/1.1 {head}\r\nETag: \"a\"\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok();
}

/// From now on HeyGen names `url` as the place of the row's video.
fn lead_to(row: &Rendered, url: &str) {
    let detail = format!("GET /v3/videos/{}", row.id);
    let fault = Fault::patch_detail(json!({ "video_url": url }));
    row.bench.heygen.fault(&detail, fault.forever());
}

/// Nothing under a final name, and the row's trouble says so.
#[track_caller]
fn no_final_name(row: &Rendered, check: &Run) {
    let names = row.names();
    let parts = names.iter().all(|name| name == ".part");
    assert!(parts, "{names:?} {}", check.screen());
}

#[test]
fn d22_drops_from_the_first_byte_on_end_in_bounded_time() {
    let row = Rendered::new();
    lead_to(
        &row,
        &host(|_, stream| {
            say(stream, "200 OK\r\nContent-Length: 1000000");
            drip(stream, b"\0\0\0\x18ftyp", 1, Duration::from_millis(100));
            drip(stream, &[7; 4000], 1, Duration::from_millis(100));
        }),
    );
    let start = Instant::now();
    let check = row.check("--retries 0 --read-timeout 1s").exits(1);
    assert!(
        start.elapsed() < Duration::from_secs(100),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(row.error_code(), "timeout", "{}", check.screen());
    row.nothing_is_kept();
}

#[test]
fn d22_a_body_without_end_is_bounded_and_leaves_nothing() {
    let row = Rendered::new();
    lead_to(
        &row,
        &host(|_, stream| {
            say(stream, "200 OK\r\nTransfer-Encoding: chunked");
            let mut chunk = b"10000\r\n\0\0\0\x18ftyp".to_vec();
            chunk.resize(7 + 0x10000, 7);
            chunk.extend(b"\r\n");
            while stream.write_all(&chunk).is_ok() {}
        }),
    );
    let check = row.check("--max-size 3MiB").exits(1);
    assert!(check.stderr.contains("--max-size"), "{}", check.screen());
    assert_eq!(row.error_code(), "download_failed");
    row.nothing_is_kept();
}

#[test]
fn d22_a_file_that_is_announced_too_large_is_not_begun() {
    let row = Rendered::new();
    let check = row.check("--max-size 65535").exits(1);
    assert!(check.stderr.contains("--max-size"), "{}", check.screen());
    row.nothing_is_kept();
    row.check("--max-size 64KiB").exits(0);
    row.is_saved();
}

#[test]
fn d22_impossible_lengths_are_the_trouble_of_one_file() {
    for length in ["9223372036854775808", "18446744073709551615"] {
        let bench = Bench::with(Options {
            render: Render::Manual,
            ..Options::default()
        });
        bench.submit(2).exits(0);
        let ids = [bench.video_id(1), bench.video_id(2)];
        for id in &ids {
            bench.heygen.finish(id);
        }
        let url = host(move |_, stream| {
            say(stream, &format!("200 OK\r\nContent-Length: {length}"));
            // More than is looked at before a part is recorded, with that total.
            let mut film = b"\0\0\0\x18ftyp".to_vec();
            film.resize(10_000, 7);
            stream.write_all(&film).ok();
            // Until the other side has heard enough.
            while stream.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
        });
        let detail = format!("GET /v3/videos/{}", ids[0]);
        let fault = Fault::patch_detail(json!({ "video_url": url }));
        bench.heygen.fault(&detail, fault.forever());
        let check = bench
            .tracker("check --retries 0 --read-timeout 30s")
            .exits(1);
        assert!(!check.stderr.contains("database"), "{}", check.screen());
        let states = "SELECT group_concat(state) FROM (SELECT state FROM files ORDER BY video)";
        assert_eq!(bench.query(states), "wanted,saved", "{}", check.screen());
    }
    // The same in the answer to a range.
    let row = Rendered::partial(20_000);
    row.fault(Fault::content_range(
        "bytes 20000-65535/9223372036854775808",
    ));
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-", ""]);
}

#[test]
fn d23_what_is_no_video_gets_no_final_name() {
    let row = Rendered::new();
    let answer = |kind: &str, bytes: &[u8]| Fault::body(200, kind, bytes);
    for fault in [
        answer("text/plain", b"the file is being prepared\n"),
        answer("text/plain", &row.expected()),
        answer("video/mp4", b"the file is being prepared\n"),
        answer(
            "application/vnd.apple.mpegurl",
            b"#EXTM3U\n#EXT-X-VERSION:3\n",
        ),
        answer("video/mp4", b"#EXTM3U\n#EXT-X-VERSION:3\n"),
        answer("video/mp4", b"{\"code\": 400, \"message\": \"expired\"}"),
        answer("video/mp4", &[0; 65536]),
    ] {
        let told = format!("{fault:?}");
        row.fault(fault);
        let check = row.check("").exits(1);
        assert_eq!(
            row.error_code(),
            "download_failed",
            "{told} {}",
            check.screen()
        );
        row.nothing_is_kept();
    }
    row.converges();
}

#[test]
fn d23_every_asset_has_a_beginning_of_its_own() {
    let row = Rendered::with(
        Options::default(),
        "--assets video,captioned,subtitle,thumbnail,gif",
    );
    for asset in ["captioned", "subtitle", "thumbnail", "gif"] {
        let route = format!("GET /files/{{id}}/{asset}");
        let zeros = Fault::body(200, "application/octet-stream", vec![0; 5000]);
        row.bench.heygen.fault(&route, zeros);
    }
    row.check("--retries 0").exits(1);
    let saved = "SELECT group_concat(asset) FROM files WHERE state = 'saved'";
    assert_eq!(row.bench.query(saved), "video");
    row.converges();
}

#[test]
fn s19_an_answer_that_is_named_otherwise_is_not_the_file() {
    // As HeyGen's links have it, and in short.
    let real = "filename%2A%3DUTF-8%27%27It%2520is%2520mine.mp4%3B";
    for (wanted, another, mine) in [
        (
            "filename%3D%22mine.mp4%22",
            "filename=\"another.mp4\"",
            "filename=\"mine.mp4\"",
        ),
        (
            real,
            "filename*=UTF-8''It%20is%20another.mp4;",
            "filename*=UTF-8''It%20is%20mine.mp4;",
        ),
        (
            real,
            "filename*=UTF-8''It%20is%20another.mp4;",
            "filename=It_is_MINE.mp4",
        ),
    ] {
        let row = Rendered::new();
        row.check("--no-download").exits(0);
        let url = row.bench.query("SELECT video_url FROM videos");
        let name = format!("attachment%3B+{wanted}");
        lead_to(&row, &format!("{url}&response-content-disposition={name}"));
        row.bench
            .db()
            .execute("UPDATE videos SET urls_at = 0", [])
            .expect("old URLs");
        for name in [another, mine] {
            let value = format!("attachment; {name}");
            row.fault(Fault::set_header("Content-Disposition", &value));
        }
        let check = row.check("--retries 1").exits(0);
        assert_eq!(row.ranges().len(), 2, "{wanted} {}", check.screen());
        row.is_saved();
    }
}

#[test]
fn what_is_always_named_otherwise_is_given_up_like_other_refusals() {
    let row = Rendered::new();
    row.check("--no-download").exits(0);
    let url = row.bench.query("SELECT video_url FROM videos");
    let name = "attachment%3B+filename%3Dmine.mp4";
    lead_to(&row, &format!("{url}&response-content-disposition={name}"));
    let another = "attachment; filename=another.mp4";
    row.fault(Fault::set_header("Content-Disposition", another).forever());
    for _ in 0..19 {
        row.check("").exits(1);
        row.bench.advance(Duration::from_secs(9 * 3600));
    }
    row.check("");
    assert_eq!(row.state(), "unavailable");
    assert_eq!(row.names(), [""; 0]);
}

#[test]
fn an_answer_that_names_no_file_plainly_is_the_file() {
    let row = Rendered::new();
    row.check("--no-download").exits(0);
    let url = row.bench.query("SELECT video_url FROM videos");
    let name = "attachment%3B+filename%3D%22mine.mp4%22";
    lead_to(&row, &format!("{url}&response-content-disposition={name}"));
    row.fault(Fault::set_header("Content-Disposition", "inline"));
    row.check("--retries 0").exits(0);
    row.is_saved();
}

#[test]
fn an_interim_answer_does_not_hide_the_file_that_follows() {
    let options = Options {
        file_size: 400_000,
        ..Options::default()
    };
    let row = Rendered::with(options, "");
    let film = row.expected();
    let head = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </v>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        film.len()
    );
    let answer = [head.into_bytes(), film].concat();
    lead_to(
        &row,
        &host(move |_, stream| drop(stream.write_all(&answer))),
    );
    row.check("--retries 0").exits(0);
    row.is_saved();
}

#[test]
fn a_host_that_refuses_every_part_is_asked_for_the_whole() {
    for status in [400, 405, 412] {
        let row = Rendered::partial(20_000);
        row.fault(Fault::status(status));
        row.check("--retries 0").exits(0);
        assert_eq!(row.ranges()[1..], ["bytes=20000-", ""], "{status}");
        row.is_saved();
    }
    // What also a busy host says, or nothing: only what goes on is about the part.
    for (fault, retries) in [
        (Fault::status(403), 0),
        (Fault::status(501), 1),
        (Fault::cut_before_answer(), 1),
    ] {
        let told = format!("{fault:?}");
        let row = Rendered::partial(20_000);
        row.fault(fault.times(2));
        row.check(&format!("--retries {retries}")).exits(0);
        let part = "bytes=20000-";
        assert_eq!(row.ranges(), ["", part, part, ""], "{told}");
        row.is_saved();
    }
}

/// A film of 12 MB at 3 MB/s, with ranges.
fn terminate(check: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(check.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
}

fn slow_host(film: Vec<u8>) -> String {
    host(move |request, stream| {
        let range = request
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes="));
        let range = range.or_else(|| {
            request
                .lines()
                .find_map(|line| line.strip_prefix("Range: bytes="))
        });
        let start: usize = range.map_or(0, |range| {
            range.trim_end_matches('-').parse().expect("a number")
        });
        let (rest, total) = (film.len() - start, film.len());
        let last = total - 1;
        let head = match start {
            0 => format!("200 OK\r\nContent-Length: {rest}"),
            _ => format!(
                "206 Partial\r\nContent-Length: {rest}\r\nContent-Range: bytes {start}-{last}/{total}"
            ),
        };
        say(stream, &head);
        drip(stream, &film[start..], 150_000, Duration::from_millis(50));
    })
}

#[test]
fn d17_a_check_that_is_ended_again_and_again_finishes_a_file_on_a_slow_line() {
    let options = Options {
        file_size: 12 * MIB,
        ..Options::default()
    };
    let row = Rendered::with(options, "");
    lead_to(&row, &slow_host(row.expected()));
    let mut kept = 0;
    for runs in 0.. {
        if row.path().exists() {
            break;
        }
        assert!(runs < 50, "nothing is gained: {kept} bytes");
        let check = row.start_check("");
        eventually("two megabytes more, or the end", || {
            let here = |file: &PathBuf| fs::metadata(file).map_or(0, |part| part.len());
            row.path().exists()
                || files_below(&row.out()).iter().map(here).sum::<u64>() > kept + 2 * MIB
        });
        terminate(&check);
        let run = crate::support::end(check);
        if run.code == Some(0) || row.path().exists() {
            continue;
        }
        let now: u64 = row
            .bench
            .query("SELECT coalesce(sum(part_bytes), 0) FROM files")
            .parse()
            .expect("a number");
        // The end is not put off for long: on a machine that is busy less may be recorded than is here, and never more.
        assert!(now >= kept, "{now} after {kept}: {}", run.screen());
        if now > 0 {
            let here = fs::metadata(row.part()).expect("the part").len();
            assert!(now <= here, "{now} recorded, {here} here");
        }
        kept = now;
    }
    row.bench.tracker("check").exits(0);
    assert!(kept > 0, "it was too fast to show anything");
    assert!(fs::read(row.path()).expect("the file") == row.expected());
}

#[test]
fn d17_what_is_here_when_nothing_comes_is_recorded_at_a_signal() {
    // The end is not put off for long, so on a machine that is busy it may not come to that.
    let recorded = (0..5).any(|_| recorded_at_a_signal());
    assert!(recorded, "nothing was recorded five times");
}

/// Whether all that was here was recorded; if not, that is no harm.
fn recorded_at_a_signal() -> bool {
    let row = Rendered::new();
    row.fault(Fault::stall_body_after(20_000, Duration::from_secs(300)));
    let check = row.start_check("");
    eventually("a part of 20,000 bytes", || {
        files_below(&row.out())
            .iter()
            .any(|part| fs::metadata(part).is_ok_and(|part| part.len() == 20_000))
    });
    let start = Instant::now();
    terminate(&check);
    crate::support::end(check).exits(143);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
    let recorded = row.state() == "partial 20000";
    if recorded {
        row.keeps(20_000);
    }
    row.converges();
    if recorded {
        assert_eq!(row.ranges(), ["", "bytes=20000-"]);
    }
    recorded
}

/// Serves the beginning of the film, and at every word the rest of it.
fn halting(film: Vec<u8>) -> (String, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let url = host(move |_, stream| {
        let length = film.len();
        say(stream, &format!("200 OK\r\nContent-Length: {length}"));
        stream.write_all(&film[..20_000]).ok();
        gone.lock().expect("one at a time").recv().ok();
        stream.write_all(&film[20_000..]).ok();
    });
    (url, go)
}

/// The part file, once it has what was served of the film.
fn half_here(row: &Rendered) -> PathBuf {
    let part = || -> Option<PathBuf> {
        let part = files_below(&row.out()).pop()?;
        (fs::metadata(&part).ok()?.len() >= 16_384).then_some(part)
    };
    eventually("a part", || part().is_some());
    part().expect("a part")
}

#[test]
fn what_its_row_does_not_take_gets_no_final_name() {
    for change in [
        "DELETE FROM videos",
        "UPDATE videos SET video_id = 'another'",
    ] {
        let row = Rendered::new();
        let (url, go) = halting(row.expected());
        lead_to(&row, &url);
        let check = row.start_check("--retries 0");
        half_here(&row);
        let db = row.bench.db();
        db.execute_batch(&format!("PRAGMA foreign_keys = ON; {change}"))
            .expect("a change");
        go.send(()).expect("the host waits");
        let check = crate::support::end(check);
        assert_eq!(row.names(), [".part"], "{change}: {}", check.screen());
        row.bench.assert_decent(&check);
    }
}

/// What another program does to a part file.
type Meddle = fn(&Path, &Path);

#[test]
fn d21_a_meddler_in_the_output_directory_gets_nothing_published() {
    let ways: [(&str, Meddle); 6] = [
        ("a link", |part, other| {
            fs::remove_file(part).expect("it is there");
            std::os::unix::fs::symlink(other, part).expect("a link");
        }),
        ("a hard link", |part, other| {
            fs::remove_file(part).expect("it is there");
            fs::hard_link(other, part).expect("a link");
        }),
        ("a second name", |part, _| {
            fs::hard_link(part, part.with_extension("copy")).expect("a link");
        }),
        ("a directory", |part, _| {
            fs::remove_file(part).expect("it is there");
            fs::create_dir(part).expect("a directory");
        }),
        ("a longer file", |part, _| {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(part)
                .expect("it is there");
            file.write_all(&[7; 100_000]).expect("more");
        }),
        ("a shorter file", |part, _| {
            fs::OpenOptions::new()
                .write(true)
                .open(part)
                .expect("it is there")
                .set_len(10)
                .expect("less");
        }),
    ];
    for (what, meddle) in ways {
        let row = Rendered::new();
        let (url, go) = halting(row.expected());
        lead_to(&row, &url);
        let other = row.bench.file("other", [9; 65_536]);
        let check = row.start_check("--retries 0");
        meddle(&half_here(&row), &other);
        go.send(()).expect("the host waits");
        let check = crate::support::end(check).exits(1);
        assert!(
            check.stderr.contains("another program"),
            "{what}: {}",
            check.screen()
        );
        assert!(!row.path().exists(), "{what}: {}", check.screen());
        assert_eq!(
            fs::read(&other).expect("the other file"),
            [9; 65_536],
            "{what}"
        );
        assert_eq!(
            row.bench.query("SELECT state FROM files"),
            "wanted",
            "{what}"
        );
        go.send(()).expect("the host waits");
        row.check("").exits(0);
        assert!(
            fs::read(row.path()).expect("the file") == row.expected(),
            "{what}"
        );
    }
}

#[test]
fn d21_a_part_recorded_for_another_row_is_not_this_rows() {
    let row = Rendered::partial(20_000);
    let foreign = row.part().with_file_name(".other.0123456789ab.part");
    fs::rename(row.part(), &foreign).expect("a rename");
    row.bench
        .db()
        .execute(
            "UPDATE files SET part_name = '.other.0123456789ab.part'",
            [],
        )
        .expect("a row");
    row.check("").exits(0);
    assert_eq!(row.ranges(), ["", ""], "it is not gone on with");
    assert_eq!(fs::metadata(&foreign).expect("it stays").len(), 20_000);
    assert!(fs::read(row.path()).expect("the file") == row.expected());
}

#[test]
fn d22_headers_without_end_are_given_up() {
    let row = Rendered::new();
    lead_to(
        &row,
        &host(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").ok();
            stream.set_write_timeout(Some(Duration::from_secs(5))).ok();
            loop {
                match stream.write_all(b"X-More: and more\r\n") {
                    Err(error) if error.kind() != ErrorKind::Interrupted => break,
                    _ => thread::sleep(Duration::from_millis(1)),
                }
            }
        }),
    );
    let check = row.check("--retries 0 --read-timeout 1s").exits(1);
    no_final_name(&row, &check);
}
