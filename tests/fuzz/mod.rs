//! What arrives from outside, as any bytes at all, beginning with the examples in `tests/seeds`.
//!
//! `cargo test fuzz` changes the examples at random, the same way every time; `PROPTEST_CASES=100000` goes on for longer.
//! With a nightly toolchain and cargo-fuzz, `cargo +nightly fuzz run answers fuzz/corpus/answers tests/seeds/answers` lets
//! libFuzzer look for what reaches new code. What either finds becomes an example.

use crate::bodies;
use crate::download::{self, name};
use crate::each;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::video::{Asset, RowId, Video, VideoId};
use crate::webhook;
use crate::{heygen, http, import};

/// Panics if the bytes are treated badly.
pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 6] = [
    ("answers", heygen::fuzz::target),
    ("webhooks", webhooks),
    ("imports", imports),
    ("bodies", submitted),
    ("ranges", download::fuzz::target),
    ("names", names),
];

fn now() -> Timestamp {
    Timestamp::from_secs(1_764_000_000)
}

/// A whole request: never believed as it is, and read to the end when somebody with the secret signs its body.
fn webhooks(bytes: &[u8]) {
    let Some(secret) = Secret::new("whsec_test") else {
        return;
    };
    let served = http::fuzz::served(bytes, |request| {
        let as_sent = |name: &str| request.header(name);
        let refusal = webhook::read(&secret, as_sent, &request.body, now()).err();
        assert_eq!(refusal.map(|(status, _)| status), Some(401));
        let signature = webhook::sign(&secret, &request.body);
        let signed = |name: &str| match name {
            webhook::SIGNATURE => Some(signature.as_str()),
            _ => Some("1764000000"),
        };
        match webhook::read(&secret, signed, &request.body, now()) {
            Ok(delivery) => assert!(delivery.key.len() < 300 && delivery.event_type.len() < 500),
            Err((status, _)) => assert_eq!(status, 400),
        }
    });
    assert!(served.is_ok(), "{served:?}");
}

/// A file for `add`: nothing in it, something skipped, or ids.
fn imports(bytes: &[u8]) {
    let base = Video {
        submitted_at: now(),
        ..Video::default()
    };
    if let Ok((rows, skipped)) = import::parse("f", bytes, &base, &chrono::Utc) {
        assert!(rows.len() + skipped <= bytes.len());
        for row in rows {
            let id = row.job().map(|job| job.id);
            assert!(id.is_some_and(|id| VideoId::new(id.as_str()).is_some()));
        }
    }
}

/// Bodies, and after a line of three dashes a table for `--each`.
fn submitted(bytes: &[u8]) {
    const LINE: &[u8] = b"\n---\n";
    let at = bytes.windows(LINE.len()).position(|window| window == LINE);
    let (body, table) = at.map_or((bytes, &[][..]), |at| {
        (&bytes[..at], &bytes[at + LINE.len()..])
    });
    let lines = each::parse("t", table, true).unwrap_or_default();
    for body in bodies::parse("b", body).unwrap_or_default() {
        let pretty = serde_json::to_vec_pretty(&body.value).unwrap_or_default();
        let again = bodies::parse("b", &pretty).unwrap_or_default();
        assert_eq!(again.first().map(bodies::Body::hash), Some(body.hash()));
        for line in &lines {
            if let Ok(filled) = body.for_line(line) {
                let fields =
                    |value: &serde_json::Value| value.as_object().map(serde_json::Map::len);
                assert!(fields(&filled.value) <= fields(&body.value));
            }
        }
    }
}

/// A template, HeyGen's id and a title, a line each: one safe name.
fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (template, id, title) = (lines.next(), lines.next(), lines.next());
    let Some(id) = VideoId::new(id.unwrap_or("v1")) else {
        return;
    };
    let stem = name::stem(template, RowId(i64::MAX), &id, title, "2026-02-28");
    for stem in [name::own(&stem, RowId(i64::MAX)), stem] {
        let safe = !stem.starts_with(['.', '-']) && !stem.ends_with(['.', ' ']);
        assert!(
            safe && !stem.contains(['/', '\\', ':', '\0', '\n']),
            "{stem:?}"
        );
        for asset in Asset::ALL.iter().copied() {
            for file in name::candidates(&stem, asset) {
                assert!(file.len() <= 220, "{file:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

    use super::TARGETS;

    /// What parsers stumble over.
    const WORDS: [&str; 24] = [
        "",
        "null",
        "true",
        "-1",
        "1e400",
        "99999999999999999999",
        "0.1",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\u0000",
        "\\ud800",
        ",",
        ":",
        "\r\n",
        "\r\n\r\n",
        "\n---\n",
        "{{",
        "}}",
        "\u{feff}",
        "\u{202e}",
        "../",
    ];

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/seeds")
            .join(target);
        let files =
            std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// An example in which some bytes were replaced by others, by a word or by a piece of another example.
    fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let piece =
            (select(seeds.clone()), any::<Index>(), 0..20_usize).prop_map(|(seed, at, length)| {
                let at = at.index(seed.len() + 1);
                seed[at..seed.len().min(at + length)].to_vec()
            });
        let new = prop_oneof![
            select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..3),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            piece,
        ];
        let change = (
            any::<Index>(),
            prop_oneof![4 => 0..12_usize, 1 => Just(usize::MAX)],
            new,
        );
        (select(seeds), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
            for (at, length, new) in changes {
                let at = at.index(bytes.len() + 1);
                let end = bytes.len().min(at.saturating_add(length));
                bytes.splice(at..end, new);
            }
            bytes
        })
    }

    #[test]
    fn no_bytes_from_outside_are_treated_badly() {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(seeds.len() > 2, "{name}");
            seeds.iter().for_each(|seed| target(seed));
            let config = Config {
                failure_persistence: None,
                rng_seed: RngSeed::Fixed(1),
                ..Config::default()
            };
            let found = TestRunner::new(config).run(&changed(seeds), |bytes| {
                target(&bytes);
                Ok(())
            });
            if let Err(TestError::Fail(why, bytes)) = found {
                panic!("{name}: {why}: b\"{}\"", bytes.escape_ascii());
            }
        }
    }
}
