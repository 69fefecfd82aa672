//! What the flags, the environment and the files of the user amount to: flags, then environment, then defaults.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::heygen::{ApiKey, BaseUrl};
use crate::net::Proxy;
use crate::webhook::Secret;

/// The variables of the process, read once. An empty variable counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable's value as it is.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.vars
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .map(OsString::as_os_str)
    }

    /// A variable's value as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// A variable's value as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value
                .to_str()
                .map(Some)
                .ok_or_else(|| Error::misuse(format!("{name} is not valid UTF-8"))),
        }
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(vars: T) -> Self {
        Self {
            vars: vars.into_iter().collect(),
        }
    }
}

/// Where the database is: `--db`, `TRACKER_DB`, else under `XDG_DATA_HOME` or `~/.local/share`
/// (XDG Base Directory Specification; a relative `XDG_DATA_HOME` is to be ignored).
pub fn database(flag: Option<&Path>, env: &Environment) -> Result<PathBuf, Error> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = env.path("TRACKER_DB") {
        return Ok(path);
    }
    let data = env
        .path("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| env.path("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(no_home)?;
    Ok(data.join("heygen-tracker").join("tracker.db"))
}

fn no_home() -> Error {
    Error::usage(
        "cannot tell where the database is: HOME is not set",
        "name the database with --db PATH or TRACKER_DB (cron has few variables)",
    )
}

/// The API's base URL.
pub fn base_url(env: &Environment) -> Result<BaseUrl, Error> {
    let text = env.text("HEYGEN_API_BASE")?.unwrap_or(BaseUrl::DEFAULT);
    BaseUrl::parse(text).map_err(|error| {
        Error::usage(
            format!("HEYGEN_API_BASE: {error}"),
            "https, or http to this machine; unset it to use https://api.heygen.com",
        )
    })
}

/// The proxy for every request that does not stay on this machine.
///
/// # Errors
/// When one is named that cannot be used: going directly could be what the machine's owner forbids.
pub fn proxy(env: &Environment) -> Result<Option<Proxy>, Error> {
    Proxy::find(|name| env.get(name).map(OsStr::to_string_lossy)).map_err(|variable| {
        Error::usage(
            format!("{variable} names no proxy that can be used"),
            "it looks like http://HOST:PORT or socks5://HOST:PORT; unset it to ask directly, or name hosts in NO_PROXY",
        )
    })
}

/// Where a key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `HEYGEN_API_KEY`.
    Variable,
    /// The file named by `HEYGEN_API_KEY_FILE`.
    File(PathBuf),
    /// systemd's `$CREDENTIALS_DIRECTORY/heygen-api-key`.
    SystemdCredential(PathBuf),
    /// The official client's login.
    OfficialLogin(PathBuf),
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable => f.write_str("HEYGEN_API_KEY"),
            Self::File(path) => write!(f, "HEYGEN_API_KEY_FILE ({})", path.display()),
            Self::SystemdCredential(path) => {
                write!(f, "the systemd credential ({})", path.display())
            }
            Self::OfficialLogin(path) => {
                write!(f, "the official client's login ({})", path.display())
            }
        }
    }
}

/// Why there is no key to use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None is configured.
    #[error("no HeyGen API key found")]
    Missing,
    /// One is configured and cannot be used; another account's key must not be used in its place.
    #[error("the API key from {origin} cannot be used: {why}")]
    Unusable {
        /// Where it is configured.
        origin: KeySource,
        /// What is wrong with it.
        why: String,
    },
    /// The official client is logged in through a browser, which leaves no key.
    #[error("{} holds a browser login and no API key", path.display())]
    BrowserLogin {
        /// The credentials file.
        path: PathBuf,
    },
}

impl KeyError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => {
                "set HEYGEN_API_KEY, or put the key in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE; \
                 cron does not see your shell's variables"
            }
            Self::Unusable { .. } => "fix it or unset it; no other key is tried in its place",
            Self::BrowserLogin { .. } => {
                "create an API key at app.heygen.com, put it in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE"
            }
        }
        .to_owned()
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::auth(error.to_string(), error.hint())
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        Self::auth(error.to_string(), error.hint())
    }
}

/// Why there is no webhook secret to use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// None is configured.
    #[error("no webhook secret found")]
    Missing,
    /// One is configured and cannot be used.
    #[error("the webhook secret from {origin} cannot be used: {why}")]
    Unusable {
        /// Where it is configured.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
}

impl SecretError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing => {
                "set HEYGEN_WEBHOOK_SECRET to the whsec_… that HeyGen showed when the endpoint was registered, or put \
                 it in a file of mode 0600 and name that in HEYGEN_WEBHOOK_SECRET_FILE; without it anybody could call"
            }
            Self::Unusable { .. } => "fix it or unset it; no other secret is tried in its place",
        }
        .to_owned()
    }
}

/// The secret that webhooks are signed with, from the same kinds of places as the key: the first that is set wins,
/// usable or not.
pub fn webhook_secret(env: &Environment) -> Result<Secret, SecretError> {
    let (origin, text) = if let Some(value) = env.get("HEYGEN_WEBHOOK_SECRET") {
        let text = value.to_str().map(str::to_owned);
        let text = text.ok_or_else(|| io::Error::other("it is not valid UTF-8"));
        ("HEYGEN_WEBHOOK_SECRET".to_owned(), text)
    } else if let Some(path) = env.path("HEYGEN_WEBHOOK_SECRET_FILE") {
        let origin = format!("HEYGEN_WEBHOOK_SECRET_FILE ({})", path.display());
        (origin, read_bounded(&path))
    } else {
        let credential = env
            .path("CREDENTIALS_DIRECTORY")
            .map(|dir| dir.join("heygen-webhook-secret"))
            .filter(|path| is_there(path))
            .ok_or(SecretError::Missing)?;
        let origin = format!("the systemd credential ({})", credential.display());
        (origin, read_bounded(&credential))
    };
    match text.map(Secret::new) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(SecretError::Unusable {
            origin,
            why: "it is empty or has characters no secret has".to_owned(),
        }),
        Err(error) => Err(SecretError::Unusable {
            origin,
            why: error.to_string(),
        }),
    }
}

/// Larger than any key or credentials file.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// The key and where it comes from: the first source that is set wins, usable or not.
pub fn api_key(env: &Environment) -> Result<(ApiKey, KeySource), KeyError> {
    if let Some(value) = env.get("HEYGEN_API_KEY") {
        let origin = KeySource::Variable;
        return match value.to_str() {
            Some(text) => usable(text, origin),
            None => Err(unusable(origin, "it is not valid UTF-8")),
        };
    }
    if let Some(path) = env.path("HEYGEN_API_KEY_FILE") {
        return key_in_file(&path, KeySource::File(path.clone()));
    }
    if let Some(dir) = env.path("CREDENTIALS_DIRECTORY") {
        let path = dir.join("heygen-api-key");
        // systemd sets the directory for any credential; ours is one of possibly many.
        if is_there(&path) {
            return key_in_file(&path, KeySource::SystemdCredential(path.clone()));
        }
    }
    let login = env
        .path("HEYGEN_CONFIG_DIR")
        .or_else(|| env.path("HOME").map(|home| home.join(".heygen")))
        .map(|dir| dir.join("credentials"));
    match login {
        Some(path) if is_there(&path) => official_login(path),
        _ => Err(KeyError::Missing),
    }
}

/// Anything but a clear "no such file" counts: a key that is there and cannot be read must not be passed over.
fn is_there(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn usable(text: &str, origin: KeySource) -> Result<(ApiKey, KeySource), KeyError> {
    match ApiKey::new(text) {
        Some(key) => Ok((key, origin)),
        None => Err(unusable(origin, "it is empty or has characters no key has")),
    }
}

fn unusable(origin: KeySource, why: impl Into<String>) -> KeyError {
    KeyError::Unusable {
        origin,
        why: why.into(),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = fs::File::open(path)?.take(MAX_KEY_FILE + 1);
    file.read_to_string(&mut text)?;
    if text.len() as u64 > MAX_KEY_FILE {
        return Err(io::Error::other("it is too large"));
    }
    Ok(text)
}

fn key_in_file(path: &Path, origin: KeySource) -> Result<(ApiKey, KeySource), KeyError> {
    match read_bounded(path) {
        Ok(text) => usable(&text, origin),
        Err(error) => Err(unusable(origin, error.to_string())),
    }
}

/// `heygen auth login` writes a JSON object with `api_key`; older versions wrote the bare key.
#[derive(Deserialize)]
struct Credentials {
    api_key: Option<String>,
}

fn official_login(path: PathBuf) -> Result<(ApiKey, KeySource), KeyError> {
    let origin = KeySource::OfficialLogin(path.clone());
    let text = read_bounded(&path).map_err(|e| unusable(origin.clone(), e.to_string()))?;
    if !text.trim_start().starts_with('{') {
        return usable(&text, origin);
    }
    match serde_json::from_str::<Credentials>(&text) {
        Ok(Credentials { api_key: Some(key) }) if !key.trim().is_empty() => usable(&key, origin),
        Ok(_) => Err(KeyError::BrowserLogin { path }),
        Err(_) => Err(unusable(origin, "it is not the JSON the client writes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heygen::account;

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

    /// Keys cannot be looked at, but their accounts can be told apart.
    #[track_caller]
    fn assert_key(found: Result<(ApiKey, KeySource), KeyError>, expected: &str) {
        let base = BaseUrl::parse(BaseUrl::DEFAULT).unwrap();
        let (found, expected) = (found.unwrap().0, ApiKey::new(expected).unwrap());
        assert_eq!(account(&base, &found), account(&base, &expected));
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
            Err(KeyError::Missing)
        ));
    }

    #[test]
    fn a_source_that_is_set_and_unusable_is_never_passed_over() {
        let (dir, vars) = sources();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("empty"), " \n").unwrap();
        fs::write(path("two"), "a b").unwrap();
        fs::write(path("huge"), "k".repeat(MAX_KEY_FILE as usize + 1)).unwrap();
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
                matches!(refused, KeyError::Unusable { .. }),
                "{value:?}: {refused}"
            );
            assert!(refused.to_string().contains(vars[place].0), "{refused}");
            assert!(!refused.to_string().contains("two words"), "{refused}");
        }
        fs::remove_file(path("systemd/heygen-api-key")).unwrap();
        fs::create_dir(path("systemd/heygen-api-key")).unwrap();
        let refused = api_key(&of(&vars[2..])).unwrap_err();
        assert!(matches!(
            refused,
            KeyError::Unusable {
                origin: KeySource::SystemdCredential(_),
                ..
            }
        ));
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
                matches!(refused, KeyError::BrowserLogin { .. }),
                "{text}: {refused}"
            );
            assert!(refused.hint().contains("0600"), "{}", refused.hint());
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
                matches!(refused, KeyError::Unusable { .. }),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn the_database_is_where_the_first_of_four_says() {
        let all = [
            ("TRACKER_DB", Path::new("rel/t.db")),
            ("XDG_DATA_HOME", Path::new("/xdg")),
            ("HOME", Path::new("/home/me")),
        ];
        let at = |flag: Option<&str>, from: usize| {
            database(flag.map(Path::new), &env(&all[from..])).unwrap()
        };
        assert_eq!(at(Some("f.db"), 0), Path::new("f.db"));
        assert_eq!(at(None, 0), Path::new("rel/t.db"));
        assert_eq!(at(None, 1), Path::new("/xdg/heygen-tracker/tracker.db"));
        assert_eq!(
            at(None, 2),
            Path::new("/home/me/.local/share/heygen-tracker/tracker.db")
        );
        for nowhere in [
            &[][..],
            &[("XDG_DATA_HOME", Path::new("rel"))],
            &[("HOME", Path::new(""))],
        ] {
            assert_eq!(database(None, &env(nowhere)), Err(no_home()));
        }
    }

    #[test]
    fn the_base_url_is_heygen_unless_set() {
        let base = |text: &str| base_url(&env(&[("HEYGEN_API_BASE", Path::new(text))]));
        assert_eq!(base("").unwrap().as_str(), "https://api.heygen.com");
        assert_eq!(
            base("http://localhost:8080/").unwrap().as_str(),
            "http://localhost:8080"
        );
        let refused = base("http://api.heygen.com").unwrap_err();
        assert!(refused.message.starts_with("HEYGEN_API_BASE: only https"));
    }
}
