//! Which files a row gets, and where: the options of every verb that makes rows.

use std::path::PathBuf;

use super::Context;
use super::options::Suggest;
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
    #[arg(long, value_name = "LIST", value_parser = Suggest(asset_words()), hide_possible_values = true, help_heading = "Files")]
    pub assets: Option<String>,
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
            Some(list) => parse_assets(list)?,
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

/// What `--assets` takes, with commas between.
pub(super) fn asset_words() -> Vec<&'static str> {
    let words = Asset::ALL.iter().map(|asset| asset.word());
    words.chain(["none"]).collect()
}

/// A comma-separated list of assets, each kept once; `none` is the empty list.
pub(crate) fn parse_assets(list: &str) -> Result<Vec<Asset>> {
    let mut assets = Vec::new();
    if list.trim() == "none" {
        return Ok(assets);
    }
    for word in list.split(',').map(str::trim) {
        let asset: Asset = word.parse().map_err(|()| {
            let known = asset_words().join(", ").replace(", none", ", or none");
            Problem::usage(
                format!("--assets: there is no {word:?}"),
                format!("a comma-separated list of {known}"),
            )
        })?;
        if !assets.contains(&asset) {
            assets.push(asset);
        }
    }
    Ok(assets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_a_list_or_none() {
        for (list, assets) in [
            ("video", Some(&[Asset::Video][..])),
            ("gif, video,gif", Some(&[Asset::Gif, Asset::Video])),
            ("none", Some(&[])),
            ("", None),
            ("video,none", None),
            ("Video", None),
            ("mp4", None),
        ] {
            assert_eq!(parse_assets(list).ok().as_deref(), assets, "{list}");
        }
    }
}
