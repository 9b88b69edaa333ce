//! The worker through its front door: a platform on a temporary data folder.

mod audit_delivery;
mod site;
