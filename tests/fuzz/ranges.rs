//! The head of an answer, to a request for all and for the rest of a file.

use super::*;

pub(crate) fn target(head: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut fields);
    if !parsed.parse(head).is_ok_and(|read| read.is_complete()) {
        return;
    }
    let mut answer = ureq::http::Response::builder().status(parsed.code.unwrap_or_default());
    for field in parsed.headers {
        answer = answer.header(field.name, field.value);
    }
    let Ok(answer) = answer.body(()) else { return };
    let (answer, ()) = answer.into_parts();
    let sane = |whole: &Whole| {
        assert_eq!(answer.status, 200);
        assert!(
            whole
                .length
                .is_none_or(|length| length > 0 && i64::try_from(length).is_ok())
        );
        assert!(whole.etag.as_deref().is_none_or(is_strong));
    };
    for asset in Asset::ALL.iter().copied() {
        whole(asset, "h", &answer).iter().for_each(sane);
        for (bytes, total) in [(1, None), (5, Some(10)), (10, Some(10))] {
            let part = Part {
                name: String::new(),
                bytes,
                sha256: String::new(),
                etag: Some("\"a\"".to_owned()),
                total,
            };
            match rest(asset, "h", &part, &answer) {
                Ok(Rest::Append { total: all }) => {
                    assert!(bytes < all && i64::try_from(all).is_ok());
                    assert!(total.is_none_or(|total| total == all));
                }
                Ok(Rest::Complete) => assert!(total.is_none_or(|total| total == bytes)),
                Ok(Rest::Whole(whole)) => sane(&whole),
                Ok(Rest::Again) | Err(_) => {}
            }
        }
    }
}
