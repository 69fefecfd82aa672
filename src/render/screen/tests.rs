use std::sync::Arc;

use super::*;

/// What an in-memory screen was told.
#[derive(Clone, Debug, Default)]
struct Captured {
    out: Written,
    err: Written,
}

impl Captured {
    /// stdout so far.
    fn out(&self) -> String {
        self.out.text()
    }

    /// stderr so far.
    fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On any two writers, without colours.
fn on_both(
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
    terminals: bool,
    options: &ScreenOptions,
) -> Screen {
    Screen {
        streams: Mutex::new(Streams {
            out: Box::new(out),
            err: Box::new(err),
            outlet: None,
            pending: Vec::new(),
            is_closed: false,
            failed: None,
        }),
        progress: Progress::new(DEFAULT_WIDTH, false),
        colors: (false, false),
        out_is_terminal: terminals,
        err_is_terminal: terminals,
        width: DEFAULT_WIDTH,
        quiet: options.quiet,
        verbose: options.verbose,
        json: options.json,
    }
}

fn in_memory(options: &ScreenOptions) -> (Screen, Captured) {
    let captured = Captured::default();
    let (out, err) = (captured.out.clone(), captured.err.clone());
    (on_both(out, err, false, options), captured)
}

/// Fails every write with `kind`, and counts the writes.
struct Broken(ErrorKind, Arc<Mutex<usize>>);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        *self.1.lock().unwrap() += 1;
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps each write apart.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<String>>>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.0.lock().unwrap().push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn on(out: impl Write + Send + 'static, terminal: bool) -> Screen {
    on_both(out, io::sink(), terminal, &ScreenOptions::default())
}

#[test]
fn results_and_messages_go_their_ways() {
    let (screen, captured) = in_memory(&ScreenOptions::default());
    screen.line("15 saved");
    screen.note("note: one");
    screen.warn("two");
    screen.error("three\nfour");
    screen.hint("five");
    screen.json_line(&["six"]);
    screen.json_message(&[7]);
    screen.finish().unwrap();
    assert_eq!(captured.out(), "15 saved\n[\"six\"]\n");
    assert_eq!(
        captured.err(),
        "note: one\nwarning: two\nerror: three\nfour\nhint: five\n[7]\n"
    );
}

#[test]
fn quiet_drops_notes_only() {
    let (screen, captured) = in_memory(&ScreenOptions {
        quiet: true,
        ..ScreenOptions::default()
    });
    screen.note("dropped");
    screen.warn("kept");
    assert_eq!(captured.err(), "warning: kept\n");
}

#[test]
fn messages_are_sanitized_whatever_they_quote() {
    let (screen, captured) = in_memory(&ScreenOptions::default());
    screen.error("HeyGen says \x1b[2J\u{202e}");
    assert_eq!(captured.err(), "error: HeyGen says \\x1b[2J\\u{202e}\n");
}

#[test]
fn a_line_leaves_at_once_and_in_one_write() {
    let writes = Writes::default();
    let screen = on(writes.clone(), false);
    screen.line("one");
    screen.line("two");
    assert_eq!(*writes.0.lock().unwrap(), ["one\n", "two\n"]);
}

#[test]
fn a_listing_leaves_in_blocks_but_row_by_row_on_a_terminal() {
    for (terminal, expected) in [(false, 1), (true, 3)] {
        let writes = Writes::default();
        let screen = on(writes.clone(), terminal);
        screen.row("one");
        screen.row("two");
        screen.block("three\nfour\n");
        screen.finish().unwrap();
        let writes = writes.0.lock().unwrap();
        assert_eq!(writes.len(), expected);
        assert_eq!(writes.concat(), "one\ntwo\nthree\nfour\n");
    }
}

#[test]
fn a_long_listing_is_not_kept_in_memory() {
    let writes = Writes::default();
    let screen = on(writes.clone(), false);
    for _ in 0..1000 {
        screen.row(&"x".repeat(1000));
    }
    assert!(writes.0.lock().unwrap().len() > 10);
}

#[test]
fn pending_rows_come_before_the_message_that_follows_them() {
    let both = Writes::default();
    let (out, err) = (both.clone(), both.clone());
    let screen = on_both(out, err, false, &ScreenOptions::default());
    screen.row("row");
    screen.note("showing 1 of 2");
    assert_eq!(*both.0.lock().unwrap(), ["row\n", "showing 1 of 2\n"]);
}

#[test]
fn a_closed_pipe_is_quiet_and_ends_the_writing() {
    let writes = Arc::default();
    let screen = on(Broken(ErrorKind::BrokenPipe, Arc::clone(&writes)), false);
    assert!(!screen.is_closed());
    screen.line("one");
    assert!(screen.is_closed());
    screen.line("two");
    screen.row("three");
    assert!(screen.finish().is_ok());
    assert_eq!(*writes.lock().unwrap(), 1);
}

#[test]
fn a_full_disk_is_an_error_even_if_only_finish_meets_it() {
    let screen = on(Broken(ErrorKind::StorageFull, Arc::default()), false);
    screen.row("one");
    assert!(!screen.is_closed());
    let error = screen.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(screen.finish().is_ok(), "told once");
}

#[cfg(target_os = "linux")]
#[test]
fn dev_full_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let screen = on(full.unwrap(), false);
    screen.line("one");
    let error = screen.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[test]
fn the_width_is_that_of_columns_then_the_terminal_then_80() {
    for (columns, size, width) in [
        (Some("60"), Some(100), 60),
        (None, Some(100), 100),
        (Some("wide"), Some(100), 100),
        (Some("0"), None, 80),
        (None, None, 80),
    ] {
        assert_eq!(super::width(columns, size), width);
    }
}

#[test]
fn threads_do_not_mix_their_lines() {
    let (screen, captured) = in_memory(&ScreenOptions::default());
    std::thread::scope(|scope| {
        for word in ["aaaa", "bbbb"] {
            let screen = &screen;
            scope.spawn(move || (0..200).for_each(|_| screen.line(word)));
        }
    });
    let out = captured.out();
    assert_eq!(out.lines().count(), 400);
    assert!(out.lines().all(|line| line == "aaaa" || line == "bbbb"));
}
