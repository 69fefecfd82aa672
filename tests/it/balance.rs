//! What is left to pay with: `doctor` shows it, and whoever is refused for want of it learns it.

use crate::heygen::Fault;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::support::{BODY, Bench};

const ME: &str = "GET /v3/users/me";

/// `doctor`'s lines about the balance, and its JSON.
fn doctor(bench: &Bench) -> (String, Value) {
    let lines = bench.tracker("doctor").exits(0).stdout;
    let about = lines
        .lines()
        .skip_while(|line| !line.contains(" balance "))
        .take_while(|line| !line.contains(" database "));
    let about = about.map(str::trim).collect::<Vec<_>>().join("\n");
    let json = bench.tracker("doctor --json").exits(0).json();
    (about, json[0]["balance"].clone())
}

#[test]
fn doctor_shows_what_each_way_of_paying_has_left() {
    const NONE: &str =
        "\nnothing is left: what is submitted waits\nhint: add credit at app.heygen.com";
    let bench = Bench::new();
    let credits = |premium: Value, add_on: Value| {
        json!({"billing_type": "subscription", "subscription": {"plan": "pro", "credits": {
            "premium_credits": {"remaining": premium, "resets_at": "2026-12-01T00:00:00Z"},
            "add_on_credits": {"remaining": add_on},
        }}})
    };
    let table = [
        (json!({"billing_type": "wallet", "wallet": {"currency": "usd", "remaining_balance": 12.5}}),
            "ok    balance   12.50 usd (wallet) left".to_owned()),
        (json!({"billing_type": "wallet", "wallet": {"currency": "usd", "remaining_balance": 0}}),
            format!("warn  balance   0 usd (wallet) left{NONE}")),
        (json!({"wallet": {"currency": "credits", "remaining_balance": -0.25,
                "auto_reload": {"enabled": true, "amount_usd": 50}}}),
            "ok    balance   -0.25 credits (wallet) left, filled up automatically".to_owned()),
        (credits(json!(40), json!("3")),
            "ok    balance   plan pro, 40 credits (premium, reset at 2026-12-01T00:00:00Z), 3 credits (add-on) left".to_owned()),
        (credits(json!(0), Value::Null),
            format!("warn  balance   plan pro, 0 credits (premium, reset at 2026-12-01T00:00:00Z) left{NONE}")),
        // The wallet of a subscription is not what it pays with.
        (json!({"billing_type": "subscription", "wallet": {"remaining_balance": 5},
                "subscription": {"credits": {"premium_credits": {"remaining": 0}}}}),
            format!("warn  balance   5 (wallet), 0 credits (premium) left{NONE}")),
        (json!({"billing_type": "usage_based", "usage_based": {"included_credits": 100, "remaining_credits": 0,
                "spending_cap_usd": 50, "spending_current_usd": 12.3}}),
            "ok    balance   0 credits (included), 37.70 usd (spending cap) left".to_owned()),
        (json!({"billing_type": "usage_based", "usage_based": {"remaining_credits": 0,
                "spending_cap_usd": 50, "spending_current_usd": 50}}),
            format!("warn  balance   0 credits (included), 0 usd (spending cap) left{NONE}")),
        (json!({}), "ok    balance   HeyGen does not say what is left".to_owned()),
        (json!({"billing_type": 7, "wallet": "\u{1b}[2J", "subscription": [], "usage_based": {"remaining_credits": "many"}}),
            "ok    balance   HeyGen does not say what is left".to_owned()),
        (json!({"subscription": {"plan": "\u{1b}[2J\n", "credits": {"premium_credits": {"remaining": 1e300}}}}),
            String::new()),
    ];
    for (billing, wanted) in table {
        bench.heygen.world().billing = billing.clone();
        let (shown, json) = doctor(&bench);
        assert!(!shown.contains('\u{1b}') && shown.len() < 500, "{shown}");
        if !wanted.is_empty() {
            assert_eq!(shown, wanted, "{billing}");
            assert_eq!(json["used_up"], shown.starts_with("warn"), "{json}");
        }
    }
    bench.heygen.world().billing =
        json!({"billing_type": "wallet", "wallet": {"currency": "usd", "remaining_balance": 12.5}});
    let left = json!([{"of": "wallet", "amount": 12.5, "unit": "usd", "resets_at": null}]);
    assert_eq!(doctor(&bench).1["left"], left);
}

#[test]
fn an_answer_that_makes_no_sense_is_no_balance() {
    let bench = Bench::new();
    for answer in [json!({"data": null}), json!({"data": []}), json!({})] {
        bench.heygen.fault(ME, Fault::json(200, &answer).times(2));
        let (shown, json) = doctor(&bench);
        assert_eq!(
            shown, "ok    balance   HeyGen does not say what is left",
            "{answer}"
        );
        assert_eq!(json["left"], json!([]));
    }
    bench
        .heygen
        .fault(ME, Fault::body(200, "text/html", "<html>"));
    let refused = bench.tracker("doctor").exits(1).stdout;
    assert!(!refused.contains(" balance "), "{refused}");
}

/// HeyGen has no credit for the next POST.
fn no_credit(bench: &Bench) {
    let answer =
        json!({"error": {"code": "insufficient_credit", "message": "Insufficient credits"}});
    bench
        .heygen
        .fault("POST /v3/videos", Fault::json(402, &answer));
}

fn asked(bench: &Bench) -> usize {
    let requests = bench.heygen.api_requests();
    requests
        .iter()
        .filter(|request| request.path == "/v3/users/me")
        .count()
}

#[test]
fn a_refusal_for_want_of_credit_says_what_is_left() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.heygen.world().billing = json!({"wallet": {"currency": "usd", "remaining_balance": 0.4}});
    no_credit(&bench);
    let submit = bench.tracker("submit body.json").exits(0);
    assert!(
        submit.stderr.contains("error: Insufficient credits\nhint: 0.40 usd (wallet) left; add credit at app.heygen.com"),
        "{}",
        submit.screen()
    );
    assert_eq!(asked(&bench), 1);
    // Cron mails what it mailed before, and asks nothing that nobody reads.
    no_credit(&bench);
    bench.tracker("check").exits(1);
    assert_eq!(asked(&bench), 1);
}

#[test]
fn what_is_left_is_asked_once_and_not_waited_for() {
    let lost = [
        Fault::status(500),
        Fault::retry_after(429, "600"),
        Fault::status(401),
        Fault::body(200, "text/html", "<html>"),
        Fault::stall(Duration::from_secs(60)),
    ];
    for fault in lost {
        let bench = Bench::new();
        bench.file("body.json", BODY);
        no_credit(&bench);
        bench.heygen.fault(ME, fault);
        let began = Instant::now();
        let submit = bench.tracker("submit body.json").exits(0);
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(
            submit
                .stderr
                .contains("error: Insufficient credits\nhint: add credit"),
            "{}",
            submit.screen()
        );
        assert_eq!((asked(&bench), bench.status(1)), (1, "unsent".to_owned()));
        bench.tracker("check").exits(0);
        assert_eq!(bench.status(1), "waiting", "sent by the next check");
    }
}
