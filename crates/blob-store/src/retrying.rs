//! Asking again: the one home of how often and how long a store that does not answer is waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_ambient::{Clock, Entropy, random_array};

use crate::{BlobName, BlobStore, Creation, StoreError};

/// How often a request is made in all.
const ATTEMPTS_MAX: u32 = 7;

/// Wait before the second attempt, at most; each later one may wait twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(200);

/// Longest wait that grows by itself.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A store that asks to be left alone for longer is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(2);

/// For so long after this caller made an object a store that says it is absent is asked again.
const VISIBLE_AFTER: Duration = Duration::from_secs(30);

/// How many objects are remembered for that.
const REMEMBERED_MAX: usize = 4_096;

/// A store in front of another that may fail to answer, answer late or unclearly.
///
/// What is refused for good ([`StoreError::Full`], [`StoreError::Refused`], [`StoreError::Device`],
/// [`StoreError::Short`]) is told at once. After an unclear answer to `create` the object is read: if
/// it has these very bytes it is this caller's, for whoever competes for a name writes a nonce.
pub struct RetryingStore {
    inner: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Objects that are known to stand, with the time since when, oldest first.
    created: Mutex<VecDeque<(BlobName, Duration)>>,
}

impl RetryingStore {
    /// Asks `inner` again, after waits on `clock` that `entropy` spreads.
    pub fn new(
        inner: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { inner, clock, entropy, created: Mutex::default() }
    }

    /// Makes the request until it is answered; `ask` is told whether an earlier one may have had
    /// its effect.
    fn retry<T>(
        &self,
        ask: &mut dyn FnMut(bool) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut unclear = false;
        for attempt in 0.. {
            let error = match ask(unclear) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match &error {
                StoreError::Unavailable(_) => {
                    unclear = true;
                    self.spread(attempt)
                }
                StoreError::Throttled { after, .. } if *after <= RETRY_AFTER_MAX => {
                    // Not all at once when the time is over.
                    after.saturating_add(self.spread(attempt))
                }
                _ => return Err(error),
            };
            if attempt + 1 >= ATTEMPTS_MAX {
                return Err(error);
            }
            self.clock.sleep(wait);
        }
        Err(StoreError::Unavailable("nothing was asked".to_owned()))
    }

    /// Between half and all of the longest wait before the attempt after this one.
    fn spread(&self, attempt: u32) -> Duration {
        let longest = WAIT_FIRST.saturating_mul(1 << attempt.min(16)).min(WAIT_MAX);
        let random = random_array::<4>(&*self.entropy).map_or(u32::MAX, u32::from_be_bytes);
        longest.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    fn remember(&self, name: &BlobName) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.retain(|(known, _)| known != name);
        if created.len() >= REMEMBERED_MAX {
            created.pop_front();
        }
        created.push_back((name.clone(), self.clock.since_boot()));
    }

    fn forget(&self, name: &BlobName) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.retain(|(known, _)| known != name);
    }

    /// Whether the object was created so lately that "absent" may be an old answer.
    fn may_be_late(&self, name: &BlobName) -> bool {
        let now = self.clock.since_boot();
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created
            .iter()
            .any(|(known, since)| known == name && now.saturating_sub(*since) < VISIBLE_AFTER)
    }

    /// Reads something of an object; one that must be there is asked for again.
    fn look<T>(
        &self,
        name: &BlobName,
        ask: &mut dyn FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        for attempt in 0..ATTEMPTS_MAX {
            let found = self.retry(&mut |_| ask())?;
            if found.is_some() || !self.may_be_late(name) {
                return Ok(found);
            }
            self.clock.sleep(self.spread(attempt));
        }
        Ok(None)
    }
}

impl BlobStore for RetryingStore {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        let created = self.retry(&mut |unclear| match self.inner.create(name, bytes)? {
            Creation::Exists if unclear => {
                self.remember(name);
                let stands = self.look(name, &mut || self.inner.read(name))?;
                let is_own = stands.as_deref() == Some(bytes);
                Ok(if is_own { Creation::Created } else { Creation::Exists })
            }
            answer => Ok(answer),
        })?;
        self.remember(name);
        Ok(created)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.retry(&mut |_| self.inner.replace(name, bytes))?;
        self.remember(name);
        Ok(())
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(name, &mut || self.inner.read(name))
    }

    fn read_into(&self, name: &BlobName, room: &mut Vec<u8>) -> Result<bool, StoreError> {
        let found = self.look(name, &mut || Ok(self.inner.read_into(name, room)?.then_some(())))?;
        Ok(found.is_some())
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(name, &mut || self.inner.read_range(name, offset, length))
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.look(name, &mut || self.inner.size(name))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        // Told only when it is whole, so that nothing is told twice.
        let found = self.retry(&mut |_| {
            let mut found = Vec::new();
            self.inner.list(prefix, &mut |name, length| found.push((name, length)))?;
            Ok(found)
        })?;
        for (name, length) in found {
            visit(name, length);
        }
        Ok(())
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.forget(name);
        self.retry(&mut |_| self.inner.delete(name))
    }

    fn spend_reserve(&self) -> Result<bool, StoreError> {
        self.inner.spend_reserve()
    }

    fn keep_reserve(&self) {
        self.inner.keep_reserve();
    }
}
