//! Text that others wrote, made safe to print.
//!
//! A title comes from a server and ends on a terminal: an escape sequence in it could rewrite the screen, a bidi
//! override could make `gpj.exe` read as `exe.jpg`, a newline could forge a second row. Such characters are shown
//! escaped. The escapes are for reading and are not reversible; JSON and CSV carry the exact text.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

/// Ends a text that was cut, one column wide.
const ELLIPSIS: char = '…';

/// Combining marks a letter may carry before the text is cut: no script needs more, and a megabyte of marks takes
/// no column at all.
const MAX_MARKS: usize = 8;

/// Whether `c` could act on a terminal, reorder what is around it, or not be seen at all.
pub fn is_harmful(c: char) -> bool {
    matches!(c,
        // C0, DEL, C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Bidirectional marks, embeddings, overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators.
        | '\u{2028}' | '\u{2029}'
        // Zero-width and invisible: joiners, fillers, deprecated format characters, annotations, tags.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with every harmful character escaped: `\n`, `\x1b`, `\u{202e}`. The result is one line.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_harmful) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(clean);
    for c in rest.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// [`sanitize`], and no wider than `width` columns: what does not fit is replaced by `…`.
///
/// Takes time proportional to what is kept, not to `text`.
pub fn fit(text: &str, width: usize) -> String {
    let mut out = String::new();
    if width == 0 {
        return out;
    }
    let (mut used, mut marks) = (0, 0);
    // The longest beginning that leaves a column for the ellipsis.
    let mut cut = 0;
    for c in text.chars() {
        let columns = columns(c);
        used += columns;
        marks = if columns == 0 { marks + 1 } else { 0 };
        if used > width || marks > MAX_MARKS {
            out.truncate(cut);
            out.push(ELLIPSIS);
            return out;
        }
        push(&mut out, c);
        if used < width {
            cut = out.len();
        }
    }
    out
}

/// [`fit`] that keeps the end instead: of a path that is too long, the file name matters most.
pub fn fit_end(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let (mut used, mut marks) = (0, 0);
    let mut cut = text.len();
    for (at, c) in text.char_indices().rev() {
        let columns = columns(c);
        used += columns;
        marks = if columns == 0 { marks + 1 } else { 0 };
        if used > width || marks > MAX_MARKS {
            let end = text.get(cut..).unwrap_or_default();
            return format!("{ELLIPSIS}{}", sanitize(end));
        }
        if used < width {
            cut = at;
        }
    }
    sanitize(text).into_owned()
}

/// Columns that sanitized `text` takes at most; what [`fit`] counts.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Columns that sanitized `text` takes on a terminal that joins what belongs together; never more than [`width`].
pub fn shown_width(text: &str) -> usize {
    text.width()
}

/// `text` followed by spaces up to `width` columns; unchanged when it is wider.
pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(shown_width(text));
    format!("{text}{:missing$}", "")
}

/// The columns of one character, in its escaped form if it is harmful.
fn columns(c: char) -> usize {
    if is_harmful(c) {
        let mut escaped = String::new();
        push(&mut escaped, c);
        return escaped.len();
    }
    match c {
        // Asks for the emoji form of the character before it, which is one column wider.
        '\u{fe0f}' => 1,
        _ => c.width().unwrap_or(0),
    }
}

fn push(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _infallible = match c {
        '\n' | '\r' | '\t' => write!(out, "{}", c.escape_default()),
        '\0'..='\u{7f}' if is_harmful(c) => write!(out, "\\x{:02x}", u32::from(c)),
        _ if is_harmful(c) => write!(out, "{}", c.escape_unicode()),
        _ => out.write_char(c),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmful_characters_are_shown_escaped() {
        for (raw, shown) in [
            ("plain", "plain"),
            ("Zürich 日本語 ❤️", "Zürich 日本語 ❤️"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\x1b[2Jgone", r"\x1b[2Jgone"),
            (
                "\x1b]8;;http://evil\x07link",
                r"\x1b]8;;http://evil\x07link",
            ),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("nul\0del\x7f", r"nul\x00del\x7f"),
            ("exe.\u{202e}gpj", r"exe.\u{202e}gpj"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
            ("a\u{2028}b", r"a\u{2028}b"),
            ("\u{e0041}", r"\u{e0041}"),
            (r"C:\new", r"C:\new"),
        ] {
            assert_eq!(sanitize(raw), shown);
        }
    }

    #[test]
    fn clean_text_is_not_copied() {
        assert!(matches!(sanitize("Zürich"), Cow::Borrowed(_)));
    }

    #[test]
    fn text_is_cut_to_columns_not_bytes_or_characters() {
        for (raw, width, shown) in [
            ("title", 5, "title"),
            ("title", 4, "tit…"),
            ("title", 1, "…"),
            ("title", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ab\x1bc", 7, r"ab\x1bc"),
            ("ab\x1bc", 6, "ab…"),
            ("❤️❤️", 3, "❤️…"),
            ("e\u{301}te\u{301}", 3, "e\u{301}te\u{301}"),
        ] {
            assert_eq!(fit(raw, width), shown, "{raw:?} at {width}");
        }
    }

    #[test]
    fn the_end_of_a_path_is_what_stays() {
        for (raw, width, shown) in [
            ("output/a.mp4", 12, "output/a.mp4"),
            ("output/a.mp4", 8, "…t/a.mp4"),
            ("output/a.mp4", 1, "…"),
            ("output/a.mp4", 0, ""),
            ("日本/語.mp4", 9, "…/語.mp4"),
        ] {
            assert_eq!(fit_end(raw, width), shown, "{raw:?} at {width}");
        }
    }

    #[test]
    fn a_megabyte_of_combining_marks_is_bounded() {
        let zalgo = format!("a{}", "\u{301}".repeat(500_000));
        assert!(fit(&zalgo, 80).len() < 30);
        assert!(fit_end(&zalgo, 80).len() < 30);
    }

    #[test]
    fn padding_counts_columns() {
        assert_eq!(pad("日本", 6), "日本  ");
        assert_eq!(pad("long", 2), "long");
    }

    /// Characters with a history of confusing width tables, among ordinary ones.
    fn hostile() -> impl Strategy<Value = String> {
        let picked = prop::sample::select(vec![
            '\x1b', '\u{9b}', '\u{202e}', '\u{200d}', '\u{fe0f}', '\u{301}', '👩', '🏽', '🇨', '🇭',
            '日', 'ل', 'ا', '1', '\u{20e3}', '…', 'a', '\u{1160}', '\u{11a8}', '한',
        ]);
        prop::collection::vec(prop_oneof![picked, any::<char>()], 0..60)
            .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_harmful_survives(raw in hostile()) {
            let shown = sanitize(&raw);
            prop_assert!(!shown.contains(is_harmful));
            prop_assert!(!shown.contains(char::is_control));
            prop_assert!(sanitize(&shown) == shown);
        }

        #[test]
        fn fitted_text_keeps_within_its_columns(raw in hostile(), limit in 0_usize..40) {
            for shown in [fit(&raw, limit), fit_end(&raw, limit)] {
                prop_assert!(shown.width() <= limit, "{shown:?}");
                prop_assert!(width(&shown) <= limit, "{shown:?}");
                prop_assert!(!shown.contains(is_harmful));
            }
        }
    }
}
