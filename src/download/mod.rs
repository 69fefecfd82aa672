//! From a URL to a verified file under its final name.
//!
//! Two layers: bytes into a part file (`client`, `range`, `part`), and what the complete file means (`publish`,
//! [`name`]). This module knows neither the database nor HeyGen; a [`Ledger`] writes down what must be durable.
//!
//! ```text
//! record part ─ create part ─ bytes, recorded every 16 MiB ─ end proven ─ fsync ─ record publishing ─ rename ─ fsync dir
//! ```
//!
//! Killed before "record publishing", the next [`fetch`] resumes the recorded part or starts afresh; killed after it,
//! [`recover`] finishes without a request. A final name only ever appears by that rename, which replaces nothing.
//!
//! A part is resumed only under a strong ETag, with `Range` and `If-Range`, after its recorded beginning was read
//! again and found unchanged. An answer that does not fit exactly contributes nothing: one plain request follows.
//! The end of a body is proven by `Content-Length` or by the last chunk; a body that ends with its connection is refused.
//! One buffer per transfer: memory does not depend on the size of the file.

mod client;
mod content;
mod error;
pub(crate) mod mount;
pub(crate) mod name;
mod part;
mod publish;
mod range;
pub(crate) mod stop;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use client::FileClient;
pub(crate) use error::{DownloadError, DownloadResult, Next};
pub(crate) use part::discard;
pub(crate) use publish::{Finished, OnDisk, Recovered, recover, verify};
#[cfg(any(test, fuzzing))]
pub(crate) use range::fuzz;

use sha2::{Digest, Sha256};

use crate::video::{Asset, Part, RowId};
use client::FileBody;
use content::HEAD;
use part::PartFile;
use range::{Rest, Whole};

const BUFFER: usize = 64 * 1024;

pub(crate) struct FileRequest<'a> {
    pub(crate) row: RowId,
    /// Presigned; its query is a secret.
    pub(crate) url: &'a str,
    /// Where the file goes: absolute, created if missing.
    pub(crate) dir: &'a Path,
    /// The final name without its extension, from [`name::stem`].
    pub(crate) stem: &'a str,
    pub(crate) asset: Asset,
    /// Take the place of a regular file with other content that has the final name already.
    pub(crate) replace: bool,
    pub(crate) max_size: u64,
    /// What the ledger last heard of an unfinished download of this file.
    pub(crate) part: Option<Part>,
    pub(crate) ledger: &'a dyn Ledger,
}

/// Writes down what a crash must not forget. An error ends the download as [`DownloadError::unrecorded`].
///
/// After [`fetch`] failed, the last word said here is what is on disk; if nothing was said, the part of the
/// [`FileRequest`] is as it was.
pub(crate) trait Ledger {
    /// The first `part.bytes` bytes are durable. With 0 bytes the part is about to be created, replacing the one of
    /// the request, and this must be durable on return; later calls (every 16 MiB, and at a failed end) may lag behind.
    /// `None`: the part was removed; may lag behind, too.
    fn part(&self, part: Option<&Part>) -> DownloadResult<()>;
    /// The part is complete and durable, the rename comes next. Must be durable on return.
    fn publishing(&self, finished: &Finished) -> DownloadResult<()>;
    /// Bytes of the whole file here so far, and of how many; called often.
    fn progress(&self, so_far: u64, total: Option<u64>);
}

/// Downloads one file to its final name, going on from `request.part` where that is provably right.
///
/// The caller must hold the file's lock: two fetches of one file would not corrupt it, but would do the work twice.
pub(crate) fn fetch(client: &FileClient, request: &FileRequest<'_>) -> DownloadResult<Finished> {
    let _under_way = stop::UnderWay::begin();
    let result = request.fetch(client);
    // Whatever ended it: at a signal nothing is the file's own trouble.
    match result {
        Err(_) if stop::is_requested() => Err(DownloadError::stopped()),
        result => result,
    }
}

impl FileRequest<'_> {
    fn fetch(&self, client: &FileClient) -> DownloadResult<Finished> {
        self.refuse_hopeless()?;
        if let Some(part) = PartFile::reopen(self)? {
            let (head, body) = client.get(self.url, Some(&part.now))?;
            match range::rest(self.asset, &body.from, &part.now, &head)? {
                Rest::Append { total } => return self.go_on(body, part, total),
                Rest::Complete => return self.finish(part, &body.from, Ok(())),
                Rest::Whole(whole) => return self.start(body, whole),
                Rest::Again => {}
            }
        }
        let (head, body) = client.get(self.url, None)?;
        let whole = range::whole(self.asset, &body.from, &head)?;
        self.start(body, whole)
    }

    /// No request is made for a file that could not be put where it belongs.
    fn refuse_hopeless(&self) -> DownloadResult<()> {
        if !self.dir.is_absolute() || !name::is_safe_stem(self.stem) {
            let path = self.dir.join(self.stem);
            let unusable = io::ErrorKind::InvalidFilename.into();
            return Err(DownloadError::disk("use the name", &path)(unusable));
        }
        publish::create_dir(self.dir)?;
        for name in name::candidates(self.stem, self.asset) {
            publish::size_under(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// The whole file from byte 0, in a part file of its own. Nothing is created for what is not the file.
    fn start(&self, body: FileBody, whole: Whole) -> DownloadResult<Finished> {
        let mut body = body.expect(0, whole.length, self.max_size)?;
        let mut head = vec![0; HEAD];
        let mut filled = 0;
        while filled < HEAD {
            match body.read(&mut head[filled..])? {
                0 => break,
                bytes => filled += bytes,
            }
        }
        head.truncate(filled);
        if let Some(what) = content::wrong_beginning(self.asset, &head) {
            return Err(DownloadError::content(&body.from, what));
        }
        self.check_target(&head, whole.length)?;
        // Removed before the new one is recorded: a crash in between leaves a record of nothing.
        if let Some(old) = &self.part
            && part::is_part_of(&old.name, self.row, Some(self.stem))
        {
            part::discard(self.dir, &old.name, self.row)?;
        }
        let part = PartFile::create(self, whole)?;
        self.receive(body, part, &head)
    }

    fn go_on(
        &self,
        body: FileBody,
        mut part: PartFile<'_>,
        total: u64,
    ) -> DownloadResult<Finished> {
        let body = body.expect(part.now.bytes, Some(total), self.max_size)?;
        part.now.total = Some(total);
        self.check_target(&part.head()?, Some(total))?;
        self.receive(body, part, &[])
    }

    /// A file of another size under the final name is not this one; no need to fetch it to know.
    fn check_target(&self, head: &[u8], total: Option<u64>) -> DownloadResult<()> {
        let path = self.final_path(head);
        match (publish::size_under(&path)?, total) {
            (Some(size), Some(total)) if size != total && !self.replace => {
                Err(DownloadError::taken(&path))
            }
            _ => Ok(()),
        }
    }

    fn final_path(&self, head: &[u8]) -> PathBuf {
        self.dir.join(name::file_name(self.stem, self.asset, head))
    }

    /// Appends `head` and what follows it until the proven end.
    fn receive(
        &self,
        mut body: FileBody,
        mut part: PartFile<'_>,
        head: &[u8],
    ) -> DownloadResult<Finished> {
        let mut append = || {
            part.write(head)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                self.ledger.progress(part.now.bytes, body.total);
                match body.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(bytes) => part.write(&buffer[..bytes])?,
                    Err(error) => {
                        if error.next == Next::Refused {
                            part.distrust();
                        }
                        return Err(error);
                    }
                }
            }
        };
        let received = append();
        self.finish(part, &body.from, received)
    }

    /// Every byte is here, if all was `received`: make it durable, record it, rename it.
    fn finish(
        &self,
        mut part: PartFile<'_>,
        from: &str,
        received: DownloadResult<()>,
    ) -> DownloadResult<Finished> {
        let finished = match received.and_then(|()| self.complete(&mut part, from)) {
            Ok(finished) => finished,
            Err(error) => return Err(part.end(error)),
        };
        self.ledger.publishing(&finished)?;
        publish::place(self.dir, self.row, &part.file, &finished, self.replace)?;
        Ok(finished)
    }

    fn complete(&self, part: &mut PartFile<'_>, from: &str) -> DownloadResult<Finished> {
        let head = part.head()?;
        if let Some(what) = content::wrong_beginning(self.asset, &head) {
            part.distrust();
            return Err(DownloadError::content(from, what));
        }
        Ok(Finished {
            path: self.final_path(&head),
            sha256: part.seal(publish::final_mode())?,
            bytes: part.now.bytes,
            part_name: part.now.name.clone(),
        })
    }
}

fn hex(hash: Sha256) -> String {
    crate::net::hex(&hash.finalize())
}
