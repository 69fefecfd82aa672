//! `tracker gallery`: the page as a file, and the page in a real browser.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::browser::Browser;
use crate::snapshot::history;
use crate::support::{BODY, Bench, clients};

const HOSTILE: &str =
    "</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>\u{202e}";

/// One saved, one failed, one rendering, each with a hostile text somewhere.
fn stage() -> Bench {
    let bench = history();
    bench
        .db()
        .execute(
            "UPDATE videos SET title = iif(id = 2, ?1, title), script = ?1, tags = json_array(?1, 'tag' || id),
             failure_message = iif(id = 2, ?1, NULL), video_page_url = iif(id = 3, 'javascript:alert(1)', video_page_url)",
            [HOSTILE],
        )
        .expect("rows");
    bench
}

#[test]
fn the_page_is_written_once_whole_and_private() {
    let bench = stage();
    let page = bench.path("output/index.html");
    let first = bench.tracker("gallery").exits(0);
    assert_eq!(first.stdout, format!("{}\n", page.display()));
    let mode = |path| {
        std::fs::metadata(path)
            .expect("the page")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&page), 0o600);
    let written = || {
        std::fs::metadata(&page)
            .expect("the page")
            .modified()
            .expect("a time")
    };
    let before = written();
    bench.tracker("gallery").exits(0).silent();
    assert_eq!(written(), before, "the same page is not written again");

    let html = std::fs::read_to_string(&page).expect("the page");
    for secret in [
        "Signature=",
        "Expires=",
        bench.heygen.key(),
        "<script>document",
        "<img",
        "javascript:",
        "\u{202e}",
    ] {
        assert!(!html.contains(secret), "{secret}");
    }
    let id = bench.video_id(1);
    assert!(html.contains(&format!("src=\"./{id}.mp4\"")));
    let names = std::fs::read_dir(bench.path("output"))
        .expect("a directory")
        .count();
    assert_eq!(names, 2, "nothing else is left there");

    bench.tracker("gallery 1 --output one.html").exits(0);
    let one = std::fs::read_to_string(bench.path("one.html")).expect("a page");
    assert!(one.contains("<p>1 chosen video</p>"));
    bench.tracker("gallery 1 --tag x").exits(2);
    bench.tracker("gallery 1 -L 1").exits(2);

    // Elsewhere, and moved away.
    bench
        .tracker("gallery --output elsewhere/page.html")
        .exits(0);
    let html = std::fs::read_to_string(bench.path("elsewhere/page.html")).expect("the page");
    assert!(html.contains(&format!(
        "src=\"file://{}/output/{id}.mp4\"",
        bench.dir.path().display()
    )));
    std::fs::remove_file(bench.path(&format!("output/{id}.mp4"))).expect("a file");
    bench.tracker("gallery").exits(0);
    let html = std::fs::read_to_string(&page).expect("the page");
    assert!(html.contains("<code>tracker download 1</code>") && !html.contains("<video"));
}

#[test]
fn only_a_page_of_its_own_is_replaced() {
    let bench = stage();
    bench.file("output/index.html", "<h1>my site</h1>");
    let refused = bench.tracker("gallery").exits(2);
    assert!(refused.stderr.contains("--output"), "{}", refused.stderr);
    assert_eq!(
        std::fs::read_to_string(bench.path("output/index.html")).expect("it"),
        "<h1>my site</h1>"
    );
    bench
        .tracker_with(&["submit", "body1.json", "--output-dir", "other"])
        .exits(0);
    let refused = bench.tracker("gallery").exits(2);
    assert!(
        refused.stderr.contains("several directories"),
        "{}",
        refused.stderr
    );
    bench.tracker("gallery --output page.html -L 2").exits(0);
    let html = std::fs::read_to_string(bench.path("page.html")).expect("the page");
    assert!(html.contains("the newest 2 of 4 videos"));
    assert_eq!(html.matches("<article").count(), 2);
    bench.tracker("gallery 1 --output one.html").exits(0);
    let html = std::fs::read_to_string(bench.path("one.html")).expect("the page");
    assert_eq!(html.matches("<article").count(), 1);
}

#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let bench = stage();
    mkfifo(&bench.path("pipe"), Mode::S_IRWXU).expect("a pipe");
    std::fs::create_dir(bench.path("dir")).expect("a directory");
    std::os::unix::fs::symlink("output/index.html", bench.path("link")).expect("a link");
    bench.tracker("gallery").exits(0);
    for name in ["pipe", "dir", "link", "/dev/null"] {
        let refused = bench.tracker(&format!("gallery --output {name}")).exits(2);
        assert!(
            refused.stderr.contains("is not a page that tracker made")
                && refused.stderr.contains("hint: name another file"),
            "{name}: {}",
            refused.screen()
        );
    }
}

#[test]
fn check_keeps_the_page_and_loses_nothing_when_it_cannot() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    let check = |page: &str| {
        let mut command = bench.command(["check"]);
        crate::support::run(command.env("TRACKER_GALLERY", bench.path(page)))
    };
    bench.tracker("check").exits(0);
    check("page.html").exits(0).silent();
    assert!(!bench.path("page.html").exists(), "nothing changed");
    bench.file("taken.html", "not a page of tracker's");
    bench.heygen.finish(&bench.video_id(1));
    let run = check("taken.html").exits(1);
    assert!(run.stderr.contains("TRACKER_GALLERY"), "{}", run.stderr);
    assert_eq!(bench.query("SELECT state FROM files"), "saved");
    bench.tracker("submit body.json --queue").exits(0);
    let mut crontab = bench.command(["check"]);
    let run = crate::support::run(crontab.env("TRACKER_GALLERY", "~/page.html")).exits(1);
    assert!(
        run.stderr.contains("TRACKER_GALLERY: ~/page.html"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("did not expand its ~"),
        "{}",
        run.stderr
    );
    assert!(!bench.path("~").exists());
    bench.tracker("submit body.json").exits(0);
    bench.heygen.finish(&bench.video_id(2));
    check("page.html").exits(0);
    let html = std::fs::read_to_string(bench.path("page.html")).expect("the page");
    assert_eq!(html.matches("<video").count(), 2);
}

#[test]
fn a_saved_thumbnail_is_the_poster() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --assets video,thumbnail")
        .exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    bench.tracker("gallery").exits(0);
    let html = std::fs::read_to_string(bench.path("output/index.html")).expect("the page");
    let poster = format!(" poster=\"./{}.jpg\"", bench.video_id(1));
    assert!(html.contains(&poster), "{poster}");
}

#[test]
fn a_browser_shows_it() {
    let bench = stage();
    bench.tracker("gallery").exits(0);
    let page = bench.path("output/index.html");
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.look(1280, "light", true);
    browser.open(&page);
    let film = browser.eval(
        "new Promise((done) => { const v = document.querySelector('video'); v.onloadedmetadata = () => done(v.duration);
         v.onerror = () => done('error: ' + v.error.message); v.load(); v.preload = 'metadata'; })",
    );
    let duration: f64 = bench
        .query("SELECT duration FROM videos WHERE id = 1")
        .parse()
        .expect("seconds");
    assert!(
        film.as_f64()
            .is_some_and(|seconds| (seconds - duration).abs() < 0.5),
        "{film}, not {duration}"
    );
    let decoded = browser.eval(
        "(async () => { const v = document.querySelector('video'); v.muted = true; await v.play();
         await new Promise((done) => v.requestVideoFrameCallback(done)); v.pause(); return v.videoWidth * v.videoHeight; })()",
    );
    assert!(
        decoded.as_u64().is_some_and(|pixels| pixels > 0),
        "{decoded}"
    );
    let seen = "Array.from(document.querySelectorAll('.card')).filter((c) => !c.hidden).map((c) => c.id).sort().join()";
    assert_eq!(browser.eval(seen), "v1,v2,v3");
    for (control, value, left) in [
        ("search", "video 1", "v1"),
        ("search", "", "v1,v2,v3"),
        ("status", "failed", "v2"),
        ("status", "", "v1,v2,v3"),
        ("tag", "tag3", "v3"),
    ] {
        let set = format!(
            "{{ const c = document.getElementById('{control}'); c.value = {}; c.dispatchEvent(new Event('input')); }}",
            json!(value)
        );
        browser.eval(&set);
        assert_eq!(browser.eval(seen), left, "{control} {value}");
    }
    assert_eq!(browser.eval("document.title"), "HeyGen videos");
    assert_eq!(browser.eval("document.images.length"), 0);
    assert_eq!(browser.eval("document.scripts.length"), 1);
    assert_eq!(browser.complaints(), [""; 0]);
    // The pictures on the controls of a player are the browser's own.
    let requests = browser.requests();
    assert!(
        requests
            .iter()
            .all(|url| url.starts_with("file://") || url.starts_with("data:")),
        "{requests:?}"
    );
    for role in ["searchbox", "combobox", "button"] {
        let names = browser.accessible(role);
        assert!(
            !names.is_empty() && names.iter().all(|name| !name.is_empty()),
            "{role}: {names:?}"
        );
    }
    let axe = clients().map(|clients| {
        let axe = clients.join("node_modules/axe-core/axe.min.js");
        std::fs::read_to_string(axe).expect("axe-core")
    });
    for scheme in ["light", "dark"] {
        browser.look(360, scheme, true);
        browser.open(&page);
        let wide = browser
            .eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{scheme}");
        assert_eq!(browser.eval(CONTRAST), json!([]), "{scheme}");
        if let Some(axe) = &axe {
            browser.eval(axe);
            assert_eq!(browser.eval(VIOLATIONS), json!([]), "{scheme}");
        }
    }
    // Without scripts everything is there, and no control that would do nothing.
    browser.look(1280, "light", false);
    browser.open(&page);
    assert_eq!(browser.accessible("searchbox"), [""; 0]);
    assert_eq!(browser.accessible("article").len(), 3);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The rules of axe-core that the page breaks, and where.
const VIOLATIONS: &str = "axe.run().then((found) => {
  if (found.passes.length < 10) throw new Error('hardly anything was looked at');
  return found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).slice(0, 3).join(' ')}`);
})";

/// Texts whose contrast with what is behind them is below 4.5.
const CONTRAST: &str = "(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest('script, style, .defs, option')) continue;
    const fill = e.closest('svg') ? getComputedStyle(e).fill : getComputedStyle(e).color;
    const [a, b] = [light(rgb(fill)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push(walk.currentNode.data.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
  }
  return bad;
})()";
