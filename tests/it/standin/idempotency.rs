//! Same key, same answer, one bill.

use super::*;
use crate::support::eventually;

#[test]
fn a_key_replays_its_answer_for_a_day() {
    let sandbox = start();
    let id = create(&sandbox, "k");
    let other = json!({"type": "image", "image": "i"});
    assert_eq!(
        post(&sandbox, "k", &other).json()["data"]["video_id"],
        id.as_str()
    );
    sandbox.advance(Duration::from_secs(24 * 60 * 60));
    assert_ne!(create(&sandbox, "k"), id);
    assert_eq!(sandbox.billed().len(), 2);
    assert_eq!(post(&sandbox, "not a key", &avatar()).status, 400);
}

#[test]
fn a_key_in_flight_is_409() {
    let sandbox = start();
    sandbox.fault("POST /v3/videos", Fault::held());
    thread::scope(|scope| {
        let slow = scope.spawn(|| post(&sandbox, "k", &avatar()).status);
        eventually("it is held", || sandbox.holding() == 1);
        let refused = post(&sandbox, "k", &avatar());
        assert_eq!(refused.json()["error"]["code"], "request_in_progress");
        sandbox.release();
        assert_eq!(slow.join().unwrap(), 200);
    });
    assert_eq!(post(&sandbox, "k", &avatar()).status, 200);
    assert_eq!(sandbox.billed().len(), 1);
}

#[test]
fn a_lost_answer_is_billed_and_a_dropped_request_is_not() {
    let sandbox = start();
    sandbox.fault("POST /v3/videos", Fault::drop_request());
    sandbox.fault("POST /v3/videos", Fault::cut_before_answer());
    sandbox.fault("POST /v3/videos", Fault::html(502).after_work());
    assert!(try_post(&sandbox, "k1", &avatar()).is_none());
    assert_eq!(sandbox.billed().len(), 0);
    assert!(try_post(&sandbox, "k2", &avatar()).is_none());
    assert_eq!(sandbox.billed().len(), 1);
    assert_eq!(post(&sandbox, "k3", &avatar()).status, 502);
    assert_eq!(sandbox.billed().len(), 2);
    for key in ["k2", "k3"] {
        create(&sandbox, key);
    }
    assert_eq!(sandbox.billed().len(), 2);
    let answered: Vec<_> = sandbox.posts().iter().map(|post| post.answered).collect();
    assert_eq!(answered, [None, None, Some(502), Some(200), Some(200)]);
}

#[test]
fn a_remembered_refusal_is_replayed() {
    let sandbox = start();
    sandbox.fault("POST /v3/videos", Fault::status(402).remembered());
    for _ in 0..2 {
        let answer = post(&sandbox, "k", &avatar());
        assert_eq!(answer.json()["error"]["code"], "insufficient_credit");
    }
    create(&sandbox, "k2");
}
