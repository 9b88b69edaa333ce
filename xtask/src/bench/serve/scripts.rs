//! What a connection asks, request after request.

use std::sync::Arc;

use crate::bench::serve::connection::Answer;
use crate::failure::Failure;

/// What a connection asks.
pub(crate) trait Script: Send {
    /// The next request; nothing when there is no more to ask.
    fn request(&mut self) -> Option<&[u8]>;

    /// Sees the answer to it.
    fn answered(&mut self, answer: &Answer<'_>) -> Result<(), Failure>;
}

/// The same request again and again.
pub(crate) struct Same(pub(crate) Arc<[u8]>);

impl Script for Same {
    fn request(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn answered(&mut self, _answer: &Answer<'_>) -> Result<(), Failure> {
        Ok(())
    }
}
