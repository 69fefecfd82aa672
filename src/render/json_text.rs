//! JSON text laid out anew without being parsed: key order, digits and repeated keys stay as they were typed.

/// Whether each next character belongs to a string literal (its quotes included).
fn in_string() -> impl FnMut(char) -> bool {
    let (mut inside, mut escaped) = (false, false);
    move |c| {
        let was_inside = inside;
        inside ^= c == '"' && !escaped;
        escaped = was_inside && c == '\\' && !escaped;
        was_inside || inside
    }
}

pub(in crate::render) fn compact(json: &str) -> String {
    let mut in_string = in_string();
    json.chars()
        .filter(|&c| in_string(c) || !c.is_ascii_whitespace())
        .collect()
}

const MAX_INDENT: usize = 10;

/// Valid JSON on at most `max_lines` indented lines, and whether that was all of it.
pub(in crate::render) fn pretty(json: &str, max_lines: usize) -> (Vec<String>, bool) {
    let compact = compact(json);
    let mut chars = compact.chars().peekable();
    let (mut in_string, mut text, mut depth) = (in_string(), String::new(), 0_usize);
    let break_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth.min(MAX_INDENT)));
    };
    while let Some(c) = chars.next() {
        match c {
            _ if in_string(c) => text.push(c),
            '{' | '[' => {
                text.push(c);
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(close);
                } else {
                    depth += 1;
                    break_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                break_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push(c),
        }
    }
    let mut lines = text.lines().map(str::to_owned);
    let shown = lines.by_ref().take(max_lines).collect();
    (shown, lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_space_between_tokens_goes() {
        for (typed, compacted) in [
            ("{ \"a b\" : [ 1 , 2.50 ] }\n", r#"{"a b":[1,2.50]}"#),
            (r#"{"q": "\" , :"}"#, r#"{"q":"\" , :"}"#),
            (r#"["\\" , 1]"#, r#"["\\",1]"#),
            ("{}", "{}"),
        ] {
            assert_eq!(compact(typed), compacted);
        }
    }

    #[test]
    fn nesting_is_indented_and_empty_stays_short() {
        let (lines, complete) = pretty(r#"{"b":{"x":[1,[]]},"a":"{,:"}"#, 100);
        let shown = [
            "{",
            "  \"b\": {",
            "    \"x\": [",
            "      1,",
            "      []",
            "    ]",
            "  },",
            "  \"a\": \"{,:\"",
            "}",
        ];
        assert_eq!(lines, shown);
        assert!(complete);
    }

    #[test]
    fn lines_are_bounded() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let (lines, complete) = pretty(&deep, 30);
        assert_eq!((lines.len(), complete), (30, false));
        let (lines, complete) = pretty("[1]", 3);
        assert_eq!((lines.len(), complete), (3, true));
    }
}
