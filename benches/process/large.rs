//! One file of 1 GB.

use std::fs;

use crate::heygen::Options;
use serde_json::Value;

use crate::Scale;
use crate::measure::{Side, compare, is_installed};
use crate::stage::{Stage, id};

pub(crate) fn run(scale: Scale) {
    let size: u64 = scale.of(1_000_000_000, 20_000_000);
    let stage = Stage::new(Options {
        file_size: size,
        ..Options::default()
    });
    stage.rendering(1, "processing");
    stage.heygen.finish(&id(1));
    let url = file_url(&stage);
    let mut sides = vec![Side::new("tracker check", || {
        stage.reset();
        let cost = stage.counted(&mut stage.tracker("check"));
        let bytes = fs::metadata(stage.path("output").join(format!("{}.mp4", id(1))));
        assert_eq!(bytes.map(|meta| meta.len()).ok(), Some(size));
        cost
    })];
    if is_installed("curl", &["--version"]) {
        for (name, script) in [
            (
                "curl -o FILE; sync FILE",
                r#"curl -sf -o theirs.mp4 "$0" && sync theirs.mp4"#,
            ),
            (
                "curl -o FILE; sha256sum FILE; sync FILE",
                r#"curl -sf -o theirs.mp4 "$0" && sha256sum theirs.mp4 && sync theirs.mp4"#,
            ),
        ] {
            let (stage, url) = (&stage, &url);
            sides.push(Side::new(name, move || {
                stage.reset();
                fs::remove_file(stage.path("theirs.mp4")).ok();
                let mut sh = stage.peer("sh");
                sh.args(["-c", script, url]);
                stage.counted(&mut sh)
            }));
        }
    }
    let title = format!("one file of {} MB", size / 1_000_000);
    compare(&title, scale.of(3, 3), sides);
}

/// Where the stand-in has the file.
fn file_url(stage: &Stage) -> String {
    let url = format!("{}/v3/videos/{}", stage.heygen.api_base(), id(1));
    let text = ureq::get(&url)
        .header("X-Api-Key", stage.heygen.key())
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .expect("an answer");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let url = answer["data"]["video_url"].as_str();
    url.expect("a URL").to_owned()
}
