//! The documents' promises: what they name exists, and what exists is named in them.
//!
//! Names come from the program itself where it can be asked (the tree of commands, the enums) and from its source where
//! it cannot (literals in `match` arms, names of variables).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use heygen_tracker::cli::Cli;
use heygen_tracker::error::Exit;
use heygen_tracker::render::fields::Field;
use heygen_tracker::video::{Asset, HookEvent};

use crate::documents::{page, pages};

type Words = BTreeSet<String>;

/// The text of a page from a heading to the next one of the same or a higher level.
#[track_caller]
fn section(name: &str, heading: &str) -> &'static str {
    let level = heading.split(' ').next().expect("a heading").len();
    let text = page(name);
    let from = text
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("{name} has no section {heading:?}"));
    let body = &text[from + heading.len() + 2..];
    let is_end = |line: &str| {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        (1..=level).contains(&hashes) && line[hashes..].starts_with(' ')
    };
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        if is_end(line) {
            return &body[..at];
        }
        at += line.len();
    }
    body
}

/// The first cells of a section's tables, without their headings.
fn first_cells(section: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = section.lines().collect();
    let is_row = |line: &str| line.starts_with("| ") || line.starts_with("|-");
    let rows: Vec<&str> = (0..lines.len())
        .filter(|&n| is_row(lines[n]) && !lines[n].starts_with("|-"))
        .filter(|&n| !lines.get(n + 1).is_some_and(|next| next.starts_with("|-")))
        .map(|n| lines[n])
        .collect();
    rows.into_iter()
        .map(|line| line[2..].split(" |").next().expect("a cell"))
}

/// What stands between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn first_column(section: &str) -> Words {
    first_cells(section)
        .flat_map(code_spans)
        .map(str::to_owned)
        .collect()
}

/// The `--long` flags in a text.
fn flags_in(text: &str) -> Words {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

fn program() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

fn verbs(program: &Command) -> impl Iterator<Item = &Command> {
    program
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
}

/// The long flags that one command has for itself.
fn own_flags(command: &Command, globals: &Words) -> Words {
    all_flags(command).difference(globals).cloned().collect()
}

fn all_flags(command: &Command) -> Words {
    let long = |arg: &clap::Arg| arg.get_long().map(str::to_owned);
    command.get_arguments().filter_map(long).collect()
}

#[track_caller]
fn assert_same(what: &str, program: &Words, documented: &Words) {
    let undocumented: Vec<_> = program.difference(documented).collect();
    let invented: Vec<_> = documented.difference(program).collect();
    assert!(
        undocumented.is_empty() && invented.is_empty(),
        "{what}: not documented: {undocumented:?}; only documented: {invented:?}"
    );
}

const COMMANDS: &str = "docs/commands.md";
const OUTPUT: &str = "docs/output.md";

fn words(list: impl IntoIterator<Item = impl Into<String>>) -> Words {
    list.into_iter().map(Into::into).collect()
}

// What can be typed

#[test]
fn every_verb_has_a_section_and_every_section_a_verb() {
    let program = program();
    let in_program = words(verbs(&program).map(Command::get_name));
    let headings = page(COMMANDS)
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| *heading != "Options of every verb");
    assert_same("verbs", &in_program, &words(headings));
}

#[test]
fn every_flag_stands_in_its_verbs_section_and_no_other_does() {
    let program = program();
    let globals = all_flags(&program);
    let intro = section(COMMANDS, "## Options of every verb");
    assert_same("global flags", &globals, &flags_in(intro));
    for verb in verbs(&program) {
        let name = verb.get_name();
        let own = own_flags(verb, &globals);
        let mut named = flags_in(section(COMMANDS, &format!("## {name}")));
        for global in &globals {
            named.remove(global);
        }
        assert_same(&format!("flags of {name}"), &own, &named);
    }
}

/// `(verb, flags)` of each `tracker VERB …` in the blocks and code spans of a text, up to the end of that command.
fn invocations(text: &str) -> Vec<(String, Words)> {
    let mut found = Vec::new();
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    for (n, part) in text.split("```").enumerate() {
        if n % 2 == 1 {
            blocks.extend(part.lines().skip(1));
        } else {
            prose.push_str(part);
        }
    }
    for code in blocks.into_iter().chain(code_spans(&prose)) {
        for (at, _) in code.match_indices("tracker ") {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if code[..at].ends_with(is_word) {
                continue;
            }
            let command = &code[at + "tracker ".len()..];
            let end = command.find(['|', '#', '&', ';', ')', '\'', '`']);
            let command = &command[..end.unwrap_or(command.len())];
            let mut arguments = command.split_whitespace();
            let mut verb = arguments.next();
            while verb == Some("--db") {
                verb = arguments.nth(1);
            }
            let Some(verb) = verb.filter(|verb| verb.starts_with(char::is_alphabetic)) else {
                continue;
            };
            found.push((verb.trim_end_matches('.').to_owned(), flags_in(command)));
        }
    }
    found
}

#[test]
fn every_command_line_shown_can_be_typed() {
    let program = program();
    let globals = all_flags(&program);
    let mut shown = Vec::new();
    for page in pages() {
        let of_page = invocations(&page.text);
        shown.extend(
            of_page
                .into_iter()
                .map(|(verb, flags)| (page.name.clone(), verb, flags)),
        );
    }
    assert!(shown.len() > 120, "only {}", shown.len());
    for verb in verbs(&program) {
        let help = verb.get_after_help().map(ToString::to_string);
        let help = format!("```text\n{}\n```", help.unwrap_or_default());
        let place = format!("the help of {}", verb.get_name());
        let of_help = invocations(&help);
        shown.extend(
            of_help
                .into_iter()
                .map(|(verb, flags)| (place.clone(), verb, flags)),
        );
    }
    for (place, verb, flags) in shown
        .into_iter()
        .filter(|(_, verb, _)| verb != "VERB" && verb != "help")
    {
        let command = program
            .find_subcommand(&verb)
            .unwrap_or_else(|| panic!("{place} has `tracker {verb}`"));
        let known: Words = all_flags(command).union(&globals).cloned().collect();
        for flag in flags {
            assert!(
                known.contains(&flag),
                "{place} has `tracker {verb} --{flag}`"
            );
        }
    }
}

// Numbers and names that programs rely on

/// Every exit code; a new variant makes this fail to compile.
fn exits() -> Vec<Exit> {
    let all = [
        Exit::Ok,
        Exit::Trouble,
        Exit::Usage,
        Exit::Auth,
        Exit::Timeout,
        Exit::BadEnd,
    ];
    for exit in all {
        match exit {
            Exit::Ok | Exit::Trouble | Exit::Usage | Exit::Auth | Exit::Timeout | Exit::BadEnd => {}
        }
    }
    all.to_vec()
}

#[test]
fn exit_codes() {
    let mut in_program = words(exits().iter().map(|exit| (*exit as u8).to_string()));
    // A panic; 128 + SIGINT and SIGTERM, see src/signals.rs.
    in_program.extend(words(["101", "130", "143"]));
    let documented = first_cells(section(OUTPUT, "## Exit codes"))
        .flat_map(|cell| cell.split(", "))
        .map(str::trim);
    assert_same("exit codes", &in_program, &words(documented));
    let skill: Words = page("SKILL.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|cell| cell.parse::<u8>().is_ok())
        .map(str::to_owned)
        .collect();
    let of_the_program = words(exits().iter().map(|exit| (*exit as u8).to_string()));
    assert_same("exit codes of SKILL.md", &of_the_program, &skill);
}

/// A source file without its tests.
fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = text.find("\n#[cfg(test)]\nmod tests {");
    text[..end.unwrap_or(text.len())].to_owned()
}

/// Every source file but the stand-in's, whose codes are HeyGen's.
fn sources() -> Vec<String> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("the source") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            if path.is_dir() && ![Some("tests"), Some("sandbox")].contains(&name) {
                collect(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && name != Some("tests.rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut paths,
    );
    assert!(paths.len() > 50, "{paths:?}");
    paths
        .iter()
        .map(|path| source(path.to_str().expect("a path")))
        .collect()
}

/// The body of the function that begins with `signature`, by its indentation.
#[track_caller]
fn function<'a>(source: &'a str, signature: &str) -> &'a str {
    let at = source
        .find(signature)
        .unwrap_or_else(|| panic!("no {signature:?}"));
    let line = source[..at].rfind('\n').map_or(0, |n| n + 1);
    let indent = &source[line..][..source[line..].len() - source[line..].trim_start().len()];
    let end = source[at..].find(&format!("\n{indent}}}"));
    &source[at..at + end.expect("its end")]
}

/// String literals that look like codes. Comments have none in double quotes.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    let is_code =
        |text: &&str| text.len() > 3 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(is_code)
}

fn error_codes() -> Words {
    let mut codes = Words::new();
    for (file, signature) in [
        ("src/error.rs", "pub mod code"),
        ("src/download/error.rs", "impl DownloadError {"),
        ("src/heygen/error.rs", "fn status_code("),
        ("src/heygen/client.rs", "fn no_answer("),
    ] {
        let source = source(file);
        let found = words(literals(function(&source, signature)));
        assert!(!found.is_empty(), "{file}: {signature}");
        codes.extend(found);
    }
    // Made on the spot: the code of an answer without sense, of a file, of a hook.
    let made = [
        r#""code": ""#,
        "let code = code.unwrap_or_else",
        "const FAILED: &str",
        r#"Problem::new(""#,
    ];
    for source in sources() {
        for line in source.lines() {
            if made.iter().any(|made| line.contains(made)) {
                let code = literals(line)
                    .filter(|text| !["code", "message", "hint", "error", "type"].contains(text));
                codes.extend(code.take(1).map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn error_codes_are_a_closed_list() {
    let documented = first_column(section(OUTPUT, "## Error codes"));
    assert_same("error codes", &error_codes(), &documented);
}

/// Names in capitals that are read from the environment.
fn variables_read() -> Words {
    let readers = [
        ".get(\"",
        ".path(\"",
        ".text(\"",
        "variable(\"",
        "variable: \"",
        "(\"TRACKER_NAME",
    ];
    let is_name = |name: &&str| {
        name.len() > 3
            && name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit())
    };
    // Read by the crate that writes colors; and proxies, of which there is a list.
    let mut names = words([
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
    ]);
    for source in sources() {
        for reader in readers {
            for (at, _) in source.match_indices(reader) {
                let text = &source[at..];
                let name = text.split('"').nth(1).expect("a literal");
                names.extend(Some(name).filter(is_name).map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn environment_variables() {
    let documented = first_column(section("docs/settings.md", "## Environment"));
    assert_same("variables", &variables_read(), &documented);
}

#[test]
fn variables_and_events_of_hooks() {
    let source = source("src/pass/hooks.rs");
    let given = words(
        source
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.starts_with("TRACKER_"))
            // For a `tracker` that the hook starts.
            .filter(|text| *text != "TRACKER_HOOK"),
    );
    assert_same(
        "variables of hooks",
        &given,
        &first_column(section("docs/hooks.md", "## What a hook gets")),
    );
    let events = [
        HookEvent::Completed,
        HookEvent::Saved,
        HookEvent::Failed,
        HookEvent::Stalled,
        HookEvent::Attention,
        HookEvent::Idle,
    ];
    let row = section("docs/hooks.md", "## What a hook gets")
        .lines()
        .find(|line| line.starts_with("| `TRACKER_EVENT`"))
        .expect("a row");
    let documented = words(code_spans(row).skip(1));
    assert_same(
        "events of hooks",
        &words(events.iter().map(|event| event.word())),
        &documented,
    );
}

#[test]
fn variables_anywhere_exist() {
    // Two are the tests' own.
    let all = sources().concat() + include_str!("sweep.rs") + include_str!("documents.rs");
    for page in pages() {
        let document = &page.name;
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        for word in page.text.split(|c: char| !is_name(c)) {
            if word.starts_with("TRACKER_") || word.starts_with("HEYGEN_") {
                assert!(
                    all.contains(&format!("\"{word}\"")),
                    "{document} names {word}"
                );
            }
        }
    }
}

#[test]
fn fields_and_columns() {
    let output = page(OUTPUT);
    let list = |from: &str, to: &str| -> Vec<&str> {
        let at = output.find(from).unwrap_or_else(|| panic!("no {from:?}"));
        let text = &output[at + from.len()..];
        let end = text.find(to).unwrap_or_else(|| panic!("no {to:?}"));
        code_spans(&text[..end]).collect()
    };
    let names =
        |fields: &[Field]| -> Vec<&str> { fields.iter().map(|field| field.name()).collect() };
    assert_eq!(list("in seconds:\n", "\nIn `show`"), names(Field::DEFAULT));
    let extended = &Field::ALL[Field::DEFAULT.len()..];
    assert_eq!(
        list("named in `--fields`, also ", "Only in"),
        names(extended)
    );
    for columns in [Field::LIST, Field::SUBMIT] {
        let columns = format!("`{}`", names(columns).join(" "));
        assert!(output.contains(&columns), "{columns}");
    }
}

#[test]
fn lines_of_check() {
    let source = source("src/pass/report.rs");
    let of_kind = |mark: &str| -> Words {
        let parts = source.match_indices(mark);
        parts
            .filter_map(|(at, _)| source[at + mark.len()..].split('"').next())
            .map(str::to_owned)
            .collect()
    };
    let types: Words = of_kind("\"type\": \"")
        .union(&of_kind("#[serde(tag = \"type\", rename = \""))
        .cloned()
        .collect();
    let documented = first_column(section(OUTPUT, "## Lines of `check --json`"));
    assert_same("types", &types, &documented);
}

#[test]
fn status_words_of_our_own() {
    // The CHECK of the first migration is the closed list; `accepted` is never shown, HeyGen's word is.
    let schema = include_str!("../../migrations/0001_initial.sql");
    let at = schema.find("CHECK (phase IN (").expect("the phases");
    let phases = schema[at..].split(')').next().expect("their end");
    let mut phases = words(phases.split('\'').skip(1).step_by(2));
    assert!(phases.remove("accepted"), "{phases:?}");
    let documented = first_column(section(OUTPUT, "## Status"));
    assert_same("status words", &phases, &documented);
}

#[test]
fn assets_are_named() {
    for verb in ["submit", "download"] {
        let text = section(COMMANDS, &format!("## {verb}"));
        for asset in Asset::ALL {
            assert!(
                text.contains(&format!("`{}`", asset.word())),
                "{verb}: {asset}"
            );
        }
    }
}
