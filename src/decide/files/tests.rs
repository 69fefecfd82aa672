//! Every fact about a file in every state it can be in.

use super::*;
use crate::store::{NewVideo, Store};
use crate::video::{FileState::*, Outcome, Phase, RemoteStatus, VideoId};

fn now() -> Timestamp {
    Timestamp::from_secs(1_000_000)
}

fn finished() -> Finished {
    Finished {
        part_name: "p.part".to_owned(),
        path: "/out/a.mp4".into(),
        bytes: 7,
        sha256: "0".repeat(64),
    }
}

fn part() -> Part {
    Part {
        name: "p.part".to_owned(),
        bytes: 3,
        sha256: "1".repeat(64),
        etag: Some("\"e\"".to_owned()),
        total: Some(7),
    }
}

fn in_state(state: FileState) -> File {
    let complete = matches!(state, Publishing | Saved | Gone);
    File {
        state,
        part: matches!(state, Partial | Publishing).then(part),
        path: complete.then(|| "/out/a.mp4".into()),
        bytes: complete.then_some(7),
        sha256: complete.then(|| "0".repeat(64)),
        saved_at: matches!(state, Saved | Gone).then(now),
        ..File::wanted(Asset::Video)
    }
}

/// A completed row with its one file in `state`, as the database has it.
fn stored(store: &mut Store, state: FileState) -> Video {
    let video = Video {
        video_id: VideoId::new(format!("v-{state}")),
        submitted_at: now(),
        output_dir: "/out".into(),
        files: vec![File::wanted(Asset::Video)],
        ..Video::default()
    };
    let new = NewVideo {
        video,
        ..NewVideo::default()
    };
    store
        .write(|tx| {
            let id = match tx.by_video_id(new.video.video_id.as_ref().unwrap())? {
                Some(id) => id,
                None => tx.insert(&new, now())?,
            };
            let mut video = tx.video(id)?.unwrap();
            video.remote_status = Some(RemoteStatus::new("completed"));
            video.outcome = Some(Outcome::Completed);
            assert!(tx.update(&video)?);
            tx.put_file(id, &in_state(state))?;
            tx.video(id)
        })
        .unwrap()
        .unwrap()
}

#[test]
fn every_fact_in_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("t.db")).unwrap();
    let failure = || Failure::local(Operation::Save, "disk", "no");
    let facts = || {
        [
            ("nothing", FileFact::Part(None)),
            ("part", FileFact::Part(Some(part()))),
            ("complete", FileFact::Complete(finished())),
            ("saved", FileFact::Saved { repaired: false }),
            ("lost", FileFact::Lost),
            (
                "failed",
                FileFact::Failed {
                    failure: failure(),
                    report: true,
                    refused: true,
                },
            ),
            ("gone", FileFact::Gone("missing")),
        ]
    };
    for &before in FileState::ALL {
        for (name, fact) in facts() {
            let open = before.is_open();
            let after = match name {
                "nothing" if open => Wanted,
                "part" if open => Partial,
                "complete" if open => Publishing,
                "saved" if before == Publishing => Saved,
                "lost" if before == Publishing => Wanted,
                "gone" if before == Saved => Gone,
                _ => before,
            };
            let video = stored(&mut store, before);
            let decision = file(&video, Asset::Video, fact, now());
            let found = decision.video.file(Asset::Video).unwrap();
            assert_eq!(found.state, after, "{before} {name}");
            assert_eq!(found.attempts, i64::from(name == "failed" && open));
            assert_eq!(found.part.is_some(), matches!(after, Partial | Publishing));
            assert_eq!(decision.finishes(), before.is_open() && !after.is_open());
            let events = usize::from(match name {
                "saved" | "lost" => before == Publishing,
                "failed" => open,
                "gone" => before == Saved,
                _ => false,
            });
            assert_eq!(decision.events.len(), events, "{before} {name}");
            // What is written is what was decided, and the database agrees on what is over.
            let written = store.write(|tx| {
                assert!(tx.apply(&decision, now())?);
                tx.video(video.id)
            });
            let written = written.unwrap().unwrap();
            assert_eq!(written.files, decision.video.files, "{before} {name}");
            assert_eq!(written.finished, written.is_over(), "{before} {name}");
        }
    }
}

#[test]
fn the_database_and_the_rule_agree_on_what_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("t.db")).unwrap();
    for &state in FileState::ALL {
        for phase in [Phase::Accepted, Phase::Missing] {
            for outcome in [None, Some(Outcome::Completed), Some(Outcome::Failed)] {
                let mut video = stored(&mut store, state);
                (video.phase, video.outcome) = (phase, outcome);
                let written = store.write(|tx| {
                    assert!(tx.update(&video)?);
                    tx.video(video.id)
                });
                let written = written.unwrap().unwrap();
                assert_eq!(
                    written.finished,
                    written.is_over(),
                    "{phase} {outcome:?} {state}"
                );
                store
                    .write(|tx| {
                        let mut video = tx.video(video.id)?.unwrap();
                        video.phase = Phase::Accepted;
                        tx.update(&video)
                    })
                    .unwrap();
            }
        }
    }
}

#[test]
fn what_is_wanted_again_starts_afresh_unless_it_is_half_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("t.db")).unwrap();
    for &state in FileState::ALL {
        let video = stored(&mut store, state);
        let here = want_again(&video, &[Asset::Video], None);
        let kept = here.video.file(Asset::Video) == video.file(Asset::Video);
        assert_eq!(kept, state.is_open(), "{state}");
        let there = want_again(&video, &[Asset::Video], Some(Path::new("/elsewhere")));
        assert_eq!(there.video.files, [File::wanted(Asset::Video)]);
        assert_eq!(there.video.output_dir, Path::new("/elsewhere"));
        assert_eq!(there.events.len(), 1);
    }
}

#[test]
fn what_is_refused_for_long_enough_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("t.db")).unwrap();
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for (asset, since, tries, refused, over) in [
        (Asset::Gif, DAY, 19, true, true),
        (Asset::Gif, DAY, 18, true, false),
        (Asset::Gif, DAY / 2, 900, true, false),
        (Asset::Gif, 30 * DAY, 900, false, false),
        (Asset::Video, 6 * DAY, 900, true, false),
        (Asset::Video, 7 * DAY, 900, true, true),
    ] {
        let mut video = stored(&mut store, Wanted);
        video.files = vec![File {
            attempts: tries,
            first_failed_at: Some(now().before(since)),
            ..File::wanted(asset)
        }];
        let fact = FileFact::Failed {
            failure: Failure::local(Operation::Save, "download_failed", "HTTP 404"),
            report: true,
            refused,
        };
        let decision = file(&video, asset, fact, now());
        let state = decision.video.file(asset).unwrap().state;
        assert_eq!(
            state == Unavailable,
            over,
            "{asset} {since:?} {tries} {refused}"
        );
        assert_eq!(decision.finishes(), over);
        let [entry] = decision.events.as_slice() else {
            panic!("{:?}", decision.events)
        };
        match &entry.event {
            Event::Unavailable { why: Some(why), .. } => {
                assert!(over && why.contains("tracker download 1"), "{why}");
            }
            Event::Error(_) => assert!(!over),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_download_that_comes_on_is_not_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("t.db")).unwrap();
    let mut video = stored(&mut store, Wanted);
    video.files[0].first_failed_at = Some(now());
    let decision = file(&video, Asset::Video, FileFact::Part(Some(part())), now());
    assert_eq!(decision.video.files[0].first_failed_at, None);
}
