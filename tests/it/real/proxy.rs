//! tinyproxy on the way to HeyGen, and names that only the proxy can resolve.

use std::fs;
use std::process::Command;

use super::server::{API, FILES, Front, Settings};
use super::{Daemon, listens, part_size};
use crate::heygen::Port;
use crate::support::{Run, can_mount, end, eventually, machine_can, run, start};

struct Proxied {
    // Before the bench: it runs in its directory.
    proxy: Daemon,
    port: Port,
    front: Front,
}

impl Proxied {
    fn start(file_size: u64, files: &str) -> Option<Self> {
        let can = machine_can("run tinyproxy", Command::new("tinyproxy").arg("-v")) && can_mount();
        let settings = Settings {
            files,
            file_host: FILES,
            ..Settings::default()
        };
        let front = can.then(|| Front::start(file_size, &settings)).flatten()?;
        let port = Port::new().expect("a port");
        front
            .bench
            .file("hosts", format!("127.0.0.1 localhost {API} {FILES}\n"));
        front.bench.file(
            "proxy.conf",
            format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nLogFile \"proxy.log\"\nLogLevel Connect\n"),
        );
        let proxy = start_proxy(&front, &port);
        Some(Self { proxy, port, front })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.front.command(arguments);
        command
            .env(
                "HEYGEN_API_BASE",
                format!("https://{API}:{}", self.front.api),
            )
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", self.port));
        command
    }

    fn tracker(&self, arguments: &str) -> Run {
        run(&mut self.command(arguments))
    }

    /// Whether the proxy was asked for a connection to that host.
    fn led_to(&self, host: &str, port: &Port) -> bool {
        let log = fs::read_to_string(self.front.bench.path("proxy.log")).expect("a log");
        log.contains(&format!("CONNECT {host}:{port} "))
    }
}

/// Where it sees another `/etc/hosts`.
fn start_proxy(front: &Front, port: &Port) -> Daemon {
    let mut command = Command::new("unshare");
    front.bench.prepare(&mut command);
    let script = "mount --bind hosts /etc/hosts && exec tinyproxy -d -c proxy.conf";
    command.args(["-m", "sh", "-c", script]);
    let proxy = Daemon::start(&mut command, &front.bench.path("proxy.out"));
    eventually("tinyproxy listens", || listens(port));
    proxy
}

#[test]
fn everything_goes_through_the_proxy_but_what_no_proxy_names() {
    let Some(proxied) = Proxied::start(64 * 1024, "") else {
        return;
    };
    let (front, bench) = (&proxied.front, &proxied.front.bench);
    bench.file(
        "bodies.jsonl",
        format!("{}\n", crate::support::BODY).repeat(2),
    );
    proxied.tracker("submit bodies.jsonl").exits(0);
    eventually("its log", || proxied.led_to(API, &front.api));
    front.finish(1);
    front.finish(2);
    // Nobody here knows the name.
    let direct = run(proxied.command("check --retries 0").env("NO_PROXY", FILES)).exits(1);
    assert!(direct.stderr.contains(FILES), "{}", direct.screen());
    assert!(!proxied.led_to(FILES, &front.files));
    bench.advance(std::time::Duration::from_secs(600));
    proxied.tracker("check").exits(0);
    eventually("its log", || proxied.led_to(FILES, &front.files));
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "2"
    );
    bench.assert_invariants();
}

#[test]
fn a_proxy_that_dies_in_the_middle_of_a_download_costs_a_range_request() {
    let Some(mut proxied) = Proxied::start(2 << 20, "limit_rate 400k;") else {
        return;
    };
    proxied.tracker("submit body.json").exits(0);
    proxied.front.finish(1);
    let check = start(&mut proxied.command("check --retries 0"));
    eventually("some of it is here", || part_size(&proxied.front.bench) > 0);
    proxied.proxy.kill();
    let check = end(check).exits(1);
    assert!(check.stderr.contains("error: "), "{}", check.screen());
    let refused = proxied.tracker("check 1").exits(1);
    assert!(
        refused.stderr.contains("of HTTPS_PROXY"),
        "{}",
        refused.screen()
    );

    proxied.proxy = start_proxy(&proxied.front, &proxied.port);
    proxied.tracker("check 1").exits(0);
    let served = proxied.front.served_so_many(2);
    assert!(
        served.last().is_some_and(|line| line.starts_with("206 ")),
        "{served:?}"
    );
    proxied.front.bench.assert_invariants();
}
