//! Debian's cron, with a mailbox of its own, for as long as an outage, its end and a quiet moment take.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::Daemon;
use crate::heygen::Host;
use crate::support::{Bench, can_mount, eventually, files_below, machine_can};

/// cron sees a spool, a table of the system's and a mailer that nobody else sees.
const CRON: &str = r#"
set -e
mkdir sbin mail
cp /usr/sbin/cron sbin/cron
cat > sbin/sendmail <<END
#!/bin/sh
f=\$(mktemp "$PWD/mail.XXXXXX") && cat > "\$f" && mv "\$f" "$PWD/mail/"
END
chmod +x sbin/sendmail
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1730,gid=crontab tmpfs /var/spool/cron/crontabs
mount -t tmpfs tmpfs /etc/cron.d
mount --bind /dev/null /etc/crontab
mount --bind sbin /usr/sbin
crontab crontab
exec cron -f
"#;

#[test]
fn an_outage_is_one_mail_its_end_is_one_mail_and_quiet_is_none() {
    let can = machine_can(
        "run cron",
        Command::new("test").args(["-x", "/usr/sbin/cron"]),
    ) && can_mount();
    if !can {
        return;
    }
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.file("key", bench.heygen.key());
    let here = bench.dir.path().display();
    let check = format!("{} check; echo >> {here}/ticks", crate::support::TRACKER);
    // cron has no seconds.
    let lines: String = [0, 15, 30, 45]
        .map(|seconds| format!("* * * * * sleep {seconds}; {check}\n"))
        .concat();
    bench.file(
        "crontab",
        format!(
            "MAILTO=ann\nHEYGEN_API_BASE={}\nHEYGEN_API_KEY_FILE={here}/key\nTRACKER_DB={}\n{lines}",
            bench.heygen.api_base(),
            bench.db_path().display(),
        ),
    );
    bench.heygen.set_reachable(Host::Api, false).unwrap();
    let mut cron = Command::new("unshare");
    bench.prepare(cron.args([
        "-m",
        "-p",
        "-f",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        CRON,
    ]));
    let mut cron = Daemon::start(&mut cron, &bench.path("cron.log"));
    let ticks = || fs::read(bench.path("ticks")).map_or(0, |ticks| ticks.len());
    let mut after_ticks = |count: usize| {
        let wanted = ticks() + count;
        eventually("cron runs", || {
            let log = || fs::read_to_string(bench.path("cron.log"));
            assert!(!cron.has_ended(), "{:?}", log());
            ticks() >= wanted
        });
        mails(&bench.path("mail"))
    };
    let outage = after_ticks(3);
    assert_eq!(outage.len(), 1, "{outage:?}");
    assert!(
        outage[0].contains("To: ann\n") && outage[0].contains("error: cannot connect"),
        "{outage:?}"
    );
    // The first check that reaches HeyGen has both to say.
    bench.heygen.finish(&bench.video_id(1));
    bench.heygen.set_reachable(Host::Api, true).unwrap();
    let over = after_ticks(3);
    let [news] = &over[1..] else {
        panic!("{over:?}")
    };
    assert!(
        news.contains("1 saved ") && news.contains("resolved after "),
        "{news}"
    );
    assert_eq!(after_ticks(1).len(), 2);
    cron.signal(Signal::SIGKILL);
    bench.assert_invariants();
}

/// The oldest first.
fn mails(dir: &Path) -> Vec<String> {
    let mut mails: Vec<_> = files_below(dir)
        .into_iter()
        .map(|mail| {
            let at = fs::metadata(&mail)
                .and_then(|meta| meta.modified())
                .expect("a time");
            (at, fs::read_to_string(mail).expect("a mail"))
        })
        .collect();
    mails.sort();
    mails.into_iter().map(|(_, mail)| mail).collect()
}
