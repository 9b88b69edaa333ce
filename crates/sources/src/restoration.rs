//! What all parts of one restore share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::accounts::Accounts;
use crate::folder_target::TargetOptions;
use crate::policy::Overwrite;
use crate::tally::Tally;

/// One restore: its options and its counts.
pub(crate) struct Restoration {
    pub(crate) options: TargetOptions,
    pub(crate) accounts: Accounts,
    pub(crate) tally: Tally,
    /// Whether everything in the top was made by this restore or one that it goes on with.
    pub(crate) owns_top: bool,
    temporaries: AtomicU64,
    is_suspended: AtomicBool,
}

impl Restoration {
    pub(crate) fn new(options: TargetOptions, owns_top: bool) -> Self {
        Self {
            options,
            accounts: Accounts::of_this_machine(),
            tally: Tally::default(),
            owns_top,
            temporaries: AtomicU64::new(0),
            is_suspended: AtomicBool::new(false),
        }
    }

    /// The restore stops before it is complete: what it leaves is for the next.
    pub(crate) fn suspend(&self) {
        self.is_suspended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }

    /// Whether a file whose content is wrong may be written anew, whenever it was changed.
    pub(crate) fn may_mend(&self) -> bool {
        self.owns_top || self.options.overwrite == Overwrite::Always
    }

    /// A number that this restore gave to no other temporary file.
    pub(crate) fn next_temporary(&self) -> u64 {
        self.temporaries.fetch_add(1, Ordering::Relaxed)
    }
}
