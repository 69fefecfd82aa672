//! nginx with TLS before the stand-in's API, and as the host of its files.

use std::fs;
use std::process::Command;

use super::{Daemon, listens};
use crate::heygen::{Options, Port, Render};
use crate::support::{BODY, Bench, Run, end, eventually, machine_can, run, start};

/// The names that nginx has a good certificate for, beside `localhost`.
pub const API: &str = "heygen.test";
pub const FILES: &str = "files.heygen.test";

/// An authority, and what it signed: good, expired, and for somebody else.
const CERTIFICATES: &str = r#"
set -e
export LC_ALL=C
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj '/CN=The test authority' 2>&1
cat > ca.conf <<END
[ca]
default_ca = here
[here]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
END
: > index
issue() {
    openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=$1 -addext "subjectAltName=$2" 2>&1
    openssl ca -batch -notext -config ca.conf -cert ca.crt -keyfile ca.key -in $1.csr -out $1.crt \
        -startdate $3 -enddate $4 2>&1
}
now=$(date -u +%Y%m%d%H%M%SZ) tomorrow=$(date -u -d tomorrow +%Y%m%d%H%M%SZ)
issue good DNS:localhost,DNS:heygen.test,DNS:files.heygen.test,IP:127.0.0.1 $now $tomorrow
issue other DNS:somebody.else.test $now $tomorrow
issue expired DNS:localhost,IP:127.0.0.1 20200101000000Z 20200201000000Z
"#;

/// What a test sets nginx to do.
pub struct Settings<'a> {
    /// Of the API, and of the file host.
    pub certificate: &'a str,
    pub file_certificate: &'a str,
    /// Of every server.
    pub http: &'a str,
    /// Of `location /` of the API, and of the file host.
    pub api: &'a str,
    pub files: &'a str,
    /// Where the API says that files are.
    pub file_host: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            certificate: "good",
            file_certificate: "good",
            http: "",
            api: "",
            files: "",
            file_host: "localhost",
        }
    }
}

/// A bench whose HeyGen is behind nginx.
pub struct Front {
    // Before the bench: it runs in its directory.
    nginx: Daemon,
    pub bench: Bench,
    pub api: Port,
    pub files: Port,
    status: Port,
}

impl Front {
    /// `None` where there is no nginx.
    pub fn start(file_size: u64, settings: &Settings<'_>) -> Option<Self> {
        let can = machine_can("run nginx", Command::new("nginx").arg("-v"))
            && machine_can("make certificates", Command::new("openssl").arg("version"));
        if !can {
            return None;
        }
        let bench = Bench::with(Options {
            render: Render::Manual,
            file_size,
            ..Options::default()
        });
        bench.file("body.json", BODY);
        bench.shell(CERTIFICATES).exits(0);
        fs::create_dir_all(bench.path("www/files")).expect("a directory");
        let [api, files, status] = [(); 3].map(|()| Port::new().expect("a port"));
        let conf = config(&bench, [&api, &files, &status], settings);
        bench.file("nginx.conf", conf);
        let mut nginx = Daemon::start(&mut nginx(&bench), &bench.path("nginx.out"));
        eventually("nginx listens", || {
            let said = || fs::read_to_string(bench.path("nginx.err"));
            assert!(!nginx.has_ended(), "{:?}", said());
            listens(&status)
        });
        Some(Self {
            nginx,
            bench,
            api,
            files,
            status,
        })
    }

    /// Another configuration, by `nginx -s reload`: new workers for new connections, old ones for those that there are.
    pub fn reload(&mut self, settings: &Settings<'_>) {
        let old = self.workers();
        let ports = [&self.api, &self.files, &self.status];
        let conf = config(&self.bench, ports, settings);
        self.bench.file("nginx.conf", conf);
        run(nginx(&self.bench).args(["-s", "reload"])).exits(0);
        // The old workers may accept a little longer than the new ones need to begin.
        eventually("nginx has reloaded", || {
            let now = self.workers();
            !now.is_empty() && old.iter().all(|worker| !now.contains(worker))
        });
    }

    fn workers(&self) -> Vec<String> {
        let master = self.nginx.0.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// The program, with nginx for HeyGen and its certificates for those of the machine.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.bench.command(arguments.split_whitespace());
        command
            .env("HEYGEN_API_BASE", format!("https://localhost:{}", self.api))
            .env("SSL_CERT_FILE", self.bench.path("ca.crt"));
        command
    }

    pub fn tracker(&self, arguments: &str) -> Run {
        end(start(&mut self.command(arguments)))
    }

    /// HeyGen has made the video, and nginx has its file.
    pub fn finish(&self, row: i64) -> String {
        let id = self.bench.video_id(row);
        self.bench.heygen.finish(&id);
        self.publish(&id);
        id
    }

    /// Puts the file where nginx serves it from.
    pub fn publish(&self, id: &str) {
        let dir = self.bench.path(&format!("www/files/{id}"));
        fs::create_dir_all(&dir).expect("a directory");
        let bytes = self.bench.heygen.expected(id, "video");
        fs::write(dir.join("video"), bytes).expect("a file");
    }

    /// The requests to the file host so far: status, bytes of body, `Range`, `If-Range`, key.
    pub fn served(&self) -> Vec<String> {
        lines(&self.bench, "files.log")
    }

    /// Waits until nginx has written down so many requests to the file host: it does so after the answer.
    #[track_caller]
    pub fn served_so_many(&self, count: usize) -> Vec<String> {
        eventually("nginx's log", || self.served().len() >= count);
        self.served()
    }

    /// The same of all requests to the API that reached HeyGen.
    #[track_caller]
    pub fn asked_all(&self) -> Vec<String> {
        let count = self.bench.heygen.api_requests().len();
        eventually("nginx's log", || self.asked().len() >= count);
        self.asked()
    }

    /// The requests to the API: status, method, how many before it on its connection.
    pub fn asked(&self) -> Vec<String> {
        lines(&self.bench, "api.log")
    }
}

fn lines(bench: &Bench, log: &str) -> Vec<String> {
    let text = fs::read_to_string(bench.path(log)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn nginx(bench: &Bench) -> Command {
    let mut command = Command::new("nginx");
    bench.prepare(&mut command);
    command
        .args(["-e", "nginx.err", "-c"])
        .arg(bench.path("nginx.conf"));
    command.arg("-p").arg(bench.dir.path());
    command
}

fn config(bench: &Bench, [api, files, status]: [&Port; 3], settings: &Settings<'_>) -> String {
    let Settings {
        certificate,
        file_certificate,
        http,
        api: of_api,
        files: of_files,
        file_host,
    } = settings;
    let (real_api, real_files) = (bench.heygen.api_base(), bench.heygen.files_base());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path tmp_{name};\n"))
        .concat();
    format!(
        r#"
daemon off;
user root;
pid nginx.pid;
worker_processes 1;
worker_shutdown_timeout 1s;
events {{ }}
http {{
    {temporary}
    access_log off;
    log_format files '$status $body_bytes_sent "$http_range" "$http_if_range" "$http_x_api_key"';
    log_format api '$status $request_method $connection_requests';
    gzip on;
    gzip_min_length 1;
    gzip_proxied any;
    gzip_types *;
    {http}
    server {{ listen 127.0.0.1:{status}; return 204; }}
    server {{
        listen 127.0.0.1:{api} ssl;
        ssl_certificate {certificate}.crt;
        ssl_certificate_key {certificate}.key;
        access_log api.log api;
        location / {{
            proxy_pass {real_api};
            proxy_set_header Accept-Encoding "";
            sub_filter '{real_files}' 'https://{file_host}:{files}';
            sub_filter_types application/json;
            sub_filter_once off;
            {of_api}
        }}
    }}
    server {{
        listen 127.0.0.1:{files} ssl;
        ssl_certificate {file_certificate}.crt;
        ssl_certificate_key {file_certificate}.key;
        access_log files.log files;
        root www;
        default_type video/mp4;
        location / {{
            {of_files}
        }}
    }}
}}
"#
    )
}
