//! A stream as a source: one file, read once as it comes.
//!
//! A stream that ends says so: it comes in frames, each its length as four bytes (big endian) and
//! then so many bytes, and the frame of length 0 is its end. One that stops without it is broken,
//! and nothing of it may look like the whole.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use custody_entries::{
    Content, ContentReader, Entry, EntryKind, EntryName, Metadata, Segment, Settlement, Sink,
    Source, SourceError, TimeSpec, display_path,
};

use crate::accounts::Accounts;
use crate::error::source_code;

/// Longest frame, in bytes.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Permission bits of the file: the stream's reader alone.
const MODE: u32 = 0o600;

/// Asked whenever a stream has nothing to give yet: whether to go on waiting.
type KeepWaiting = Box<dyn Fn() -> bool + Send>;
/// The stream, until somebody reads it.
type Waiting = Arc<Mutex<Option<FrameReader>>>;

/// Why a stream could not be read to its end, once that is known. Whoever takes the file must ask
/// before it counts.
#[derive(Clone, Default)]
pub struct StreamFault(Arc<Mutex<Option<SourceError>>>);

impl StreamFault {
    /// The fault, if there is one.
    pub fn get(&self) -> Option<SourceError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: &SourceError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.clone());
    }
}

/// One file whose content is a stream.
pub struct StreamSource {
    name: EntryName,
    taken: TimeSpec,
    stream: Waiting,
    fault: StreamFault,
}

impl StreamSource {
    /// The file `name`, last modified at `taken`, with what comes in frames from `stream`. Where
    /// reading it times out, `keep_waiting` is asked.
    pub fn new(
        name: EntryName,
        taken: TimeSpec,
        stream: impl Read + Send + 'static,
        keep_waiting: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let keep_waiting: KeepWaiting = Box::new(keep_waiting);
        let reader =
            FrameReader { stream: Box::new(stream), keep_waiting, left: 0, has_ended: false };
        let stream = Arc::new(Mutex::new(Some(reader)));
        Self { name, taken, stream, fault: StreamFault::default() }
    }

    /// Where a fault will be told.
    pub fn fault(&self) -> StreamFault {
        self.fault.clone()
    }
}

impl Source for StreamSource {
    fn walk(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let accounts = Accounts::of_this_machine();
        let metadata = Metadata {
            mode: MODE,
            uid,
            gid,
            user: accounts.users.name(uid),
            group: accounts.groups.name(gid),
            modified: self.taken,
            ..Metadata::default()
        };
        let entry = Entry { name: self.name.clone(), kind: EntryKind::File { size: 0 }, metadata };
        let content = StreamContent {
            name: self.name.clone(),
            stream: Arc::clone(&self.stream),
            fault: self.fault.clone(),
        };
        sink.file(entry, Box::new(content));
        Ok(())
    }
}

struct StreamContent {
    name: EntryName,
    stream: Waiting,
    fault: StreamFault,
}

impl Content for StreamContent {
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError> {
        let taken = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(frames) = taken else {
            return Err(self.broken("it was read before"));
        };
        let content = Self {
            name: self.name.clone(),
            stream: Arc::clone(&self.stream),
            fault: self.fault.clone(),
        };
        Ok(Box::new(StreamReader { content, frames }))
    }

    fn path(&self) -> &[u8] {
        self.name.as_bytes()
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl StreamContent {
    fn broken(&self, why: &str) -> SourceError {
        let name = display_path(self.name.as_bytes());
        let message = format!("the stream {name} did not come to its end: {why}");
        let error = SourceError { code: source_code::STREAM_BROKEN, message };
        self.fault.note(&error);
        error
    }
}

struct StreamReader {
    content: StreamContent,
    frames: FrameReader,
}

impl ContentReader for StreamReader {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError> {
        match self.frames.fill(buffer) {
            Ok(0) => Ok(Segment::End),
            Ok(length) => Ok(Segment::Data(length)),
            Err(why) => Err(self.content.broken(&why)),
        }
    }

    fn settle(&mut self) -> Result<Settlement, SourceError> {
        Ok(Settlement::Steady)
    }
}

/// Takes a stream out of its frames.
struct FrameReader {
    stream: Box<dyn Read + Send>,
    keep_waiting: KeepWaiting,
    /// Bytes left in the frame at hand.
    left: usize,
    has_ended: bool,
}

impl FrameReader {
    /// Fills the buffer; with less only at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let mut filled = 0;
        while filled < buffer.len() && !self.has_ended {
            if self.left == 0 {
                self.begin_frame()?;
                continue;
            }
            let end = buffer.len().min(filled.saturating_add(self.left));
            let room = buffer.get_mut(filled..end).unwrap_or_default();
            let read = read(&mut *self.stream, &self.keep_waiting, room)?;
            filled += read;
            self.left -= read;
        }
        Ok(filled)
    }

    fn begin_frame(&mut self) -> Result<(), String> {
        let (mut head, mut filled) = ([0; 4], 0);
        while let Some(room) = head.get_mut(filled..).filter(|room| !room.is_empty()) {
            filled += read(&mut *self.stream, &self.keep_waiting, room)?;
        }
        match u32::from_be_bytes(head) {
            0 => self.has_ended = true,
            length if length <= FRAME_BYTES_MAX => self.left = length as usize,
            length => return Err(format!("a frame of {length} bytes is longer than any")),
        }
        Ok(())
    }
}

/// Reads at least one byte.
fn read(
    stream: &mut dyn Read,
    keep_waiting: &KeepWaiting,
    room: &mut [u8],
) -> Result<usize, String> {
    loop {
        match stream.read(room) {
            Ok(0) => return Err("whoever sent it has stopped".to_owned()),
            Ok(length) => return Ok(length),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut if keep_waiting() => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    return Err("nobody waits for it any more".to_owned());
                }
                _ => return Err(error.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What is read of these frames, by buffers of three bytes.
    fn check(bytes: &[u8], expected: Result<&[u8], &str>) {
        let name = EntryName::new(*b"dump").unwrap();
        let source =
            StreamSource::new(name, TimeSpec::default(), Cursor::new(bytes.to_vec()), || true);
        let (content, fault) = (
            StreamContent {
                name: source.name.clone(),
                stream: Arc::clone(&source.stream),
                fault: source.fault(),
            },
            source.fault(),
        );
        let mut reader = content.open().unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 3]);
        let outcome = loop {
            match reader.next(&mut buffer) {
                Ok(Segment::Data(length)) => read.extend_from_slice(&buffer[..length]),
                Ok(_) => break Ok(read.as_slice()),
                Err(error) => break Err(error),
            }
        };
        match (outcome, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(part)) => {
                assert!(error.message.contains(part), "{error}");
                assert_eq!(fault.get(), Some(error));
            }
            (outcome, expected) => panic!("{outcome:?} {expected:?}"),
        }
        assert_eq!(content.open().err().unwrap().code, source_code::STREAM_BROKEN);
    }

    #[test]
    fn a_stream_is_whole_with_its_end_and_not_without() {
        check(b"\0\0\0\0", Ok(b""));
        check(b"\0\0\0\x05hello\0\0\0\0", Ok(b"hello"));
        check(b"\0\0\0\x01h\0\0\0\x04ello\0\0\0\0", Ok(b"hello"));
        check(b"", Err("has stopped"));
        check(b"\0\0\0\x05hello", Err("has stopped"));
        check(b"\0\0\0\x05hel", Err("has stopped"));
        check(b"\0\0\0\x05hello\0\0", Err("has stopped"));
        check(b"\0\x10\0\x01hello", Err("longer than any"));
    }
}
