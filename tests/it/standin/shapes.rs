//! The documented answers, and what moves a video from one to the next.

use super::*;

#[test]
fn a_creation_is_answered_billed_and_recorded() {
    let sandbox = start();
    let answer = post(&sandbox, "k1", &avatar());
    let id = sandbox.videos().remove(0);
    assert_eq!(
        answer.json(),
        json!({"data": {"video_id": id, "status": "waiting", "output_format": "mp4"}})
    );
    assert_eq!(id.len(), 32);
    assert!(answer.header("X-Request-Id").is_some());
    let billed = sandbox.billed().remove(0);
    assert_eq!(billed.video_id, id);
    assert_eq!(billed.idempotency_key.as_deref(), Some("k1"));
    assert_eq!(billed.body, avatar().to_string().as_bytes());
    let posted = sandbox.posts().remove(0);
    assert_eq!(posted.answered, Some(200));
    assert_eq!(posted.header("x-api-key"), Some(sandbox.key()));
}

#[test]
fn bad_bodies_are_refused_by_name() {
    let sandbox = start();
    for (body, param) in [
        (json!([]), "body"),
        (json!({}), "type"),
        (json!({"type": "opera"}), "type"),
        (json!({"type": "avatar"}), "avatar_id"),
        (json!({"type": "image"}), "image"),
        (
            json!({"type": "cinematic_avatar", "avatar_id": "a"}),
            "prompt",
        ),
        (json!({"type": "studio", "scenes": null}), "scenes"),
    ] {
        let answer = post(
            &sandbox,
            &format!("k-{param}-{}", body.to_string().len()),
            &body,
        );
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["error"]["code"], "invalid_parameter");
        assert_eq!(answer.json()["error"]["param"], param, "{body}");
    }
    assert!(sandbox.billed().is_empty());
}

#[test]
fn keys_are_checked_and_accounts_kept_apart() {
    let options = Options {
        other_keys: vec!["other".to_owned()],
        ..Options::default()
    };
    let sandbox = Heygen::start(options).unwrap();
    let id = create(&sandbox, "k");
    let url = format!("{}/v3/videos/{id}", sandbox.api_base());
    for (headers, status) in [
        (vec![], 401),
        (vec![("X-Api-Key", "wrong")], 401),
        (vec![("X-Api-Key", "other")], 404),
        (vec![("x-api-key", sandbox.key())], 200),
    ] {
        assert_eq!(send(&url, "GET", &headers, b"").unwrap().status, status);
    }
    assert_eq!(
        get(&sandbox, "/v3/users/me").json()["data"]["username"],
        "sandbox-0"
    );
    assert_eq!(
        get(&sandbox, "/v3/nothing").json()["error"]["code"],
        "not_found"
    );
}

#[test]
fn a_detail_has_every_documented_field() {
    let sandbox = manual();
    let id = create(&sandbox, "k");
    let pending = get(&sandbox, &format!("/v3/videos/{id}")).json();
    assert_eq!(pending["data"]["status"], "pending");
    assert_eq!(pending["data"]["video_url"], Value::Null);
    sandbox.finish(&id);
    let data = get(&sandbox, &format!("/v3/videos/{id}")).json()["data"].clone();
    assert_eq!(data["id"], id.as_str());
    assert_eq!(data["status"], "completed");
    assert_eq!(data["title"], "Launch");
    assert_eq!(data["duration"], 4.0);
    for name in ["created_at", "completed_at"] {
        assert!(data[name].is_i64(), "{name}");
    }
    for name in [
        "video_url",
        "captioned_video_url",
        "subtitle_url",
        "thumbnail_url",
        "gif_url",
    ] {
        assert!(
            data[name]
                .as_str()
                .unwrap()
                .starts_with(&sandbox.files_base())
        );
    }
    for name in [
        "folder_id",
        "output_language",
        "failure_code",
        "failure_message",
    ] {
        assert_eq!(data[name], Value::Null, "{name}");
    }
    sandbox.fail(&id, "nsfw", "no");
    let data = get(&sandbox, &format!("/v3/videos/{id}")).json()["data"].clone();
    assert_eq!(
        (&data["status"], &data["failure_code"]),
        (&json!("failed"), &json!("nsfw"))
    );
}

#[test]
fn lists_are_paged_newest_first() {
    let sandbox = start();
    for number in 0..5 {
        let body = json!({"type": "avatar", "avatar_id": "a", "title": format!("Video {number}")});
        post(&sandbox, &format!("k{number}"), &body);
    }
    let first = get(&sandbox, "/v3/videos?limit=3").json();
    let titles = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap().iter();
        data.map(|video| video["title"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(titles(&first), ["Video 4", "Video 3", "Video 2"]);
    assert_eq!(first["has_more"], true);
    let token = first["next_token"].as_str().unwrap();
    let second = get(&sandbox, &format!("/v3/videos?limit=3&token={token}")).json();
    assert_eq!(titles(&second), ["Video 1", "Video 0"]);
    assert_eq!(
        (&second["has_more"], &second["next_token"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(
        titles(&get(&sandbox, "/v3/videos?title=video+3").json()),
        ["Video 3"]
    );
    assert_eq!(get(&sandbox, "/v3/videos?limit=101").status, 400);
}

#[test]
fn bulk_answers_use_their_own_words() {
    let sandbox = manual();
    for (id, word) in [
        ("a", "waiting"),
        ("b", "processing"),
        ("c", "completed"),
        ("d", "failed"),
    ] {
        sandbox.add_video(id, word);
    }
    let page = get(&sandbox, "/v3/videos/statuses?video_ids=a,b,c,d,e").json();
    let words: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        ["queued", "processing", "completed", "failed", "not_found"]
    );
    assert_eq!(page["data"][3]["error"]["code"], "script_too_long");
    assert_eq!(page["has_more"], false);
    let many = "x,".repeat(101);
    let refused = get(&sandbox, &format!("/v3/videos/statuses?video_ids={many}"));
    assert_eq!(refused.status, 400);
}

#[test]
fn rendering_follows_the_movable_clock() {
    let options = Options {
        render: Render::After(Duration::from_secs(1000)),
        ..Options::default()
    };
    let sandbox = Heygen::start(options).unwrap();
    let (one, two) = (create(&sandbox, "k1"), create(&sandbox, "k2"));
    sandbox.world().video_mut(&two).unwrap().doomed = true;
    let word =
        |id: &str| get(&sandbox, &format!("/v3/videos/{id}")).json()["data"]["status"].clone();
    let mut words = vec![word(&one)];
    for seconds in [150, 200, 700] {
        sandbox.advance(Duration::from_secs(seconds));
        words.push(word(&one));
    }
    assert_eq!(words, ["waiting", "pending", "processing", "completed"]);
    assert_eq!(word(&two), "failed");
}

#[test]
fn a_full_plan_is_429() {
    let options = Options {
        render: Render::Manual,
        slots: Some(1),
        retry_after: 7,
        ..Options::default()
    };
    let sandbox = Heygen::start(options).unwrap();
    let id = create(&sandbox, "k1");
    let refused = post(&sandbox, "k2", &avatar());
    assert_eq!(
        (refused.status, refused.header("Retry-After")),
        (429, Some("7"))
    );
    sandbox.finish(&id);
    create(&sandbox, "k2");
}

#[test]
fn an_ordinary_client_is_served_on_one_connection() {
    let sandbox = start();
    sandbox.add_video("abc", "completed");
    sandbox.fault("GET /v3/videos/abc", Fault::chunked(true).nth(2));
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("{}/v3/videos/abc", sandbox.api_base());
    for _ in 0..3 {
        let mut answer = agent
            .get(&url)
            .header("X-Api-Key", sandbox.key())
            .call()
            .unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let data = serde_json::from_str::<Value>(&text).unwrap()["data"].clone();
        assert_eq!(data["status"], "completed");
        let file = agent.get(data["video_url"].as_str().unwrap()).call();
        let bytes = file.unwrap().body_mut().read_to_vec().unwrap();
        assert!(bytes == sandbox.expected("abc", "video"));
    }
    let files = sandbox.file_requests();
    assert!(files.iter().all(|file| file.header("X-Api-Key").is_none()));
}
