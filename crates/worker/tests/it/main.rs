//! The worker through its front door: a platform on a temporary data folder.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod abandoned_drills;
mod audit_delivery;
mod event_delivery;
mod post_office;
mod receiver;
mod site;
