//! A real browser, driven over two pipes with the DevTools protocol.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::{eventually, machine_can};

/// One page of a browser without a window.
pub struct Browser {
    process: Child,
    to: File,
    from: BufReader<File>,
    session: Value,
    last: u64,
    /// What the browser reported meanwhile.
    events: Vec<Value>,
    _home: tempfile::TempDir,
}

impl Browser {
    /// `None`, said aloud, where there is no browser.
    pub fn start() -> Option<Self> {
        if !machine_can("start chromium", Command::new("chromium").arg("--version")) {
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        let (to, from) = (home.path().join("to"), home.path().join("from"));
        for pipe in [&to, &from] {
            mkfifo(pipe, Mode::S_IRWXU).expect("a pipe");
        }
        // The protocol is on the descriptors 3 and 4.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                      --user-data-dir=profile --remote-debugging-pipe 3<to 4>from";
        let process = Command::new("sh")
            .args(["-c", script])
            .current_dir(home.path())
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser");
        let mut browser = Self {
            process,
            // In the order in which the shell opens them.
            to: OpenOptions::new().write(true).open(&to).expect("a pipe"),
            from: BufReader::new(File::open(&from).expect("a pipe")),
            session: Value::Null,
            last: 0,
            events: Vec::new(),
            _home: home,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// One call of the protocol and its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.read();
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from
            .read_until(0, &mut bytes)
            .expect("the browser answers");
        assert!(bytes.pop() == Some(0), "the browser went away");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Opens a file from disk, and waits until it is there.
    pub fn open(&mut self, page: &Path) {
        self.events.clear();
        let url = format!("file://{}", page.display());
        self.call("Page.navigate", json!({ "url": url }));
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// What an expression, or a promise, comes to.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true}),
        );
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Everything the console said, violations of the policy and exceptions included.
    pub fn complaints(&self) -> Vec<String> {
        let loud = |event: &&Value| {
            matches!(
                event["method"].as_str(),
                Some("Log.entryAdded" | "Runtime.exceptionThrown" | "Runtime.consoleAPICalled")
            )
        };
        self.events
            .iter()
            .filter(loud)
            .map(Value::to_string)
            .collect()
    }

    /// The URLs it asked for.
    pub fn requests(&self) -> Vec<String> {
        let urls = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        urls.map(|event| {
            event["params"]["request"]["url"]
                .as_str()
                .expect("a URL")
                .to_owned()
        })
        .collect()
    }

    /// A window of that width, by day or by night, with or without scripts.
    pub fn look(&mut self, width: u32, scheme: &str, scripts: bool) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
        );
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !scripts}),
        );
    }

    /// The names that assistive technology has for what has one of these roles.
    pub fn accessible(&mut self, role: &str) -> Vec<String> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes");
        let named = nodes.iter().filter(|node| node["role"]["value"] == role);
        named
            .map(|node| {
                node["name"]["value"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // Its children follow; the profile is theirs until then.
        eventually("the browser's profile is free", || {
            std::thread::sleep(Duration::from_millis(1));
            std::fs::remove_dir_all(self._home.path().join("profile")).is_ok()
        });
    }
}
