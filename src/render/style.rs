//! What colours mean here; the only place that knows an escape sequence.

use anstyle::{AnsiColor, Style};

use crate::render::fields::is_stalled;
use crate::video::{Asset, FileState, Phase, Video};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) enum Tone {
    Plain,
    /// There for reference: ids, digests, labels.
    Dim,
    Heading,
    /// Done, nothing left to do.
    Good,
    /// Needs a person.
    Bad,
    /// Rendering at HeyGen.
    Rendering,
    /// Rendered, on its way to the disk.
    Saving,
    /// Still to be sent.
    Queued,
}

impl Tone {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Dim => Style::new().dimmed(),
            Self::Heading => Style::new().bold(),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red),
            Self::Rendering => color(AnsiColor::Yellow),
            Self::Saving => color(AnsiColor::Cyan),
            Self::Queued => color(AnsiColor::Blue),
        }
    }
}

/// `text`, which must be sanitized already, in the colour of `tone`; the screen takes colours out where none are wanted.
pub(in crate::render) fn paint(text: &str, tone: Tone) -> String {
    let style = tone.style();
    if !style.is_plain() && !text.is_empty() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

pub(in crate::render) fn status_tone(video: &Video) -> Tone {
    let gone = video
        .file(Asset::Video)
        .is_some_and(|file| file.state == FileState::Gone);
    match video.phase {
        Phase::Unsent | Phase::Sending => Tone::Queued,
        Phase::Rejected | Phase::Unknown | Phase::Missing => Tone::Bad,
        Phase::Accepted if video.is_failed() || is_stalled(video) || gone => Tone::Bad,
        Phase::Accepted if video.is_completed() && video.finished => Tone::Good,
        Phase::Accepted if video.is_completed() => Tone::Saving,
        Phase::Accepted => Tone::Rendering,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn every_status_has_its_meaning() {
        for (video, tone) in [
            (samples::saved(), Tone::Good),
            (samples::downloading(), Tone::Saving),
            (samples::failed(), Tone::Bad),
            (samples::unknown(), Tone::Bad),
            (samples::stalled(), Tone::Bad),
            (samples::rendering(), Tone::Rendering),
            (samples::unsent(), Tone::Queued),
        ] {
            assert_eq!(status_tone(&video), tone, "{}", video.status());
        }
    }

    #[test]
    fn paint_leaves_plain_and_empty_text_alone() {
        assert_eq!(paint("x", Tone::Good), "\x1b[32mx\x1b[0m");
        assert_eq!(paint("x", Tone::Plain), "x");
        assert_eq!(paint("", Tone::Good), "");
    }
}
