//! Reading rows out of a database that SQLite refuses.
//!
//! SQLite reads them all the same, from a copy: its first page is replaced by one that knows a single table, and that
//! table's root is set to each page in turn that says it is a leaf of a table, whether or not the tree above it can be
//! followed. Pages on the list of free ones are left out: they hold what was deleted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

use crate::error::{Problem, Result};
use crate::locks::beside;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// What SQLite chooses, and nobody here chooses otherwise.
const USUAL_PAGE: usize = 4096;
const TABLE_LEAF: u8 = 0x0d;
/// A log that makes a file longer than by so much is damaged itself.
const GROWTH: u64 = 1 << 30;
/// More columns than any table here has.
const WIDTH: usize = 120;

/// A copy of a database, in a directory of its own.
pub(super) struct Leaves {
    path: PathBuf,
    file: File,
    page_size: usize,
    pub(super) first: Vec<u8>,
}

pub(super) struct LeafRow {
    pub rowid: i64,
    /// The values up to the first that cannot be read, NULL for the others.
    pub values: Vec<Value>,
    pub whole: bool,
}

impl Leaves {
    pub(super) fn copy(from: &Path, dir: &Path) -> io::Result<Self> {
        let source = File::open(from)?;
        let header = header(from)?;
        let size = header.starts_with(MAGIC).then(|| header.get(16..18));
        let page_size = match size.flatten() {
            Some([0, 1]) => 65536,
            Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let is_possible = page_size.is_power_of_two() && page_size >= 512;
        let page_size = if is_possible { page_size } else { USUAL_PAGE };
        let path = dir.join("copy");
        let file = File::create_new(&path)?;
        let mut page = vec![0; page_size];
        for at in (0..source.metadata()?.len().max(1)).step_by(page_size) {
            if source.read_exact_at(&mut page, at).is_err() {
                page.fill(0);
            }
            file.write_all_at(&page, at)?;
        }
        let log = fs::read(beside(from, "-wal")).unwrap_or_default();
        fs::write(beside(&path, "-wal"), &log)?;
        // SQLite heeds no log that makes a file much longer than it is.
        let frames = log
            .get(32..)
            .unwrap_or_default()
            .chunks_exact(24 + page_size);
        let sizes = frames.map(|frame| (frame[8..16] == log[16..24]).then(|| number(frame, 4)));
        let size = u64::from(sizes.max().flatten().unwrap_or(0)) * page_size as u64;
        let here = file.metadata()?.len();
        file.set_len(size.clamp(here, here + GROWTH)).ok();
        // Whatever this answers: closing it moves what was committed from the log to where it belongs.
        Connection::open(&path)
            .and_then(|conn| conn.execute_batch("SELECT count(*) FROM sqlite_schema"))
            .ok();
        let mut leaves = Self {
            file: File::options().read(true).write(true).open(&path)?,
            path,
            page_size,
            first: Vec::new(),
        };
        leaves.first = leaves.page(1).unwrap_or_default();
        Ok(leaves)
    }

    pub(super) fn each_row(
        &self,
        failed: impl Fn(rusqlite::Error) -> Problem,
        mut take: impl FnMut(LeafRow) -> Result<()>,
    ) -> Result<()> {
        let conn = self.with_one_table().map_err(&failed)?;
        let free = self.free();
        let count = self.file.metadata().map_or(0, |meta| meta.len()) / self.page_size as u64;
        for root in (2..=count as u32).filter(|number| !free.contains(number)) {
            let page = self.page(root).unwrap_or_default();
            if page.first() != Some(&TABLE_LEAF) {
                continue;
            }
            conn.execute_batch(&format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET rootpage = {root};
                 PRAGMA writable_schema = RESET;"
            ))
            .map_err(&failed)?;
            let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
            for cell in 0..cells.min(self.page_size / 6) {
                if let Some(row) = row(&conn, cell) {
                    take(row)?;
                }
            }
        }
        Ok(())
    }

    /// Opens the copy as a database with the table `leaf`. What a row is too short to have is no NULL but an empty
    /// blob, which no table here holds.
    fn with_one_table(&self) -> rusqlite::Result<Connection> {
        let model = beside(&self.path, "-model");
        let columns = (0..WIDTH).map(|n| format!("c{n} DEFAULT x''"));
        Connection::open(&model)?.execute_batch(&format!(
            "PRAGMA page_size = {}; CREATE TABLE leaf ({})",
            self.page_size,
            columns.collect::<Vec<_>>().join(", ")
        ))?;
        let mut first = fs::read(&model).unwrap_or_default();
        first.truncate(self.page_size);
        // The number of pages that it knows of: SQLite then asks the file.
        first[28..32].fill(0);
        self.file.write_all_at(&first, 0).ok();
        let conn = Connection::open(&self.path)?;
        conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        Ok(conn)
    }

    /// `None`: out of range, or the disk cannot read it.
    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.page_size];
        let at = u64::from(number.checked_sub(1)?) * self.page_size as u64;
        self.file.read_exact_at(&mut page, at).ok()?;
        Some(page)
    }

    fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let mut trunk = identity(&self.first).map_or(0, |_| number(&self.first, 32));
        while free.insert(trunk)
            && let Some(page) = self.page(trunk)
        {
            let leaves = (number(&page, 4) as usize).min(self.page_size / 4 - 2);
            free.extend((0..leaves).map(|index| number(&page, 8 + 4 * index)));
            trunk = number(&page, 0);
        }
        free
    }
}

pub(super) fn header(of: &Path) -> io::Result<Vec<u8>> {
    let mut header = vec![0; 100];
    let read = File::open(of)?.read_at(&mut header, 0)?;
    header.truncate(read);
    Ok(header)
}

/// `PRAGMA application_id` and `user_version`, where the header can be read.
pub(super) fn identity(header: &[u8]) -> Option<(i64, i64)> {
    let header = header.get(..100)?;
    let values = (number(header, 68).into(), number(header, 60).into());
    header.starts_with(MAGIC).then_some(values)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = &bytes[at..at + 4];
    bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn row(conn: &Connection, cell: usize) -> Option<LeafRow> {
    let read = |columns: &str| -> rusqlite::Result<Vec<Option<Value>>> {
        let sql = format!("SELECT {columns} FROM leaf LIMIT 1 OFFSET ?");
        conn.prepare_cached(&sql)?.query_row([cell], |row| {
            let count = row.as_ref().column_count();
            (0..count).map(|at| Ok(value(row.get_ref(at)?))).collect()
        })
    };
    let Some(Value::Integer(rowid)) = read("rowid").ok()?.pop()? else {
        return None;
    };
    // Of a row whose end is lost, what lies on the leaf can still be read.
    let found: Vec<Option<Value>> = read("*").unwrap_or_else(|_| {
        let one = |column| read(&format!("c{column}")).ok()?.pop()?;
        (0..WIDTH).map(one).collect()
    });
    let (mut values, mut whole) = (Vec::new(), true);
    for value in found {
        match value {
            Some(Value::Blob(_)) => break,
            Some(value) if whole => values.push(value),
            _ => {
                whole = false;
                values.push(Value::Null);
            }
        }
    }
    Some(LeafRow {
        rowid,
        values,
        whole,
    })
}

fn value(found: ValueRef<'_>) -> Option<Value> {
    match found {
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            (!text.contains('\0')).then(|| Value::Text(text.to_owned()))
        }
        other => Value::try_from(other).ok(),
    }
}
