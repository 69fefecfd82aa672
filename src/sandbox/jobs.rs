//! The kinds of job besides `POST /v3/videos`: one table of their shapes, and the life of an agent's session.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::{MAX_BULK, newest_first, object, page};
use super::envelope::{error, invalid, json, of_status};
use super::files::{Signer, URL_LIFETIME};
use super::world::{Account, Order, Progress, Video, World};
use crate::http::{Request, Response};

/// How HeyGen shows one kind.
pub(super) struct Shape {
    /// The word in [`Video::kind`].
    pub(super) kind: &'static str,
    path: &'static str,
    needs: &'static [&'static str],
    /// Any other field is refused.
    only: Option<&'static [&'static str]>,
    /// Whether a repeated `Idempotency-Key` is documented to replay the answer.
    pub(super) replays: bool,
    /// URL fields and the assets behind them.
    urls: &'static [(&'static str, &'static str)],
    bulk: bool,
    list: bool,
}

const AGENT_FIELDS: &[&str] = &[
    "prompt",
    "mode",
    "orientation",
    "avatar_id",
    "voice_id",
    "style_id",
    "brand_kit_id",
    "files",
    "callback_url",
    "callback_id",
    "incognito_mode",
];

const SHAPES: [Shape; 5] = [
    Shape {
        kind: "template",
        path: "templates",
        needs: &["variables"],
        only: None,
        replays: true,
        urls: &[],
        bulk: false,
        list: false,
    },
    Shape {
        kind: "agent",
        path: "video-agents",
        needs: &["prompt"],
        only: Some(AGENT_FIELDS),
        replays: false,
        urls: &[],
        bulk: false,
        list: true,
    },
    Shape {
        kind: "translation",
        path: "video-translations",
        needs: &["video", "output_languages"],
        only: None,
        replays: false,
        urls: &[
            ("video_url", "video"),
            ("audio_url", "audio"),
            ("srt_caption_url", "subtitle"),
            ("vtt_caption_url", "vtt"),
        ],
        bulk: true,
        list: true,
    },
    Shape {
        kind: "lipsync",
        path: "lipsyncs",
        needs: &["video", "audio"],
        only: None,
        replays: false,
        urls: &[("video_url", "video"), ("caption_url", "subtitle")],
        bulk: true,
        list: true,
    },
    Shape {
        kind: "model",
        path: "models",
        needs: &[],
        only: None,
        replays: true,
        urls: &[("video_url", "video")],
        bulk: false,
        list: false,
    },
];

/// What an agent answers when it wants to be answered.
const PLAN: &str = "Here is the plan for your video. Shall I proceed?";
const LONGEST_PROMPT: usize = 10_000;
const LANGUAGES: &[&str] = &[
    "English", "Spanish", "French", "German", "Italian", "Japanese",
];

/// The kind whose jobs are created at this path.
pub(super) fn created_at(segments: &[&str]) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| match (shape.kind, segments) {
        ("template", ["v3", "templates", _]) => true,
        ("model", ["v3", "models", "videos"]) => true,
        ("template" | "model", _) => false,
        (_, ["v3", path]) => *path == shape.path,
        _ => false,
    })
}

/// Makes the job that a body asks for.
pub(super) fn create(
    world: &mut World,
    signer: &Signer,
    account: Account,
    shape: &Shape,
    request: &Request,
) -> Response {
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return invalid("body", "The body must be a JSON object.");
    };
    if let Some(unknown) = body.keys().find(|name| {
        shape
            .only
            .is_some_and(|only| !only.contains(&name.as_str()))
    }) {
        return error(
            422,
            "invalid_parameter",
            &format!("{unknown}: extra fields not permitted"),
        );
    }
    for name in shape.needs {
        if body.get(*name).is_none_or(Value::is_null) {
            return invalid(name, &format!("{name} is required."));
        }
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(prompt) = text("prompt").filter(|_| shape.kind == "agent")
        && !(1..=LONGEST_PROMPT).contains(&prompt.chars().count())
    {
        return invalid("prompt", "prompt must have 1 to 10,000 characters.");
    }
    let languages: Vec<String> = list_of(&body, "output_languages");
    if let Some(unknown) = languages
        .iter()
        .find(|language| !LANGUAGES.contains(&language.as_str()))
    {
        return invalid(
            "output_languages",
            &format!("Unsupported language: {unknown}"),
        );
    }
    let copies = languages.len().max(1);
    let ids: Vec<String> = (0..copies)
        .map(|at| {
            let order = Order {
                title: text("title"),
                script: text("script").or(text("prompt")),
                folder_id: None,
                callback_id: text("callback_id"),
            };
            let id = world.make(account, order);
            if let Some(video) = world.video_mut(&id) {
                video.kind = shape.kind;
                video.language = languages.get(at).cloned();
                video.prompt = text("prompt");
            }
            id
        })
        .collect();
    let id = ids.first().cloned().unwrap_or_default();
    let data = match shape.kind {
        "template" => match world.find(&id) {
            Some(video) => object(world, signer, video),
            None => Value::Null,
        },
        "agent" => {
            json!({"session_id": id, "status": "thinking", "video_id": null, "created_at": world.now().as_secs()})
        }
        "translation" => json!({"video_translation_ids": ids}),
        "lipsync" => json!({"lipsync_id": id}),
        _ => return json(202, &json!({"data": {"video_id": id, "status": "pending"}})),
    };
    json(200, &json!({"data": data}))
}

fn list_of(body: &Map<String, Value>, name: &str) -> Vec<String> {
    let values = body.get(name).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Everything but the creation of a job; `None` for a path of no kind here.
pub(super) fn answer(
    world: &mut World,
    signer: &Signer,
    account: Account,
    segments: &[&str],
    request: &Request,
) -> Option<Response> {
    let rest = segments.strip_prefix(&["v3"])?;
    let shape = SHAPES
        .iter()
        .find(|shape| rest.first() == Some(&shape.path))?;
    let rest = &rest[1..];
    Some(match (request.method.as_str(), shape.kind, rest) {
        ("GET", "model", ["videos", id]) | ("GET", "agent" | "translation" | "lipsync", [id])
            if *id != "statuses" =>
        {
            match owned(world, account, shape, id) {
                Some(job) => json(200, &json!({"data": shown(world, signer, shape, job)})),
                None => of_status(404),
            }
        }
        ("GET", _, ["statuses"]) if shape.bulk => statuses(world, account, shape, request),
        ("GET", _, []) if shape.list => list(world, signer, account, shape, request),
        ("POST", "agent", [id]) => message(world, account, shape, id, request),
        ("POST", "agent", [id, "stop"]) => stop(world, account, shape, id),
        _ => of_status(404),
    })
}

fn owned<'a>(world: &'a World, account: Account, shape: &Shape, id: &str) -> Option<&'a Video> {
    world
        .find(id)
        .filter(|job| job.account == account && job.kind == shape.kind)
}

/// The words of these kinds differ from a video's.
fn word(shape: &Shape, progress: &Progress) -> String {
    let word = match (shape.kind, progress.as_str()) {
        ("translation" | "lipsync", "waiting") => "pending",
        ("translation" | "lipsync", "processing") => "running",
        ("agent", "waiting" | "pending") => "thinking",
        ("agent", "processing") => "generating",
        (_, word) => word,
    };
    word.to_owned()
}

/// A job as its own GET shows it.
fn shown(world: &World, signer: &Signer, shape: &Shape, job: &Video) -> Value {
    if shape.kind == "agent" {
        return session(world, job);
    }
    let progress = world.progress(job);
    let completed = matches!(progress, Progress::Completed { .. });
    let mut data = json!({
        "id": job.id,
        "status": word(shape, &progress),
        "title": job.title,
        "created_at": job.created.as_secs(),
        "duration": completed.then_some(super::media::DURATION),
        "output_language": job.language,
    });
    if let (Progress::Failed { message, .. }, Some(data)) = (&progress, data.as_object_mut()) {
        data.insert("failure_message".to_owned(), json!(message));
    }
    let expires = world.now() + URL_LIFETIME;
    for (field, asset) in shape.urls {
        let url = completed.then(|| signer.url(&job.id, asset, expires));
        data[*field] = json!(url);
    }
    data
}

/// The id of the video a session makes.
fn video_of(session: &Video) -> String {
    format!("v{}", session.id.get(1..).unwrap_or_default())
}

/// The session whose video has this id.
pub(super) fn session_of<'a>(world: &'a World, account: Account, id: &str) -> Option<&'a Video> {
    let end = id.strip_prefix('v')?;
    world
        .of(account)
        .map(|(_, job)| job)
        .find(|job| job.kind == "agent" && job.id.get(1..) == Some(end))
}

/// A session's video, as `GET /v3/videos/{id}` shows it.
pub(super) fn session_video(world: &World, signer: &Signer, session: &Video) -> Value {
    let mut data = object(world, signer, session);
    data["id"] = json!(video_of(session));
    if data["status"] != "completed" && data["status"] != "failed" {
        data["status"] = json!("processing");
    }
    data
}

fn session(world: &World, session: &Video) -> Value {
    let progress = world.progress(session);
    let word = word(&SHAPES[1], &progress);
    let per_cent = match word.as_str() {
        "completed" => 100,
        "generating" => 50,
        _ => 0,
    };
    let mut messages = vec![json!({"role": "user", "type": "text", "content": session.prompt})];
    if word == "waiting_for_input" || word == "reviewing" {
        messages.push(json!({"role": "model", "type": "text", "content": PLAN}));
    }
    if word == "failed" {
        messages.push(json!({"role": "model", "type": "error", "content": "Something went wrong while rendering."}));
    }
    let said = session
        .messages
        .iter()
        .map(|text| json!({"role": "user", "type": "text", "content": text}));
    messages.extend(said);
    let has_video = matches!(word.as_str(), "completed" | "generating" | "failed");
    json!({
        "session_id": session.id,
        "status": word,
        "progress": session.per_cent.unwrap_or(per_cent),
        "title": session.title,
        "video_id": has_video.then(|| video_of(session)),
        "created_at": session.created.as_secs(),
        "messages": messages,
    })
}

fn message(
    world: &mut World,
    account: Account,
    shape: &Shape,
    id: &str,
    request: &Request,
) -> Response {
    let text = serde_json::from_slice::<Value>(&request.body)
        .ok()
        .and_then(|body| body["message"].as_str().map(str::to_owned));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return invalid("message", "message is required.");
    };
    if owned(world, account, shape, id).is_none() {
        return of_status(404);
    }
    let now = world.now();
    let run = format!("{:016x}", world.random.u64(..));
    if let Some(session) = world.video_mut(id) {
        session.messages.push(text);
        // An answer goes on with what was asked, and revives what failed.
        session.revived = Some(now);
        session.progress = Progress::Rendering;
        session.doomed = false;
    }
    json(200, &json!({"data": {"run_id": run}}))
}

fn stop(world: &mut World, account: Account, shape: &Shape, id: &str) -> Response {
    if owned(world, account, shape, id).is_none() {
        return of_status(404);
    }
    if let Some(session) = world.video_mut(id) {
        session.progress = Progress::Word("cancelled".to_owned());
    }
    json(200, &json!({"data": {"session_id": id}}))
}

fn statuses(world: &World, account: Account, shape: &Shape, request: &Request) -> Response {
    let text = request.parameter("video_ids").unwrap_or_default();
    let ids: Vec<_> = text.split(',').filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || ids.len() > MAX_BULK {
        return invalid("video_ids", "video_ids must name between 1 and 100.");
    }
    let lines = ids.into_iter().map(|id| {
        let job = owned(world, account, shape, id);
        let status = job.map_or("not_found".to_owned(), |job| word(shape, &world.progress(job)));
        json!({"video_id": id, "status": status, "error": null, "batch_id": null, "item_index": null})
    });
    page(lines.collect(), None)
}

fn list(
    world: &World,
    signer: &Signer,
    account: Account,
    shape: &Shape,
    request: &Request,
) -> Response {
    let shown = |job: &Video| match shape.kind {
        "agent" => {
            json!({"session_id": job.id, "created_at": job.created.as_secs(), "title": job.title})
        }
        _ => shown(world, signer, shape, job),
    };
    let wanted = |job: &Video| job.kind == shape.kind;
    newest_first(world, account, request, wanted, shown)
}

/// Where a session is after `age` of a rendering that takes `total`, for prompts that ask for the hard way.
pub(super) fn life(
    prompt: &str,
    answered: bool,
    age: Duration,
    total: Duration,
) -> Option<Progress> {
    let has = |word: &str| prompt.to_lowercase().contains(word);
    let part = age.as_secs_f64() / total.as_secs_f64().max(f64::EPSILON);
    let words: &[(f64, &str)] = if has("stall") {
        &[(f64::MAX, "thinking")]
    } else if has("pause") && !answered {
        &[(0.3, "thinking"), (f64::MAX, "waiting_for_input")]
    } else if has("flap") {
        &[
            (0.2, "thinking"),
            (0.5, "failed"),
            (0.7, "thinking"),
            (1.0, "processing"),
        ]
    } else {
        return None;
    };
    let word = words.iter().find(|(until, _)| part < *until)?.1;
    Some(Progress::Word(word.to_owned()))
}
