//! What all parts of one restore share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::accounts::Accounts;
use crate::folder_target::TargetOptions;
use crate::tally::Tally;

/// One restore: its options and its counts.
pub(crate) struct Restoration {
    pub(crate) options: TargetOptions,
    pub(crate) accounts: Accounts,
    pub(crate) tally: Tally,
    temporaries: AtomicU64,
}

impl Restoration {
    pub(crate) fn new(options: TargetOptions) -> Self {
        Self {
            options,
            accounts: Accounts::of_this_machine(),
            tally: Tally::default(),
            temporaries: AtomicU64::new(0),
        }
    }

    /// A number that this restore gave to no other temporary file.
    pub(crate) fn next_temporary(&self) -> u64 {
        self.temporaries.fetch_add(1, Ordering::Relaxed)
    }
}
