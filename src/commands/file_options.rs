//! Which files a row gets, and where: the options of every verb that makes rows.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Context;
use crate::download::name::check_template;
use crate::error::{Problem, Result};
use crate::video::{Asset, File, Video};

/// The options as typed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FileOptions {
    /// Where the files go [env: TRACKER_OUTPUT_DIR] [default: ./output]
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub output_dir: Option<PathBuf>,
    /// Which files: video, captioned, subtitle, thumbnail, gif, audio, vtt, or none [default: video]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = assets(), hide_possible_values = true, help_heading = "Files")]
    pub assets: Option<Vec<Option<Asset>>>,
    /// How they are named, from {id}, {video_id}, {title} and {date} [env: TRACKER_NAME]
    #[arg(long, value_name = "TEMPLATE", help_heading = "Files")]
    pub name: Option<String>,
}

impl FileOptions {
    /// The beginning of a row: where which of its files go.
    pub(crate) fn row(&self, context: &Context) -> Result<Video> {
        let (origin, template) = match &self.name {
            Some(template) => ("--name", Some(template.as_str())),
            None => ("TRACKER_NAME", context.env.text("TRACKER_NAME")?),
        };
        if let Some(template) = template {
            let hint = "for example: --name '{title} {video_id}'";
            check_template(template)
                .map_err(|error| Problem::usage(format!("{origin}: {error}"), hint))?;
        }
        let assets = match &self.assets {
            Some(list) => chosen(list)?,
            None => vec![Asset::Video],
        };
        Ok(Video {
            output_dir: context.output_dir(self.output_dir.as_deref())?,
            files: assets.into_iter().map(File::wanted).collect(),
            name_template: template.map(str::to_owned),
            ..Video::default()
        })
    }
}

/// What `--assets` takes, with commas between; `none` is no asset.
pub(super) fn assets() -> impl TypedValueParser<Value = Option<Asset>> {
    let words = Asset::ALL.iter().map(|asset| asset.word());
    PossibleValuesParser::new(words.chain(["none"])).map(|word| word.parse().ok())
}

/// Each of them once.
pub(super) fn chosen(list: &[Option<Asset>]) -> Result<Vec<Asset>> {
    if list.contains(&None) && list.iter().any(Option::is_some) {
        return Err(Problem::misuse("--assets: none goes with no other"));
    }
    let all = Asset::ALL.iter().copied();
    Ok(all.filter(|asset| list.contains(&Some(*asset))).collect())
}
