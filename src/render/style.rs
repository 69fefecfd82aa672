//! What colours mean here.

use anstyle::{AnsiColor, Style};

use crate::render::fields::is_stalled;
use crate::video::{Asset, FileState, Phase, Video};

pub(in crate::render) const PLAIN: Style = Style::new();
/// There for reference: ids, digests, labels.
pub(in crate::render) const DIM: Style = PLAIN.dimmed();
pub(in crate::render) const HEADING: Style = PLAIN.bold();
/// Done, nothing left to do.
pub(in crate::render) const GOOD: Style = AnsiColor::Green.on_default();
/// Needs a person.
pub(in crate::render) const BAD: Style = AnsiColor::Red.on_default();
/// Rendering at HeyGen.
pub(in crate::render) const RENDERING: Style = AnsiColor::Yellow.on_default();
/// Rendered, on its way to the disk.
pub(in crate::render) const SAVING: Style = AnsiColor::Cyan.on_default();
/// Still to be sent.
pub(in crate::render) const QUEUED: Style = AnsiColor::Blue.on_default();

/// `text`, which must be sanitized already, in the colour of `tone`; the screen takes colours out where none are wanted.
pub(in crate::render) fn paint(text: &str, tone: Style) -> String {
    match text {
        "" => String::new(),
        text => format!("{tone}{text}{tone:#}"),
    }
}

pub(in crate::render) fn status_tone(video: &Video) -> Style {
    let file = video.file(Asset::Video);
    let gone = file.is_some_and(|file| file.state == FileState::Gone);
    match video.phase {
        Phase::Unsent | Phase::Sending => QUEUED,
        Phase::Rejected | Phase::Unknown | Phase::Missing => BAD,
        Phase::Accepted if video.is_failed() || is_stalled(video) || gone => BAD,
        Phase::Accepted if video.is_completed() && video.finished => GOOD,
        Phase::Accepted if video.is_completed() => SAVING,
        Phase::Accepted => RENDERING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn every_status_has_its_meaning() {
        for (video, tone) in [
            (samples::saved(), GOOD),
            (samples::downloading(), SAVING),
            (samples::failed(), BAD),
            (samples::unknown(), BAD),
            (samples::stalled(), BAD),
            (samples::rendering(), RENDERING),
            (samples::unsent(), QUEUED),
        ] {
            assert_eq!(status_tone(&video), tone, "{}", video.status());
        }
    }

    #[test]
    fn paint_leaves_plain_and_empty_text_alone() {
        assert_eq!(paint("x", GOOD), "\x1b[32mx\x1b[0m");
        assert_eq!(paint("x", PLAIN), "x");
        assert_eq!(paint("", GOOD), "");
    }
}
