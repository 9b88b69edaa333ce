//! The listener with limits so tight that a test meets them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod limits;
mod site;
