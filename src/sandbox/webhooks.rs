//! Webhooks at the end of a video, as HeyGen sends them: signed, again until they are heard, sometimes twice.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Uri;

use super::Sandbox;
use super::files::URL_LIFETIME;
use super::world::{Creation, RenderState};
use crate::secret::Secret;
use crate::{net, time, webhook};

/// How often it is looked whether a video has ended: the stand-in's clock can jump, so nothing can be waited for.
const TICK: Duration = Duration::from_millis(20);
const ELSEWHERE: &str =
    "webhooks go to http on this machine only, as in http://127.0.0.1:8787/heygen";
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 6;
const BACKOFF: Duration = Duration::from_millis(200);

/// Who hears of the end of a video of the first account.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: Uri,
    secret: Secret,
    pub duplicates: u32,
}

impl Webhook {
    /// Plain http to this machine; no duplicates. An error is what is wrong.
    pub fn new(url: &str, secret: &str) -> Result<Self, &'static str> {
        let url: Uri = url.parse().map_err(|_| ELSEWHERE)?;
        if url.scheme_str() != Some("http") || !url.host().is_some_and(net::is_loopback) {
            return Err(ELSEWHERE);
        }
        Ok(Self {
            url,
            secret: Secret::new(secret)
                .ok_or("a webhook secret is made of visible ASCII characters")?,
            duplicates: 0,
        })
    }

    /// Starts the thread that watches and delivers; it ends when the stand-in is gone.
    pub(super) fn start(self, sandbox: &Arc<Sandbox>) -> io::Result<()> {
        let sandbox = Arc::downgrade(sandbox);
        let watcher = thread::Builder::new().name("webhook-watch".to_owned());
        watcher.spawn(move || self.watch(&sandbox)).map(drop)
    }

    fn watch(&self, sandbox: &Weak<Sandbox>) {
        while let Some(there) = sandbox.upgrade() {
            let world = there.world();
            let expires = world.now() + URL_LIFETIME;
            for (job, state) in world.newly_ended() {
                let url = there.signer.url(&job.id, "video", expires);
                let event = event(job, &state, &url);
                let (webhook, sandbox) = (self.clone(), sandbox.clone());
                // Without a thread the event is lost, as events sometimes are.
                thread::Builder::new()
                    .name("webhook".to_owned())
                    .spawn(move || webhook.announce(&sandbox, &event))
                    .ok();
            }
            drop(world);
            drop(there);
            thread::sleep(TICK);
        }
    }

    /// Delivers until it is heard or the tries are used up, and then the duplicates.
    fn announce(&self, sandbox: &Weak<Sandbox>, event: &Value) {
        for attempt in 0..TRIES {
            if sandbox.strong_count() == 0 {
                return;
            }
            if self.deliver(event) {
                for _ in 0..self.duplicates {
                    self.deliver(event);
                }
                return;
            }
            thread::sleep(BACKOFF * 2_u32.pow(attempt));
        }
    }

    fn deliver(&self, event: &Value) -> bool {
        let body = event.to_string();
        // The receiver's clock is the real one, whatever a test did to the stand-in's.
        let now = time::now().millis() / 1000;
        let id = event["event_id"].as_str().unwrap_or_default();
        let signature = webhook::sign(&self.secret, body.as_bytes());
        let answer = ureq::post(&self.url)
            .config()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .header("Content-Type", "application/json")
            .header("Heygen-Event-Id", id)
            .header("Heygen-Timestamp", now.to_string())
            .header("Heygen-Signature", signature)
            .send(body);
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

fn event(job: &Creation, state: &RenderState, url: &str) -> Value {
    let (kind, mut data) = match state {
        RenderState::Failed { message, .. } => ("avatar_video.fail", json!({"msg": message})),
        _ => ("avatar_video.success", json!({"url": url})),
    };
    data["video_id"] = json!(job.id);
    data["callback_id"] = job.body["callback_id"].clone();
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    json!({"event_id": id, "event_type": kind, "event_data": data})
}
