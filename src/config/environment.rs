use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::Problem;

/// The variables of the process, read once. An empty variable counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name)).map(OsString::as_os_str);
        value.filter(|value| !value.is_empty())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let not_text = || Problem::misuse(format!("{name} is not valid UTF-8"));
        let value = self.get(name);
        let text = value.map(|value| value.to_str().ok_or_else(not_text));
        text.transpose()
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(vars: T) -> Self {
        Self(vars.into_iter().collect())
    }
}
