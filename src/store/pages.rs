//! Reading rows out of a database that SQLite refuses: its file format (<https://sqlite.org/fileformat2.html>) as far
//! as that needs it.
//!
//! Each page that says it is a leaf of a table is read for itself, whether or not the tree above it can be followed.
//! Pages on the list of free ones are left out: they hold what was deleted. A page that is newer in the write-ahead
//! log is read from there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::types::Value;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// What SQLite chooses, and nobody here chooses otherwise.
const USUAL_PAGE: usize = 4096;
const TABLE_LEAF: u8 = 0x0d;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

pub(super) struct Pages {
    file: File,
    log: Vec<u8>,
    /// Where in the log the newest committed version of a page begins.
    logged: HashMap<u32, usize>,
    size: usize,
    /// Bytes of a page that SQLite uses.
    usable: usize,
    count: u32,
}

/// One row of some table, as it lies on its leaf.
pub(super) struct LeafCell {
    pub rowid: i64,
    /// The values, where all of them could be followed to their end.
    pub whole: Option<Vec<Value>>,
    /// The values whose bytes are on the leaf itself; NULL for the others.
    pub local: Vec<Value>,
}

impl Pages {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut header = [0; 100];
        let read = file.read_at(&mut header, 0)?;
        let readable = read == header.len() && header.starts_with(MAGIC);
        let size = match number_at(&header, 16, 2).filter(|_| readable) {
            Some(1) => 65536,
            Some(size) if size.is_power_of_two() && size >= 512 => size,
            _ => USUAL_PAGE,
        };
        let reserved = if readable { usize::from(header[20]) } else { 0 };
        let mut log_name = path.as_os_str().to_owned();
        log_name.push("-wal");
        let log = fs::read(log_name).unwrap_or_default();
        let logged = committed(&log, size);
        let in_file = file.metadata()?.len().div_ceil(size as u64);
        let in_log = logged.keys().max().copied().unwrap_or(0);
        Ok(Self {
            file,
            log,
            logged,
            size,
            usable: size - reserved.min(32),
            count: u32::try_from(in_file).unwrap_or(u32::MAX).max(in_log),
        })
    }

    /// `PRAGMA application_id` and `user_version`, where the header can be read.
    pub(super) fn identity(&self) -> Option<(i64, i64)> {
        let page = self.page(1).filter(|page| page.starts_with(MAGIC))?;
        Some((number(&page, 68, 4)?, number(&page, 60, 4)?))
    }

    /// Hands over every row of every table.
    pub(super) fn each_cell<E>(
        &self,
        mut take: impl FnMut(LeafCell) -> Result<(), E>,
    ) -> Result<(), E> {
        let free = self.free();
        for number in (1..=self.count).filter(|number| !free.contains(number)) {
            let Some(page) = self.page(number) else {
                continue;
            };
            let header = if number == 1 { 100 } else { 0 };
            if page.get(header) != Some(&TABLE_LEAF) {
                continue;
            }
            let cells = number_at(&page, header + 3, 2).unwrap_or(0);
            for index in 0..cells {
                if let Some(cell) = self.cell(&page, header + 8 + 2 * index) {
                    take(cell)?;
                }
            }
        }
        Ok(())
    }

    /// `None`: out of range, or the disk cannot read it.
    fn page(&self, number: u32) -> Option<Vec<u8>> {
        if let Some(at) = self.logged.get(&number) {
            return Some(self.log.get(*at..*at + self.size)?.to_vec());
        }
        let mut page = vec![0; self.size];
        let at = u64::from(number.checked_sub(1)?) * self.size as u64;
        self.file.read_exact_at(&mut page, at).ok()?;
        Some(page)
    }

    fn cell(&self, page: &[u8], pointer: usize) -> Option<LeafCell> {
        let at = number_at(page, pointer, 2)?;
        let (length, at) = varint(page, at)?;
        let (rowid, at) = varint(page, at)?;
        let length = usize::try_from(length).ok()?;
        if length > self.count as usize * self.size {
            return None;
        }
        let on_leaf = self.length_on_leaf(length);
        let leaf = page.get(at..at + on_leaf)?;
        let payload = if on_leaf == length {
            Some(leaf.to_vec())
        } else {
            self.overflowing(leaf, number(page, at + on_leaf, 4)?, length)
        };
        Some(LeafCell {
            rowid,
            whole: payload.and_then(|payload| values(&payload).1),
            local: values(leaf).0,
        })
    }

    fn length_on_leaf(&self, length: usize) -> usize {
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        let even = least + length.saturating_sub(least) % (self.usable - 4);
        match length <= most {
            true => length,
            false if even <= most => even,
            false => least,
        }
    }

    /// The whole of a long payload; `None` when the chain of its pages does not end where it must.
    fn overflowing(&self, leaf: &[u8], first: i64, length: usize) -> Option<Vec<u8>> {
        let mut payload = leaf.to_vec();
        let mut next = first;
        while payload.len() < length {
            let page = self.page(u32::try_from(next).ok()?)?;
            let rest = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(page.get(4..4 + rest)?);
            next = number(&page, 0, 4)?;
        }
        (next == 0).then_some(payload)
    }

    fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let first = self.page(1).filter(|page| page.starts_with(MAGIC));
        let mut trunk = first.and_then(|page| number(&page, 32, 4)).unwrap_or(0);
        while let Ok(number_of_trunk) = u32::try_from(trunk)
            && free.insert(number_of_trunk)
            && let Some(page) = self.page(number_of_trunk)
        {
            let leaves = number_at(&page, 4, 4).unwrap_or(0).min(self.usable / 4 - 2);
            let leaf = |index| u32::try_from(number(&page, 8 + 4 * index, 4)?).ok();
            free.extend((0..leaves).filter_map(leaf));
            trunk = number(&page, 0, 4).unwrap_or(0);
        }
        free
    }
}

/// Where the frames that count begin: those up to the last commit before the first one that does not add up.
fn committed(log: &[u8], page: usize) -> HashMap<u32, usize> {
    let (mut logged, mut pending) = (HashMap::new(), HashMap::new());
    let big_endian = match number(log, 0, 4) {
        Some(0x377f_0682) => false,
        Some(0x377f_0683) => true,
        _ => return logged,
    };
    if number(log, 8, 4) != Some(page as i64) {
        return logged;
    }
    let mut sum = checksum((0, 0), &log[..LOG_HEADER - 8], big_endian);
    for (index, frame) in log[LOG_HEADER..]
        .chunks_exact(FRAME_HEADER + page)
        .enumerate()
    {
        sum = checksum(sum, &frame[..8], big_endian);
        sum = checksum(sum, &frame[FRAME_HEADER..], big_endian);
        let recorded = (number(frame, 16, 4), number(frame, 20, 4));
        if frame[8..16] != log[16..24] || recorded != (Some(sum.0.into()), Some(sum.1.into())) {
            break;
        }
        let number_of_page = number(frame, 0, 4).and_then(|number| u32::try_from(number).ok());
        let at = LOG_HEADER + index * (FRAME_HEADER + page) + FRAME_HEADER;
        pending.extend(number_of_page.map(|number| (number, at)));
        if number(frame, 4, 4) != Some(0) {
            logged.extend(pending.drain());
        }
    }
    logged
}

fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let word = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if big_endian {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(pair)).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}

/// A big-endian number without sign.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<i64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().fold(0, |n, byte| n << 8 | i64::from(*byte)))
}

fn number_at(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, length)?).ok()
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut value = 0;
    for index in 0..8 {
        let byte = *bytes.get(at + index)?;
        value = value << 7 | i64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, at + index + 1));
        }
    }
    Some((value << 8 | i64::from(*bytes.get(at + 8)?), at + 9))
}

/// The values of a record: those up to the first that cannot be read, NULL for the rest; and all, if all can be read.
fn values(record: &[u8]) -> (Vec<Value>, Option<Vec<Value>>) {
    let mut values = Vec::new();
    let Some((header, mut at)) = varint(record, 0) else {
        return (values, None);
    };
    let Ok(header) = usize::try_from(header) else {
        return (values, None);
    };
    let (mut body, mut readable) = (header, true);
    while at < header {
        let Some((kind, end)) = varint(record, at) else {
            return (Vec::new(), None);
        };
        let read = value(record, kind, body).filter(|_| readable);
        readable = read.is_some();
        let (value, end_of_value) = read.unwrap_or((Value::Null, body));
        values.push(value);
        (at, body) = (end, end_of_value);
    }
    let whole = (readable && body == record.len()).then(|| values.clone());
    (values, whole)
}

fn value(record: &[u8], kind: i64, at: usize) -> Option<(Value, usize)> {
    let length = match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 | 7 => 8,
        12.. => usize::try_from((kind - 12) / 2).ok()?,
        _ => return None,
    };
    let end = at.checked_add(length)?;
    let bytes = record.get(at..end)?;
    let value = match kind {
        0 => Value::Null,
        1..=6 => {
            // The sign is that of the first byte.
            let unused = 64 - 8 * length as u32;
            Value::Integer(number(bytes, 0, length)? << unused >> unused)
        }
        7 => Value::Real(f64::from_bits(number(bytes, 0, 8)? as u64)),
        8 | 9 => Value::Integer(kind - 8),
        _ if kind % 2 == 0 => Value::Blob(bytes.to_vec()),
        _ => Value::Text(
            std::str::from_utf8(bytes)
                .ok()
                .filter(|text| !text.contains('\0'))?
                .to_owned(),
        ),
    };
    Some((value, end))
}
