//! Where the database and HeyGen are, and the way there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Environment;
use crate::error::Problem;
use crate::heygen::BaseUrl;
use crate::net::Proxy;

/// Where the database is: `--db`, `TRACKER_DB`, else under `XDG_DATA_HOME` or `~/.local/share`
/// (XDG Base Directory Specification; a relative `XDG_DATA_HOME` is to be ignored).
pub fn database(flag: Option<&Path>, env: &Environment) -> Result<PathBuf, Problem> {
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

/// A `~` that reaches the program stands for no home directory: the shell expands it only at the start of an unquoted
/// word, so not in `--db=~/x` or `@~/x`, and cron and systemd never do.
pub fn refuse_tilde(path: &Path) -> Result<(), Problem> {
    match path.to_str() {
        Some(text) if text == "~" || text.starts_with("~/") => Err(Problem::usage(
            format!("{text} is not a path: the shell did not expand its ~"),
            "write the whole path, or $HOME instead of ~ where a shell reads it; a directory of that name is ./~",
        )),
        _ => Ok(()),
    }
}

fn no_home() -> Problem {
    Problem::usage(
        "the database has no place: HOME is not set",
        "name the database with --db PATH or TRACKER_DB (cron has few variables)",
    )
}

pub fn base_url(env: &Environment) -> Result<BaseUrl, Problem> {
    let text = env.text("HEYGEN_API_BASE")?.unwrap_or(BaseUrl::DEFAULT);
    let hint = "https, or http to this machine; unset it to use https://api.heygen.com";
    BaseUrl::parse(text).map_err(|error| Problem::usage(format!("HEYGEN_API_BASE: {error}"), hint))
}

/// The proxy for every request that does not stay on this machine.
/// One that cannot be used is an error: going directly could be what the machine's owner forbids.
pub fn proxy(env: &Environment) -> Result<Option<Proxy>, Problem> {
    let hint = "it looks like http://HOST:PORT or socks5://HOST:PORT; unset it to ask directly, or name hosts in NO_PROXY";
    let unusable =
        |variable| Problem::usage(format!("{variable} names no proxy that can be used"), hint);
    Proxy::find(|name| env.get(name).map(OsStr::to_string_lossy)).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn env(vars: &[(&str, &Path)]) -> Environment {
        let pair = |(name, value): &(&str, &Path)| (OsString::from(name), value.into());
        vars.iter().map(pair).collect()
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
