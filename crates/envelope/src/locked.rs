//! Memory for secrets that the system does not write to swap.

use zeroize::{Zeroize, Zeroizing};

use crate::EnvelopeError;

/// Bytes on pages of their own, locked in memory where the system allows it, zeroed before they
/// are unlocked. The pages are shared with nothing else: locks do not nest, so unlocking one
/// secret would otherwise unlock its neighbours.
pub(crate) struct LockedBytes {
    lock: Option<region::LockGuard>,
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    length: usize,
}

impl LockedBytes {
    /// `length` zero bytes.
    pub(crate) fn zeroed(length: usize) -> Result<Self, EnvelopeError> {
        let page_bytes = region::page::size();
        let locked_bytes = length.max(1).next_multiple_of(page_bytes);
        let buffer = Zeroizing::new(vec![0_u8; locked_bytes + page_bytes]);
        let start = buffer.as_ptr().align_offset(page_bytes);
        let pages = buffer
            .get(start..start.saturating_add(locked_bytes))
            .ok_or(EnvelopeError::Bug("the buffer for keys holds no whole page"))?;
        let lock = region::lock(pages.as_ptr(), pages.len()).ok();
        Ok(Self { lock, buffer, start, length })
    }

    /// Whether the system holds the bytes in memory.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.start + self.length).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl Drop for LockedBytes {
    /// Zeroes first; then the fields go in order, the lock before the memory is given back.
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_on_pages_of_their_own() {
        let page_bytes = region::page::size();
        for length in [0, 1, page_bytes, page_bytes + 1] {
            let mut memory = LockedBytes::zeroed(length).unwrap();
            assert_eq!(memory.bytes().len(), length);
            assert!(memory.bytes().iter().all(|byte| *byte == 0));
            memory.bytes_mut().fill(7);
            assert!(memory.bytes().iter().all(|byte| *byte == 7));
            assert_eq!(memory.bytes().as_ptr().align_offset(page_bytes), 0);
            assert!(memory.start + length.next_multiple_of(page_bytes) <= memory.buffer.len());
        }
    }
}
