//! What HeyGen is asked to make: the options of `submit` for every kind of job, and what a body of that kind must have.

use std::collections::BTreeMap;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use crate::bodies::{self, Body};
use crate::commands::options::script_text;
use crate::error::{Problem, Result};
use crate::kind::Kind;
use crate::store::NewVideo;
use crate::video::Video;

const HEADING: &str = "Kind";
/// What leaves no room for an agent's prompt, or for a translation. The options that need one of them exclude the same:
/// clap does not ask for an option that conflicts with what is there.
const NO_PROMPT: [&str; 5] = ["bodies", "template", "translate", "script", "title"];
const NO_TRANSLATION: [&str; 8] = [
    "bodies",
    "avatar_id",
    "voice_id",
    "script",
    "template",
    "prompt",
    "style_id",
    "orientation",
];
/// HeyGen's limit.
const LONGEST_PROMPT: usize = 10_000;

/// The options as typed.
#[derive(Debug, clap::Args)]
pub(super) struct KindOptions {
    /// What the bodies ask for [default: video]
    #[arg(long, value_name = "K", value_parser = kinds(), help_heading = HEADING)]
    kind: Option<Kind>,
    /// Have an agent make a video of this
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with_all = NO_PROMPT, help_heading = HEADING)]
    prompt: Option<String>,
    /// The agent's style
    #[arg(long, value_name = "ID", requires = "prompt", conflicts_with_all = NO_PROMPT, help_heading = HEADING)]
    style_id: Option<String>,
    /// The agent's format: landscape or portrait
    #[arg(long, value_name = "O", requires = "prompt", conflicts_with_all = NO_PROMPT, help_heading = HEADING)]
    orientation: Option<String>,
    /// Fill in this template; the bodies have its variables
    #[arg(long, value_name = "ID", help_heading = HEADING)]
    template: Option<String>,
    /// Translate this video: a URL, or the id of an asset
    #[arg(long, value_name = "URL|ID", requires = "to", conflicts_with_all = NO_TRANSLATION, help_heading = HEADING)]
    translate: Option<String>,
    /// Into these languages, comma-separated, one row each
    #[arg(long, value_name = "LANG", value_delimiter = ',', requires = "translate", conflicts_with_all = NO_TRANSLATION, help_heading = HEADING)]
    to: Vec<String>,
    /// Ask an agent that failed to go on, this many times at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20), help_heading = HEADING)]
    nudge: Option<u8>,
    /// Let an agent go on with its plan without asking
    #[arg(long, help_heading = HEADING)]
    auto_proceed: bool,
}

pub(super) fn kinds() -> impl TypedValueParser<Value = Kind> {
    let words = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.word()));
    words.map(|word| word.parse().unwrap_or_default())
}

impl KindOptions {
    /// What is to be made.
    ///
    /// # Errors
    /// Options that belong to another kind than the one named.
    pub(super) fn kind(&self) -> Result<Kind> {
        let implied = [
            ("--prompt", self.prompt.is_some(), Kind::Agent),
            ("--template", self.template.is_some(), Kind::Template),
            ("--translate", self.translate.is_some(), Kind::Translation),
        ];
        let implied = implied.into_iter().find(|(_, given, _)| *given);
        let of_flags = implied.map(|(_, _, kind)| kind);
        let kind = self.kind.or(of_flags).unwrap_or_default();
        let wrong = |message, hint| Err(Problem::usage(message, hint));
        match implied {
            Some((flag, _, implied)) if implied != kind => wrong(
                format!("{flag} is of the kind {implied}, not {kind}"),
                format!("leave out --kind {kind}"),
            ),
            None if kind == Kind::Template => wrong(
                "which template is not said".to_owned(),
                "tracker submit --template ID BODY.json".to_owned(),
            ),
            _ if kind != Kind::Agent && (self.nudge.is_some() || self.auto_proceed) => wrong(
                format!("--nudge and --auto-proceed are for agents, not for the kind {kind}"),
                "use them with --prompt or --kind agent".to_owned(),
            ),
            _ => Ok(kind),
        }
    }

    /// The bodies that flags alone make: one for each language of a translation. None where a body must be named.
    pub(super) fn bodies(&self, fields: &BTreeMap<&str, String>) -> Result<Vec<Body>> {
        if let Some(prompt) = &self.prompt {
            let body = bodies::of_flags(json!({
                "prompt": script_text(prompt)?,
                "style_id": self.style_id,
                "orientation": self.orientation,
            }))?;
            return Ok(vec![body.with(fields)?]);
        }
        let Some(video) = &self.translate else {
            return Ok(Vec::new());
        };
        let video = if video.contains("://") {
            json!({"type": "url", "url": video})
        } else {
            json!({"type": "asset_id", "asset_id": video})
        };
        let body = |language: &String| {
            bodies::of_flags(json!({
                "video": video,
                "output_languages": [language.trim()],
                "title": fields.get("title"),
            }))
        };
        self.to.iter().map(body).collect()
    }

    /// The body as one of `kind`, which is complete.
    pub(super) fn of_kind(&self, kind: Kind, mut body: Body) -> Result<Body> {
        body.kind = kind;
        body.template.clone_from(&self.template);
        refuse_incomplete(&body)?;
        Ok(body)
    }

    /// The row of a body, with what the program is to do on its own.
    pub(super) fn row(&self, body: &Body, base: Video) -> NewVideo {
        body.row(Video {
            nudges_left: self.nudge.unwrap_or_default().into(),
            auto_proceed: self.auto_proceed,
            ..base
        })
    }
}

/// One row is one submission is one result, so a body asks for one.
fn refuse_incomplete(body: &Body) -> Result<()> {
    let invalid = |why: String| Err(Problem::invalid_body(body.place.clone(), why));
    if let Some(name) = body.kind.strategy().needs
        && body.value.get(name).is_none_or(Value::is_null)
    {
        return invalid(format!("has no {name}, which the kind {} needs", body.kind));
    }
    let languages = body.value.get("output_languages").and_then(Value::as_array);
    let count = languages.map_or(1, Vec::len);
    if body.kind == Kind::Translation && count != 1 {
        return invalid(format!(
            "has {count} output_languages; one row is one language: a body each, or --translate with --to"
        ));
    }
    if body.kind != Kind::Agent {
        return Ok(());
    }
    let prompt = body.value.get("prompt").and_then(Value::as_str);
    match prompt.map(|prompt| prompt.chars().count()) {
        None => invalid("has a prompt that is no text".to_owned()),
        Some(0) => invalid("has an empty prompt".to_owned()),
        Some(length) if length > LONGEST_PROMPT => invalid(format!(
            "has a prompt of {length} characters; HeyGen takes {LONGEST_PROMPT}"
        )),
        Some(_) => Ok(()),
    }
}
