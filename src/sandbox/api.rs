//! The API's routes: HeyGen's shapes around the [`World`].

use serde_json::{Value, json};

use super::envelope::{invalid, json, of_status};
use super::files::{Signer, URL_LIFETIME};
use super::jobs::{self, Shape};
use super::world::{Account, Order, Progress, Seen, Stored, Video, World};
use crate::http::{Payload, Request, Response};

/// Most ids of one bulk question.
pub(super) const MAX_BULK: usize = 100;

/// Answers one request.
pub(super) fn answer(world: &mut World, signer: &Signer, request: &Request) -> Response {
    let key = request.header("X-Api-Key");
    let Some(account) = key.and_then(|key| world.account(key)) else {
        return of_status(401);
    };
    let segments = request.segments();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    if request.method == "POST"
        && let Some(shape) = jobs::created_at(&segments)
    {
        return create(world, signer, account, Some(shape), request);
    }
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["v3", "videos"]) => create(world, signer, account, None, request),
        ("POST", ["v3", "videos", "batches"]) => create_batch(world, account, request),
        ("GET", ["v3", "videos", "batches", id]) => batch(world, id, request),
        ("GET", ["v3", "videos"]) => list(world, signer, account, request),
        ("GET", ["v3", "videos", "statuses"]) => statuses(world, account, request),
        ("GET", ["v3", "videos", id]) => detail(world, signer, account, id),
        ("GET", ["v3", "users", "me"]) => me(world, account),
        (_, ["v3", "videos"] | ["v3", "videos", _] | ["v3", "users", "me"]) => of_status(405),
        _ => jobs::answer(world, signer, account, &segments, request)
            .unwrap_or_else(|| of_status(404)),
    }
}

/// Makes a job: of a kind with a `shape` of its own, else a video.
fn create(
    world: &mut World,
    signer: &Signer,
    account: Account,
    shape: Option<&Shape>,
    request: &Request,
) -> Response {
    let key = request.header("Idempotency-Key").map(str::to_owned);
    // Where HeyGen promises nothing, it is as if there were no key.
    let key = key.filter(|_| shape.is_none_or(|shape| shape.replays));
    if let Some(key) = &key {
        if !is_idempotency_key(key) {
            let message = "Idempotency-Key must be 1 to 255 of [A-Za-z0-9_:.-].";
            return invalid("Idempotency-Key", message);
        }
        match world.seen(account, key) {
            Seen::New => {}
            Seen::InFlight => return of_status(409),
            Seen::Answered(stored) => {
                return Response::new(stored.status).with_body("application/json", stored.body);
            }
        }
    }
    let response = match (shape, order(request)) {
        (Some(_), _) if world.is_full(account) => {
            return of_status(429).with_header("Retry-After", "1");
        }
        (Some(shape), _) => jobs::create(world, signer, account, shape, request),
        (None, Err(refusal)) => refusal,
        // Not remembered: the same key may be used again once there is room.
        (None, Ok(_)) if world.is_full(account) => {
            return of_status(429).with_header("Retry-After", "1");
        }
        (None, Ok((order, format))) => {
            let id = world.make(account, order);
            let data = json!({"video_id": id, "status": "waiting", "output_format": format});
            json(200, &json!({"data": data}))
        }
    };
    if let (Some(key), Payload::Bytes(body)) = (key, &response.body) {
        let (status, body) = (response.status, body.clone());
        world.remember(account, key, Stored { status, body });
    }
    response
}

fn is_idempotency_key(key: &str) -> bool {
    (1..=255).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte))
}

/// Reads a body as strictly as HeyGen documents it, and no further: its fields grow often.
fn order(request: &Request) -> Result<(Order, String), Response> {
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return Err(invalid("body", "The body must be a JSON object."));
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let needed: &[&str] = match text("type").as_deref() {
        Some("avatar") => &["avatar_id"],
        Some("image") => &["image"],
        Some("cinematic_avatar") => &["prompt", "avatar_id"],
        Some("studio") => &["scenes"],
        _ => {
            let message = "type must be one of avatar, image, cinematic_avatar, studio.";
            return Err(invalid("type", message));
        }
    };
    for name in needed {
        if body.get(*name).is_none_or(Value::is_null) {
            return Err(invalid(name, &format!("{name} is required.")));
        }
    }
    let order = Order {
        title: text("title"),
        script: text("script"),
        folder_id: text("folder_id"),
        callback_id: text("callback_id"),
    };
    Ok((order, text("output_format").unwrap_or("mp4".to_owned())))
}

fn detail(world: &World, signer: &Signer, account: Account, id: &str) -> Response {
    match world.find(id).filter(|video| video.account == account) {
        Some(video) => json(200, &json!({"data": object(world, signer, video)})),
        None => match jobs::session_of(world, account, id) {
            Some(session) => {
                let data = jobs::session_video(world, signer, session);
                json(200, &json!({"data": data}))
            }
            None => of_status(404),
        },
    }
}

/// `POST /v3/videos/batches`: each body becomes a video, or says why not.
fn create_batch(world: &mut World, account: Account, request: &Request) -> Response {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let Some(bodies) = body["videos"]
        .as_array()
        .filter(|bodies| bodies.len() <= MAX_BULK)
    else {
        return invalid("videos", "videos must be a list of at most 100 bodies.");
    };
    let items = bodies
        .iter()
        .map(|body| {
            if body["type"].is_null() {
                return Err("type is required.".to_owned());
            }
            let title = body["title"].as_str().map(str::to_owned);
            Ok(world.make(
                account,
                Order {
                    title,
                    ..Order::default()
                },
            ))
        })
        .collect();
    let id = format!("{:032x}", world.random.u128(..));
    world.batches.insert(id.clone(), items);
    json(200, &json!({"data": {"batch_id": id}}))
}

fn batch(world: &World, id: &str, request: &Request) -> Response {
    let Some(items) = world.batches.get(id) else {
        return of_status(404);
    };
    let (limit, after) = match cursor(request) {
        Ok(cursor) => cursor,
        Err(refusal) => return refusal,
    };
    let items = (0_u64..).zip(items);
    let rest = items.skip_while(|(index, _)| after.is_some_and(|after| *index <= after));
    let mut rest = rest.peekable();
    let mut shown: Vec<Value> = Vec::new();
    let mut last = 0;
    for (index, item) in rest.by_ref().take(limit) {
        last = index;
        let video = item.as_ref().ok().and_then(|id| world.find(id));
        let progress = video.map(|video| world.progress(video));
        let error = item.as_ref().err();
        shown.push(json!({
            "item_index": index,
            "status": progress.as_ref().map_or("failed", bulk_word),
            "video_id": item.as_ref().ok(),
            "error": error.map(|message| json!({"code": "invalid_parameter", "message": message})),
        }));
    }
    let more = rest.peek().is_some();
    page(
        json!({"batch_id": id, "items": shown}),
        more.then_some(last),
    )
}

/// HeyGen's video object, with freshly minted URLs.
pub(super) fn object(world: &World, signer: &Signer, video: &Video) -> Value {
    let progress = world.progress(video);
    let (completed_at, failure) = match &progress {
        Progress::Completed { at } => (Some(*at), None),
        Progress::Failed { at, code, message } => (Some(*at), Some((code, message))),
        Progress::Rendering | Progress::Word(_) => (None, None),
    };
    let completed = matches!(progress, Progress::Completed { .. });
    let expires = world.now() + URL_LIFETIME;
    let url = |asset: &str| completed.then(|| signer.url(&video.id, asset, expires));
    json!({
        "id": video.id,
        "status": progress.as_str(),
        "title": video.title,
        "created_at": video.created.as_secs(),
        "completed_at": completed_at.map(|at| at.as_secs()),
        "video_url": url("video"),
        "captioned_video_url": url("captioned"),
        "subtitle_url": url("subtitle"),
        "thumbnail_url": url("thumbnail"),
        "gif_url": url("gif"),
        "duration": completed.then_some(super::media::DURATION),
        "folder_id": video.folder_id,
        "output_language": null,
        "failure_code": failure.map(|(code, _)| code),
        "failure_message": failure.map(|(_, message)| message),
        "video_page_url": completed.then(|| format!("https://app.heygen.com/videos/{}", video.id)),
    })
}

fn list(world: &World, signer: &Signer, account: Account, request: &Request) -> Response {
    let title = request.parameter("title").unwrap_or_default();
    let folder = request.parameter("folder_id");
    let wanted = |video: &Video| {
        (video.kind == "video" || video.kind == "template")
            && (title.is_empty() || matches_title(video, &title))
            && (folder.is_none() || video.folder_id == folder)
    };
    let shown = |video: &Video| object(world, signer, video);
    newest_first(world, account, request, wanted, shown)
}

/// A page of an account's jobs. The cursor is the number of the last one shown: stable while newer ones arrive.
pub(super) fn newest_first(
    world: &World,
    account: Account,
    request: &Request,
    wanted: impl Fn(&Video) -> bool,
    shown: impl Fn(&Video) -> Value,
) -> Response {
    let (limit, before) = match cursor(request) {
        Ok((limit, before)) => (limit, before.unwrap_or(u64::MAX)),
        Err(refusal) => return refusal,
    };
    let mut matching = world
        .of(account)
        .rev()
        .filter(|(number, job)| *number < before && wanted(job))
        .peekable();
    let mut data = Vec::new();
    let mut last = 0;
    for (number, job) in matching.by_ref().take(limit) {
        last = number;
        data.push(shown(job));
    }
    let more = matching.peek().is_some();
    page(data.into(), more.then_some(last))
}

/// How many are asked for, and after which one.
fn cursor(request: &Request) -> Result<(usize, Option<u64>), Response> {
    let limit = match request.parameter("limit").map(|text| text.parse::<usize>()) {
        None => 10,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(invalid("limit", "limit must be between 1 and 100.")),
    };
    match request.parameter("token").filter(|token| !token.is_empty()) {
        None => Ok((limit, None)),
        Some(token) => match token.strip_prefix("after-").map(str::parse) {
            Some(Ok(number)) => Ok((limit, Some(number))),
            _ => Err(invalid("token", "token is not one of ours.")),
        },
    }
}

fn matches_title(video: &Video, part: &str) -> bool {
    let title = video.title.as_deref().unwrap_or_default();
    title.to_lowercase().contains(&part.to_lowercase())
}

fn statuses(world: &World, account: Account, request: &Request) -> Response {
    let text = request.parameter("video_ids").unwrap_or_default();
    let ids: Vec<_> = text.split(',').filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || ids.len() > MAX_BULK {
        return invalid("video_ids", "video_ids must name between 1 and 100 videos.");
    }
    let entries = ids.into_iter().map(|id| {
        let video = world.find(id).filter(|video| video.account == account);
        let progress = video.map(|video| world.progress(video));
        let failure = match &progress {
            Some(Progress::Failed { code, message, .. }) => {
                json!({"code": code, "message": message})
            }
            _ => Value::Null,
        };
        json!({
            "video_id": id,
            "status": progress.as_ref().map_or("not_found", bulk_word),
            "error": failure,
            "batch_id": null,
            "item_index": null,
        })
    });
    page(entries.collect(), None)
}

/// Bulk answers have one word for everything that has not begun.
fn bulk_word(progress: &Progress) -> &str {
    match progress.as_str() {
        "waiting" | "pending" => "queued",
        word => word,
    }
}

/// A list: the cursor stands beside `data`, not in it.
pub(super) fn page(data: Value, last: Option<u64>) -> Response {
    let next = last.map(|last| format!("after-{last}"));
    let page = json!({"data": data, "has_more": next.is_some(), "next_token": next});
    json(200, &page)
}

fn me(world: &World, account: Account) -> Response {
    let mut data = json!({
        "username": format!("sandbox-{account}"),
        "email": format!("sandbox-{account}@example.com"),
        "first_name": "Sandbox",
        "last_name": null,
    });
    if let (Some(data), Some(billing)) = (data.as_object_mut(), world.billing.as_object()) {
        data.extend(billing.clone());
    }
    json(200, &json!({"data": data}))
}
