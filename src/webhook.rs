//! Webhooks as HeyGen sends them: what a delivery must look like to be believed, and what it says. No I/O.
//!
//! A delivery is a POST with a header `Heygen-Signature`, `X-Heygen-Signature` or `Signature` that is the hexadecimal
//! HMAC-SHA256 of the raw body under the endpoint's secret; `Heygen-Timestamp` has the Unix seconds of its sending
//! (HeyGen's webhooks guide). The time is *not* signed, so it keeps out honest stragglers only. What keeps out a replay
//! is the [`Delivery::key`], which comes from the signed body.
//!
//! An event is a signal and never the truth: all that is taken from it is which video to ask HeyGen about.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::net::{hex, unhex};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::video::VideoId;

pub const SIGNATURE: &str = "Heygen-Signature";
/// What it is called, and what some deployments were seen to call it. A proxy may add a `Signature` of its own.
const SIGNATURES: [&str; 3] = [SIGNATURE, "X-Heygen-Signature", "Signature"];
pub const TIMESTAMP: &str = "Heygen-Timestamp";
/// How far the time of sending may be off, either way.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Longer event ids are not used as they are: they would make the database grow at the sender's will.
const MAX_EVENT_ID: usize = 200;
const MAX_EVENT_TYPE: usize = 100;

/// The signature of a body, as it stands in the header.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    let tag = mac(secret, body).map(|mac| mac.finalize().into_bytes());
    tag.map(|tag| hex(&tag)).unwrap_or_default()
}

/// HMAC takes keys of any length, so there always is one.
fn mac(secret: &Secret, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    Some(mac.chain_update(body))
}

/// A delivery that was signed with the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same for every repetition: `event:ID`, or `sha256:HEX` of a body without a usable id.
    pub key: String,
    pub event_type: String,
    pub video_id: Option<VideoId>,
}

/// Why a request is no delivery: the status to answer with, and words for the log, which never repeat what was sent.
pub type Refusal = (u16, &'static str);

const NO_SIGNATURE: Refusal = (401, "it is not signed");
const WRONG_SIGNATURE: Refusal = (401, "the signature does not match");
const NO_TIMESTAMP: Refusal = (401, "it does not say when it was sent");
const STALE: Refusal = (
    401,
    "it was sent more than 300 s ago, or one of the two clocks is wrong",
);
const NOT_JSON: Refusal = (400, "the body is not a JSON object");
const NO_EVENT_TYPE: Refusal = (400, "the body has no event_type");

/// Decides whether a request is a delivery, and reads it. The signature comes first: nothing of an unsigned body is ever parsed.
pub fn read<'a>(
    secret: &Secret,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Delivery, Refusal> {
    let mut signatures = SIGNATURES.into_iter().filter_map(&header).peekable();
    signatures.peek().ok_or(NO_SIGNATURE)?;
    // Takes equally long wherever the signatures differ.
    let fits = |signature: &str| {
        let (mac, signature) = (mac(secret, body), unhex(signature.trim()));
        mac.zip(signature)
            .is_some_and(|(mac, signature)| mac.verify_slice(&signature).is_ok())
    };
    if !signatures.any(fits) {
        return Err(WRONG_SIGNATURE);
    }
    let sent = header(TIMESTAMP).and_then(|text| text.trim().parse().ok());
    let sent: i64 = sent.ok_or(NO_TIMESTAMP)?;
    let off = (now.millis() / 1000).saturating_sub(sent).unsigned_abs();
    if off > TOLERANCE.as_secs() {
        return Err(STALE);
    }
    parse(body)
}

/// Liberal in what it accepts: unknown fields, unknown events, `null` for what is missing.
fn parse(body: &[u8]) -> Result<Delivery, Refusal> {
    let event: Value = serde_json::from_slice(body).map_err(|_| NOT_JSON)?;
    if !event.is_object() {
        return Err(NOT_JSON);
    }
    let event_type = event["event_type"].as_str().ok_or(NO_EVENT_TYPE)?;
    let key = match event["event_id"].as_str() {
        Some(id) if (1..=MAX_EVENT_ID).contains(&id.len()) => format!("event:{id}"),
        _ => format!("sha256:{}", hex(&Sha256::digest(body))),
    };
    // A session is known before its video is.
    let names = [
        "session_id",
        "video_translate_id",
        "video_translation_id",
        "lipsync_id",
        "video_id",
    ];
    let data = &event["event_data"];
    let video_id = names.iter().find_map(|name| data[*name].as_str());
    Ok(Delivery {
        key,
        event_type: event_type.chars().take(MAX_EVENT_TYPE).collect(),
        video_id: video_id.and_then(VideoId::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_764_000_000;

    fn secret() -> Secret {
        Secret::new("whsec_test").unwrap()
    }

    fn headed(
        signature: Option<&str>,
        timestamp: Option<&str>,
        body: &[u8],
    ) -> Result<Delivery, Refusal> {
        let header = |name: &str| match name {
            SIGNATURE => signature,
            TIMESTAMP => timestamp,
            _ => None,
        };
        read(&secret(), header, body, Timestamp::from_secs(NOW))
    }

    fn signed(body: &str, at: i64) -> Result<Delivery, Refusal> {
        let signature = sign(&secret(), body.as_bytes());
        headed(Some(&signature), Some(&at.to_string()), body.as_bytes())
    }

    #[test]
    fn signatures_are_hmac_sha256() {
        // RFC 4231, test case 2.
        let secret = Secret::new("Jefe").unwrap();
        assert_eq!(
            sign(&secret, b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_header_of_the_signature_has_several_names() {
        let body = br#"{"event_type":"avatar_video.success"}"#;
        let (signature, at) = (sign(&secret(), body), NOW.to_string());
        for (name, accepted) in [
            ("Heygen-Signature", true),
            ("Signature", true),
            ("X-Heygen-Signature", true),
            ("X-Signature", false),
        ] {
            let header = |asked: &str| match asked {
                TIMESTAMP => Some(at.as_str()),
                asked => (asked == name).then_some(signature.as_str()),
            };
            let read = read(&secret(), header, body, Timestamp::from_secs(NOW));
            assert_eq!(read.is_ok(), accepted, "{name}");
        }
    }

    #[test]
    fn one_signature_that_fits_is_enough() {
        let body = br#"{"event_type":"avatar_video.success"}"#;
        let (good, at) = (sign(&secret(), body), NOW.to_string());
        let proxys = "sig1=:dGhlIHByb3h5J3M=:";
        let other = sign(&Secret::new("other").unwrap(), body);
        for (own, cross, plain, refusal) in [
            (None, Some(good.as_str()), Some(proxys), None),
            (Some(other.as_str()), Some(&good), None, None),
            (Some(&good), Some(""), Some(&other), None),
            (None, Some(&other), Some(proxys), Some(WRONG_SIGNATURE)),
            (Some(""), Some(&other), Some(&other), Some(WRONG_SIGNATURE)),
        ] {
            let header = |asked: &str| match asked {
                SIGNATURE => own,
                "X-Heygen-Signature" => cross,
                "Signature" => plain,
                _ => Some(at.as_str()),
            };
            let read = read(&secret(), header, body, Timestamp::from_secs(NOW));
            assert_eq!(read.err(), refusal, "{own:?} {cross:?} {plain:?}");
        }
    }

    #[test]
    fn only_what_is_signed_and_fresh_is_read() {
        let body = r#"{"event_type":"avatar_video.success","event_data":{"video_id":"v1"}}"#;
        let good = sign(&secret(), body.as_bytes());
        let upper = good.to_uppercase();
        let other = sign(&Secret::new("other").unwrap(), body.as_bytes());
        let (fresh, old) = (NOW.to_string(), (NOW - 301).to_string());
        let early = (NOW + 301).to_string();
        let edge = (NOW - 300).to_string();
        let huge = i64::MIN.to_string();
        for (signature, timestamp, refusal) in [
            (Some(good.as_str()), Some(fresh.as_str()), None),
            (Some(&upper), Some(&fresh), None),
            (Some(&good), Some(&edge), None),
            (None, Some(&fresh), Some(NO_SIGNATURE)),
            (Some(""), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some("zz"), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some("ä"), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some(&good[..62]), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some(&good[..63]), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some(&other), Some(&fresh), Some(WRONG_SIGNATURE)),
            (Some(&good), None, Some(NO_TIMESTAMP)),
            (Some(&good), Some("yesterday"), Some(NO_TIMESTAMP)),
            (Some(&good), Some(&old), Some(STALE)),
            (Some(&good), Some(&early), Some(STALE)),
            (Some(&good), Some(&huge), Some(STALE)),
        ] {
            let read = headed(signature, timestamp, body.as_bytes());
            assert_eq!(read.err(), refusal, "{signature:?} {timestamp:?}");
        }
    }

    #[test]
    fn bodies_are_read_liberally() {
        let long = format!(
            r#"{{"event_type":"x","event_id":"{}"}}"#,
            "i".repeat(MAX_EVENT_ID + 1)
        );
        // body, key or its kind, video
        for (body, key, video) in [
            (
                r#"{"event_id":"e1","event_type":"avatar_video.success","event_data":{"video_id":"v1","url":"u","callback_id":null}}"#,
                "event:e1",
                Some("v1"),
            ),
            (
                r#"{"event_id":"e2","event_type":"video_agent.success","event_data":{"session_id":"s1","video_id":"v1"}}"#,
                "event:e2",
                Some("s1"),
            ),
            (
                r#"{"event_id":"e3","event_type":"video_translate.fail","event_data":{"video_translate_id":"t1"}}"#,
                "event:e3",
                Some("t1"),
            ),
            (
                r#"{"event_type":"avatar_video.fail","event_data":{"video_id":"v1","msg":"no"}}"#,
                "sha256:",
                Some("v1"),
            ),
            (
                r#"{"event_id":"e2","event_type":"video_agent.done","more":[1]}"#,
                "event:e2",
                None,
            ),
            (
                r#"{"event_id":7,"event_type":"x","event_data":[]}"#,
                "sha256:",
                None,
            ),
            (
                r#"{"event_id":"","event_type":"x","event_data":{"video_id":" "}}"#,
                "sha256:",
                None,
            ),
            (&long, "sha256:", None),
        ] {
            let delivery = signed(body, NOW).unwrap();
            assert!(delivery.key.starts_with(key), "{body}: {}", delivery.key);
            assert_eq!(delivery.video_id, video.and_then(VideoId::new), "{body}");
        }
        for (body, refusal) in [
            ("", NOT_JSON),
            ("[]", NOT_JSON),
            ("{\"event_type\":\"x\"", NOT_JSON),
            ("{}", NO_EVENT_TYPE),
            (r#"{"event_type":null}"#, NO_EVENT_TYPE),
        ] {
            assert_eq!(signed(body, NOW), Err(refusal), "{body}");
        }
        let deep = format!(r#"{{"event_type":"x","a":{}"#, "[".repeat(100_000));
        assert_eq!(signed(&deep, NOW), Err(NOT_JSON));
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_noticed(body in ".{1,200}", at: proptest::sample::Index, bit in 0..8_u8) {
            let signature = sign(&secret(), body.as_bytes());
            let mut changed = body.into_bytes();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            let refused = headed(Some(&signature), Some(&NOW.to_string()), &changed);
            prop_assert_eq!(refused, Err(WRONG_SIGNATURE));
        }
    }
}
