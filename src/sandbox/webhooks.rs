//! Telling somebody of the end of a video, as HeyGen does: signed, again until it is heard, sometimes twice.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::world::{Progress, Video, World};
use super::{Inner, lock};
use crate::heygen::BaseUrl;
use crate::http::Stop;
use crate::time;
use crate::video::Asset;
use crate::webhook::{SIGNATURE, Secret, TIMESTAMP};

/// How often it is looked whether a video has ended: the stand-in's clock can jump, so nothing can be waited for.
const TICK: Duration = Duration::from_millis(20);
/// Deliveries under way at once.
const COURIERS: usize = 8;
/// How long one delivery may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is told when a video of the first account ends.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: BaseUrl,
    secret: Secret,
    /// Further deliveries of an event that was heard.
    pub duplicates: u32,
    /// How often an event is delivered at most until it is heard (a 2xx).
    pub tries: u32,
    /// The pause after the first try; doubles.
    pub backoff: Duration,
}

/// Why nobody can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The stand-in reaches nobody but this machine.
    #[error("webhooks go to http on this machine only, as in http://127.0.0.1:8787/heygen")]
    Url,
    /// No secret has such characters.
    #[error("a webhook secret is made of visible ASCII characters")]
    Secret,
}

impl Webhook {
    /// Plain http to this machine; six tries within some seconds, no duplicates.
    pub fn new(url: &str, secret: &str) -> Result<Self, WebhookError> {
        let url = BaseUrl::parse(url).ok();
        let url = url.filter(|url| url.is_loopback() && url.as_str().starts_with("http:"));
        Ok(Self {
            url: url.ok_or(WebhookError::Url)?,
            secret: Secret::new(secret).ok_or(WebhookError::Secret)?,
            duplicates: 0,
            tries: 6,
            backoff: Duration::from_millis(200),
        })
    }
}

/// One try to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The video that ended.
    pub video_id: String,
    /// The same for every try and duplicate.
    pub event_id: String,
    /// What the receiver answered; `None` when there was no answer.
    pub status: Option<u16>,
}

/// The threads that watch and deliver; they end when it is dropped.
pub(super) struct Announcer {
    stop: Arc<Stop>,
    journal: Arc<Mutex<VecDeque<Delivered>>>,
}

impl Announcer {
    pub(super) fn start(inner: &Arc<Inner>, webhook: Webhook) -> io::Result<Self> {
        let announcer = Self {
            stop: Arc::default(),
            journal: Arc::default(),
        };
        let (queue, events) = channel();
        let events = Arc::new(Mutex::new(events));
        let courier = Courier {
            agent: agent(),
            webhook: Arc::new(webhook),
            stop: Arc::clone(&announcer.stop),
            journal: Arc::clone(&announcer.journal),
            keep: lock(&inner.world).options.keep_requests,
        };
        for _ in 0..COURIERS {
            let (courier, events) = (courier.clone(), Arc::clone(&events));
            thread::Builder::new()
                .name("webhook".to_owned())
                .spawn(move || {
                    while let Some(event) = next(&events) {
                        courier.announce(&event);
                    }
                })?;
        }
        let (inner, stop) = (Arc::clone(inner), Arc::clone(&announcer.stop));
        thread::Builder::new()
            .name("webhook-watch".to_owned())
            .spawn(move || watch(&inner, &stop, &queue))?;
        Ok(announcer)
    }

    pub(super) fn delivered(&self) -> Vec<Delivered> {
        lock(&self.journal).iter().cloned().collect()
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

/// An event on its way.
struct Event {
    id: String,
    video_id: String,
    body: Vec<u8>,
}

/// Hands every end of a video to the couriers, until stopped.
fn watch(inner: &Inner, stop: &Stop, queue: &Sender<Event>) {
    while !stop.wait(TICK) {
        let events: Vec<Event> = {
            let mut world = lock(&inner.world);
            let expires = world.clock.now().after(world.options.url_lifetime);
            let url = |video: &Video| inner.signer.url(&video.id, Asset::Video, expires);
            ended(&mut world, url)
        };
        for event in events {
            if queue.send(event).is_err() {
                return;
            }
        }
    }
}

fn ended(world: &mut World, url: impl Fn(&Video) -> String) -> Vec<Event> {
    let ended = world.take_ended().into_iter();
    ended
        .map(|(video, progress)| event(video, &progress, url(video)))
        .collect()
}

fn event(video: &Video, progress: &Progress, url: String) -> Event {
    let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
    let (kind, data) = match progress {
        Progress::Failed { message, .. } => ("avatar_video.fail", json!({"msg": message})),
        _ => ("avatar_video.success", json!({"url": url})),
    };
    let mut body = json!({"event_id": id, "event_type": kind, "event_data": data});
    body["event_data"]["video_id"] = Value::from(video.id.as_str());
    body["event_data"]["callback_id"] = Value::from(video.callback_id.as_deref());
    Event {
        id,
        video_id: video.id.clone(),
        body: body.to_string().into_bytes(),
    }
}

fn next(events: &Mutex<Receiver<Event>>) -> Option<Event> {
    lock(events).recv().ok()
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
    journal: Arc<Mutex<VecDeque<Delivered>>>,
    keep: usize,
}

impl Courier {
    /// Delivers until it is heard or the tries are used up, and then the duplicates.
    fn announce(&self, event: &Event) {
        let mut pause = self.webhook.backoff;
        for left in (0..self.webhook.tries).rev() {
            if self.deliver(event) {
                for _ in 0..self.webhook.duplicates {
                    self.deliver(event);
                }
                return;
            }
            if left == 0 || self.stop.wait(pause) {
                return;
            }
            pause = pause.saturating_mul(2);
        }
    }

    /// One try; says whether it was heard.
    fn deliver(&self, event: &Event) -> bool {
        let answer = self
            .agent
            .post(self.webhook.url.as_str())
            .header("Content-Type", "application/json")
            .header("Heygen-Event-Id", &event.id)
            // The receiver's clock is the real one, whatever a test did to the stand-in's.
            .header(TIMESTAMP, (time::now().millis() / 1000).to_string())
            .header(SIGNATURE, self.webhook.secret.sign(&event.body))
            .send(&event.body[..]);
        let status = answer.ok().map(|answer| answer.status().as_u16());
        let mut journal = lock(&self.journal);
        journal.push_back(Delivered {
            video_id: event.video_id.clone(),
            event_id: event.id.clone(),
            status,
        });
        if journal.len() > self.keep {
            journal.pop_front();
        }
        status.is_some_and(|status| (200..300).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_told() {
        for (url, secret, refusal) in [
            ("http://127.0.0.1:8787/heygen", "whsec_x", None),
            ("http://localhost:8787", "whsec_x", None),
            ("https://127.0.0.1:1/", "whsec_x", Some(WebhookError::Url)),
            ("http://example.com/", "whsec_x", Some(WebhookError::Url)),
            ("127.0.0.1:8787", "whsec_x", Some(WebhookError::Url)),
            ("http://127.0.0.1:1/", " ", Some(WebhookError::Secret)),
        ] {
            assert_eq!(Webhook::new(url, secret).err(), refusal, "{url}");
        }
    }
}
