//! Warnings of a restore: limited in number, exactly counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custody_entries::Warning;

/// How many warnings of one code are listed; all are counted.
const LISTED_PER_CODE_MAX: u64 = 1_000;

/// Counts warnings and lets the first of each code through.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    kept: Mutex<Vec<Warning>>,
}

impl Tally {
    /// Counts a warning; gives it back while it is to be listed.
    pub(crate) fn note(
        &self,
        code: &'static str,
        path: impl FnOnce() -> Vec<u8>,
        message: String,
    ) -> Option<Warning> {
        let mut counts = lock(&self.counts);
        let count = counts.entry(code).or_default();
        *count += 1;
        (*count <= LISTED_PER_CODE_MAX).then(|| Warning { code, path: path(), message })
    }

    /// Keeps warnings until the target is asked for them.
    pub(crate) fn keep(&self, warnings: impl IntoIterator<Item = Warning>) {
        lock(&self.kept).extend(warnings);
    }

    pub(crate) fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut lock(&self.kept))
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_warning_is_counted_and_the_first_thousand_of_a_code_are_listed() {
        let tally = Tally::default();
        let listed = (0..1_500).filter_map(|_| tally.note("A", Vec::new, String::new())).count();
        assert_eq!(listed, 1_000);
        assert!(tally.note("B", Vec::new, String::new()).is_some());
        assert_eq!(tally.counts(), BTreeMap::from([("A", 1_500), ("B", 1)]));
    }
}
