//! Answers that are sent while they are made.

use std::io::{self, Read, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use custody_repository::RepositoryError;
use custody_resources::Refusal;

use crate::fault;

/// Pieces of an answer on their way to a slow reader.
const PIECES_WAITING: usize = 4;

/// What `work` writes, as a stream that breaks off where `work` fails.
pub(crate) fn stream(
    work: impl FnOnce(&mut Pieces) -> Result<(), RepositoryError> + Send + 'static,
) -> Result<Box<dyn Read + Send>, Refusal> {
    let (sender, receiver) = bounded(PIECES_WAITING);
    let spawned = thread::Builder::new().name("answer".into()).spawn(move || {
        let mut output = Pieces { sender };
        if let Err(error) = work(&mut output) {
            let broken = io::Error::other(fault::of_repository(&error));
            // The reader may have gone already; then nobody waits for the fault either.
            let _ = output.sender.send(Err(broken));
        }
    });
    spawned.map_err(|error| Refusal::new(503, "ServerBusy", error.to_string()))?;
    Ok(Box::new(Pipe { receiver, piece: Vec::new(), at: 0 }))
}

/// Writes into a channel.
#[derive(Clone)]
pub(crate) struct Pieces {
    sender: Sender<io::Result<Vec<u8>>>,
}

impl Pieces {
    /// Passes a piece on and says whether somebody still reads; an empty one only asks.
    pub(crate) fn send(&self, piece: Vec<u8>) -> bool {
        self.sender.send(Ok(piece)).is_ok()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.send(bytes.to_vec()) {
            Ok(bytes.len())
        } else {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads from a channel.
struct Pipe {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.receiver.recv() {
                Ok(piece) => {
                    self.piece = piece?;
                    self.at = 0;
                }
                Err(_) => return Ok(0),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}
