//! `submit --each`: one body for many people. A table, CSV or JSON Lines, and `{{column}}` in texts. Pure.
//!
//! Nothing is guessed: a placeholder that is no column, an empty value, a line with more or fewer cells is an error
//! that names the line, because the result is a video with somebody's name in it.

use serde_json::{Map, Value};

use crate::error::{Problem, Result};

/// Far more videos than an account creates in a week.
const MAX_LINES: usize = 10_000;

/// One line: a value for each column.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// For error messages: `people.csv, line 3`.
    pub place: String,
    pub values: Map<String, Value>,
    allow_empty: bool,
}

/// Text as editors save it: some begin a file with a byte order mark.
pub(crate) fn utf8<'a>(origin: &str, bytes: &'a [u8]) -> Result<&'a str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map_err(|error| Problem::invalid_body(origin, format!("is not UTF-8: {error}")))
}

/// Reads CSV with a header (`,`, `;` or tab) or JSON Lines of flat objects; `origin` names it in errors.
/// `allow_empty`: an empty value is taken, too.
pub(crate) fn parse(origin: &str, bytes: &[u8], allow_empty: bool) -> Result<Vec<Line>> {
    let text = utf8(origin, bytes)?;
    let lines = if text.trim_start().starts_with('{') {
        json_lines(origin, text)?
    } else {
        csv_lines(origin, text)?
    };
    let why = match lines.len() {
        0 => "has no lines below its header".to_owned(),
        1..=MAX_LINES => {
            let line = |(place, values)| Line {
                place,
                values,
                allow_empty,
            };
            return Ok(lines.into_iter().map(line).collect());
        }
        count => format!("has {count} lines; at most {MAX_LINES} are taken"),
    };
    Err(Problem::invalid_body(origin, why))
}

fn csv_lines(origin: &str, text: &str) -> Result<Vec<(String, Map<String, Value>)>> {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    // Of equally frequent ones the last wins, so the comma stands last.
    let delimiter = [b'\t', b';', b','].into_iter().max_by_key(count);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter.unwrap_or(b','))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut names: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| Problem::invalid_body(origin, format!("is not CSV: {error}")))?;
        let number = record.position().map_or(0, csv::Position::line);
        let place = format!("{origin}, line {number}");
        let cells = record.iter().map(str::trim);
        if names.is_empty() {
            names = cells.map(str::to_owned).collect();
            for (index, name) in names.iter().enumerate() {
                if name.is_empty() || names[..index].contains(name) {
                    let why = format!("column {} has no name of its own: {name:?}", index + 1);
                    return Err(Problem::invalid_body(place, why));
                }
            }
            continue;
        }
        if record.len() != names.len() {
            let why = format!("has {} cells, the header {}", record.len(), names.len());
            return Err(Problem::invalid_body(place, why));
        }
        let values = names.iter().cloned().zip(cells.map(Value::from));
        lines.push((place, values.collect()));
    }
    Ok(lines)
}

fn json_lines(origin: &str, text: &str) -> Result<Vec<(String, Map<String, Value>)>> {
    let mut lines: Vec<(String, Map<String, Value>)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{origin}, line {}", index + 1);
        let invalid = |why: String| Problem::invalid_body(&place, why);
        let values: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| invalid(format!("is not a JSON object: {error}")))?;
        if let Some((name, _)) = values.iter().find(|(_, v)| v.is_object() || v.is_array()) {
            return Err(invalid(format!("{name:?} is not a plain value")));
        }
        if let Some((_, first)) = lines.first()
            && !first.keys().eq(values.keys())
        {
            return Err(invalid("has other names than the first line".to_owned()));
        }
        lines.push((place, values));
    }
    Ok(lines)
}

fn as_typed(name: &str) -> Option<String> {
    Some(name.to_owned())
}

impl Line {
    pub(crate) fn fill(&self, text: &str) -> Result<String> {
        self.replace(text, as_typed, str::to_owned)
    }

    /// `body`, which is JSON, likewise: names and values are the contents of JSON strings. Two braces in a row occur
    /// nowhere else in JSON, so everything that is not replaced keeps its bytes.
    pub(crate) fn fill_json(&self, body: &str) -> Result<String> {
        let unescaped = |name: &str| serde_json::from_str(&format!("\"{name}\"")).ok();
        let escaped = |value: &str| {
            let quoted = Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        self.replace(body, unescaped, escaped)
    }

    /// A file name template, likewise. What would be a directory or a placeholder of ours becomes `_`.
    pub(crate) fn fill_name(&self, template: &str) -> Result<String> {
        let legal = |c: char| c == '/' || c == '{' || c == '}' || c.is_control();
        self.replace(template, as_typed, |value| value.replace(legal, "_"))
    }

    fn replace(
        &self,
        text: &str,
        unescaped: impl Fn(&str) -> Option<String>,
        escaped: impl Fn(&str) -> String,
    ) -> Result<String> {
        let unusable = |why: String| Problem::invalid_body(&self.place, why);
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let named = after
                .split_once("}}")
                .and_then(|(name, rest)| Some((unescaped(name)?.trim().to_owned(), rest)));
            let Some((name, behind)) = named else {
                return Err(unusable("a {{ has no }} of its own".to_owned()));
            };
            let value = match self.values.get(&name) {
                Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => {
                    let names: Vec<&str> = self.values.keys().map(String::as_str).collect();
                    let names = names.join(", ");
                    let why = format!("there is no column {name:?}, only {names}");
                    return Err(unusable(why));
                }
            };
            if value.trim().is_empty() && !self.allow_empty {
                let problem = unusable(format!("{name:?} is empty"));
                return Err(problem.with_hint("--allow-empty takes it all the same"));
            }
            filled.push_str(before);
            filled.push_str(&escaped(&value));
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Vec<Line> {
        parse("t", text.as_bytes(), false).unwrap()
    }

    #[test]
    fn every_usual_kind_of_table_is_read() {
        for text in [
            "name,mail\nAnn,a@x\n",
            "\u{feff}name;mail\r\nAnn;a@x\r\n",
            "name\tmail\nAnn\ta@x",
            "\"name\",\"mail\"\n\"Ann\",\"a@x\"\n",
            "{\"mail\":\"a@x\",\"name\":\"Ann\"}\n\n",
        ] {
            let table = table(text);
            assert_eq!(table.len(), 1, "{text:?}");
            let filled = table[0].fill("{{name}} <{{ mail }}>");
            assert_eq!(filled.unwrap(), "Ann <a@x>", "{text:?}");
        }
        let quoted = table("name,line\n\"A, \"\"B\"\"\nC\",2\nD,3\n");
        assert_eq!(quoted[0].fill("{{name}}").unwrap(), "A, \"B\"\nC");
        assert_eq!(quoted[1].place, "t, line 4");
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        for (text, message) in [
            ("", "t: has no lines"),
            ("name\n", "t: has no lines"),
            ("name,name\nA,B\n", "t, line 1: column 2 has no name"),
            ("a,b\n1,2\n3\n", "t, line 3: has 1 cells, the header 2"),
            ("{\"a\":1}\n{\"b\":1}\n", "t, line 2: has other names"),
            ("{\"a\":[1]}\n", "t, line 1: \"a\" is not a plain value"),
            ("{\"a\":1}\nnonsense\n", "t, line 2: is not a JSON object"),
        ] {
            let problem = parse("t", text.as_bytes(), false).unwrap_err();
            assert!(problem.message.starts_with(message), "{}", problem.message);
        }
        let many = format!("a\n{}", "1\n".repeat(MAX_LINES + 1));
        assert!(parse("t", many.as_bytes(), false).is_err());
        assert!(parse("t", b"a\n\xff\n", false).is_err());
    }

    #[test]
    fn placeholders_are_columns_with_values() {
        let table = table("name,note\nAnn,\n");
        let line = &table[0];
        for (text, message) in [
            (
                "{{nam}}",
                "t, line 2: there is no column \"nam\", only name, note",
            ),
            ("{{name", "t, line 2: a {{ has no }}"),
            ("{{note}}", "t, line 2: \"note\" is empty"),
        ] {
            assert_eq!(
                line.fill(text).unwrap_err().message[..message.len()],
                *message
            );
        }
        let table = parse("t", b"name,note\nAnn,\n", true).unwrap();
        assert_eq!(table[0].fill("[{{note}}]").unwrap(), "[]");
    }

    #[test]
    fn values_in_file_names_stay_in_their_directory() {
        let table = table("name\n../{id}\n");
        let filled = table[0].fill_name("{{name}} {id}");
        assert_eq!(filled.unwrap(), ".._{id}_ {id}".replace("{id}_", "_id_"));
    }

    proptest! {
        #[test]
        fn any_value_is_one_json_string(value in "\\PC{1,20}|[\"\\\\{}\u{0}\n]{1,8}") {
            let line = Line {
                place: String::new(),
                values: [("a".to_owned(), Value::from(value.as_str()))].into_iter().collect(),
                allow_empty: true,
            };
            if let Ok(body) = line.fill_json(r#"{"n":1.50,"x":"<{{a}}>"}"#) {
                let read: Value = serde_json::from_str(&body).unwrap();
                prop_assert_eq!(read["x"].as_str().unwrap(), format!("<{value}>"));
            }
        }
    }
}
