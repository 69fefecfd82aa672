//! The documents: links lead somewhere, the options of every verb are the program's own, and what is shown works.
//!
//! Every fenced block of `sh`, `bash` or `console` is run in a new home with a key, a `body.json`, the program in its
//! `PATH` and a stand-in for HeyGen that renders at once; in `console` the answers are compared, and `…` stands for
//! anything. Comments around a block, which no reader sees, say what is special about it:
//!
//! | comment | means |
//! |---|---|
//! | `not run: WHY` | it is not |
//! | `goes on` | in the home and the shell of the block before |
//! | `file: NAME` | it is the content of that file in the home, and executable if it is a script |
//! | `needs: PROGRAM…` | skipped, loudly, where one is missing |
//! | `every video fails` | at the stand-in |
//! | `before: SCRIPT`, `after: SCRIPT` | run around it: what it takes for granted, and what must be true then |
//!
//! `RECEIVER` is an address that appends what is POSTed there to the file `received`, and `as_cron FILE` runs the lines of
//! a crontab as cron would; `eventually COMMAND` repeats a command until it succeeds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Arg, CommandFactory};
use heygen_tracker::cli::Cli;
use heygen_tracker::http::{Limits, Request, Response, Server, Wire};

use crate::heygen::{Options, Render};
use crate::support::{BODY, Bench, TRACKER, run, skipped};

/// Set to anything, the tables of options are written instead of compared.
const REWRITE: &str = "TRACKER_WRITE_DOCS";

/// A document of the project.
pub struct Page {
    /// Relative to the project.
    pub name: String,
    pub text: String,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents for people, read once.
pub fn pages() -> &'static [Page] {
    static PAGES: OnceLock<Vec<Page>> = OnceLock::new();
    PAGES.get_or_init(|| {
        let mut names: Vec<PathBuf> = ["README", "SKILL", "CONTRIBUTING", "SECURITY", "CHANGELOG"]
            .map(|name| format!("{name}.md").into())
            .to_vec();
        let docs = fs::read_dir(project().join("docs")).expect("docs");
        let docs = docs.map(|entry| Path::new("docs").join(entry.expect("an entry").file_name()));
        names.extend(docs.filter(|path| path.extension().is_some_and(|end| end == "md")));
        names.sort();
        let read = |name: PathBuf| Page {
            text: fs::read_to_string(project().join(&name)).expect("a page"),
            name: name.to_str().expect("a name").to_owned(),
        };
        names.into_iter().map(read).collect()
    })
}

#[track_caller]
fn document(name: &str) -> &'static Page {
    let found = pages().iter().find(|page| page.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

/// The text of one of them.
#[track_caller]
pub fn page(name: &str) -> &'static str {
    &document(name).text
}

// Links

/// GitHub's name for a heading.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

/// The lines outside of blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        within ^= fence;
        !within && !fence
    })
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(anchor)
        .collect()
}

fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().expect("a target"))
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for page in pages() {
        for target in targets(&page.text).filter(|target| !target.starts_with("https://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match path {
                "" => project().join(&page.name),
                _ => project().join(&page.name).with_file_name(path),
            };
            let text = fs::read(&place).unwrap_or_else(|e| panic!("{}: {target}: {e}", page.name));
            let text = String::from_utf8_lossy(&text);
            let found = anchor.is_empty() || anchors(&text).contains(anchor);
            assert!(found, "{}: {target}", page.name);
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn files_of_the_project_that_are_named_exist() {
    let places = [
        "src/",
        "tests/",
        "docs/",
        "migrations/",
        "packaging/",
        ".ci/",
    ];
    let mut checked = 0;
    for page in pages().iter().filter(|page| page.name != "CHANGELOG.md") {
        let spans = page
            .text
            .split('`')
            .filter(|span| !span.contains([' ', '\n']));
        for span in spans.filter(|span| places.iter().any(|place| span.starts_with(place))) {
            let is_example = span.contains(|c: char| c.is_ascii_uppercase());
            assert!(
                is_example || project().join(span).exists(),
                "{}: {span}",
                page.name
            );
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn the_readme_is_short_and_one_click_from_every_page() {
    let readme = page("README.md");
    assert!(readme.lines().count() <= 250);
    let linked: Vec<&str> = targets(readme)
        .map(|to| to.split('#').next().expect("a page"))
        .collect();
    for page in pages().iter().filter(|page| page.name != "README.md") {
        assert!(linked.contains(&page.name.as_str()), "{}", page.name);
    }
}

// The reference

/// One row of a table of options.
fn option_row(arg: &Arg) -> String {
    let mut name = arg.to_string();
    if let (Some(short), Some(_)) = (arg.get_short(), arg.get_long()) {
        name.insert_str(0, &format!("-{short}, "));
    }
    let mut does = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if arg.get_action().takes_values() {
        let values = arg.get_possible_values();
        let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if !values.is_empty() && !arg.is_hide_possible_values_set() {
            write!(does, ": {}", values.join(", ")).expect("text");
        }
        let default = arg.get_default_values().first();
        let default = default.filter(|_| !arg.is_hide_default_value_set());
        if let Some(default) = default.and_then(|value| value.to_str()) {
            write!(does, " [default: {default}]").expect("text");
        }
    }
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{}` | {} |\n", cell(&name), cell(&does))
}

/// What the program says about the options of a verb.
fn options_table(verb: &str) -> String {
    let mut program = Cli::command();
    program.build();
    let own = |arg: &&Arg| verb == program.get_name() || !arg.is_global_set();
    let mut command = match program.find_subcommand(verb) {
        Some(command) => command.clone(),
        None => program.clone(),
    };
    let usage = command.render_usage().to_string();
    let mut text = format!(
        "```text\n{}\n```\n",
        usage
            .trim_start_matches("Usage: ")
            .replace("\n       ", "\n")
    );
    let is_help = |arg: &&Arg| arg.get_id() == "help" && verb != program.get_name();
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(own)
        .filter(|arg| !is_help(arg))
        .collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for heading in arguments.iter().map(|arg| arg.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings.sort_by_key(Option::is_some);
    for heading in headings {
        let title = heading.unwrap_or("option").to_lowercase();
        write!(text, "\n| {title} | does |\n|---|---|\n").expect("text");
        let within = arguments
            .iter()
            .filter(|arg| arg.get_help_heading() == heading);
        text.extend(within.map(|arg| option_row(arg)));
    }
    text
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it is typed by hand")]
fn the_reference_has_the_options_of_every_verb() {
    let name = "docs/commands.md";
    let mut written = String::new();
    let mut rest = page(name);
    while let Some((before, after)) = rest.split_once("<!-- options: ") {
        let (verb, after) = after.split_once(" -->\n").expect("a verb");
        let (_, after) = after.split_once("<!-- end -->").expect("an end");
        let table = options_table(verb);
        write!(
            written,
            "{before}<!-- options: {verb} -->\n{table}<!-- end -->"
        )
        .expect("text");
        rest = after;
    }
    written.push_str(rest);
    if std::env::var_os(REWRITE).is_some() {
        fs::write(project().join(name), written).expect("the reference");
    } else if let Some((old, new)) = page(name)
        .lines()
        .zip(written.lines())
        .find(|(old, new)| old != new)
    {
        panic!("{name} has {old:?}, the program {new:?}; {REWRITE}=1 writes it anew");
    } else {
        assert_eq!(page(name), written);
    }
}

// What is shown works

/// A fenced block and what the comments around it say.
#[derive(Debug)]
struct Block {
    line: usize,
    language: String,
    text: String,
    comments: Vec<String>,
}

impl Block {
    fn says(&self, what: &str) -> Option<&str> {
        let mut found = self
            .comments
            .iter()
            .filter_map(|comment| comment.strip_prefix(what));
        found.next().map(str::trim)
    }

    /// Whether somebody is expected to type it or to save it.
    fn is_work(&self) -> bool {
        ["sh", "bash", "console"].contains(&self.language.as_str()) || self.says("file:").is_some()
    }
}

const COMMENTS: [&str; 7] = [
    "not run:",
    "goes on",
    "file:",
    "needs:",
    "every video fails",
    "before:",
    "after:",
];

/// The blocks of a page, with the comments that touch them.
fn blocks(page: &Page) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut comments = Vec::new();
    let mut lines = page.text.lines().enumerate().map(|(n, line)| (n + 1, line));
    let mut touches = false;
    while let Some((line, text)) = lines.next() {
        if let Some(language) = text.strip_prefix("```") {
            let content = lines
                .by_ref()
                .map(|(_, text)| text)
                .take_while(|text| *text != "```");
            let text = content.map(|line| format!("{line}\n")).collect();
            let (language, comments) = (language.to_owned(), std::mem::take(&mut comments));
            assert!(
                !language.is_empty(),
                "{}:{line}: of which language?",
                page.name
            );
            found.push(Block {
                line,
                language,
                text,
                comments,
            });
            touches = true;
        } else if let Some(begun) = text.strip_prefix("<!-- ") {
            let mut comment = begun.to_owned();
            while !comment.ends_with("-->") {
                let (_, more) = lines.next().expect("the end of a comment");
                write!(comment, "\n{more}").expect("text");
            }
            let comment = comment.trim_end_matches("-->").trim().to_owned();
            if comment.starts_with("options:") || comment == "end" {
                continue;
            }
            match found
                .last_mut()
                .filter(|_| touches && comment.starts_with("after:"))
            {
                Some(block) => block.comments.push(comment),
                None => comments.push(comment),
            }
        } else {
            assert!(
                !text.starts_with("    "),
                "{}:{line}: a block without a fence is not run",
                page.name
            );
            assert!(
                comments.is_empty(),
                "{}:{line}: of which block? {comments:?}",
                page.name
            );
            touches = false;
        }
    }
    for block in &found {
        let place = format!("{}:{}", page.name, block.line);
        for comment in &block.comments {
            assert!(
                COMMENTS.iter().any(|known| comment.starts_with(known)),
                "{place}: {comment}"
            );
        }
        let why = block.says("not run:");
        assert!(
            why.is_none_or(|why| !why.is_empty()),
            "{place}: why is it not run?"
        );
    }
    found
}

/// What the checks of a page may use; the rest of the environment is what the home brings.
const PRELUDE: &str = r#"
as_cron() {
    sed -e "s|/home/ann|$HOME|g" -e 's/^[A-Z_]*=.*/export "&"/' -e 's/^\([*0-9/]* \)\{5\}//' "$1" > "$HOME/.as-cron"
    env -i HOME="$HOME" PATH=/usr/bin:/bin HEYGEN_API_BASE="$HEYGEN_API_BASE" sh -e "$HOME/.as-cron"
}
eventually() {
    until "$@"; do sleep 0.02; done
}
"#;

/// The script that does what a reader would do with these blocks.
fn script(page: &Page, chain: &[Block]) -> String {
    let mut script = PRELUDE.to_owned();
    for block in chain {
        writeln!(script, "echo 'at {}:{}' >&2", page.name, block.line).expect("text");
        let text = &block.text;
        let part = if let Some(name) = block.says("file:") {
            let mode = if text.starts_with("#!") { 755 } else { 644 };
            format!(
                "mkdir -p \"$(dirname '{name}')\"\ncat > '{name}' << 'END OF FILE'\n{text}END OF FILE\nchmod {mode} '{name}'\n"
            )
        } else if block.language == "console" {
            let typed = text.lines().filter_map(|line| line.strip_prefix("$ "));
            let shown = typed.map(|line| {
                format!(
                    "echo '$ {}'; {{ {line}\n}} 2>&1 || true\n",
                    line.replace('\'', r"'\''")
                )
            });
            format!(
                "{{\n{}}} > .console-{}\n",
                shown.collect::<String>(),
                block.line
            )
        } else {
            text.clone()
        };
        for part in [
            block.says("before:").unwrap_or(""),
            &part,
            block.says("after:").unwrap_or(""),
        ] {
            writeln!(script, "{part}").expect("text");
        }
    }
    script
}

/// Whether a line is what was promised, in which `…` stands for anything.
fn is_like(line: &str, promised: &str) -> bool {
    let Some((head, tail)) = promised.split_once('…') else {
        return line == promised;
    };
    let mut rests = line.strip_prefix(head).into_iter();
    rests.any(|rest| {
        rest.char_indices()
            .any(|(at, _)| is_like(&rest[at..], tail))
            || tail.is_empty()
    })
}

/// A home as the documents take it for granted.
fn home(every_video_fails: bool) -> Bench {
    let bench = Bench::with(Options {
        render: Render::After(Duration::ZERO),
        fail_rate: if every_video_fails { 1.0 } else { 0.0 },
        ..Options::default()
    });
    bench.file("body.json", BODY);
    for dir in [".config/heygen", ".local/bin"] {
        fs::create_dir_all(bench.path(dir)).expect("a directory");
    }
    let mut key = fs::OpenOptions::new();
    let key = key.write(true).create_new(true).mode(0o600);
    let mut key = key
        .open(bench.path(".config/heygen/api-key"))
        .expect("a file");
    writeln!(key, "{}", bench.heygen.key()).expect("a key");
    symlink(TRACKER, bench.path(".local/bin/tracker")).expect("a link");
    bench
}

/// Where programs are that pages need.
#[allow(
    clippy::disallowed_methods,
    reason = "where they are is the machine's business"
)]
fn path() -> String {
    let clients = std::env::var("TRACKER_TEST_CLIENTS").map(|clients| format!(":{clients}/bin"));
    std::env::var("PATH").expect("a PATH") + &clients.unwrap_or_default()
}

/// Takes whatever is POSTed.
fn receiver(bench: &Bench) -> Server {
    let received = bench.path("received");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let take = move |request: &Request, wire: &mut Wire<'_>| {
        let mut file = fs::OpenOptions::new();
        let mut file = file.create(true).append(true).open(&received)?;
        file.write_all(&request.body)?;
        wire.send(Response::new(200))
    };
    Server::start(listener, Limits::default(), take, |_, _| {}).expect("a receiver")
}

/// Runs blocks that share a home; `stdin` is the key, which is what a person would paste.
fn run_chain(page: &Page, chain: &[Block]) {
    let bench = home(
        chain
            .iter()
            .any(|block| block.says("every video fails").is_some()),
    );
    let receiver = receiver(&bench);
    let shell = if chain.iter().any(|block| block.language == "bash") {
        "bash"
    } else {
        "sh"
    };
    let mut command = Command::new(shell);
    command.args(["-e", "-c", &script(page, chain)]);
    bench.prepare(&mut command);
    let pasted = bench.file(".pasted", bench.heygen.key());
    command
        .env_remove("TRACKER_DB")
        .env_remove("HEYGEN_API_KEY")
        .env("HEYGEN_API_KEY_FILE", bench.path(".config/heygen/api-key"))
        .env(
            "PATH",
            format!("{}/.local/bin:{}", bench.dir.path().display(), path()),
        )
        .env("RECEIVER", format!("http://{}/", receiver.address()))
        .stdin(fs::File::open(pasted).expect("the key"));
    let run = run(&mut command).exits(0);
    for block in chain.iter().filter(|block| block.language == "console") {
        let shown =
            fs::read_to_string(bench.path(&format!(".console-{}", block.line))).expect("output");
        let same = shown.lines().count() == block.text.lines().count()
            && shown
                .lines()
                .zip(block.text.lines())
                .all(|(line, promised)| is_like(line, promised));
        assert!(
            same,
            "{}:{} promises\n{}but it is\n{shown}",
            page.name, block.line, block.text
        );
    }
    bench.assert_decent(&run);
}

/// Runs what a page shows; how many blocks that were.
fn run_page(page: &Page) -> usize {
    let mut chains: Vec<Vec<Block>> = Vec::new();
    let work = blocks(page).into_iter().filter(Block::is_work);
    for block in work.filter(|block| block.says("not run:").is_none()) {
        match chains.last_mut() {
            Some(chain) if block.says("goes on").is_some() => chain.push(block),
            _ => chains.push(vec![block]),
        }
    }
    let mut count = 0;
    for chain in chains {
        let needs: Vec<&str> = chain
            .iter()
            .filter_map(|block| block.says("needs:"))
            .flat_map(str::split_whitespace)
            .collect();
        let places = path();
        let has =
            |program: &&str| std::env::split_paths(&places).any(|dir| dir.join(program).exists());
        match needs.iter().find(|program| !has(program)) {
            Some(program) => skipped(&format!("{}:{} needs {program}", page.name, chain[0].line)),
            None => {
                run_chain(page, &chain);
                count += chain.len();
            }
        }
    }
    count
}

#[test]
fn what_the_readme_shows_works() {
    assert!(run_page(document("README.md")) >= 3);
}

#[test]
fn what_the_recipes_show_works() {
    assert!(run_page(document("docs/recipes.md")) >= 10);
}

#[test]
fn what_the_page_on_hooks_shows_works() {
    assert!(run_page(document("docs/hooks.md")) >= 2);
}

#[test]
fn what_all_other_pages_show_works() {
    let own = ["README.md", "docs/recipes.md", "docs/hooks.md"];
    let others = pages()
        .iter()
        .filter(|page| !own.contains(&page.name.as_str()));
    assert!(others.map(run_page).sum::<usize>() >= 5);
}
