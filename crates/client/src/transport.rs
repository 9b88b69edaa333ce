//! How a request reaches a server.

use std::io::Read;

/// Carries one request to a server and brings the answer back. The answer's body is a stream,
/// because one file of a recovery point may be of any size.
pub trait Transport: Send + Sync {
    /// Sends `request`. An answer with an error status is an answer, not a [`TransportError`].
    fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Box<dyn Read + Send>>, TransportError>;
}

/// The request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server cannot be reached: {reason}")]
pub struct TransportError {
    /// What stood in the way.
    pub reason: String,
}
