//! What must let a request pass before its kind says what it means (DESIGN §4).

use crate::{Authorize, Record, Request, Stop, World};

/// One admission: a lock, a policy, a resource guard. It is asked about every request that may
/// change something, once the caller is known to have the right to ask for it.
pub trait Admission: Send + Sync {
    /// Refuses, or not, a request about what is stored as `before`. `authorize` decides on
    /// permissions that the caller needs elsewhere.
    fn admit(
        &self,
        request: &Request<'_>,
        before: Option<&Record>,
        authorize: &dyn Authorize,
        world: &World,
    ) -> Result<(), Stop>;
}
