//! Bytes that must not be seen.

use zeroize::Zeroizing;

/// Secret bytes: no `Debug`, `Display`, `Clone` or serialisation, zeroed when dropped. Reading
/// them is always spelled [`SecretBytes::expose`].
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over; the vector they came in is the one that will be zeroed.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Keep the borrow short.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
