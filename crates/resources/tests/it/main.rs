//! The engine through its front door, over records in memory.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod callers;
mod deletion;
mod identities;
mod kinds;
mod lists;
mod places;
mod revisions;
mod verbs;
