//! One lying file host per test: each accepted connection plays the next act, and every act must be used.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use tempfile::TempDir;

const ROW: RowId = RowId(7);
const MAX: u64 = 1 << 30;

// The host

enum Act {
    /// These bytes, then the connection is closed.
    Send(Vec<u8>),
    /// These bytes, then nothing until the client gives up.
    Stall(Vec<u8>),
    /// These bytes, then a reset (the request is left unread).
    Reset(Vec<u8>),
}
use Act::{Reset, Send, Stall};

struct Host {
    url: String,
    acts: usize,
    requests: Arc<Mutex<Vec<String>>>,
}

fn host(acts: Vec<Act>) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host {
        url: format!("http://{}", listener.local_addr().unwrap()),
        acts: acts.len(),
        requests: Arc::default(),
    };
    let requests = Arc::clone(&host.requests);
    thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let mut len = 0;
            while !request[..len].ends_with(b"\r\n\r\n") {
                len = match act {
                    Reset(_) => stream.peek(&mut request).unwrap(),
                    _ => len + stream.read(&mut request[len..]).unwrap(),
                };
            }
            let request = String::from_utf8_lossy(&request[..len]).to_lowercase();
            requests.lock().unwrap().push(request);
            let (Send(bytes) | Stall(bytes) | Reset(bytes)) = &act;
            // The client may have heard enough before the end.
            stream.write_all(bytes).ok();
            if let Stall(_) = act {
                stream.read_exact(&mut [0]).ok();
            }
        }
    });
    host
}

impl Drop for Host {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(
                self.requests.lock().unwrap().len(),
                self.acts,
                "unused acts"
            );
        }
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace(" | ", "\r\n");
    let mut answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A 200 with length and strong ETag `"a"`.
fn ok(body: &[u8]) -> Vec<u8> {
    answer(
        &format!("200 OK | ETag: \"a\" | Content-Length: {}", body.len()),
        body,
    )
}

fn chunked(body: &[u8], end: &str) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", body.len()).into_bytes();
    chunk.extend_from_slice(body);
    chunk.extend_from_slice(end.as_bytes());
    answer("200 OK | ETag: \"a\" | Transfer-Encoding: chunked", &chunk)
}

/// 300 kB that begin like an MP4 file.
fn film() -> Vec<u8> {
    let noise = (0u32..75_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    [*b"\0\0\0\x18ftyp"]
        .concat()
        .into_iter()
        .chain(noise)
        .collect()
}

/// A 206 with the rest of [`film`].
fn rest_from(offset: usize) -> Vec<u8> {
    let (film, last) = (film(), film().len() - 1);
    let head = format!(
        "206 Partial | ETag: \"a\" | Content-Length: {} | Content-Range: bytes {offset}-{last}/{}",
        film.len() - offset,
        film.len()
    );
    answer(&head, &film[offset..])
}

/// A 416 that proves the whole of [`film`] to be there.
const COMPLETE: &str = "HTTP/1.1 416 Range\r\nETag: \"a\"\r\nContent-Range: bytes */300008\r\n\
                        Content-Length: 3\r\nConnection: close\r\n\r\nno!";

// The ledger

#[derive(Default)]
struct Notes {
    part: RefCell<Option<Part>>,
    finished: RefCell<Option<Finished>>,
    said: RefCell<Vec<String>>,
    /// The n-th word is not taken.
    fails_at: Option<usize>,
}

impl Notes {
    fn say(&self, word: String) -> DownloadResult<()> {
        let mut said = self.said.borrow_mut();
        if self.fails_at == Some(said.len()) {
            return Err(DownloadError::unrecorded());
        }
        said.push(word);
        Ok(())
    }
}

impl Ledger for Notes {
    fn part(&self, part: Option<&Part>) -> DownloadResult<()> {
        self.say(match part {
            Some(part) => format!("part {}", part.bytes),
            None => "no part".to_owned(),
        })?;
        self.part.replace(part.cloned());
        Ok(())
    }
    fn publishing(&self, finished: &Finished) -> DownloadResult<()> {
        self.say("publishing".to_owned())?;
        self.finished.replace(Some(finished.clone()));
        Ok(())
    }
    fn progress(&self, _: u64, _: Option<u64>) {}
}

// One row's view of the world

struct Row {
    home: TempDir,
    notes: Notes,
}

impl Row {
    fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
            notes: Notes::default(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("out")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    fn with(self, name: &str, content: &[u8]) -> Self {
        fs::create_dir_all(self.dir()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self
    }

    /// The row after a download of [`film`] was cut at `bytes`.
    fn partial(bytes: usize) -> Self {
        let row = Self::new();
        let whole = ok(&film());
        let host = host(vec![Send(
            whole[..whole.len() - (film().len() - bytes)].to_vec(),
        )]);
        row.fails(&host, "network_error");
        assert_eq!(
            row.notes.part.borrow().as_ref().unwrap().bytes,
            bytes as u64
        );
        row.notes.said.borrow_mut().clear();
        row
    }

    fn fetch_url(&self, url: &str) -> DownloadResult<Finished> {
        let read = Duration::from_millis(300);
        let client = FileClient::new(true, read, None);
        let request = FileRequest {
            row: ROW,
            max_size: MAX,
            replace: false,
            url,
            dir: &self.dir(),
            stem: "v",
            asset: Asset::Video,
            part: self.notes.part.borrow().clone(),
            ledger: &self.notes,
        };
        let result = fetch(&client, &request);
        self.check_disk();
        result
    }

    fn fetch(&self, host: &Host) -> DownloadResult<Finished> {
        self.fetch_url(&format!("{}/v.mp4?sig=SECRET", host.url))
    }

    fn fails(&self, host: &Host, code: &str) -> DownloadError {
        let error = self.fetch(host).unwrap_err();
        assert_eq!(error.problem.code, code, "{error:?}");
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        error
    }

    fn saves(&self, host: &Host, content: &[u8]) {
        let finished = self.fetch(host).unwrap();
        assert_eq!(finished.path, self.path("v.mp4"));
        assert_eq!(self.files(), ["v.mp4"]);
        assert!(fs::read(&finished.path).unwrap() == content, "another file");
        let verdict = verify(&finished.path, finished.bytes, &finished.sha256);
        assert_eq!(verdict.unwrap(), OnDisk::Intact);
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).into_iter().flatten();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn part_path(&self) -> PathBuf {
        self.path(&self.notes.part.borrow().as_ref().unwrap().name)
    }

    /// No part that the record does not name; a recorded beginning is there.
    fn check_disk(&self) {
        let part = self.notes.part.borrow();
        for name in self.files().iter().filter(|name| name.ends_with(".part")) {
            assert_eq!(
                Some(name),
                part.as_ref().map(|part| &part.name),
                "unknown part"
            );
        }
        let published = self.notes.finished.borrow().is_some();
        if let Some(part) = part.as_ref().filter(|part| part.bytes > 0 && !published) {
            let mut content = fs::read(self.path(&part.name)).unwrap();
            content.truncate(usize::try_from(part.bytes).unwrap());
            let path = self.home.path().join("beginning");
            fs::write(&path, content).unwrap();
            let verdict = verify(&path, part.bytes, &part.sha256);
            assert_eq!(verdict.unwrap(), OnDisk::Intact);
        }
    }

    fn requests(host: &Host) -> Vec<String> {
        host.requests.lock().unwrap().clone()
    }
}

// Plain downloads

#[test]
fn saves_a_file() {
    let (row, host) = (Row::new(), host(vec![Send(ok(&film()))]));
    row.saves(&host, &film());
    assert_eq!(*row.notes.said.borrow(), ["part 0", "publishing"]);
    let made_here = row.home.path().join("made_here");
    fs::write(&made_here, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&row.path("v.mp4")), mode(&made_here));

    let request = &Row::requests(&host)[0];
    assert!(
        request.contains("accept-encoding: identity\r\n"),
        "{request}"
    );
    for never in ["x-api-key", "authorization", "cookie", "range"] {
        assert!(!request.contains(never), "{request}");
    }
}

#[test]
fn long_files_are_recorded_on_the_way() {
    let mut long = film();
    long.resize(40 * 1024 * 1024, 7);
    let (row, host) = (Row::new(), host(vec![Send(ok(&long))]));
    row.saves(&host, &long);
    // A sync that takes its time is waited for before a second 16 MiB are at stake.
    let said = row.notes.said.borrow();
    let recorded = said
        .iter()
        .filter_map(|word| word.strip_prefix("part ")?.parse().ok());
    assert!(
        (16 << 20..=40 << 20).contains(&recorded.max().unwrap_or(0)),
        "{said:?}"
    );
}

#[test]
fn the_extension_follows_the_content() {
    let row = Row::new();
    let host = host(vec![Send(ok(b"\x1a\x45\xdf\xa3webm"))]);
    assert_eq!(row.fetch(&host).unwrap().path, row.path("v.webm"));
}

#[test]
fn the_end_must_be_proven() {
    let row = Row::new();
    row.saves(
        &host(vec![Send(chunked(&film(), "\r\n0\r\n\r\n"))]),
        &film(),
    );

    let row = Row::new();
    row.fails(
        &host(vec![Send(answer("200 OK", &film()))]),
        "download_failed",
    );
    assert!(row.files().is_empty());

    // Every byte is here, but not the last chunk: asked for nothing more, the host says that this is all.
    let row = Row::new();
    row.fails(&host(vec![Send(chunked(&film(), "\r\n"))]), "network_error");
    row.saves(&host(vec![Send(COMPLETE.as_bytes().to_vec())]), &film());
}

#[test]
fn more_bytes_than_announced_are_not_a_file() {
    for connection in ["close", "keep-alive"] {
        let row = Row::new();
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 300000\r\nConnection: {connection}\r\n\r\n"
        );
        let host = host(vec![Send([head.into_bytes(), film()].concat())]);
        let error = row.fails(&host, "download_failed");
        assert!(error.problem.message.contains("more bytes"), "{error:?}");
        assert!(row.files().is_empty());
    }
}

#[test]
fn pages_and_empty_bodies_leave_nothing() {
    for body in [
        "<!DOCTYPE html><html>",
        "<?xml version=\"1.0\"?><Error>",
        "\n<HTML>",
        "",
    ] {
        let row = Row::new();
        row.fails(&host(vec![Send(ok(body.as_bytes()))]), "download_failed");
        assert!(row.files().is_empty());
        assert!(row.notes.said.borrow().is_empty());
    }
    let row = Row::new();
    let json = answer(
        "200 OK | Content-Length: 2 | Content-Type: application/json",
        b"{}",
    );
    row.fails(&host(vec![Send(json)]), "download_failed");
    let row = Row::new();
    row.fails(&host(vec![Send(chunked(b"", ""))]), "download_failed");
    assert!(row.files().is_empty());
}

#[test]
fn a_refusal_keeps_the_part_and_a_later_try_resumes_it() {
    for status in ["403 Forbidden", "404 Not Found", "410 Gone"] {
        let row = Row::partial(100_000);
        let xml = answer(&format!("{status} | Content-Length: 8"), b"<Error/>");
        let error = row.fails(&host(vec![Send(xml)]), "download_failed");
        assert!(error.next == Next::Refresh);
        row.saves(&host(vec![Send(rest_from(100_000))]), &film());
    }
    let row = Row::partial(100_000);
    let busy = answer("503 Busy | Retry-After: 7 | Content-Length: 0", b"");
    let error = row.fails(&host(vec![Send(busy)]), "download_failed");
    assert_eq!(error.next, Next::Retry(Some(Duration::from_secs(7))));
}

// Interrupted and resumed

#[test]
fn an_interrupted_download_is_resumed() {
    let cut = ok(&film())[..200_000].to_vec();
    for (act, code) in [
        (Send(cut.clone()), "network_error"),
        (Stall(cut.clone()), "timeout"),
        (Reset(cut), "network_error"),
    ] {
        let row = Row::new();
        row.fails(&host(vec![act]), code);
        let Some(part) = row.notes.part.take() else {
            continue; // A reset may overtake all that was sent before it.
        };
        let offset = usize::try_from(part.bytes).unwrap();
        assert_eq!(
            fs::metadata(row.path(&part.name)).unwrap().mode() & 0o7777,
            0o600
        );
        row.notes.part.replace(Some(part));
        let host = host(vec![Send(rest_from(offset))]);
        row.saves(&host, &film());
        let request = &Row::requests(&host)[0];
        assert!(
            request.contains(&format!("range: bytes={offset}-\r\n")),
            "{request}"
        );
        assert!(request.contains("if-range: \"a\"\r\n"), "{request}");
    }
}

#[test]
fn headers_that_never_come_are_a_timeout() {
    let row = Row::new();
    row.fails(
        &host(vec![Stall(b"HTTP/1.1 200 OK\r\nX: ".to_vec())]),
        "timeout",
    );
    assert!(row.files().is_empty());
}

#[test]
fn without_a_strong_etag_nothing_is_kept() {
    for etag in ["W/\"a\"", "a"] {
        let row = Row::new();
        let cut = answer(
            &format!("200 OK | ETag: {etag} | Content-Length: 300004"),
            &film()[..9999],
        );
        row.fails(&host(vec![Send(cut)]), "network_error");
        assert!(row.files().is_empty());
        assert_eq!(*row.notes.said.borrow(), ["part 0", "no part"]);
    }
}

#[test]
fn an_answer_that_does_not_fit_restarts_cleanly() {
    let mut other = film();
    other[8..].iter_mut().for_each(|byte| *byte ^= 1);
    let whole = || {
        Send(answer(
            &format!("200 OK | ETag: \"b\" | Content-Length: {}", other.len()),
            &other,
        ))
    };
    let partial = |head: &str| Send(answer(&format!("206 Partial | {head}"), &other[100_000..]));
    for acts in [
        vec![whole()],
        vec![
            partial(
                "ETag: \"b\" | Content-Length: 200008 | Content-Range: bytes 100000-300007/300008",
            ),
            whole(),
        ],
        vec![
            partial("Content-Length: 200008 | Content-Range: bytes 100000-300007/300008"),
            whole(),
        ],
        vec![
            partial("ETag: \"a\" | Content-Length: 200008 | Content-Range: bytes 0-200007/300008"),
            whole(),
        ],
        vec![
            partial(
                "ETag: \"a\" | Content-Length: 200008 | Content-Range: bytes 100000-300007/300009",
            ),
            whole(),
        ],
        vec![
            partial(
                "ETag: \"a\" | Content-Length: 200008 | Content-Type: multipart/byteranges; boundary=x",
            ),
            whole(),
        ],
        vec![
            Send(answer(
                "416 Range | Content-Range: bytes */300008 | Content-Length: 3",
                b"no!",
            )),
            whole(),
        ],
    ] {
        Row::partial(100_000).saves(&host(acts), &other);
    }
    let row = Row::new();
    let unasked = rest_from(0);
    row.fails(&host(vec![Send(unasked)]), "download_failed");
    assert!(row.files().is_empty());
}

#[test]
fn a_416_finishes_what_it_proves_complete() {
    let row = Row::partial(film().len() - 1);
    let part = Part {
        bytes: film().len() as u64,
        ..row.notes.part.take().unwrap()
    };
    fs::write(row.path(&part.name), film()).unwrap();
    let sha256 = hex(Sha256::new_with_prefix(film()));
    row.notes.part.replace(Some(Part { sha256, ..part }));
    row.saves(&host(vec![Send(COMPLETE.as_bytes().to_vec())]), &film());
}

#[test]
fn a_part_that_is_not_the_recorded_one_is_never_resumed() {
    let spoils: [fn(&Path); 5] = [
        |part| fs::write(part, vec![0; 100_000]).unwrap(),
        |part| fs::write(part, &film()[..50_000]).unwrap(),
        |part| fs::write(part, [film(), film()].concat()).unwrap(),
        |part| fs::hard_link(part, part.with_extension("link")).unwrap(),
        |part| fs::remove_file(part).unwrap(),
    ];
    for spoil in spoils {
        let row = Row::partial(100_000);
        let link = row.part_path().with_extension("link");
        spoil(&row.part_path());
        let host = host(vec![Send(ok(&film()))]);
        row.fetch(&host).unwrap();
        assert!(fs::read(row.path("v.mp4")).unwrap() == film());
        assert!(!Row::requests(&host)[0].contains("range"));
        if let Ok(linked) = fs::read(link) {
            assert!(linked == film()[..100_000], "written through a hard link");
        }
    }
}

#[test]
fn a_part_that_became_a_symlink_is_neither_followed_nor_written() {
    let row = Row::partial(100_000);
    let victim = row.home.path().join("victim");
    fs::rename(row.part_path(), &victim).unwrap();
    symlink(&victim, row.part_path()).unwrap();
    // The link itself is not ours to remove, so the directory keeps it.
    let name = row.notes.part.borrow().as_ref().unwrap().name.clone();
    let read = Duration::from_secs(1);
    let host = host(vec![Send(ok(&film()))]);
    let request = FileRequest {
        row: ROW,
        max_size: MAX,
        replace: false,
        url: &host.url,
        dir: &row.dir(),
        stem: "v",
        asset: Asset::Video,
        part: row.notes.part.borrow().clone(),
        ledger: &row.notes,
    };
    fetch(&FileClient::new(true, read, None), &request).unwrap();
    assert!(fs::read(victim).unwrap() == film()[..100_000]);
    assert_eq!(row.files(), [name.as_str(), "v.mp4"]);
}

#[test]
fn bytes_beyond_the_recorded_ones_are_cut_off() {
    let row = Row::partial(100_000);
    let mut part = fs::OpenOptions::new()
        .append(true)
        .open(row.part_path())
        .unwrap();
    part.write_all(b"never recorded").unwrap();
    row.saves(&host(vec![Send(rest_from(100_000))]), &film());
}

// Redirects

#[test]
fn redirects_are_followed_a_few_times() {
    let last = host(vec![Send(ok(&film()))]);
    let location = |to: &str| {
        Send(answer(
            &format!("302 Found | Location: {to} | Content-Length: 0"),
            b"",
        ))
    };
    let first = host(vec![location("/next?sig=SECRET"), location(&last.url)]);
    Row::new().saves(&first, &film());
    assert!(Row::requests(&first)[1].starts_with("get /next?sig=secret "));

    let looping = host((0..6).map(|_| location("/again")).collect());
    let error = Row::new().fails(&looping, "download_failed");
    assert!(
        error.problem.message.contains("redirected more than 5"),
        "{error:?}"
    );

    for to in [
        "http://files.example/v?SECRET",
        "file:///etc/passwd",
        "data:video/mp4,SECRET",
        "ftp://127.0.0.1/v",
    ] {
        let row = Row::new();
        let error = row.fails(&host(vec![location(to)]), "download_failed");
        assert!(error.problem.message.contains("only https"), "{error:?}");
        assert!(row.files().is_empty());
    }
}

#[test]
fn plain_http_needs_permission() {
    let client = FileClient::new(false, Duration::from_secs(1), None);
    let row = Row::new();
    let request = FileRequest {
        row: ROW,
        max_size: MAX,
        replace: false,
        url: "http://127.0.0.1:1/v",
        dir: &row.dir(),
        stem: "v",
        asset: Asset::Video,
        part: None,
        ledger: &row.notes,
    };
    let error = fetch(&client, &request).unwrap_err();
    assert!(error.problem.message.contains("only https"), "{error:?}");
}

#[test]
fn nobody_listening_is_a_network_error() {
    let error = Row::new()
        .fetch_url("http://127.0.0.1:1/v?SECRET")
        .unwrap_err();
    assert_eq!(error.problem.code, "network_error");
}

// The final name

#[test]
fn the_same_file_under_the_final_name_is_adopted() {
    let row = Row::new().with("v.mp4", &film());
    let inode = fs::metadata(row.path("v.mp4")).unwrap().ino();
    row.saves(&host(vec![Send(ok(&film()))]), &film());
    assert_eq!(fs::metadata(row.path("v.mp4")).unwrap().ino(), inode);
}

#[test]
fn another_file_under_the_final_name_is_left_alone() {
    let row = Row::new().with("v.mp4", b"mine");
    row.fails(&host(vec![Send(ok(&film()))]), "file_exists");
    assert_eq!(row.files(), ["v.mp4"]);
    assert_eq!(fs::read(row.path("v.mp4")).unwrap(), b"mine");

    let mine = vec![9; film().len()];
    let row = Row::new().with("v.mp4", &mine);
    row.fails(&host(vec![Send(ok(&film()))]), "file_exists");
    assert!(fs::read(row.path("v.mp4")).unwrap() == mine);
    let finished = row.notes.finished.take().unwrap();
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false)
            .unwrap_err()
            .problem
            .code,
        "file_exists"
    );
    fs::rename(row.path("v.mp4"), row.home.path().join("mine")).unwrap();
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false).unwrap(),
        Recovered::Published
    );
    assert_eq!(row.files(), ["v.mp4"]);
    assert!(fs::read(row.path("v.mp4")).unwrap() == film());
}

#[test]
fn what_is_not_a_file_is_in_the_way_before_any_request() {
    let obstacles: [fn(&Path); 3] = [
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/nowhere", path).unwrap(),
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    for obstacle in obstacles {
        let row = Row::new().with("x", b"");
        obstacle(&row.path("v.mp4"));
        let error = row.fails(&host(vec![]), "file_exists");
        assert!(
            error.problem.message.contains("not a regular file"),
            "{error:?}"
        );
    }
}

#[test]
fn a_directory_that_is_a_file_is_a_file_error() {
    let row = Row::new();
    fs::write(row.dir(), b"").unwrap();
    row.fails(&host(vec![]), "file_error");
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    for stem in ["../v", "/v", ".v", "", "a/b", "a\0b"] {
        let row = Row::new();
        let request = FileRequest {
            row: ROW,
            max_size: MAX,
            replace: false,
            url: "http://127.0.0.1:1/v",
            dir: &row.dir(),
            stem,
            asset: Asset::Video,
            part: None,
            ledger: &row.notes,
        };
        let client = FileClient::new(true, Duration::from_secs(1), None);
        assert_eq!(
            fetch(&client, &request).unwrap_err().problem.code,
            "file_error"
        );
    }
    let row = Row::new().with("keep", b"");
    for name in ["../out/keep", "keep", ".", "..", "/etc/.x.part"] {
        discard(&row.dir(), name, ROW).unwrap();
    }
    assert_eq!(row.files(), ["keep"]);
}

// Crashes

#[test]
fn recover_finishes_whatever_a_crash_left() {
    let made = || {
        let row = Row::new();
        let host = host(vec![Send(ok(&film()))]);
        let finished = row.fetch(&host).unwrap();
        (row, finished)
    };
    let (row, finished) = made();
    let part = row.path(&finished.part_name);
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false).unwrap(),
        Recovered::Adopted
    );

    // Between link and unlink, on file systems without RENAME_NOREPLACE.
    fs::hard_link(&finished.path, &part).unwrap();
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false).unwrap(),
        Recovered::Adopted
    );
    assert_eq!(row.files(), ["v.mp4"]);

    fs::rename(&finished.path, &part).unwrap();
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false).unwrap(),
        Recovered::Published
    );
    assert_eq!(row.files(), ["v.mp4"]);

    fs::rename(&finished.path, &part).unwrap();
    fs::write(&part, &film()[1..]).unwrap();
    assert_eq!(
        recover(&row.dir(), ROW, &finished, false).unwrap(),
        Recovered::Lost
    );
    assert!(row.files().is_empty());
}

#[test]
fn without_links_a_name_that_is_taken_is_kept_all_the_same() {
    let dir = TempDir::new().unwrap();
    let (part, name) = (dir.path().join("part"), dir.path().join("name"));
    fs::write(&part, "new").unwrap();
    symlink("nowhere", &name).unwrap();
    let taken = publish::look_and_rename(&part, &name).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(name.is_symlink());
    fs::remove_file(&name).unwrap();
    publish::look_and_rename(&part, &name).unwrap();
    assert_eq!(fs::read_to_string(&name).unwrap(), "new");
    assert!(!part.exists());
}

#[test]
fn a_failing_ledger_stops_the_download_where_it_is() {
    for word in 0..2 {
        let mut row = Row::new();
        row.notes.fails_at = Some(word);
        let error = row.fetch(&host(vec![Send(ok(&film()))])).unwrap_err();
        assert!(error.next == Next::Unrecorded);
        assert!(!row.path("v.mp4").exists());
        row.notes.fails_at = None;
        row.saves(&host(vec![Send(ok(&film()))]), &film());
    }
}

#[test]
fn verify_tells_missing_from_changed() {
    let row = Row::new().with("a", b"abc");
    let sha256 = hex(Sha256::new_with_prefix("abc"));
    symlink(row.path("a"), row.path("link")).unwrap();
    for (path, bytes, found) in [
        (row.path("a"), 3, OnDisk::Intact),
        (row.path("b"), 3, OnDisk::Missing),
        (row.path("link"), 3, OnDisk::Changed),
        (row.dir(), 3, OnDisk::Changed),
        (row.path("a"), 4, OnDisk::Changed),
    ] {
        assert_eq!(verify(&path, bytes, &sha256).unwrap(), found, "{path:?}");
    }
    fs::write(row.path("a"), b"abd").unwrap();
    let verdict = verify(&row.path("a"), 3, &sha256);
    assert_eq!(verdict.unwrap(), OnDisk::Changed);
}
