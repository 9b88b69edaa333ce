//! Memory of groups that is used again: groups come and go by the thousand, in many sizes, and what an
//! allocator keeps between them would be more than what is in use.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use super::locked;

/// Empty rooms kept, in bytes.
const EMPTY_BYTES_MAX: usize = 8 << 20;
/// A new room is a multiple of this many bytes.
const STEP_BYTES: usize = 64 << 10;

/// Rooms that nothing is in.
#[derive(Default)]
pub(super) struct Rooms {
    empty: Mutex<Vec<Vec<u8>>>,
}

/// The plain bytes of a group. Their room is used again when nobody holds them any more.
pub(super) struct Group {
    bytes: Vec<u8>,
    rooms: Option<Arc<Rooms>>,
}

impl Rooms {
    /// A room for so many bytes, at most a quarter too large.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut empty = locked(&self.empty);
        let fitting = bytes..=bytes + bytes / 4 + STEP_BYTES;
        match empty.iter().position(|room| fitting.contains(&room.capacity())) {
            Some(found) => empty.swap_remove(found),
            None => Vec::with_capacity(bytes.next_multiple_of(STEP_BYTES)),
        }
    }

    /// Keeps a room for later; the oldest give way.
    fn give_back(&self, mut room: Vec<u8>) {
        room.clear();
        let mut empty = locked(&self.empty);
        empty.push(room);
        let mut bytes: usize = empty.iter().map(Vec::capacity).sum();
        while bytes > EMPTY_BYTES_MAX && !empty.is_empty() {
            bytes -= empty.remove(0).capacity();
        }
    }
}

impl Group {
    /// A group in a room of these.
    pub(super) fn within(rooms: &Arc<Rooms>, bytes: Vec<u8>) -> Self {
        Self { bytes, rooms: Some(Arc::clone(rooms)) }
    }

    /// Bytes on their own.
    pub(super) fn alone(bytes: Vec<u8>) -> Self {
        Self { bytes, rooms: None }
    }
}

impl Deref for Group {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Group {
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
        let rooms = Arc::new(Rooms::default());
        let room = rooms.take(1 << 20);
        let place = room.as_ptr();
        drop(Group::within(&rooms, room));
        let (small, fitting) = (rooms.take(100_000), rooms.take(1_000_000));
        assert_ne!(small.as_ptr(), place, "it is far too large");
        assert_eq!(fitting.as_ptr(), place);
    }

    #[test]
    fn only_so_much_is_kept_empty() {
        let rooms = Arc::new(Rooms::default());
        let groups: Vec<Group> =
            (0..40).map(|_| Group::within(&rooms, rooms.take(1 << 20))).collect();
        drop(groups);
        assert_eq!(locked(&rooms.empty).len(), 8);
        drop(Group::alone(vec![1; 1 << 20]));
        assert_eq!(locked(&rooms.empty).len(), 8);
    }
}
