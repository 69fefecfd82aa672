//! Keys and secrets, and where they are looked for.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Deserialize;

use super::{Environment, refuse_tilde};
use crate::error::Problem;
use crate::net;
use crate::secret::Secret;

const MAX_FILE: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub secret: Secret,
    pub source: String,
    /// Others than the owner can read its file.
    pub warning: Option<String>,
}

struct Wanted {
    name: &'static str,
    /// Systemd's file has the name in small letters.
    variable: &'static str,
    file_variable: &'static str,
    hint: &'static str,
}

const API_KEY: Wanted = Wanted {
    name: "API key",
    variable: "HEYGEN_API_KEY",
    file_variable: "HEYGEN_API_KEY_FILE",
    hint: "set HEYGEN_API_KEY, or put the key in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE; \
           cron does not see your shell's variables",
};

const WEBHOOK_SECRET: Wanted = Wanted {
    name: "webhook secret",
    variable: "HEYGEN_WEBHOOK_SECRET",
    file_variable: "HEYGEN_WEBHOOK_SECRET_FILE",
    hint: "set HEYGEN_WEBHOOK_SECRET to the whsec_… that HeyGen showed when the endpoint was registered, or put \
           it in a file of mode 0600 and name that in HEYGEN_WEBHOOK_SECRET_FILE; without it anybody could call",
};

/// The API key: also from the official client's login.
pub fn api_key(env: &Environment) -> Result<Credential, Problem> {
    if let Some(found) = API_KEY.find(env) {
        return found;
    }
    let login = env
        .path("HEYGEN_CONFIG_DIR")
        .or_else(|| env.path("HOME").map(|home| home.join(".heygen")))
        .map(|dir| dir.join("credentials"));
    match login {
        Some(path) if is_there(&path) => official_login(&path),
        _ => Err(Problem::auth("no HeyGen API key found", API_KEY.hint)),
    }
}

pub fn webhook_secret(env: &Environment) -> Result<Secret, Problem> {
    let none = || Problem::auth("no webhook secret found", WEBHOOK_SECRET.hint);
    let found = WEBHOOK_SECRET.find(env).ok_or_else(none)??;
    Ok(found.secret)
}

impl Wanted {
    /// The first place that is set counts, usable or not: another account's key must not be used in its place.
    fn find(&self, env: &Environment) -> Option<Result<Credential, Problem>> {
        if let Some(value) = env.get(self.variable) {
            let text = value.to_str().map(str::to_owned).ok_or_else(not_text);
            return Some(self.check(self.variable, None, text));
        }
        if let Some(path) = env.path(self.file_variable) {
            return Some(self.check(self.file_variable, Some(&path), read(&path)));
        }
        // systemd sets the directory for any credential; ours is one of possibly many.
        let name = self.variable.to_ascii_lowercase().replace('_', "-");
        let path = env.path("CREDENTIALS_DIRECTORY")?.join(name);
        is_there(&path).then(|| self.check("the systemd credential", Some(&path), read(&path)))
    }

    fn check(
        &self,
        place: &str,
        file: Option<&Path>,
        text: io::Result<String>,
    ) -> Result<Credential, Problem> {
        let source = match file {
            Some(path) => format!("{place} ({})", path.display()),
            None => place.to_owned(),
        };
        let noun = self.name.rsplit(' ').next().unwrap_or_default();
        let why = match text.map(Secret::new) {
            Ok(Some(secret)) => {
                return Ok(Credential {
                    secret,
                    source,
                    warning: file.and_then(warning),
                });
            }
            Ok(None) => format!("it is empty or has characters no {noun} has"),
            Err(error) => error.to_string(),
        };
        Err(Problem::auth(
            format!("the {} from {source} cannot be used: {why}", self.name),
            format!("fix it or unset it; no other {noun} is tried in its place"),
        ))
    }
}

/// Anything but a clear "no such file" counts: a key that is there and cannot be read must not be passed over.
fn is_there(path: &Path) -> bool {
    refuse_tilde(path).is_err()
        || !matches!(fs::metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn warning(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    let warning = format!("{path} can be read by other users of this machine: chmod 600 {path}");
    (mode & 0o044 != 0).then_some(warning)
}

fn read(path: &Path) -> io::Result<String> {
    refuse_tilde(path).map_err(io::Error::other)?;
    let (bytes, end) = net::read_up_to(fs::File::open(path)?, MAX_FILE);
    match end {
        Some(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(io::Error::other("it is too large"))
        }
        Some(error) => Err(error),
        None => String::from_utf8(bytes).map_err(|_| not_text()),
    }
}

fn not_text() -> io::Error {
    io::Error::other("it is not valid UTF-8")
}

/// `heygen auth login` writes a JSON object with `api_key`; older versions wrote the bare key.
#[derive(Deserialize)]
struct Login {
    api_key: Option<String>,
}

fn official_login(path: &Path) -> Result<Credential, Problem> {
    let mut text = read(path);
    if let Ok(json) = &text
        && json.trim_start().starts_with('{')
    {
        text = match serde_json::from_str(json) {
            Ok(Login { api_key: Some(key) }) if !key.trim().is_empty() => Ok(key),
            Ok(_) => {
                return Err(Problem::auth(
                    format!("{} holds a browser login and no API key", path.display()),
                    "create an API key at app.heygen.com, put it in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE",
                ));
            }
            Err(_) => Err(io::Error::other("it is not the JSON the client writes")),
        };
    }
    API_KEY.check("the official client's login", Some(path), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::path::PathBuf;

    fn env(vars: &[(&str, &Path)]) -> Environment {
        let pair = |(name, value): &(&str, &Path)| (OsString::from(name), value.into());
        vars.iter().map(pair).collect()
    }

    /// A directory with one usable key in each place a key can be, named after its place.
    fn sources() -> (tempfile::TempDir, Vec<(&'static str, PathBuf)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("key-file"), "from-file\n").unwrap();
        fs::create_dir_all(path("systemd")).unwrap();
        fs::write(path("systemd/heygen-api-key"), "from-systemd").unwrap();
        fs::create_dir_all(path("config")).unwrap();
        fs::write(path("config/credentials"), "from-config").unwrap();
        fs::create_dir_all(path("home/.heygen")).unwrap();
        fs::write(
            path("home/.heygen/credentials"),
            r#"{"api_key":"from-home"}"#,
        )
        .unwrap();
        let vars = vec![
            ("HEYGEN_API_KEY", PathBuf::from("from-variable")),
            ("HEYGEN_API_KEY_FILE", path("key-file")),
            ("CREDENTIALS_DIRECTORY", path("systemd")),
            ("HEYGEN_CONFIG_DIR", path("config")),
            ("HOME", path("home")),
        ];
        (dir, vars)
    }

    #[track_caller]
    fn assert_key(found: Result<Credential, Problem>, expected: &str) {
        assert_eq!(found.unwrap().secret.expose(), expected);
    }

    fn of(vars: &[(&'static str, PathBuf)]) -> Environment {
        let borrowed: Vec<_> = vars.iter().map(|(n, v)| (*n, v.as_path())).collect();
        env(&borrowed)
    }

    #[test]
    fn the_first_source_that_is_set_wins() {
        let (_dir, vars) = sources();
        let keys = [
            "from-variable",
            "from-file",
            "from-systemd",
            "from-config",
            "from-home",
        ];
        for (first, expected) in keys.into_iter().enumerate() {
            assert_key(api_key(&of(&vars[first..])), expected);
            // Empty is not set.
            let mut emptied = vars.clone();
            emptied[..first]
                .iter_mut()
                .for_each(|(_, value)| *value = PathBuf::new());
            assert_key(api_key(&of(&emptied)), expected);
        }
        assert!(matches!(
            api_key(&Environment::default()),
            Err(problem) if problem.message.contains("no HeyGen API key")
        ));
    }

    #[test]
    fn a_source_that_is_set_and_unusable_is_never_passed_over() {
        let (dir, vars) = sources();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("empty"), " \n").unwrap();
        fs::write(path("two"), "a b").unwrap();
        fs::write(path("huge"), "k".repeat(MAX_FILE as usize + 1)).unwrap();
        fs::write(path("binary"), b"\xff").unwrap();
        for (place, value) in [
            (0, PathBuf::from("two words")),
            (0, PathBuf::from(" ")),
            (1, path("no-such-file")),
            (1, path("empty")),
            (1, path("two")),
            (1, path("huge")),
            (1, path("binary")),
            (1, dir.path().to_owned()),
        ] {
            let mut broken = vars.clone();
            broken[place].1 = value.clone();
            let refused = api_key(&of(&broken[place..])).unwrap_err();
            assert!(
                refused.message.contains("cannot be used"),
                "{value:?}: {refused}"
            );
            assert!(refused.to_string().contains(vars[place].0), "{refused}");
            assert!(!refused.to_string().contains("two words"), "{refused}");
        }
        for place in [1, 2, 3] {
            let mut tilde = vars.clone();
            tilde[place].1 = PathBuf::from("~/there");
            let refused = api_key(&of(&tilde[place..])).unwrap_err();
            assert!(refused.message.contains("not expand its ~"), "{refused}");
        }
        fs::remove_file(path("systemd/heygen-api-key")).unwrap();
        fs::create_dir(path("systemd/heygen-api-key")).unwrap();
        let refused = api_key(&of(&vars[2..])).unwrap_err();
        assert!(refused.message.contains("the systemd credential"));
    }

    #[test]
    fn a_systemd_directory_with_other_credentials_only_sets_no_key() {
        let (dir, vars) = sources();
        fs::remove_file(dir.path().join("systemd/heygen-api-key")).unwrap();
        assert_key(api_key(&of(&vars[2..])), "from-config");
    }

    #[test]
    fn the_official_login_is_json_or_a_plain_key() {
        let (dir, vars) = sources();
        let login = |text: &str| {
            fs::write(dir.path().join("config/credentials"), text).unwrap();
            api_key(&of(&vars[3..]))
        };
        for text in [
            "k1",
            "k1\n",
            r#"{"api_key":"k1","x":[1]}"#,
            " {\"api_key\": \" k1 \"}\n",
        ] {
            assert_key(login(text), "k1");
        }
        for text in [
            r#"{"oauth":{"access_token":"t"}}"#,
            "{}",
            r#"{"api_key":null}"#,
            r#"{"api_key":" "}"#,
        ] {
            let refused = login(text).unwrap_err();
            assert!(
                refused.message.contains("browser login"),
                "{text}: {refused}"
            );
            let hint = refused.hint.unwrap();
            assert!(hint.contains("0600"), "{hint}");
        }
        for text in [
            "",
            "{",
            r#"{"api_key":7}"#,
            "{\"api_key\":\"a b\"}",
            "two words",
        ] {
            let refused = login(text).unwrap_err();
            assert!(
                refused.message.contains("cannot be used"),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_noticed() {
        let (dir, vars) = sources();
        let key = dir.path().join("key-file");
        for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let found = api_key(&of(&vars[1..])).unwrap();
            assert_eq!(found.warning.is_some(), warned, "{mode:o}");
        }
    }
}
