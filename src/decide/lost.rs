//! What a submission may have become whose answer never came, judged by the account's list. Nothing is taken by itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Decision;
use crate::event::Event;
use crate::heygen::RemoteVideo;
use crate::time::Timestamp;
use crate::video::{Candidate, Video};

/// HeyGen's clock and ours may differ by so much.
const BEFORE: Duration = Duration::from_secs(5 * 60);
/// A request may be under way for so long.
const AFTER: Duration = Duration::from_secs(10 * 60);
/// What HeyGen does not list by then it does not have.
const LISTED: Duration = Duration::from_secs(3600);
const MOST: usize = 20;

/// When a job can have been created that the unanswered attempts of `row` became.
pub(crate) fn may_begin(row: &Video) -> Option<RangeInclusive<Timestamp>> {
    let first = row
        .first_unanswered_at
        .filter(|_| row.has_unanswered_attempt())?;
    let last = row.last_attempt_at.map_or(first, |at| at.max(first));
    Some(first.before(BEFORE)..=last.after(AFTER))
}

/// Whether a job of the list of the row's kind and account may be what the unanswered attempts of `row` became; `title`
/// is its body's. What the list leaves out speaks against nothing.
pub(crate) fn may_be(row: &Video, title: Option<&str>, remote: &RemoteVideo) -> bool {
    let in_time =
        |window: RangeInclusive<Timestamp>| remote.created_at.is_none_or(|at| window.contains(&at));
    let titles = title.zip(remote.title.as_deref());
    may_begin(row).is_some_and(in_time) && titles.is_none_or(|(ours, theirs)| ours == theirs)
}

/// The list was read: `found` is what no row knows.
pub(crate) fn looked(video: &Video, mut found: Vec<Candidate>, now: Timestamp) -> Decision {
    found.truncate(MOST);
    let mut decision = Decision::change(video);
    if !found.is_empty() && video.candidates.as_ref() != Some(&found) {
        let ids = found.iter().map(|found| found.video_id.clone());
        decision.event(Event::Candidates { ids: ids.collect() });
    }
    decision.video.candidates = Some(found);
    decision.video.last_checked_at = Some(now);
    decision
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace<'a> {
    Open,
    /// No attempt is unanswered here: another copy of the database may have made one.
    Held,
    Candidates(&'a [Candidate]),
    /// HeyGen may be late.
    NotYet,
    Nowhere,
}

pub(crate) fn trace(video: &Video) -> Trace<'_> {
    let last = video.last_attempt_at.max(video.first_unanswered_at);
    match (&video.candidates, video.last_checked_at.zip(last)) {
        _ if video.is_held() => Trace::Held,
        (None, _) => Trace::Open,
        (Some(found), _) if !found.is_empty() => Trace::Candidates(found),
        (Some(_), Some((looked, last))) if looked >= last.after(LISTED) => Trace::Nowhere,
        (Some(_), _) => Trace::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::{Phase, RemoteStatus, Urls, VideoId};

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + minutes * 60)
    }

    /// First sent at minute 0, for the last time at minute 30.
    fn row() -> Video {
        Video {
            phase: Phase::Unknown,
            first_unanswered_at: Some(at(0)),
            last_attempt_at: Some(at(30)),
            ..Video::default()
        }
    }

    fn remote(title: Option<&str>, created_at: Option<Timestamp>) -> RemoteVideo {
        RemoteVideo {
            title: title.map(str::to_owned),
            created_at,
            id: VideoId::new("v").unwrap(),
            status: RemoteStatus::waiting(),
            session: None,
            completed_at: None,
            urls: Urls::default(),
            duration: None,
            folder_id: None,
            output_language: None,
            failure_code: None,
            failure_message: None,
            video_page_url: None,
        }
    }

    #[test]
    fn a_candidate_has_the_time_and_the_title() {
        let table = [
            (Some("T"), Some("T"), -5, true),
            (Some("T"), Some("T"), -6, false),
            (Some("T"), Some("T"), 40, true),
            (Some("T"), Some("T"), 41, false),
            (Some("T"), Some("t"), 10, false),
            (Some("T"), None, 10, true),
            (None, Some("whatever HeyGen calls it"), 10, true),
        ];
        for (title, remotes, minute, wanted) in table {
            let remote = remote(remotes, Some(at(minute)));
            assert_eq!(
                may_be(&row(), title, &remote),
                wanted,
                "{title:?} {remotes:?} {minute}"
            );
        }
        assert!(
            may_be(&row(), None, &remote(None, None)),
            "when is not known"
        );
        let answered = Video {
            first_unanswered_at: None,
            ..row()
        };
        assert!(!may_be(&answered, None, &remote(None, Some(at(10)))));
    }

    #[test]
    fn nothing_found_means_something_only_later() {
        assert_eq!(trace(&row()), Trace::Open);
        let early = looked(&row(), Vec::new(), at(89));
        assert!(early.events.is_empty());
        assert_eq!(trace(&early.video), Trace::NotYet);
        let late = looked(&row(), Vec::new(), at(90));
        assert_eq!(trace(&late.video), Trace::Nowhere);
        let candidate = Candidate {
            video_id: "v".to_owned(),
            title: None,
            created_at: at(1).rfc3339(),
        };
        let found = looked(&late.video, vec![candidate; 30], at(90).after(MINUTE));
        assert_eq!(found.events.len(), 1);
        assert!(matches!(trace(&found.video), Trace::Candidates(found) if found.len() == MOST));
    }
}
