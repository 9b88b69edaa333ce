//! Backing up.

mod shared;
mod tree;
mod walk;
mod worker;
