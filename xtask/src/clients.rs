//! The clients that tests run against the server, unmodified, every version pinned beside the
//! tests. They are made below cargo's target folder and never become part of the workspace.

use std::fs;
use std::path::Path;
use std::thread;

use crate::failure::{Failure, Trying};
use crate::metadata;

mod node;
mod python;
mod rust;

pub(crate) use rust::MANIFEST as RUST_MANIFEST;

/// Where the tests and the pins are.
const TESTS: &str = "crates/custody/tests/clients";

/// A way of making some of the clients below the target folder.
type Making = fn(&Path) -> Result<(), Failure>;

/// Makes the clients that are missing or were made from other pins, all at the same time: two of
/// the three mostly wait for their registries.
pub(crate) fn ensure() -> Result<(), Failure> {
    python::ensure_modules()?;
    let target = metadata::target_folder()?;
    let makings: [Making; 3] = [python::ensure, node::ensure, rust::ensure];
    thread::scope(|scope| {
        let running = makings.map(|make| {
            scope.spawn({
                let target = &target;
                move || make(target)
            })
        });
        running.into_iter().try_for_each(|each| {
            each.join().unwrap_or_else(|_| Err(Failure::new("a thread ended; this is a bug")))
        })
    })
    .trying("the clients that tests need cannot be had")
}

/// Calls `make` unless `folder` was made from these pins. `stamp` in it keeps what it was made
/// from; it is written last, so that half a client is none.
fn once(
    folder: &Path,
    pins: &Path,
    stamp: &str,
    make: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let wanted = fs::read(pins).trying(pins.display())?;
    let stamp = folder.join(stamp);
    if fs::read(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("== {}", folder.display());
    make()?;
    fs::write(&stamp, wanted).trying(stamp.display())
}
