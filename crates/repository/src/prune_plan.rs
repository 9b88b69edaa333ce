//! What a prune would do, computed without doing it.
//!
//! Packs without a used byte are deleted. Of the others, those that waste most for what it costs
//! to copy them are rewritten, until no more is wasted than is tolerated.

use std::cmp::Reverse;

use crate::log::ObjectId;

/// How much of a pack is used by points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackUsage {
    /// The pack.
    pub pack: ObjectId,
    /// Its length in bytes.
    pub total_bytes: u64,
    /// Bytes in it that points use; at most `total_bytes`.
    pub used_bytes: u64,
}

impl PackUsage {
    /// Bytes in it that nobody uses.
    pub fn unused_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.used_bytes)
    }
}

/// What a prune may cost and must gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOptions {
    /// Unused bytes tolerated after the prune, in percent of all bytes after it.
    pub unused_percent_max: u8,
    /// A pack of which fewer percent are unused is never rewritten.
    pub rewrite_unused_percent_min: u8,
    /// Bytes copied by one prune at most.
    pub rewritten_bytes_max: u64,
}

impl Default for PruneOptions {
    /// Five percent wasted is tolerated, a pack is rewritten for ten, and any amount is copied.
    fn default() -> Self {
        Self {
            unused_percent_max: 5,
            rewrite_unused_percent_min: 10,
            rewritten_bytes_max: u64::MAX,
        }
    }
}

/// What a prune would do; shown before it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Packs that nobody uses.
    pub delete: Vec<ObjectId>,
    /// Packs whose used parts are copied before they are deleted, most worthwhile first.
    pub rewrite: Vec<ObjectId>,
    /// Packs that stay.
    pub keep: Vec<ObjectId>,
    /// Bytes copied.
    pub rewritten_bytes: u64,
    /// Bytes that the store holds less afterwards.
    pub freed_bytes: u64,
    /// Unused bytes that stay.
    pub unused_bytes_left: u64,
}

impl PrunePlan {
    /// Plans a prune over all packs of a repository, in one pass and a sort.
    pub fn new(packs: impl IntoIterator<Item = PackUsage>, options: &PruneOptions) -> Self {
        let mut plan = Self::default();
        let mut partly_used = Vec::new();
        let mut total_bytes = 0_u64;
        for pack in packs {
            if pack.used_bytes == 0 {
                plan.freed_bytes += pack.total_bytes;
                plan.delete.push(pack.pack);
                continue;
            }
            total_bytes += pack.total_bytes;
            plan.unused_bytes_left += pack.unused_bytes();
            if exceeds(pack.unused_bytes(), options.rewrite_unused_percent_min, pack.total_bytes) {
                partly_used.push(pack);
            } else {
                plan.keep.push(pack.pack);
            }
        }
        // Gain for cost: the share of unused bytes, the longer pack first where it is equal.
        partly_used.sort_by_key(|pack| {
            let share = u128::from(pack.unused_bytes()) * SHARE_SCALE;
            let share = share / u128::from(pack.total_bytes.max(1));
            (Reverse(share), Reverse(pack.total_bytes), pack.pack)
        });
        for pack in partly_used {
            let copied = plan.rewritten_bytes.saturating_add(pack.used_bytes);
            let wasted = exceeds(plan.unused_bytes_left, options.unused_percent_max, total_bytes);
            if wasted && copied <= options.rewritten_bytes_max {
                plan.rewritten_bytes = copied;
                plan.freed_bytes += pack.unused_bytes();
                plan.unused_bytes_left -= pack.unused_bytes();
                total_bytes -= pack.unused_bytes();
                plan.rewrite.push(pack.pack);
            } else {
                plan.keep.push(pack.pack);
            }
        }
        plan
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.rewrite.is_empty()
    }
}

/// Fineness of the shares that packs are ordered by.
const SHARE_SCALE: u128 = 1_000_000;

/// Whether `part` is more than `percent` of `whole`.
fn exceeds(part: u64, percent: u8, whole: u64) -> bool {
    u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}
