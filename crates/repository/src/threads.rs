//! Work on many things at once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::RepositoryError;

/// Does `work` for each on so many threads. After a failure each ends what it has in hand.
pub(crate) fn on_threads<T: Sync>(
    all: &[T],
    threads: NonZeroUsize,
    work: &(dyn Fn(&T) -> Result<(), RepositoryError> + Sync),
) -> Result<(), RepositoryError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), RepositoryError> {
        while let Some(one) = all.get(next.fetch_add(1, Relaxed)) {
            work(one).inspect_err(|_| next.store(all.len(), Relaxed))?;
        }
        Ok(())
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for outcome in outcomes {
        outcome.map_err(|_| RepositoryError::Bug("a thread panicked"))??;
    }
    Ok(())
}
