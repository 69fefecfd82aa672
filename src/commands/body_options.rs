//! The fields of a body as flags, and reading bodies: options of every verb that buys.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::bodies::Overrides;
use crate::error::Error;

/// All input of one command; far more than anybody buys at once.
const MAX_INPUT: u64 = 512 * 1024 * 1024;

/// Fields of the body, over what the body itself says.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Body")]
pub(super) struct FieldArgs {
    /// Set the body's avatar_id
    #[arg(long, value_name = "ID")]
    avatar_id: Option<String>,
    /// Set the body's voice_id
    #[arg(long, value_name = "ID")]
    voice_id: Option<String>,
    /// Set the body's script
    #[arg(long, value_name = "TEXT|@FILE")]
    script: Option<String>,
    /// Set the body's title
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

impl FieldArgs {
    /// What was typed, with the script read from its file.
    pub(super) fn overrides(&self) -> Result<Overrides, Error> {
        Ok(Overrides {
            avatar_id: self.avatar_id.clone(),
            voice_id: self.voice_id.clone(),
            script: self.script.as_deref().map(script_text).transpose()?,
            title: self.title.clone(),
        })
    }
}

/// `--script TEXT|@FILE`
fn script_text(given: &str) -> Result<String, Error> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let path = Path::new(path);
    let (origin, bytes) = read_input(path)?;
    let text = String::from_utf8(bytes).map_err(|error| Error::InvalidBody {
        place: origin,
        why: format!("is not UTF-8: {error}"),
    })?;
    Ok(text.trim_end().to_owned())
}

/// A file's content, or standard input's for `-`, with a name for error messages.
pub(super) fn read_input(path: &Path) -> Result<(String, Vec<u8>), Error> {
    let unreadable = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let (origin, mut input): (String, Box<dyn Read>) = if path == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin()))
    } else {
        let file = fs::File::open(path).map_err(|source| match source.kind() {
            // A name that was mistyped is the command line's fault.
            io::ErrorKind::NotFound => Error::usage(
                format!("no such file: {}", path.display()),
                "check the path",
            ),
            _ => unreadable(source),
        })?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    (&mut input)
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Error::InvalidBody {
            place: origin,
            why: format!("is longer than {MAX_INPUT} bytes"),
        });
    }
    Ok((origin, bytes))
}
