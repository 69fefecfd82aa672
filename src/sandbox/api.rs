//! The API's routes: HeyGen's shapes around the [`World`].

use serde_json::{Value, json};

use super::files::{Signer, URL_LIFETIME};
use super::kinds::{SHAPES, Shape};
use super::media::DURATION;
use super::world::{Creation, RenderState, World};
use crate::http::{Request, Response};

const MAX_BULK: usize = 100;
/// What an agent answers when it wants to be answered.
const PLAN: &str = "Here is the plan for your video. Shall I proceed?";
const FAILED: &str = "Something went wrong while rendering.";
const LONGEST_PROMPT: usize = 10_000;
const LANGUAGES: &[&str] = &[
    "English", "Spanish", "French", "German", "Italian", "Japanese",
];

/// A status and its JSON.
pub(super) type Answer = (u16, Value);

type Served = Result<Answer, Answer>;

struct Call<'a> {
    world: &'a mut World,
    signer: &'a Signer,
    request: &'a Request,
    account: usize,
}

pub(super) fn answer(world: &mut World, signer: &Signer, request: &Request) -> Response {
    let key = request.header("X-Api-Key");
    let served = match world.keys.iter().position(|known| key == Some(known)) {
        None => Err(refusal(401)),
        Some(account) => Call {
            world,
            signer,
            request,
            account,
        }
        .route(),
    };
    let (status, body) = served.unwrap_or_else(|refusal| refusal);
    let response = Response::new(status).with_body("application/json", body.to_string());
    match status {
        429 => response.with_header("Retry-After", "1"),
        _ => response,
    }
}

impl Call<'_> {
    fn route(&mut self) -> Served {
        let segments = self.request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let path = segments.strip_prefix(&["v3"]).unwrap_or_default();
        let method = self.request.method.as_str();
        if (method, path) == ("GET", &["users", "me"]) {
            return Ok(self.me());
        }
        let shape = SHAPES.iter().find(|shape| path.starts_with(shape.path));
        let shape = shape.ok_or_else(|| refusal(404))?;
        match (method, shape.kind, &path[shape.path.len()..]) {
            ("POST", "template", [_]) => self.create(shape),
            ("POST", kind, []) if kind != "template" => self.create(shape),
            ("GET", _, ["statuses"]) if shape.bulk => self.statuses(shape),
            ("GET", _, []) if shape.list => self.list(shape),
            ("GET", kind, [id]) if kind != "template" => self.detail(shape, id),
            ("POST", "agent", [id]) => self.message(shape, id),
            ("POST", "agent", [id, "stop"]) => self.stop(shape, id),
            _ => Err(refusal(404)),
        }
    }

    fn create(&mut self, shape: &Shape) -> Served {
        // Where HeyGen promises nothing, it is as if there were no key.
        let key = self.request.header("Idempotency-Key");
        let key = key.filter(|_| shape.replays);
        if let Some(key) = key {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
            if !(1..=255).contains(&key.len()) || !key.bytes().all(legal) {
                let message = "Idempotency-Key must be 1 to 255 of [A-Za-z0-9_:.-].";
                return Err(invalid("Idempotency-Key", message));
            }
            if let Some(answer) = self.world.remembered(self.account, key) {
                return Ok(answer);
            }
        }
        let answer = match self.body(shape) {
            // Not remembered: the same key may be used again once there is room.
            Ok(_) if self.world.is_full(self.account) => return Err(refusal(429)),
            Ok(body) => self.make(shape, &body),
            Err(refusal) => refusal,
        };
        if let Some(key) = key {
            self.world.remember(self.account, key, &answer);
        }
        Ok(answer)
    }

    /// Reads a body as strictly as HeyGen documents it, and no further: its fields grow often.
    fn body(&self, shape: &Shape) -> Result<Value, Answer> {
        let body: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        let Some(fields) = body.as_object() else {
            return Err(invalid("body", "The body must be a JSON object."));
        };
        let only = shape.only;
        let known = |name: &str| only.is_empty() || only.split(' ').any(|field| field == name);
        if let Some(unknown) = fields.keys().find(|name| !known(name)) {
            let message = format!("{unknown}: extra fields not permitted");
            return Err(error(422, "invalid_parameter", &message));
        }
        let needs = match body["type"].as_str() {
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
        if let Some(name) = needs.iter().find(|name| body[**name].is_null()) {
            return Err(invalid(name, &format!("{name} is required.")));
        }
        let prompt = body["prompt"].as_str().filter(|_| shape.kind == "agent");
        if prompt.is_some_and(|text| !(1..=LONGEST_PROMPT).contains(&text.chars().count())) {
            let message = "prompt must have 1 to 10,000 characters.";
            return Err(invalid("prompt", message));
        }
        let mut languages = languages(&body).into_iter();
        if let Some(unknown) = languages.find(|language| !LANGUAGES.contains(language)) {
            let message = format!("Unsupported language: {unknown}");
            return Err(invalid("output_languages", &message));
        }
        Ok(body)
    }

    fn make(&mut self, shape: &Shape, body: &Value) -> Answer {
        let languages = languages(body);
        let ids: Vec<String> = (0..languages.len().max(1))
            .map(|at| {
                let mut body = body.clone();
                body["output_language"] = json!(languages.get(at));
                self.world.make(self.account, shape.kind, body)
            })
            .collect();
        let id = &ids[0];
        data(match shape.kind {
            "video" => {
                let format = body["output_format"].as_str().unwrap_or("mp4");
                json!({"video_id": id, "status": "waiting", "output_format": format})
            }
            "template" => {
                let made = self.world.find(id);
                made.map_or(Value::Null, |made| self.shown(&SHAPES[0], made))
            }
            "agent" => {
                let now = self.world.now().as_secs();
                json!({"session_id": id, "status": "thinking", "video_id": null, "created_at": now})
            }
            "translation" => json!({"video_translation_ids": ids}),
            "lipsync" => json!({"lipsync_id": id}),
            _ => return (202, json!({"data": {"video_id": id, "status": "pending"}})),
        })
    }

    fn owned(&self, shape: &Shape, id: &str) -> Result<&Creation, Answer> {
        let found = self.world.find(id).filter(|job| {
            // Where videos are asked for, everything that has a file is one.
            job.account == self.account && (shape.kind == "video" || job.kind == shape.kind)
        });
        found.ok_or_else(|| refusal(404))
    }

    fn detail(&self, shape: &Shape, id: &str) -> Served {
        let own = self.owned(shape, id);
        Ok(data(match own {
            Err(refusal) if shape.kind == "video" => {
                self.session_video(self.session_of(id).ok_or(refusal)?)
            }
            own if shape.kind == "agent" => self.session(shape, own?),
            own => self.shown(shape, own?),
        }))
    }

    /// A job as its own GET and its list show it, its URLs freshly minted.
    fn shown(&self, shape: &Shape, job: &Creation) -> Value {
        let state = self.world.state(job);
        let completed = state.is_completed();
        let mut shown = json!({
            "id": job.id,
            "status": shape.word(&state),
            "title": job.body["title"],
            "created_at": job.created.as_secs(),
            "duration": completed.then_some(DURATION),
            "output_language": job.body["output_language"],
        });
        if let RenderState::Failed { message, .. } = &state {
            shown["failure_message"] = json!(message);
        }
        if shape.kind == "video" {
            let (at, code) = match &state {
                RenderState::Completed { at } => (Some(at.as_secs()), None),
                RenderState::Failed { at, code, .. } => (Some(at.as_secs()), Some(code)),
                RenderState::Rendering | RenderState::Word(_) => (None, None),
            };
            let page = format!("https://app.heygen.com/videos/{}", job.id);
            shown["completed_at"] = json!(at);
            shown["folder_id"] = job.body["folder_id"].clone();
            shown["failure_code"] = json!(code);
            shown["video_page_url"] = json!(completed.then_some(page));
        }
        let expires = self.world.now() + URL_LIFETIME;
        for (field, asset) in shape.urls {
            let url = || self.signer.url(&job.id, asset, expires);
            shown[*field] = json!(completed.then(url));
        }
        shown
    }

    fn session_of(&self, id: &str) -> Option<&Creation> {
        let end = id.strip_prefix('v')?;
        let mut jobs = self.world.of(self.account);
        jobs.find(|job| job.kind == "agent" && job.id.get(1..) == Some(end))
    }

    fn has_video(&self, job: &Creation) -> bool {
        let state = self.world.state(job);
        let words = ["processing", "generating", "completed", "failed"];
        job.kind == "agent" && words.contains(&state.as_str())
    }

    fn session_video(&self, session: &Creation) -> Value {
        let mut shown = self.shown(&SHAPES[0], session);
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
        let says = |role: &str, kind: &str, text: &str| json!({"role": role, "type": kind, "content": text});
        let prompt = session.body["prompt"].as_str().unwrap_or_default();
        let mut messages = vec![says("user", "text", prompt)];
        messages.extend(match word {
            "waiting_for_input" | "reviewing" => Some(says("model", "text", PLAN)),
            "failed" => Some(says("model", "error", FAILED)),
            _ => None,
        });
        let answers = session.messages.iter();
        messages.extend(answers.map(|text| says("user", "text", text)));
        json!({
            "session_id": session.id,
            "status": word,
            "progress": per_cent,
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
        Ok(data(json!({"run_id": run})))
    }

    fn stop(&mut self, shape: &Shape, id: &str) -> Served {
        self.owned(shape, id)?;
        if let Some(session) = self.world.video_mut(id) {
            session.progress = RenderState::Word("cancelled".to_owned());
        }
        Ok(data(json!({"session_id": id})))
    }

    /// Newest first. The cursor is the number of the last one shown: stable while newer ones arrive.
    fn list(&self, shape: &Shape) -> Served {
        let (limit, before) = self.cursor()?;
        let title = self.request.parameter("title").unwrap_or_default();
        let wanted = |job: &Creation| match shape.kind {
            "video" => {
                let own = job.body["title"].as_str().unwrap_or_default();
                (matches!(job.kind, "video" | "template") || self.has_video(job))
                    && own.to_lowercase().contains(&title.to_lowercase())
            }
            kind => job.kind == kind,
        };
        let jobs = self.world.videos.range(..before).rev();
        let mut jobs = jobs
            .filter(|(_, job)| job.account == self.account && wanted(job))
            .peekable();
        let mut last = None;
        let mut shown = Vec::new();
        for (number, job) in jobs.by_ref().take(limit) {
            last = Some(format!("after-{number}"));
            shown.push(match shape.kind {
                "agent" => json!({
                    "session_id": job.id,
                    "created_at": job.created.as_secs(),
                    "title": job.body["title"],
                }),
                "video" if job.kind == "agent" => self.session_video(job),
                _ => self.shown(shape, job),
            });
        }
        Ok(page(&shown, last.filter(|_| jobs.peek().is_some())))
    }

    fn cursor(&self) -> Result<(usize, u64), Answer> {
        let limit = self.request.parameter("limit");
        let limit = match limit.map_or(Ok(10), |text| text.parse()) {
            Ok(limit @ 1..=100) => limit,
            _ => return Err(invalid("limit", "limit must be between 1 and 100.")),
        };
        let token = self.request.parameter("token").unwrap_or_default();
        let before = match token.strip_prefix("after-").map(str::parse) {
            None if token.is_empty() => u64::MAX,
            Some(Ok(number)) => number,
            _ => return Err(invalid("token", "token is not one of ours.")),
        };
        Ok((limit, before))
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
        Ok(page(&lines.collect::<Vec<_>>(), None))
    }

    fn me(&self) -> Answer {
        let name = format!("sandbox-{}", self.account);
        let mut shown = self.world.billing.clone();
        shown["email"] = json!(format!("{name}@example.com"));
        shown["username"] = json!(name);
        shown["first_name"] = json!("Sandbox");
        data(shown)
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

fn data(data: Value) -> Answer {
    (200, json!({"data": data}))
}

/// A list: the cursor stands beside `data`, not in it.
fn page(data: &[Value], next: Option<String>) -> Answer {
    let page = json!({"data": data, "has_more": next.is_some(), "next_token": next});
    (200, page)
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let error = json!({"error": {"code": code, "message": message}});
    (status, error)
}

fn invalid(param: &str, message: &str) -> Answer {
    let error = json!({"code": "invalid_parameter", "message": message, "param": param});
    (400, json!({"error": error}))
}

/// The envelope HeyGen would send with that status.
fn refusal(status: u16) -> Answer {
    let (code, message) = match status {
        401 => ("unauthorized", "The API key is missing or wrong."),
        429 => ("rate_limit_exceeded", "Too many requests."),
        _ => ("not_found", "Not found."),
    };
    error(status, code, message)
}
