//! Text that others wrote, made safe to print.
//!
//! A title comes from a server and ends on a terminal: an escape sequence in it could rewrite the screen, a bidi
//! override could make `gpj.exe` read as `exe.jpg`, a newline could forge a second row. Such characters are shown
//! escaped. The escapes are for reading and are not reversible; JSON and CSV carry the exact text.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

const ELLIPSIS: &str = "…";

/// Characters without width that a column may have on average before the text is cut: no script needs more, and a
/// megabyte of them takes no column at all.
const MAX_MARKS: usize = 8;

/// Whether what a server sent as a page may be handed to a browser, or to a desktop, which would run a file.
pub(crate) fn is_web_page(url: &str) -> bool {
    url.starts_with("https://") && !url.contains(is_harmful)
}

/// Whether `c` could act on a terminal, reorder what is around it, or not be seen at all.
pub fn is_harmful(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Bidirectional marks, embeddings, overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}'
        // Zero-width and invisible: fillers, deprecated format characters, annotations, tags. Not the joiner, which
        // makes one emoji of several, and conjuncts of letters.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{200c}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with every harmful character escaped: `\n`, `\x1b`, `\u{202e}`. The result is one line.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_harmful(c) {
            true => out.push_str(&escape(c)),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// [`sanitize`], and no wider than `width` columns. What people see as one character is kept or left out as a whole.
/// Takes time proportional to what is kept, not to `text`.
pub fn fit(text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let most = width.saturating_add(1).saturating_mul(MAX_MARKS + 2);
    let beyond = text.char_indices().nth(most);
    let window = beyond.map_or(text, |(end, _)| text.get(..end).unwrap_or_default());
    // How much stands in fewer columns, so that an ellipsis has one beside it.
    let (mut used, mut cut) = (0, 0);
    for (at, cluster) in window.grapheme_indices(true) {
        used += self::width(cluster);
        if used < width {
            cut = at + cluster.len();
        } else if used > width {
            break;
        }
    }
    match used <= width && beyond.is_none() {
        true => sanitize(text).into_owned(),
        false => sanitize(text.get(..cut).unwrap_or_default()).into_owned() + ELLIPSIS,
    }
}

/// [`fit`] for a path: of one that is too long the directories go first, so that an id in its name can still be told
/// from others and typed.
pub fn fit_path(path: &str, width: usize) -> String {
    if self::width(path) <= width {
        return fit(path, width);
    }
    let below = path
        .rmatch_indices('/')
        .filter_map(|(at, _)| path.get(at..));
    match below.take_while(|end| self::width(end) < width).last() {
        Some(end) => fit(&format!("{ELLIPSIS}{end}"), width),
        None => fit(path.rsplit('/').next().unwrap_or(path), width),
    }
}

/// `text`, sanitized, on lines of at most `width` columns, broken at spaces where there are any; at most `most` lines.
pub fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    let width = width.max(2);
    let text = fit(text, width.saturating_mul(most));
    let mut lines = vec![];
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_inclusive(' ') {
        let word_width = self::width(word.trim_end());
        let mut is_full = used > 0 && used + word_width > width;
        for cluster in word.graphemes(true) {
            let columns = self::width(cluster);
            if is_full || (used + columns > width && cluster != " ") {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                (used, is_full) = (0, false);
            }
            line.push_str(cluster);
            used += columns;
        }
    }
    lines.push(line.trim_end().to_owned());
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            let fitted = fit(last, width - 1);
            *last = format!("{}{ELLIPSIS}", fitted.trim_end_matches(ELLIPSIS));
        }
    }
    lines
}

/// Columns that `text`, sanitized, takes at most: on a terminal that does not join what belongs together.
pub fn width(text: &str) -> usize {
    let columns = |c: char| match c {
        // Asks for the emoji form of the character before it, which is one column wider.
        '\u{fe0f}' => 1,
        _ if is_harmful(c) => escape(c).len(),
        _ => c.width().unwrap_or(0),
    };
    text.chars().map(columns).sum()
}

/// Columns that sanitized `text` takes on a terminal that joins what belongs together; never more than [`width`].
pub fn shown_width(text: &str) -> usize {
    text.width()
}

pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(shown_width(text));
    format!("{text}{:missing$}", "")
}

fn escape(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        '\0'..='\u{7f}' => format!("\\x{:02x}", u32::from(c)),
        _ => c.escape_unicode().to_string(),
    }
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
    fn what_people_see_as_one_character_stays_whole() {
        let family = "👨\u{200d}👩\u{200d}👧";
        for (raw, shown) in [
            (family, family),
            ("🏳️\u{200d}🌈 now", "🏳️\u{200d}🌈 now"),
            ("ක\u{dca}\u{200d}ෂ", "ක\u{dca}\u{200d}ෂ"),
        ] {
            assert_eq!(sanitize(raw), shown);
        }
        assert_eq!(fit(&format!("ab{family}c"), 8), "ab…");
        assert_eq!(fit(&format!("ab{family}c"), 9), format!("ab{family}c"));
    }

    #[test]
    fn a_path_keeps_the_beginning_of_its_name() {
        for (path, width, shown) in [
            ("output/a833bdcd.mp4", 19, "output/a833bdcd.mp4"),
            ("output/a833bdcd.mp4", 18, "…/a833bdcd.mp4"),
            ("/srv/may/a833bdcd.mp4", 18, "…/may/a833bdcd.mp4"),
            ("output/a833bdcd.mp4", 13, "a833bdcd.mp4"),
            ("output/a833bdcdb6d1beb1.mp4", 14, "a833bdcdb6d1b…"),
            ("output/a833bdcdb6d1beb1", 6, "a833b…"),
            ("output/.hidden", 4, ".hi…"),
            ("日本/語.mp4", 8, "…/語.mp4"),
            ("output/a.mp4", 1, "…"),
            ("a.mp4", 0, ""),
        ] {
            assert_eq!(fit_path(path, width), shown, "{path} at {width}");
        }
    }

    #[test]
    fn wrapping_breaks_at_spaces_and_keeps_to_its_lines() {
        assert_eq!(wrap("one two three", 8, 9), ["one two", "three"]);
        assert_eq!(wrap("日本語日本語", 5, 9), ["日本", "語日", "本語"]);
        assert_eq!(wrap("abcdefghij kl", 4, 9), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("one two three four", 6, 2), ["one", "two…"]);
        assert_eq!(wrap("", 6, 2), [""]);
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
    fn a_megabyte_of_combining_marks_is_bounded() {
        let zalgo = format!("a{}", "\u{301}".repeat(500_000));
        for shown in [fit(&zalgo, 80), fit_path(&zalgo, 80)] {
            assert!(shown.len() < 2000);
        }
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
            for shown in [fit(&raw, limit), fit_path(&raw, limit)] {
                prop_assert!(shown.width() <= limit, "{shown:?}");
                prop_assert!(width(&shown) <= limit, "{shown:?}");
                prop_assert!(!shown.contains(is_harmful));
            }
        }

        #[test]
        fn wrapped_text_keeps_within_its_columns(raw in hostile(), limit in 2_usize..40, most in 1_usize..5) {
            let lines = wrap(&raw, limit, most);
            prop_assert!(lines.len() <= most);
            for line in lines {
                // A cluster that is wider than the line has a line of its own.
                prop_assert!(line.width() <= limit.max(width(&line).min(80)), "{line:?}");
                prop_assert!(!line.contains(is_harmful));
            }
        }
    }
}
