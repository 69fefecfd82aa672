//! When a fault strikes: routes, skips and counts.

use std::panic::Location;

use super::fault::{Fault, Gate, Times};
use heygen_tracker::http::Request;

/// What [`super::Heygen::fault`] was told, in order.
#[derive(Default)]
pub(super) struct Script {
    entries: Vec<Entry>,
}

struct Entry {
    route: Route,
    fault: Fault,
    /// `None` is for ever.
    left: Option<u32>,
    skip: u32,
    place: &'static Location<'static>,
}

/// A method and a path pattern.
struct Route {
    text: String,
    method: String,
    segments: Vec<String>,
}

impl Script {
    pub(super) fn add(&mut self, route: &str, fault: Fault, place: &'static Location<'static>) {
        // A copy of one that was released is held again.
        let fault = Fault {
            gate: Gate::default(),
            ..fault
        };
        self.entries.push(Entry {
            route: Route::new(route),
            left: match fault.times {
                Times::Once => Some(1),
                Times::Exactly(times) => Some(times),
                Times::Forever => None,
            },
            skip: fault.skip,
            fault,
            place,
        });
    }

    /// The fault of this request: the first scripted one that matches, has nothing left to skip and is not used up.
    /// All others that match count it as skipped.
    pub(super) fn take(&mut self, request: &Request) -> Option<Fault> {
        let segments = request.segments();
        let mut taken = None;
        for entry in &mut self.entries {
            if entry.left == Some(0) || !entry.route.matches(&request.method, &segments) {
                continue;
            }
            if entry.skip > 0 {
                entry.skip -= 1;
            } else if taken.is_none() {
                entry.left = entry.left.map(|left| left - 1);
                taken = Some(entry.fault.clone());
            }
        }
        taken
    }

    /// Nothing scripted so far holds a request any longer, not even one that is still to come.
    pub(super) fn release(&self) {
        for entry in &self.entries {
            entry.fault.gate.open();
        }
    }

    /// How many requests are held.
    pub(super) fn holding(&self) -> usize {
        let gates = self.entries.iter().map(|entry| &entry.fault.gate);
        gates.map(Gate::waiting).sum()
    }

    /// Ends everything scripted so far.
    pub(super) fn clear(&mut self) {
        self.release();
        self.entries.clear();
    }

    /// A line for each fault that was promised more requests than came; empty when there is none.
    pub(super) fn unused(&self) -> String {
        let lines = self.entries.iter().filter_map(|entry| {
            let left = entry.left.filter(|left| *left > 0)?;
            let (place, route) = (entry.place, &entry.route.text);
            Some(format!("{place}: fault on {route}: {left} unused\n"))
        });
        lines.collect()
    }
}

impl Route {
    fn new(text: &str) -> Self {
        let (method, path) = text.split_once(' ').unwrap_or(("*", text));
        Self {
            text: text.to_owned(),
            method: method.to_owned(),
            segments: path
                .trim_start_matches('/')
                .split('/')
                .map(str::to_owned)
                .collect(),
        }
    }

    /// `{…}` stands for one segment that is no route of its own; `/files` covers everything below it.
    fn matches(&self, method: &str, segments: &[String]) -> bool {
        let below = self.segments.first().is_some_and(|first| first == "files");
        let long_enough = if below {
            segments.len() >= self.segments.len()
        } else {
            segments.len() == self.segments.len()
        };
        (self.method == "*" || self.method == method)
            && long_enough
            && self
                .segments
                .iter()
                .zip(segments)
                .all(|(pattern, segment)| {
                    let any = pattern.starts_with('{') && pattern.ends_with('}');
                    pattern == segment || (any && segment != "statuses" && segment != "batches")
                })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_what_they_say() {
        for (route, method, path, matches) in [
            ("POST /v3/videos", "POST", "v3/videos", true),
            ("POST /v3/videos", "GET", "v3/videos", false),
            ("GET /v3/videos", "GET", "v3/videos/a", false),
            ("GET /v3/videos/{id}", "GET", "v3/videos/a", true),
            ("GET /v3/videos/{id}", "GET", "v3/videos/statuses", false),
            ("GET /v3/videos/statuses", "GET", "v3/videos/statuses", true),
            ("GET /v3/videos/abc", "GET", "v3/videos/abd", false),
            ("GET /files", "GET", "files/abc/video", true),
            ("GET /files/{id}/gif", "GET", "files/abc/video", false),
            ("* /files/abc", "HEAD", "files/abc/video", true),
        ] {
            let segments: Vec<_> = path.split('/').map(str::to_owned).collect();
            let found = Route::new(route).matches(method, &segments);
            assert_eq!(found, matches, "{route} {method} {path}");
        }
    }
}
