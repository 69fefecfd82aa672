//! The closed list of output fields: the names that `--fields` accepts, the keys of the JSON video object, and what
//! each holds.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use crate::error::Problem;
use crate::render::{json, text};
use crate::time::Timestamp;
use crate::video::{Asset, File, LastError, RowId, Video, VideoId};

/// Defines [`Field`] in output order: each with its name and what it holds of a video.
macro_rules! fields {
    ($video:ident:
     default { $($field:ident $name:literal = $value:expr;)+ }
     extended { $($more:ident $more_name:literal = $more_value:expr;)+ }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($field,)+
            $($more,)+
            /// `data.NAME`: one column of the line that the row was made from.
            DataColumn(&'static str),
        }

        impl Field {
            pub const ALL: &'static [Self] = &[$(Self::$field,)+ $(Self::$more,)+];
            /// What a JSON video object has when nobody asked for anything else.
            pub const DEFAULT: &'static [Self] = &[$(Self::$field,)+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                    $(Self::$more => $more_name,)+
                    Self::DataColumn(name) => name,
                }
            }

            pub fn of(self, $video: &Video) -> Value<'_> {
                match self {
                    $(Self::$field => $value,)+
                    $(Self::$more => $more_value,)+
                    Self::DataColumn(name) => data_column($video, name),
                }
            }
        }
    };
}

fields! {
    video:
    default {
        Id "id" = Value::Integer(video.id.0);
        VideoId "video_id" = text(video.video_id.as_ref().map(VideoId::as_str));
        Status "status" = text(Some(video.status()));
        Finished "finished" = Value::Bool(video.finished);
        Stalled "stalled" = Value::Bool(is_stalled(video));
        Title "title" = text(video.title.as_deref());
        Tags "tags" = Value::Tags(&video.tags);
        SubmittedAt "submitted_at" = at(Some(video.submitted_at));
        CreatedAt "created_at" = at(video.created_at);
        CompletedAt "completed_at" = at(video.completed_at);
        LastCheckedAt "last_checked_at" = at(video.last_checked_at);
        Duration "duration" = known(video.duration, Value::Seconds);
        OutputLanguage "output_language" = text(video.output_language.as_deref());
        FolderId "folder_id" = text(video.folder_id.as_deref());
        FailureCode "failure_code" = text(video.failure_code.as_deref());
        FailureMessage "failure_message" = text(video.failure_message.as_deref());
        VideoUrl "video_url" = text(video.urls.get(&Asset::Video));
        VideoPageUrl "video_page_url" = text(video.video_page_url.as_deref());
        Path "path" = path(video.saved_path().map(AsRef::as_ref));
        OutputDir "output_dir" = path(Some(&video.output_dir));
        Files "files" = Value::Files(&video.files);
        LastError "last_error" = known(video.last_error.as_ref(), Value::Error);
        RetryOf "retry_of" = known(video.retry_of, |RowId(row)| Value::Integer(row));
        Kind "kind" = text(Some(video.kind.word()));
        SessionId "session_id" = text(video.session_id.as_ref().map(VideoId::as_str));
        Progress "progress" = known(video.progress, Value::Integer);
        Data "data" = known(video.data.as_ref(), Value::Data);
    }
    extended {
        Script "script" = text(video.script.as_deref());
        AvatarId "avatar_id" = text(video.avatar_id.as_deref());
        VoiceId "voice_id" = text(video.voice_id.as_deref());
        CaptionedVideoUrl "captioned_video_url" = text(video.urls.get(&Asset::Captioned));
        SubtitleUrl "subtitle_url" = text(video.urls.get(&Asset::Subtitle));
        ThumbnailUrl "thumbnail_url" = text(video.urls.get(&Asset::Thumbnail));
        GifUrl "gif_url" = text(video.urls.get(&Asset::Gif));
        UrlsAt "urls_at" = at(video.urls_at);
        AudioUrl "audio_url" = text(video.urls.get(&Asset::Audio));
        VttUrl "vtt_url" = text(video.urls.get(&Asset::Vtt));
        TemplateId "template_id" = text(video.template_id.as_deref());
        Candidates "candidates" = candidates(video);
    }
}

impl Field {
    /// What a piped `list` prints.
    pub const LIST: &'static [Self] = &[
        Self::Id,
        Self::VideoId,
        Self::Status,
        Self::SubmittedAt,
        Self::CompletedAt,
        Self::Title,
        Self::Path,
    ];
    /// What a piped `submit` prints.
    pub const SUBMIT: &'static [Self] = &[Self::Id, Self::VideoId, Self::Status];

    fn named(name: &str) -> Option<Self> {
        let column = name.strip_prefix("data.");
        if column.is_some_and(|column| !column.is_empty()) {
            // Lives as long as the program: fields are named on the command line, a few of them, once.
            return Some(Self::DataColumn(String::leak(name.to_owned())));
        }
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// The fields of a comma-separated list, in its order; a name given twice counts once.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, Problem> {
        let mut fields = Vec::new();
        for name in list.split(',').map(str::trim) {
            let field = Self::named(name).ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|field| field.name()).collect();
                Problem::misuse(format!(
                    "--fields: unknown field `{}`; the fields are: {}",
                    text::fit(name, 40),
                    known.join(", ")
                ))
            })?;
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        Ok(fields)
    }
}

/// Rendering unusually long, and nobody has heard of an end since.
pub(in crate::render) fn is_stalled(video: &Video) -> bool {
    video.stalled_at.is_some() && !video.finished
}

/// What a field holds; serialises as JSON, and has a text form for tables, TSV and CSV.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Seconds(f64),
    Text(Cow<'a, str>),
    Tags(&'a [String]),
    Files(&'a [File]),
    Data(&'a serde_json::Map<String, serde_json::Value>),
    Error(&'a LastError),
    Json(serde_json::Value),
}

fn known<'a, T>(fact: Option<T>, value: impl FnOnce(T) -> Value<'a>) -> Value<'a> {
    fact.map_or(Value::Null, value)
}

fn text<T: AsRef<str> + ?Sized>(text: Option<&T>) -> Value<'_> {
    known(text, |text| Value::Text(text.as_ref().into()))
}

fn at<'a>(at: Option<Timestamp>) -> Value<'a> {
    known(at, |at| Value::Text(at.rfc3339().into()))
}

/// JSON has no form for other paths than UTF-8 ones.
fn path(path: Option<&Path>) -> Value<'_> {
    known(path, |path| Value::Text(path.to_string_lossy()))
}

fn candidates(video: &Video) -> Value<'_> {
    known(video.candidates.as_ref(), |found| {
        let found = found.iter().map(|found| {
            serde_json::json!({
                "video_id": found.video_id, "title": found.title,
                "created_at": found.created_at, "command": found.command(video.id),
            })
        });
        Value::Json(found.collect())
    })
}

fn data_column<'a>(video: &'a Video, name: &str) -> Value<'a> {
    let column = name.strip_prefix("data.").unwrap_or(name);
    match video.data.as_ref().and_then(|data| data.get(column)) {
        None | Some(serde_json::Value::Null) => Value::Null,
        Some(serde_json::Value::String(column)) => text(Some(column)),
        Some(other) => Value::Text(other.to_string().into()),
    }
}

impl<'a> Value<'a> {
    /// Exact, and therefore not sanitized.
    pub fn to_text(&self) -> Cow<'a, str> {
        match self {
            Self::Null => "".into(),
            Self::Seconds(seconds) if !seconds.is_finite() => "".into(),
            Self::Seconds(seconds) => seconds.to_string().into(),
            Self::Text(text) => text.clone(),
            Self::Tags(tags) => tags.join(",").into(),
            // Nothing else has anything in it that could fail to serialise.
            other => json::to_line(other).unwrap_or_default().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn names_read_back_and_are_unique() {
        for &field in Field::ALL {
            assert_eq!(Field::parse_list(field.name()).unwrap(), [field]);
        }
        assert_eq!(Field::ALL.len(), 39);
    }

    #[test]
    fn a_list_keeps_its_order_and_drops_repetitions() {
        assert_eq!(
            Field::parse_list("title, id,title").unwrap(),
            [Field::Title, Field::Id]
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for list in ["id,nope", "", "id,", "ID", "\x1b[2J"] {
            let error = Field::parse_list(list).unwrap_err().to_string();
            assert!(error.ends_with("template_id, candidates"), "{error}");
            assert!(!error.contains('\x1b'));
        }
    }

    #[test]
    fn text_forms() {
        let saved = samples::saved();
        let hostile = samples::hostile();
        for (field, video, text) in [
            (Field::Id, &saved, "1"),
            (Field::Finished, &saved, "true"),
            (Field::Tags, &saved, "launch,en"),
            (Field::Duration, &saved, "42.5"),
            (Field::CompletedAt, &saved, "2025-11-24T13:06:00Z"),
            (Field::Path, &saved, "/home/ada/work/output/5e0a.mp4"),
            (Field::LastError, &saved, ""),
            (Field::RetryOf, &hostile, "1"),
            (Field::Title, &hostile, samples::HOSTILE),
            (Field::Stalled, &samples::stalled(), "true"),
        ] {
            assert_eq!(field.of(video).to_text(), text, "{field:?}");
        }
    }

    #[test]
    fn a_finished_row_is_not_stalled() {
        let mut video = samples::stalled();
        video.finished = true;
        assert_eq!(Field::Stalled.of(&video).to_text(), "false");
    }

    #[test]
    fn the_path_is_that_of_a_saved_file_only() {
        let mut video = samples::saved();
        video.files[0].state = crate::video::FileState::Gone;
        assert!(matches!(Field::Path.of(&video), Value::Null));
    }
}
