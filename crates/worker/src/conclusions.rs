//! What was concluded from the records, kept for as long as no record changes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most conclusions of one kind that are kept. When there are more, all are drawn anew.
const KEPT_MAX: usize = 4_096;

/// Conclusions by what they are about. Every request asks who the caller is and what he may do;
/// the records that decide it change seldom, and reading them costs more than the rest of the
/// request. A change by whichever process ends all conclusions before the next request
/// (`RecordStore::state`), so a grant that was taken away counts at once (rule 119).
pub(crate) struct Conclusions<K, V> {
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    state: u64,
    drawn: HashMap<K, V>,
}

impl<K, V> Default for Conclusions<K, V> {
    fn default() -> Self {
        Self { kept: Mutex::new(Kept { state: 0, drawn: HashMap::new() }) }
    }
}

impl<K: Eq + Hash, V: Clone> Conclusions<K, V> {
    /// What was concluded about `key` while the records were in `state`, else what `draw` says, which
    /// must look at the records after `state` was read. That there is nothing to conclude is not
    /// kept: who asks for names at random must not push out what is known.
    pub(crate) fn get_or_draw<E>(
        &self,
        state: u64,
        key: K,
        draw: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        if let Some(known) = self.as_of(state).drawn.get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(conclusion) = draw()? else { return Ok(None) };
        let mut kept = self.lock();
        // Another thread may have seen a later state by now.
        if kept.state == state {
            if kept.drawn.len() >= KEPT_MAX {
                kept.drawn.clear();
            }
            kept.drawn.insert(key, conclusion.clone());
        }
        Ok(Some(conclusion))
    }

    fn as_of(&self, state: u64) -> MutexGuard<'_, Kept<K, V>> {
        let mut kept = self.lock();
        if kept.state != state {
            *kept = Kept { state, drawn: HashMap::new() };
        }
        kept
    }

    fn lock(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conclusions_hold_while_the_state_does() {
        let conclusions = Conclusions::default();
        let drawn = |state: u64, key: &'static str, fresh: Option<u8>| {
            let drawn = conclusions.get_or_draw(state, key, || Ok::<_, ()>(fresh));
            drawn.unwrap()
        };
        for (state, key, fresh, expected) in [
            (1, "a", Some(1), Some(1)),
            (1, "a", Some(2), Some(1)),
            (1, "b", None, None),
            (1, "b", Some(3), Some(3)),
            (2, "a", Some(4), Some(4)),
            // A slow thread that read the state before the change draws, and keeps nothing.
            (1, "a", Some(5), Some(5)),
            (2, "a", Some(6), Some(6)),
        ] {
            assert_eq!(drawn(state, key, fresh), expected, "{key} in {state}");
        }
        assert_eq!(conclusions.get_or_draw(2, "c", || Err("unread")), Err("unread"));
    }

    #[test]
    fn their_number_is_bounded() {
        let conclusions = Conclusions::default();
        for key in 0..=KEPT_MAX {
            conclusions.get_or_draw(1, key, || Ok::<_, ()>(Some(()))).unwrap();
        }
        assert!(conclusions.lock().drawn.len() <= KEPT_MAX);
    }
}
