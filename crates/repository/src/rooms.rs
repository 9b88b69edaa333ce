//! Memory that is used again: groups and packs come and go by the thousand, in many sizes, and what an
//! allocator keeps between them would be more than what is in use.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::read::locked;

/// A new room is a multiple of this many bytes.
const STEP_BYTES: usize = 64 << 10;

/// Rooms that nothing is in.
pub(crate) struct Rooms {
    empty: Mutex<Vec<Vec<u8>>>,
    bytes_max: usize,
}

/// Bytes whose room is used again when nobody holds them any more.
pub(crate) struct Roomed {
    bytes: Vec<u8>,
    rooms: Option<Arc<Rooms>>,
}

impl Rooms {
    /// Keeps so many bytes of empty rooms at most.
    pub(crate) fn keeping(bytes_max: usize) -> Self {
        Self { empty: Mutex::default(), bytes_max }
    }

    /// A room for so many bytes, at most a quarter too large. Whatever is in it is of no use.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut empty = locked(&self.empty);
        let fitting = bytes..=bytes + bytes / 4 + STEP_BYTES;
        match empty.iter().position(|room| fitting.contains(&room.capacity())) {
            Some(found) => empty.swap_remove(found),
            None => Vec::with_capacity(bytes.next_multiple_of(STEP_BYTES)),
        }
    }

    /// Keeps a room for later; the oldest give way.
    pub(crate) fn give_back(&self, room: Vec<u8>) {
        let mut empty = locked(&self.empty);
        empty.push(room);
        let mut bytes: usize = empty.iter().map(Vec::capacity).sum();
        while bytes > self.bytes_max && !empty.is_empty() {
            bytes -= empty.remove(0).capacity();
        }
    }
}

impl Roomed {
    /// Bytes in a room of these.
    pub(crate) fn within(rooms: &Arc<Rooms>, bytes: Vec<u8>) -> Self {
        Self { bytes, rooms: Some(Arc::clone(rooms)) }
    }

    /// Bytes in a room of their own.
    pub(crate) fn alone(bytes: Vec<u8>) -> Self {
        Self { bytes, rooms: None }
    }
}

impl Deref for Roomed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Roomed {
    fn drop(&mut self) {
        if let Some(rooms) = &self.rooms {
            rooms.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_used_again_for_what_nearly_fills_it() {
        let rooms = Arc::new(Rooms::keeping(8 << 20));
        let room = rooms.take(1 << 20);
        let place = room.as_ptr();
        drop(Roomed::within(&rooms, room));
        let (small, fitting) = (rooms.take(100_000), rooms.take(1_000_000));
        assert_ne!(small.as_ptr(), place, "it is far too large");
        assert_eq!(fitting.as_ptr(), place);
    }

    #[test]
    fn only_so_much_is_kept_empty() {
        let rooms = Arc::new(Rooms::keeping(8 << 20));
        let all: Vec<Roomed> =
            (0..40).map(|_| Roomed::within(&rooms, rooms.take(1 << 20))).collect();
        drop(all);
        assert_eq!(locked(&rooms.empty).len(), 8);
        drop(Roomed::alone(vec![1; 1 << 20]));
        assert_eq!(locked(&rooms.empty).len(), 8);
    }
}
