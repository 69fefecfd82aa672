//! The parts every row passes through: `cargo bench --bench hot`.
//!
//! HeyGen's answers are parsed behind the client only, so those two go through a loopback connection; the difference
//! between one video and a hundred is what parsing costs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run says so and stops"
)]

use divan::{Bencher, black_box};
use heygen_tracker::decide::{self, Observation};
use heygen_tracker::heygen::{BaseUrl, Client, RemoteVideo, Timeouts};
use heygen_tracker::http::Server;
use heygen_tracker::render::fields::Field;
use heygen_tracker::render::json::{self, VideoObject};
use heygen_tracker::render::tsv;
use heygen_tracker::sandbox::{Host, KEY, RenderState, Sandbox, SandboxOptions};
use heygen_tracker::secret::Secret;
use heygen_tracker::store::{NewVideo, Store};
use heygen_tracker::time;
use heygen_tracker::video::{Account, Asset, File, RemoteStatus, RowId, Video, VideoId};

fn main() {
    divan::main();
}

/// Rows that HeyGen works on.
fn new_video(number: usize) -> NewVideo {
    let video = Video {
        video_id: VideoId::new(format!("{number:032x}")),
        title: Some(format!("Video {number}")),
        script: Some("Hello there, this is what the avatar says".to_owned()),
        avatar_id: Some("avatar".to_owned()),
        voice_id: Some("voice".to_owned()),
        tags: vec!["launch".to_owned()],
        submitted_at: time::now(),
        output_dir: "/home/ada/output".into(),
        files: vec![File::wanted(Asset::Video)],
        ..Video::default()
    };
    NewVideo {
        video,
        body_hash: Some(format!("{:064x}", number % 1000)),
        ..NewVideo::default()
    }
}

/// A database with so many of them.
fn store(rows: usize) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("tracker.db")).unwrap();
    insert(&mut store, 0, rows);
    (dir, store)
}

fn insert(store: &mut Store, first: usize, count: usize) {
    let now = time::now();
    let inserted = store.write(|tx| {
        for number in first..first + count {
            tx.insert(&new_video(number), now)?;
        }
        Ok(())
    });
    inserted.unwrap();
}

fn one_video() -> Video {
    let (_dir, store) = store(1);
    store.read(|tx| tx.video(RowId(1))).unwrap().unwrap()
}

fn sandbox(videos: usize) -> ([Server; 2], Client) {
    let (sandbox, servers) = Sandbox::start(SandboxOptions::default()).unwrap();
    for number in 0..videos {
        let mut world = sandbox.world();
        let progress = RenderState::Completed { at: world.now() };
        world.insert(&format!("{number:032x}"), progress);
    }
    let base = BaseUrl::parse(&sandbox.base(Host::Api)).unwrap();
    let key = Secret::new(KEY).unwrap();
    let client = Client::new(&base, key, Timeouts::default(), None);
    (servers, client)
}

fn ids(count: usize) -> Vec<VideoId> {
    (0..count)
        .filter_map(|number| VideoId::new(format!("{number:032x}")))
        .collect()
}

fn remote() -> RemoteVideo {
    let (_servers, client) = sandbox(1);
    client.video(&ids(1)[0]).unwrap()
}

#[divan::bench]
fn decide_unchanged(bencher: Bencher) {
    let (video, account) = (one_video(), Account::new("base#key".to_owned()));
    let waiting = RemoteStatus::waiting();
    bencher.bench_local(|| {
        let seen = Observation::Bulk(black_box(&waiting));
        decide::observed(black_box(&video), seen, &account, video.submitted_at)
    });
}

#[divan::bench]
fn decide_completed(bencher: Bencher) {
    let (video, account, remote) = (one_video(), Account::new("base#key".to_owned()), remote());
    bencher.bench_local(|| {
        let seen = Observation::Detail(black_box(&remote));
        decide::observed(black_box(&video), seen, &account, video.submitted_at)
    });
}

#[divan::bench]
fn request_one_detail(bencher: Bencher) {
    let (_servers, client) = sandbox(1);
    let ids = ids(1);
    bencher.bench_local(|| client.video(&ids[0]).unwrap());
}

#[divan::bench]
fn request_a_hundred_statuses(bencher: Bencher) {
    let (_servers, client) = sandbox(100);
    let ids = ids(100);
    let ids: Vec<&VideoId> = ids.iter().collect();
    bencher.bench_local(|| {
        client
            .statuses(heygen_tracker::kind::Kind::Video, &ids)
            .unwrap()
    });
}

#[divan::bench]
fn render_json(bencher: Bencher) {
    let video = one_video();
    bencher.bench_local(|| json::to_line(&VideoObject::new(black_box(&video))).unwrap());
}

#[divan::bench]
fn render_tsv(bencher: Bencher) {
    let video = one_video();
    bencher.bench_local(|| tsv::row(black_box(&video), Field::LIST));
}

/// Durable, on whatever disk the temporary directory is on.
#[divan::bench(args = [1, 100], sample_count = 20)]
fn store_insert(bencher: Bencher, rows: usize) {
    let (_dir, mut store) = store(0);
    let mut next = 0;
    bencher.bench_local(|| {
        insert(&mut store, next, rows);
        next += rows;
    });
}

#[divan::bench(args = [1, 100], sample_count = 20)]
fn store_update(bencher: Bencher, rows: usize) {
    let (_dir, mut store) = store(rows);
    bencher.bench_local(|| {
        let updated = store.write(|tx| {
            for row in 1..=rows {
                let video = tx.video(RowId(row.try_into().unwrap()))?;
                tx.update(&video.unwrap())?;
            }
            Ok(())
        });
        updated.unwrap();
    });
}

#[divan::bench(args = [1, 100, 1000], sample_count = 20)]
fn store_seen(bencher: Bencher, rows: usize) {
    let (_dir, mut store) = store(rows);
    let seen: Vec<RowId> = (1..=rows)
        .map(|row| RowId(row.try_into().unwrap()))
        .collect();
    let now = time::now();
    bencher.bench_local(|| store.write(|tx| tx.seen(&seen, now)).unwrap());
}

/// A page out of the middle: its cost must not grow with the table.
#[divan::bench(args = [1_000, 50_000])]
fn store_unfinished_page(bencher: Bencher, rows: usize) {
    let (_dir, store) = store(rows);
    let after = RowId((rows / 2).try_into().unwrap());
    bencher.bench_local(|| {
        store
            .read(|tx| tx.unfinished_after(after, None, 500))
            .unwrap()
    });
}

#[divan::bench(args = [1_000, 50_000])]
fn store_list_page(bencher: Bencher, rows: usize) {
    let (_dir, store) = store(rows);
    let all = heygen_tracker::store::Filter::default();
    bencher.bench_local(|| store.read(|tx| tx.list(&all, None, 500)).unwrap());
}

/// Every body has 1 or 50 duplicates.
#[divan::bench(args = [1_000, 50_000])]
fn store_duplicate_lookup(bencher: Bencher, rows: usize) {
    let (_dir, store) = store(rows);
    let hash = format!("{:064x}", 500);
    bencher.bench_local(|| store.read(|tx| tx.duplicates(&hash, None, 100)).unwrap());
}
