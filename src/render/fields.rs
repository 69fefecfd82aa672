//! The closed list of output fields: the names that `--fields` accepts and the keys of the JSON video object.

use std::borrow::Cow;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::render::{json, text};
use crate::time::Timestamp;
use crate::video::{Asset, File, LastError, Video, VideoId};

/// Defines [`Field`] with its names, in output order.
macro_rules! fields {
    (default { $($default:ident = $dname:literal),+ $(,)? } extended { $($extended:ident = $ename:literal),+ $(,)? }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $(#[doc = concat!("`", $dname, "`")] $default,)+
            $(#[doc = concat!("`", $ename, "`; only where asked for by name, and in `show`")] $extended,)+
            /// `data.NAME`: one column of the line that the row was made from.
            DataColumn(&'static str),
        }

        impl Field {
            pub const ALL: &'static [Self] = &[$(Self::$default,)+ $(Self::$extended,)+];
            /// What a JSON video object has when nobody asked for anything else, in order.
            pub const DEFAULT: &'static [Self] = &[$(Self::$default,)+];

            /// The name in JSON, in a header and in `--fields`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$default => $dname,)+
                    $(Self::$extended => $ename,)+
                    Self::DataColumn(name) => name,
                }
            }
        }
    };
}

fields! {
    default {
        Id = "id",
        VideoId = "video_id",
        Status = "status",
        Finished = "finished",
        Stalled = "stalled",
        Title = "title",
        Tags = "tags",
        SubmittedAt = "submitted_at",
        CreatedAt = "created_at",
        CompletedAt = "completed_at",
        LastCheckedAt = "last_checked_at",
        Duration = "duration",
        OutputLanguage = "output_language",
        FolderId = "folder_id",
        FailureCode = "failure_code",
        FailureMessage = "failure_message",
        VideoUrl = "video_url",
        VideoPageUrl = "video_page_url",
        Path = "path",
        OutputDir = "output_dir",
        Files = "files",
        LastError = "last_error",
        RetryOf = "retry_of",
        Kind = "kind",
        SessionId = "session_id",
        Progress = "progress",
        Data = "data",
    }
    extended {
        Script = "script",
        AvatarId = "avatar_id",
        VoiceId = "voice_id",
        CaptionedVideoUrl = "captioned_video_url",
        SubtitleUrl = "subtitle_url",
        ThumbnailUrl = "thumbnail_url",
        GifUrl = "gif_url",
        UrlsAt = "urls_at",
        AudioUrl = "audio_url",
        VttUrl = "vtt_url",
        TemplateId = "template_id",
        Candidates = "candidates",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown field `{}`; the fields are: {}", text::fit(.0, 40), names())]
pub struct UnknownField(String);

fn names() -> String {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    names.join(", ")
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

    /// The field called `name`.
    pub fn parse(name: &str) -> Result<Self, UnknownField> {
        if name
            .strip_prefix("data.")
            .is_some_and(|column| !column.is_empty())
        {
            // Lives as long as the program: fields are named on the command line, a few of them, once.
            return Ok(Self::DataColumn(String::leak(name.to_owned())));
        }
        let named = Self::ALL.iter().copied().find(|field| field.name() == name);
        named.ok_or_else(|| UnknownField(name.to_owned()))
    }

    /// The fields of a comma-separated list, in its order; a name given twice counts once.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, UnknownField> {
        let mut fields = Vec::new();
        for name in list.split(',') {
            let field = Self::parse(name.trim())?;
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        Ok(fields)
    }

    pub fn of(self, video: &Video) -> Value<'_> {
        match self {
            Self::Id => Value::Integer(video.id.0),
            Self::VideoId => Value::text(video.video_id.as_ref().map(VideoId::as_str)),
            Self::Status => Value::text(Some(video.status())),
            Self::Finished => Value::Bool(video.finished),
            Self::Stalled => Value::Bool(is_stalled(video)),
            Self::Title => Value::text(video.title.as_deref()),
            Self::Tags => Value::Tags(&video.tags),
            Self::SubmittedAt => Value::at(Some(video.submitted_at)),
            Self::CreatedAt => Value::at(video.created_at),
            Self::CompletedAt => Value::at(video.completed_at),
            Self::LastCheckedAt => Value::at(video.last_checked_at),
            Self::Duration => video.duration.map_or(Value::Null, Value::Seconds),
            Self::OutputLanguage => Value::text(video.output_language.as_deref()),
            Self::FolderId => Value::text(video.folder_id.as_deref()),
            Self::FailureCode => Value::text(video.failure_code.as_deref()),
            Self::FailureMessage => Value::text(video.failure_message.as_deref()),
            Self::VideoUrl => Value::text(video.urls.get(Asset::Video)),
            Self::VideoPageUrl => Value::text(video.video_page_url.as_deref()),
            Self::Path => Value::path(video.saved_path().map(AsRef::as_ref)),
            Self::OutputDir => Value::path(Some(&video.output_dir)),
            Self::Files => Value::Files(&video.files),
            Self::LastError => video.last_error.as_ref().map_or(Value::Null, Value::Error),
            Self::RetryOf => video
                .retry_of
                .map_or(Value::Null, |id| Value::Integer(id.0)),
            Self::Kind => Value::text(Some(video.kind.word())),
            Self::SessionId => Value::text(video.session_id.as_ref().map(VideoId::as_str)),
            Self::Progress => video.progress.map_or(Value::Null, Value::Integer),
            Self::Script => Value::text(video.script.as_deref()),
            Self::AvatarId => Value::text(video.avatar_id.as_deref()),
            Self::VoiceId => Value::text(video.voice_id.as_deref()),
            Self::CaptionedVideoUrl => Value::text(video.urls.get(Asset::Captioned)),
            Self::SubtitleUrl => Value::text(video.urls.get(Asset::Subtitle)),
            Self::ThumbnailUrl => Value::text(video.urls.get(Asset::Thumbnail)),
            Self::GifUrl => Value::text(video.urls.get(Asset::Gif)),
            Self::UrlsAt => Value::at(video.urls_at),
            Self::AudioUrl => Value::text(video.urls.get(Asset::Audio)),
            Self::VttUrl => Value::text(video.urls.get(Asset::Vtt)),
            Self::TemplateId => Value::text(video.template_id.as_deref()),
            Self::Data => video.data.as_ref().map_or(Value::Null, Value::Data),
            Self::Candidates => video.candidates.as_ref().map_or(Value::Null, |found| {
                let found = found.iter().map(|found| {
                    serde_json::json!({
                        "video_id": found.video_id, "title": found.title,
                        "created_at": found.created_at, "command": found.command(video.id),
                    })
                });
                Value::Json(found.collect())
            }),
            Self::DataColumn(name) => {
                let column = name.strip_prefix("data.").unwrap_or(name);
                match video.data.as_ref().and_then(|data| data.get(column)) {
                    None | Some(serde_json::Value::Null) => Value::Null,
                    Some(serde_json::Value::String(text)) => {
                        Value::Text(Cow::Borrowed(text.as_str()))
                    }
                    Some(other) => Value::Text(Cow::Owned(other.to_string())),
                }
            }
        }
    }
}

/// Rendering unusually long, and nobody has heard of an end since.
pub(in crate::render) fn is_stalled(video: &Video) -> bool {
    video.stalled_at.is_some() && !video.finished
}

/// What a field holds; serialises as JSON, and has a text form for tables, TSV and CSV.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Seconds(f64),
    At(Timestamp),
    Text(Cow<'a, str>),
    Tags(&'a [String]),
    Files(&'a [File]),
    Data(&'a serde_json::Map<String, serde_json::Value>),
    Error(&'a LastError),
    Json(serde_json::Value),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(Cow::Borrowed(text)))
    }

    fn at(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Null, Self::At)
    }

    /// JSON has no form for other paths than UTF-8 ones.
    fn path(path: Option<&'a Path>) -> Self {
        path.map_or(Self::Null, |path| Self::Text(path.to_string_lossy()))
    }

    /// The text form, exact and therefore not sanitized: empty for null, tags comma-separated, files and errors
    /// as JSON.
    pub fn to_text(&self) -> Cow<'a, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(fact) => Cow::Borrowed(if *fact { "true" } else { "false" }),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Seconds(seconds) if seconds.is_finite() => Cow::Owned(seconds.to_string()),
            Self::Seconds(_) => Cow::Borrowed(""),
            Self::At(at) => Cow::Owned(at.rfc3339()),
            Self::Text(text) => text.clone(),
            Self::Tags(tags) => Cow::Owned(tags.join(",")),
            // Neither has anything in it that could fail to serialise.
            Self::Files(_) | Self::Data(_) | Self::Error(_) | Self::Json(_) => {
                Cow::Owned(json::to_line(self).unwrap_or_default())
            }
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(fact) => serializer.serialize_bool(*fact),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Seconds(seconds) => serializer.serialize_f64(*seconds),
            Self::At(at) => at.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Tags(tags) => serializer.collect_seq(*tags),
            Self::Files(files) => files.serialize(serializer),
            Self::Data(data) => data.serialize(serializer),
            Self::Error(error) => error.serialize(serializer),
            Self::Json(json) => json.serialize(serializer),
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
            assert_eq!(Field::parse(field.name()), Ok(field));
        }
        assert_eq!(Field::ALL.len(), 39);
    }

    #[test]
    fn a_list_keeps_its_order_and_drops_repetitions() {
        assert_eq!(
            Field::parse_list("title, id,title"),
            Ok(vec![Field::Title, Field::Id])
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
