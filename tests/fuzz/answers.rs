//! The body of any answer of HeyGen's: no panic, and the key is in nothing that is read from it.

use super::*;

pub(crate) fn target(body: &[u8]) {
    const KEY: &str = "sk_test_0123456789";
    let redactor = Redactor::new(KEY);
    let (refusal, own_word) = refusal(body, &redactor);
    let mut read = format!("{refusal:?}");
    if let Some(answer) = AnswerPart::whole(body, &redactor) {
        read += &format!(
            "{:?} {:?} {:?} {:?} {:?}",
            answer.problem("error"),
            statuses(&answer),
            batch(&answer),
            crate::heygen::Balance::read(&answer),
            run_id(&answer)
        );
        for kind in Kind::ALL.iter().copied() {
            let listed = jobs(kind, &answer);
            for video in listed.iter().flat_map(|page| &page.items) {
                let length = video.duration.unwrap_or_default();
                assert!(length.is_finite() && length >= 0.0, "{length}");
                let id = video.id.clone();
                drop(super::video(&Job { kind, id }, &answer));
            }
            read += &format!("{listed:?} {:?}", created(kind, &answer));
        }
    }
    assert!(!read.contains(KEY), "the key is in {read}");
    assert!(!own_word || refusal.code.is_some());
}
