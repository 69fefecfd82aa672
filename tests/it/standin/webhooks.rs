//! Who may be called, and what a delivery is signed with.

use heygen_tracker::sandbox::Webhook;
use heygen_tracker::secret::Secret;
use heygen_tracker::webhook;

use crate::listener::{SECRET, listen, now, sign};
use crate::support::Bench;

#[test]
fn only_this_machine_is_called() {
    for (url, secret, refusal) in [
        ("http://127.0.0.1:8787/heygen", "whsec_x", None),
        ("http://localhost:8787", "whsec_x", None),
        ("http://[::1]:8787/x", "whsec_x", None),
        (
            "https://127.0.0.1:1/",
            "whsec_x",
            Some("on this machine only"),
        ),
        (
            "http://example.com/",
            "whsec_x",
            Some("on this machine only"),
        ),
        (
            "http://127.0.0.1:80@example.com/",
            "whsec_x",
            Some("on this machine only"),
        ),
        ("127.0.0.1:8787", "whsec_x", Some("on this machine only")),
        ("http://127.0.0.1:1/", " ", Some("visible ASCII")),
    ] {
        let refused = Webhook::new(url, secret).err();
        assert_eq!(refused.is_some(), refusal.is_some(), "{url}");
        assert!(
            refused.is_none_or(|why| why.contains(refusal.unwrap())),
            "{url}"
        );
    }
}

/// `printf '%s' BODY | openssl dgst -sha256 -hmac SECRET`, OpenSSL 3.0; the second is RFC 4231's.
const KNOWN: [(&str, &str, &str); 3] = [
    (SECRET, DELIVERY, SIGNATURE),
    (
        "Jefe",
        "what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
        "",
        "d46761768ee3c864fc76c08b3d73c8092853ae3fefa01b990963dfa2d56e7334",
    ),
];
const DELIVERY: &str =
    r#"{"event_id":"known","event_type":"avatar_video.success","event_data":{"video_id":"abc"}}"#;
const SIGNATURE: &str = "d1926b01e98318b3a033d62f853521cd52ba1f2465373e7463cdf5a421cb772c";

#[test]
fn the_tests_and_the_program_with_its_stand_in_sign_as_openssl_does() {
    for (secret, body, signature) in KNOWN {
        let body = body.as_bytes();
        assert_eq!(sign(secret, body), signature);
        assert_eq!(
            webhook::sign(&Secret::new(secret).unwrap(), body),
            signature
        );
    }
}

#[test]
fn a_delivery_that_openssl_signed_is_taken() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let listener = listen(&bench);
    let send = |signature: &str| {
        let (at, length) = (now(), DELIVERY.len());
        let delivery = format!(
            "POST /heygen HTTP/1.1\r\nHost: x\r\nHeygen-Signature: {signature}\r\nHeygen-Timestamp: {at}\r\nContent-Length: {length}\r\n\r\n{DELIVERY}"
        );
        listener.at.raw(delivery.as_bytes())
    };
    assert_eq!(send(SIGNATURE), 200);
    assert_eq!(send(&SIGNATURE.replace('a', "b")), 401);
}
