//! Work on many things, a few at once.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` on each of `all`, at most so many at once, on this thread and others. What each came
/// to is in the order in which they ended.
pub(crate) fn a_few_at_once<'t, T: Sync, R: Send>(
    most: usize,
    all: &'t [T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<(&'t T, R)> {
    let left = Mutex::new(all.iter());
    let results = Mutex::new(Vec::with_capacity(all.len()));
    let until_done = || {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(one) = next else { return };
            let result = work(one);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((one, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..most.min(all.len()) {
            scope.spawn(until_done);
        }
        until_done();
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
