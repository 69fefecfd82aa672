//! nginx with TLS before the stand-in: its API passed on, its files from the disk.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::measure::{is_installed, run};
use crate::stage::Stage;

const CERTIFICATE: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.crt -days 2 \
                           -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE";

pub(crate) struct Front {
    nginx: Child,
    pub(crate) base: String,
    /// What makes a program trust it: the variable that both sides know.
    pub(crate) trust: (&'static str, String),
}

impl Front {
    /// Serves these videos' files; `None` where there is no nginx.
    pub(crate) fn start(stage: &Stage, videos: &[String]) -> Option<Self> {
        let there = is_installed("nginx", &["-v"]) && is_installed("openssl", &["version"]);
        if !there {
            return None;
        }
        run(stage.peer("sh").args(["-c", CERTIFICATE]));
        for video in videos {
            let dir = stage.path("www/files").join(video);
            fs::create_dir_all(&dir).expect("a directory");
            fs::write(dir.join("video"), stage.heygen.expected(video, "video")).expect("a file");
        }
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [api, files] = ports.map(|port| port.local_addr().expect("an address").port());
        let (real_api, real_files) = (stage.heygen.api_base(), stage.heygen.files_base());
        let conf = format!(
            "daemon off; user root; pid nginx.pid; events {{ }}
             http {{
                 access_log off; ssl_certificate tls.crt; ssl_certificate_key tls.key; sendfile on;
                 client_body_temp_path tmp1; proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
                 server {{
                     listen 127.0.0.1:{api} ssl;
                     location / {{
                         proxy_pass {real_api};
                         sub_filter '{real_files}' 'https://localhost:{files}';
                         sub_filter_types application/json; sub_filter_once off;
                     }}
                 }}
                 server {{ listen 127.0.0.1:{files} ssl; root www; default_type video/mp4; }}
             }}"
        );
        fs::write(stage.path("nginx.conf"), conf).expect("a file");
        let mut nginx = Command::new("nginx");
        nginx
            .args(["-e", "nginx.err", "-c"])
            .arg(stage.path("nginx.conf"));
        nginx.arg("-p").arg(stage.path(""));
        let nginx = nginx.spawn().expect("nginx starts");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", files)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "nginx does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            nginx,
            base: format!("https://localhost:{api}"),
            trust: ("SSL_CERT_FILE", stage.path("tls.crt").display().to_string()),
        })
    }
}

impl Drop for Front {
    /// As it wants to be ended: its workers go with it.
    fn drop(&mut self) {
        let pid = i32::try_from(self.nginx.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).ok();
        self.nginx.wait().ok();
    }
}
