//! The whole product through its command line, as a new user runs it: the real binary, a fresh
//! data folder for every test, real keys, real files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one is outside the process it measures"
)]

mod bad_input;
mod devices;
mod drills;
mod hard_trees;
mod keys;
mod processes;
mod progress;
mod release;
mod rescue;
mod restore;
mod search;
mod serve;
mod served;
mod site;
mod streams;
mod tree;
mod vaults;
