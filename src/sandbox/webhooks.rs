//! Webhooks at the end of a video, as HeyGen sends them: signed, again until they are heard, sometimes twice.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use ureq::Agent;
use ureq::http::Uri;

use super::files::URL_LIFETIME;
use super::world::{Creation, RenderState};
use super::{Backstage, lock};
use crate::http::Stop;
use crate::time;

/// How often it is looked whether a video has ended: the stand-in's clock can jump, so nothing can be waited for.
const TICK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an event is delivered at most until it is heard (a 2xx).
const TRIES: u32 = 6;
/// The pause after the first try; doubles.
const BACKOFF: Duration = Duration::from_millis(200);

/// Who hears of the end of a video of the first account.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: Uri,
    secret: String,
    /// Further deliveries of an event that was heard.
    pub duplicates: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("webhooks go to http on this machine only, as in http://127.0.0.1:8787/heygen")]
    Url,
    #[error("a webhook secret is made of visible ASCII characters")]
    Secret,
}

impl Webhook {
    /// Plain http to this machine; no duplicates.
    pub fn new(url: &str, secret: &str) -> Result<Self, WebhookError> {
        let url: Uri = url.parse().map_err(|_| WebhookError::Url)?;
        let here = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if !here || url.scheme_str() != Some("http") {
            return Err(WebhookError::Url);
        }
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WebhookError::Secret);
        }
        Ok(Self {
            url,
            secret: secret.to_owned(),
            duplicates: 0,
        })
    }

    /// Lower-case hex HMAC-SHA256 of the body, as HeyGen documents it.
    pub fn sign(&self, body: &[u8]) -> String {
        Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
            .map(|mac| crate::net::hex(&mac.chain_update(body).finalize().into_bytes()))
            .unwrap_or_default()
    }
}

/// The threads that watch and deliver; they end when it is dropped.
pub(super) struct Announcer {
    stop: Arc<Stop>,
}

impl Announcer {
    pub(super) fn start(backstage: &Arc<Backstage>, webhook: Webhook) -> io::Result<Self> {
        let stop = Arc::<Stop>::default();
        let courier = Courier {
            agent: agent(),
            webhook: Arc::new(webhook),
            stop: Arc::clone(&stop),
        };
        let backstage = Arc::clone(backstage);
        thread::Builder::new()
            .name("webhook-watch".to_owned())
            .spawn(move || courier.watch(&backstage))?;
        Ok(Self { stop })
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

type Announcement = (String, Vec<u8>);

fn announcement(job: &Creation, state: &RenderState, url: String) -> Announcement {
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    let (kind, data) = match state {
        RenderState::Failed { message, .. } => ("avatar_video.fail", json!({"msg": message})),
        _ => ("avatar_video.success", json!({"url": url})),
    };
    let mut body = json!({"event_id": id, "event_type": kind, "event_data": data});
    body["event_data"]["video_id"] = json!(job.id);
    body["event_data"]["callback_id"] = job.body["callback_id"].clone();
    (id, body.to_string().into_bytes())
}

fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into()
}

#[derive(Clone)]
struct Courier {
    agent: Agent,
    webhook: Arc<Webhook>,
    stop: Arc<Stop>,
}

impl Courier {
    /// Gives every end of a video a thread of its own, until stopped.
    fn watch(&self, backstage: &Backstage) {
        while !self.stop.wait(TICK) {
            let mut world = lock(&backstage.world);
            let expires = world.now() + URL_LIFETIME;
            let ended = world.take_ended().into_iter();
            let ended = ended.map(|(job, state)| {
                let url = backstage.signer.url(&job.id, "video", expires);
                announcement(job, &state, url)
            });
            let events: Vec<Announcement> = ended.collect();
            drop(world);
            for event in events {
                let courier = self.clone();
                // Without a thread the event is lost, as events sometimes are.
                thread::Builder::new()
                    .name("webhook".to_owned())
                    .spawn(move || courier.announce(&event))
                    .ok();
            }
        }
    }

    /// Delivers until it is heard or the tries are used up, and then the duplicates.
    fn announce(&self, event: &Announcement) {
        let mut pause = BACKOFF;
        for _ in 0..TRIES {
            if self.deliver(event) {
                for _ in 0..self.webhook.duplicates {
                    self.deliver(event);
                }
                return;
            }
            if self.stop.wait(pause) {
                return;
            }
            pause *= 2;
        }
    }

    /// One try; says whether it was heard.
    fn deliver(&self, (id, body): &Announcement) -> bool {
        let answer = self
            .agent
            .post(&self.webhook.url)
            .header("Content-Type", "application/json")
            .header("Heygen-Event-Id", id)
            // The receiver's clock is the real one, whatever a test did to the stand-in's.
            .header(
                "Heygen-Timestamp",
                (time::now().millis() / 1000).to_string(),
            )
            .header("Heygen-Signature", self.webhook.sign(body))
            .send(&body[..]);
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
