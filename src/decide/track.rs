//! Tracking by id: what it means for a row that the user names its video.

use super::Decision;
use crate::event::{Edit, Event, Rejection};
use crate::heygen::{self, BatchItem};
use crate::time::Timestamp;
use crate::video::{Kind, Operation, Phase, RemoteStatus, Video, VideoId};

/// The user says which video an unanswered submission became. `None` for a row whose submission is settled.
pub fn became(video: &Video, id: &VideoId, now: Timestamp) -> Option<Decision> {
    if !matches!(video.phase, Phase::Sending | Phase::Unknown) && !video.is_lost() {
        return None;
    }
    let mut decision = Decision::change(video);
    // The user, not HeyGen, says that it was accepted.
    decision.drop_error(Operation::Send);
    decision.accept(id, RemoteStatus::waiting(), now);
    decision.event(Event::Accepted {
        session_id: (video.kind == Kind::Agent).then(|| id.to_string()),
        video_id: (video.kind != Kind::Agent).then(|| id.to_string()),
        status: None,
        request_id: None,
        from: Some(video.status().to_owned()),
        by: Some("add --as"),
    });
    Some(decision)
}

/// The user names a video that HeyGen did not have: it is asked for again. `None` for a row that is not `missing`.
pub fn named_again(video: &Video) -> Option<Decision> {
    if video.phase != Phase::Missing {
        return None;
    }
    let mut decision = Decision::change(video);
    decision.drop_error(Operation::Poll);
    let row = &mut decision.video;
    row.phase = Phase::Accepted;
    row.not_found_at = None;
    row.not_found_count = 0;
    row.missing_at = None;
    // An end HeyGen told stands; only an agent's failure is ever taken back, when it is asked to go on.
    if row.outcome.is_none() {
        row.remote_status = Some(RemoteStatus::waiting());
    }
    decision.event(Event::Edited(Edit {
        from: Some(video.status().to_owned()),
        by: Some("add"),
        ..Edit::default()
    }));
    Some(decision)
}

/// Why an item of a batch will never be a video; `None` where it is one or may become one.
pub fn refusal(item: &BatchItem) -> Option<heygen::ErrorBody> {
    let refused = item.error.is_some() || item.status.is_terminal();
    (item.video_id.is_none() && refused).then(|| item.error.clone().unwrap_or_default())
}

/// HeyGen refused a body that somebody else's program sent.
pub fn refused_elsewhere(video: &Video, why: &heygen::ErrorBody) -> Decision {
    let mut decision = Decision::change(video);
    let rejection = Rejection {
        code: why.code.clone(),
        message: why.message.clone(),
        ..Rejection::default()
    };
    decision.reject(video, rejection);
    decision
}

pub fn edited(video: &Video) -> Decision {
    let mut decision = Decision::change(video);
    decision.event(Event::Edited(Edit {
        by: Some("edit"),
        title: video.title.clone(),
        tags: Some(video.tags.clone()),
        ..Edit::default()
    }));
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewVideo, Store};
    use crate::video::{Account, IdempotencyKey, LastError};

    fn row(phase: Phase, status: Option<&str>) -> Video {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        let at = Timestamp::from_secs(1000);
        let new = NewVideo {
            video: Video {
                idempotency_key: Some(IdempotencyKey::random()),
                submitted_at: at,
                output_dir: "/out".into(),
                ..Video::default()
            },
            request: Some("{}".to_owned()),
            ..NewVideo::default()
        };
        let mut video = store
            .write(|tx| tx.insert(&new, at).and_then(|id| tx.video(id)))
            .unwrap()
            .unwrap();
        video.phase = phase;
        video.remote_status = status.map(RemoteStatus::new);
        video.outcome = video.remote_status.as_ref().and_then(RemoteStatus::outcome);
        video.account = Some(Account::new("https://x#1".to_owned()));
        video.first_unanswered_at = Some(at);
        video.attempts = 3;
        video
    }

    #[test]
    fn only_an_open_purchase_can_become_a_video() {
        let id = VideoId::new("v").unwrap();
        let now = Timestamp::from_secs(2000);
        for &phase in Phase::ALL {
            let video = row(phase, None);
            let decision = became(&video, &id, now);
            let open = matches!(phase, Phase::Sending | Phase::Unknown | Phase::Rejected);
            assert_eq!(decision.is_some(), open, "{phase}");
            let Some(decision) = decision else { continue };
            assert_eq!(decision.video.status(), "waiting");
            assert_eq!(decision.video.video_id.as_ref(), Some(&id));
            assert_eq!(decision.video.first_unanswered_at, None);
            assert_eq!(decision.video.account, video.account);
            assert_eq!(decision.events.len(), 1);
        }
    }

    #[test]
    fn a_missing_video_is_asked_for_again() {
        let now = Timestamp::from_secs(2000);
        let mut video = row(Phase::Missing, Some("processing"));
        video.last_error = Some(LastError {
            operation: Operation::Poll,
            code: "not_found".to_owned(),
            message: "no such video".to_owned(),
            request_id: None,
            at: now,
            notified_at: None,
            count: 2,
        });
        let decision = named_again(&video).unwrap();
        assert_eq!(decision.video.status(), "waiting");
        assert_eq!(decision.video.last_error, None);
        let ended = row(Phase::Missing, Some("completed"));
        assert_eq!(named_again(&ended).unwrap().video.status(), "completed");
        assert!(named_again(&row(Phase::Unknown, None)).is_none());
    }
}
