//! Reading one file: opened late, checked before and after, holes left out.

use std::sync::{Arc, OnceLock};

use custody_entries::{
    ChangedBlocks, Content, ContentReader, EntryName, Segment, Settlement, SourceError,
};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::{self, Errno};

use crate::error::entry_error;
use crate::folder::Folder;
use crate::status::Status;

/// A regular file that a walk found.
pub(crate) struct FileContent {
    folder: Arc<Folder>,
    name: EntryName,
    found: Status,
    path: OnceLock<Vec<u8>>,
    changed: Option<ChangedBlocks>,
}

impl FileContent {
    pub(crate) fn new(folder: &Arc<Folder>, name: EntryName, found: Status) -> Self {
        let path = OnceLock::new();
        Self { folder: Arc::clone(folder), name, found, path, changed: None }
    }

    /// The same, of which somebody knows what has changed.
    pub(crate) fn with_changed(self, changed: Option<ChangedBlocks>) -> Self {
        Self { changed, ..self }
    }

    fn open_file(&self) -> io::Result<FileReader> {
        let descriptor = open_quietly(&*self.folder.descriptor()?, self.name.as_bytes())?;
        let opened = Status::of_open(&descriptor)?;
        if !opened.kind.is_file() {
            return Err(Errno::STALE);
        }
        Ok(FileReader {
            descriptor,
            folder: Arc::clone(&self.folder),
            name: self.name.clone(),
            found: self.found,
            size_bytes: opened.size_bytes,
            position: 0,
            may_have_holes: opened.may_have_holes(),
            data_end: if opened.may_have_holes() { 0 } else { opened.size_bytes },
        })
    }
}

impl Content for FileContent {
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError> {
        match self.open_file() {
            Ok(reader) => Ok(Box::new(reader)),
            Err(errno) => Err(entry_error(self.path(), errno)),
        }
    }

    fn path(&self) -> &[u8] {
        self.path.get_or_init(|| self.folder.path_of(self.name.as_bytes()))
    }

    fn changed(&self) -> Option<&ChangedBlocks> {
        self.changed.as_ref()
    }
}

/// Opens for reading without following a link, without waiting for the other end of a pipe and,
/// where allowed (to owners and root), without leaving a trace in the access time.
fn open_quietly(folder: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags | OFlags::CLOEXEC;
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(folder, name, flags, Mode::empty()),
        outcome => outcome,
    }
}

/// A file being read.
struct FileReader {
    descriptor: OwnedFd,
    folder: Arc<Folder>,
    name: EntryName,
    /// What the walk saw: what the entry says, and so what the content must agree with.
    found: Status,
    /// The length when it was opened; what is appended meanwhile is not read.
    size_bytes: u64,
    position: u64,
    may_have_holes: bool,
    /// From `position` to here lies data; beyond, nothing is known yet.
    data_end: u64,
}

impl FileReader {
    fn next_segment(&mut self, buffer: &mut [u8]) -> io::Result<Segment> {
        if self.position >= self.size_bytes || buffer.is_empty() {
            return Ok(Segment::End);
        }
        if self.position >= self.data_end {
            let data_start = self.find_data()?;
            if data_start > self.position {
                let hole_bytes = data_start - self.position;
                self.position = data_start;
                return Ok(Segment::Hole(hole_bytes));
            }
        }
        let length = self.read_data(buffer)?;
        Ok(if length == 0 { Segment::End } else { Segment::Data(length) })
    }

    /// Where the next data begins; notes where it ends.
    fn find_data(&mut self) -> io::Result<u64> {
        let start = match seek(&self.descriptor, SeekFrom::Data(self.position)) {
            Ok(start) => start.min(self.size_bytes),
            Err(Errno::NXIO) => self.size_bytes, // a hole up to the end
            Err(Errno::INVAL | Errno::OPNOTSUPP) => self.position, // all is data
            Err(errno) => return Err(errno),
        };
        self.data_end = match seek(&self.descriptor, SeekFrom::Hole(start)) {
            Ok(end) => end.min(self.size_bytes),
            Err(_) => self.size_bytes,
        };
        Ok(start)
    }

    fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.data_end - self.position).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..wanted).filter(|room| !room.is_empty()) {
            match io::pread(&self.descriptor, room, self.position) {
                Ok(0) => break, // it shrank: `settle` will tell
                Ok(length) => {
                    filled += length;
                    self.position += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(filled)
    }

    fn error(&self, errno: Errno) -> SourceError {
        entry_error(&self.folder.path_of(self.name.as_bytes()), errno)
    }
}

impl ContentReader for FileReader {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError> {
        self.next_segment(buffer).map_err(|errno| self.error(errno))
    }

    fn seek(&mut self, offset: u64) -> bool {
        self.position = offset;
        // Where data ends is found out anew.
        self.data_end = if self.may_have_holes { 0 } else { self.size_bytes };
        true
    }

    fn settle(&mut self) -> Result<Settlement, SourceError> {
        let now = Status::of_open(&self.descriptor).map_err(|errno| self.error(errno))?;
        let is_steady = now.is_steady_since(&self.found);
        Ok(if is_steady { Settlement::Steady } else { Settlement::Changed })
    }
}
