//! The deduplicating backup engine: chunk, pack, index, recovery point, restore, prune, check.
