//! The API's routes: HeyGen's shapes around the [`World`].

use std::time::Instant;

use serde_json::{Value, json};

use super::envelope::{data, error, invalid, json, of_status};
use super::files::{Signer, URL_LIFETIME};
use super::kinds::{SHAPES, Shape};
use super::world::{Creation, Remembered, RenderState, World};
use crate::http::{Payload, Request, Response};

const MAX_BULK: usize = 100;
/// What an agent answers when it wants to be answered.
const PLAN: &str = "Here is the plan for your video. Shall I proceed?";
const FAILED: &str = "Something went wrong while rendering.";
const LONGEST_PROMPT: usize = 10_000;
const LANGUAGES: &[&str] = &[
    "English", "Spanish", "French", "German", "Italian", "Japanese",
];

/// A response, or one that refuses.
type Served = Result<Response, Response>;

struct Call<'a> {
    world: &'a mut World,
    signer: &'a Signer,
    request: &'a Request,
    account: usize,
}

pub(super) fn answer(world: &mut World, signer: &Signer, request: &Request) -> Response {
    let key = request.header("X-Api-Key");
    let Some(account) = world.keys.iter().position(|known| key == Some(known)) else {
        return of_status(401);
    };
    let mut call = Call {
        world,
        signer,
        request,
        account,
    };
    call.route().unwrap_or_else(|refusal| refusal)
}

impl Call<'_> {
    fn route(&mut self) -> Served {
        let method = self.request.method.as_str();
        let segments = self.request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let Some(path) = segments.strip_prefix(&["v3"]) else {
            return Err(of_status(404));
        };
        match (method, path) {
            ("GET", ["users", "me"]) => return Ok(self.me()),
            ("POST", ["videos", "batches"]) => return self.create_batch(),
            ("GET", ["videos", "batches", id]) => return self.batch(id),
            (_, ["users", "me"]) => return Err(of_status(405)),
            _ => {}
        }
        let shape = SHAPES.iter().find(|shape| path.starts_with(shape.path));
        let shape = shape.ok_or_else(|| of_status(404))?;
        match (method, shape.kind, &path[shape.path.len()..]) {
            ("POST", "template", [_]) => self.create(shape),
            ("POST", kind, []) if kind != "template" => self.create(shape),
            ("GET", _, ["statuses"]) if shape.bulk => self.statuses(shape),
            ("GET", _, []) if shape.list => self.list(shape),
            ("GET", kind, [id]) if kind != "template" => self.detail(shape, id),
            ("POST", "agent", [id]) => self.message(shape, id),
            ("POST", "agent", [id, "stop"]) => self.stop(shape, id),
            (_, "video", [] | [_]) => Err(of_status(405)),
            _ => Err(of_status(404)),
        }
    }

    fn create(&mut self, shape: &Shape) -> Served {
        let key = self.request.header("Idempotency-Key");
        // Where HeyGen promises nothing, it is as if there were no key.
        let key = key.filter(|_| shape.replays).map(str::to_owned);
        if let Some(key) = &key
            && let Some(answer) = self.replayed(key)?
        {
            return Ok(answer);
        }
        let response = match self.body(shape) {
            // Not remembered: the same key may be used again once there is room.
            Ok(_) if self.world.is_full(self.account) => {
                return Err(of_status(429).with_header("Retry-After", "1"));
            }
            Ok(body) => self.make(shape, &body),
            Err(refusal) => refusal,
        };
        if let (Some(key), Payload::Bytes(body)) = (key, &response.body) {
            let (status, body) = (response.status, body.clone());
            self.world.remember(self.account, key, status, body);
        }
        Ok(response)
    }

    /// The answer that this key had; while that is on its way a repetition is refused.
    fn replayed(&self, key: &str) -> Result<Option<Response>, Response> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
        if !(1..=255).contains(&key.len()) || !key.bytes().all(legal) {
            let message = "Idempotency-Key must be 1 to 255 of [A-Za-z0-9_:.-].";
            return Err(invalid("Idempotency-Key", message));
        }
        match self.world.remembered(self.account, key) {
            None => Ok(None),
            Some(known) if Instant::now() < known.settled => Err(of_status(409)),
            Some(Remembered { status, body, .. }) => {
                let answer = Response::new(*status);
                Ok(Some(answer.with_body("application/json", body.clone())))
            }
        }
    }

    /// Reads a body as strictly as HeyGen documents it, and no further: its fields grow often.
    fn body(&self, shape: &Shape) -> Result<Value, Response> {
        let Ok(Value::Object(body)) = serde_json::from_slice(&self.request.body) else {
            return Err(invalid("body", "The body must be a JSON object."));
        };
        let known = |name: &String| shape.only.is_none_or(|only| only.contains(&name.as_str()));
        if let Some(unknown) = body.keys().find(|name| !known(name)) {
            let message = format!("{unknown}: extra fields not permitted");
            return Err(error(422, "invalid_parameter", &message));
        }
        let needs = match body.get("type").and_then(Value::as_str) {
            _ if shape.kind != "video" => shape.needs,
            Some("avatar") => &["avatar_id"],
            Some("image") => &["image"],
            Some("cinematic_avatar") => &["prompt", "avatar_id"],
            Some("studio") => &["scenes"],
            _ => {
                let message = "type must be one of avatar, image, cinematic_avatar, studio.";
                return Err(invalid("type", message));
            }
        };
        let missing = |name: &&&str| body.get(**name).is_none_or(Value::is_null);
        if let Some(name) = needs.iter().find(missing) {
            return Err(invalid(name, &format!("{name} is required.")));
        }
        let prompt = body.get("prompt").and_then(Value::as_str);
        if let Some(prompt) = prompt.filter(|_| shape.kind == "agent")
            && !(1..=LONGEST_PROMPT).contains(&prompt.chars().count())
        {
            let message = "prompt must have 1 to 10,000 characters.";
            return Err(invalid("prompt", message));
        }
        let body = Value::Object(body);
        let spoken = |language: &str| LANGUAGES.contains(&language);
        if let Some(unknown) = languages(&body).into_iter().find(|one| !spoken(one)) {
            let message = format!("Unsupported language: {unknown}");
            return Err(invalid("output_languages", &message));
        }
        Ok(body)
    }

    fn make(&mut self, shape: &Shape, body: &Value) -> Response {
        let languages = languages(body);
        let ids: Vec<String> = (0..languages.len().max(1))
            .map(|at| {
                let mut body = body.clone();
                body["output_language"] = json!(languages.get(at));
                self.world.make(self.account, shape.kind, body)
            })
            .collect();
        let id = &ids[0];
        data(&match shape.kind {
            "video" => {
                let format = body["output_format"].as_str().unwrap_or("mp4");
                json!({"video_id": id, "status": "waiting", "output_format": format})
            }
            "template" => self
                .world
                .find(id)
                .map_or(Value::Null, |made| self.video(made)),
            "agent" => {
                let now = self.world.now().as_secs();
                json!({"session_id": id, "status": "thinking", "video_id": null, "created_at": now})
            }
            "translation" => json!({"video_translation_ids": ids}),
            "lipsync" => json!({"lipsync_id": id}),
            _ => {
                let made = json!({"video_id": id, "status": "pending"});
                return json(202, &json!({"data": made}));
            }
        })
    }

    fn owned(&self, shape: &Shape, id: &str) -> Result<&Creation, Response> {
        let found = self.world.find(id).filter(|job| {
            // Where videos are asked for, everything that has a file is one.
            job.account == self.account && (shape.kind == "video" || job.kind == shape.kind)
        });
        found.ok_or_else(|| of_status(404))
    }

    fn detail(&self, shape: &Shape, id: &str) -> Served {
        Ok(data(&match self.owned(shape, id) {
            Err(refusal) if shape.kind == "video" => {
                let session = self.session_of(id).ok_or(refusal)?;
                self.session_video(session)
            }
            job => self.shown(shape, job?),
        }))
    }

    /// A job as its own GET shows it.
    fn shown(&self, shape: &Shape, job: &Creation) -> Value {
        match shape.kind {
            "video" => return self.video(job),
            "agent" => return self.session(shape, job),
            _ => {}
        }
        let state = self.world.state(job);
        let mut shown = json!({
            "id": job.id,
            "status": shape.word(&state),
            "title": job.body["title"],
            "created_at": job.created.as_secs(),
            "duration": state.is_completed().then_some(super::media::DURATION),
            "output_language": job.body["output_language"],
        });
        if let RenderState::Failed { message, .. } = &state {
            shown["failure_message"] = json!(message);
        }
        self.add_urls(shape, job, &state, &mut shown);
        shown
    }

    /// Freshly minted.
    fn add_urls(&self, shape: &Shape, job: &Creation, state: &RenderState, shown: &mut Value) {
        let expires = self.world.now() + URL_LIFETIME;
        for (field, asset) in shape.urls {
            let url = || self.signer.url(&job.id, asset, expires);
            shown[*field] = json!(state.is_completed().then(url));
        }
    }

    fn video(&self, video: &Creation) -> Value {
        let state = self.world.state(video);
        let (completed_at, failure) = match &state {
            RenderState::Completed { at } => (Some(at.as_secs()), None),
            RenderState::Failed { at, code, message } => {
                (Some(at.as_secs()), Some((code, message)))
            }
            RenderState::Rendering | RenderState::Word(_) => (None, None),
        };
        let page = || format!("https://app.heygen.com/videos/{}", video.id);
        let mut shown = json!({
            "id": video.id,
            "status": state.as_str(),
            "title": video.body["title"],
            "created_at": video.created.as_secs(),
            "completed_at": completed_at,
            "duration": state.is_completed().then_some(super::media::DURATION),
            "folder_id": video.body["folder_id"],
            "output_language": null,
            "failure_code": failure.map(|(code, _)| code),
            "failure_message": failure.map(|(_, message)| message),
            "video_page_url": state.is_completed().then(page),
        });
        self.add_urls(&SHAPES[0], video, &state, &mut shown);
        shown
    }

    fn session_of(&self, id: &str) -> Option<&Creation> {
        let end = id.strip_prefix('v')?;
        let mut jobs = self.world.of(self.account).map(|(_, job)| job);
        jobs.find(|job| job.kind == "agent" && job.id.get(1..) == Some(end))
    }

    fn has_video(&self, job: &Creation) -> bool {
        let state = self.world.state(job);
        let mut shapes = SHAPES.iter().filter(|shape| shape.kind == job.kind);
        job.kind == "agent"
            && shapes
                .any(|agent| matches!(agent.word(&state), "completed" | "generating" | "failed"))
    }

    /// A session's video, as `GET /v3/videos/{id}` shows it.
    fn session_video(&self, session: &Creation) -> Value {
        let mut shown = self.video(session);
        shown["id"] = json!(video_of(session));
        if shown["status"] != "completed" && shown["status"] != "failed" {
            shown["status"] = json!("processing");
        }
        shown
    }

    fn session(&self, shape: &Shape, session: &Creation) -> Value {
        let state = self.world.state(session);
        let word = shape.word(&state);
        let per_cent = match word {
            "completed" => 100,
            "generating" => 50,
            _ => 0,
        };
        let message = |role: &str, kind: &str, content: &Value| json!({"role": role, "type": kind, "content": content});
        let mut messages = vec![message("user", "text", &session.body["prompt"])];
        match word {
            "waiting_for_input" | "reviewing" => {
                messages.push(message("model", "text", &json!(PLAN)));
            }
            "failed" => messages.push(message("model", "error", &json!(FAILED))),
            _ => {}
        }
        let said = session.messages.iter();
        messages.extend(said.map(|text| message("user", "text", &json!(text))));
        json!({
            "session_id": session.id,
            "status": word,
            "progress": session.per_cent.unwrap_or(per_cent),
            "title": session.body["title"],
            "video_id": self.has_video(session).then(|| video_of(session)),
            "created_at": session.created.as_secs(),
            "messages": messages,
        })
    }

    fn message(&mut self, shape: &Shape, id: &str) -> Served {
        let body: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        let text = body["message"].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| invalid("message", "message is required."))?;
        self.owned(shape, id)?;
        let now = self.world.now();
        let run = format!("{:016x}", self.world.random.u64(..));
        if let Some(session) = self.world.video_mut(id) {
            session.messages.push(text.to_owned());
            // An answer goes on with what was asked, and revives what failed.
            session.revived = Some(now);
            session.progress = RenderState::Rendering;
            session.doomed = false;
        }
        Ok(data(&json!({"run_id": run})))
    }

    fn stop(&mut self, shape: &Shape, id: &str) -> Served {
        self.owned(shape, id)?;
        if let Some(session) = self.world.video_mut(id) {
            session.progress = RenderState::Word("cancelled".to_owned());
        }
        Ok(data(&json!({"session_id": id})))
    }

    /// `POST /v3/videos/batches`: each body becomes a video, or says why not.
    fn create_batch(&mut self) -> Served {
        let body: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        let bodies = body["videos"].as_array();
        let Some(bodies) = bodies.filter(|bodies| bodies.len() <= MAX_BULK) else {
            let message = "videos must be a list of at most 100 bodies.";
            return Err(invalid("videos", message));
        };
        let make = |body: &Value| match body["type"].is_null() {
            true => Err("type is required.".to_owned()),
            false => Ok(self.world.make(self.account, "video", body.clone())),
        };
        let items = bodies.iter().map(make).collect();
        let id = format!("{:032x}", self.world.random.u128(..));
        self.world.batches.insert(id.clone(), items);
        Ok(data(&json!({"batch_id": id})))
    }

    fn batch(&self, id: &str) -> Served {
        let (limit, after) = self.cursor()?;
        let items = self.world.batches.get(id).ok_or_else(|| of_status(404))?;
        let rest = (0..).zip(items);
        let rest = rest.skip_while(|(index, _)| after.is_some_and(|after| *index <= after));
        let (items, last) = first(rest, limit, |index, item| {
            let video = item.as_ref().ok().and_then(|id| self.world.find(id));
            let state = video.map(|video| self.world.state(video));
            let error = item.as_ref().err();
            json!({
                "item_index": index,
                "status": state.as_ref().map_or("failed", |state| SHAPES[0].bulk_word(state)),
                "video_id": item.as_ref().ok(),
                "error": error.map(|message| json!({"code": "invalid_parameter", "message": message})),
            })
        });
        Ok(page(&json!({"batch_id": id, "items": items}), last))
    }

    /// Newest first. The cursor is the number of the last one shown: stable while newer ones arrive.
    fn list(&self, shape: &Shape) -> Served {
        let (limit, before) = self.cursor()?;
        let before = before.unwrap_or(u64::MAX);
        let title = self.request.parameter("title").unwrap_or_default();
        let folder = self.request.parameter("folder_id");
        let wanted = |job: &Creation| match shape.kind {
            "video" => {
                let own = job.body["title"].as_str().unwrap_or_default();
                (matches!(job.kind, "video" | "template") || self.has_video(job))
                    && own.to_lowercase().contains(&title.to_lowercase())
                    && (folder.is_none() || job.body["folder_id"].as_str() == folder.as_deref())
            }
            kind => job.kind == kind,
        };
        let jobs = self.world.of(self.account).rev();
        let jobs = jobs.filter(|(number, job)| *number < before && wanted(job));
        let (jobs, last) = first(jobs, limit, |_, job| match shape.kind {
            "agent" => json!({
                "session_id": job.id,
                "created_at": job.created.as_secs(),
                "title": job.body["title"],
            }),
            "video" if job.kind == "agent" => self.session_video(job),
            _ => self.shown(shape, job),
        });
        Ok(page(&json!(jobs), last))
    }

    /// How many are asked for, and after which one.
    fn cursor(&self) -> Result<(usize, Option<u64>), Response> {
        let parameter = |name| self.request.parameter(name);
        let limit = match parameter("limit").map(|text| text.parse::<usize>()) {
            None => 10,
            Some(Ok(limit @ 1..=100)) => limit,
            Some(_) => return Err(invalid("limit", "limit must be between 1 and 100.")),
        };
        match parameter("token").filter(|token| !token.is_empty()) {
            None => Ok((limit, None)),
            Some(token) => match token.strip_prefix("after-").map(str::parse) {
                Some(Ok(number)) => Ok((limit, Some(number))),
                _ => Err(invalid("token", "token is not one of ours.")),
            },
        }
    }

    fn statuses(&self, shape: &Shape) -> Served {
        let text = self.request.parameter("video_ids").unwrap_or_default();
        let ids: Vec<_> = text.split(',').filter(|id| !id.is_empty()).collect();
        if ids.is_empty() || ids.len() > MAX_BULK {
            let message = "video_ids must name between 1 and 100 videos.";
            return Err(invalid("video_ids", message));
        }
        let lines = ids.into_iter().map(|id| {
            let job = self.owned(shape, id).ok();
            let state = job.map(|job| self.world.state(job));
            let failure = match &state {
                Some(RenderState::Failed { code, message, .. }) if shape.kind == "video" => {
                    json!({"code": code, "message": message})
                }
                _ => Value::Null,
            };
            let status = state.as_ref().map_or("not_found", |state| shape.bulk_word(state));
            json!({"video_id": id, "status": status, "error": failure, "batch_id": null, "item_index": null})
        });
        Ok(page(&lines.collect(), None))
    }

    fn me(&self) -> Response {
        let account = self.account;
        let mut shown = json!({
            "username": format!("sandbox-{account}"),
            "email": format!("sandbox-{account}@example.com"),
            "first_name": "Sandbox",
            "last_name": null,
        });
        if let (Some(shown), Some(billing)) =
            (shown.as_object_mut(), self.world.billing.as_object())
        {
            shown.extend(billing.clone());
        }
        data(&shown)
    }
}

fn languages(body: &Value) -> Vec<&str> {
    let values = body["output_languages"].as_array();
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.collect()
}

fn video_of(session: &Creation) -> String {
    format!("v{}", session.id.get(1..).unwrap_or_default())
}

/// The first `limit` of `all`, and the number of the last of them if there are more.
fn first<T>(
    all: impl Iterator<Item = (u64, T)>,
    limit: usize,
    shown: impl Fn(u64, T) -> Value,
) -> (Vec<Value>, Option<u64>) {
    let mut all = all.peekable();
    let mut page = Vec::new();
    let mut last = None;
    for (number, one) in all.by_ref().take(limit) {
        last = Some(number);
        page.push(shown(number, one));
    }
    let more = all.peek().is_some();
    (page, last.filter(|_| more))
}

/// A list: the cursor stands beside `data`, not in it.
fn page(data: &Value, last: Option<u64>) -> Response {
    let next = last.map(|last| format!("after-{last}"));
    let page = json!({"data": data, "has_more": next.is_some(), "next_token": next});
    json(200, &page)
}
