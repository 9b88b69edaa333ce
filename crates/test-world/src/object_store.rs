//! Objects in memory behind requests such as a cloud's store takes: each takes time and has a price,
//! and any may fail, be answered unclearly, late, or by what was true before.

mod weather;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custody_ambient::Clock as _;
use custody_blob_store::{BlobName, BlobStore, Creation, MemoryStore, StoreError};

pub use weather::Weather;

use crate::FixedClock;
use weather::{Dice, Trouble};

/// Time from a request to its answer, without its body.
const LATENCY: Duration = Duration::from_millis(30);
/// Bytes of a body in a microsecond.
const BYTES_PER_MICROSECOND: u64 = 50;
/// Names in one page of a list.
const NAMES_PER_PAGE: u64 = 1_000;
/// Prices of S3 Standard in us-east-1 in nanodollars a request (aws.amazon.com/s3/pricing): PUT and
/// LIST, and GET and HEAD; DELETE costs nothing.
const NANODOLLARS_PER_PUT: u64 = 5_000;
const NANODOLLARS_PER_GET: u64 = 400;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// PUT, conditional or not.
    pub puts: u64,
    /// GET and HEAD.
    pub gets: u64,
    /// Pages of LIST.
    pub lists: u64,
    /// DELETE.
    pub deletes: u64,
    /// Bytes in bodies, both ways.
    pub bytes: u64,
}

impl Bill {
    /// The price of the requests, in nanodollars.
    pub fn nanodollars(&self) -> u64 {
        (self.puts + self.lists) * NANODOLLARS_PER_PUT + self.gets * NANODOLLARS_PER_GET
    }

    /// What was asked for since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            puts: self.puts - earlier.puts,
            gets: self.gets - earlier.gets,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// See the module, as one client sees it. Nothing is renamed, appended to or locked.
pub struct ObjectStore {
    shared: Arc<Shared>,
    client: u64,
}

struct Shared {
    objects: MemoryStore,
    clock: Arc<FixedClock>,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    dice: Dice,
    bill: Bill,
    /// When an object came or went, and what stood there before.
    changes: BTreeMap<BlobName, Change>,
    /// A replacement that the network may deliver once more.
    delayed: Option<(BlobName, Vec<u8>)>,
    clients: u64,
}

struct Change {
    at: Duration,
    /// Its length before, if it was there.
    before: Option<u64>,
    /// Who made it and has not been told yet that it is absent.
    unseen_by: Option<u64>,
}

enum Request {
    Put,
    Get,
    List,
    Delete,
}

impl ObjectStore {
    /// An empty store in fair weather.
    pub fn new(clock: Arc<FixedClock>, seed: u64) -> Self {
        let state = State {
            weather: Weather::default(),
            dice: Dice::new(seed),
            bill: Bill::default(),
            changes: BTreeMap::new(),
            delayed: None,
            clients: 0,
        };
        let (objects, state) = (MemoryStore::new(), Mutex::new(state));
        Self { shared: Arc::new(Shared { objects, clock, state }), client: 0 }
    }

    /// The same store for another client.
    pub fn another(&self) -> Self {
        let mut state = self.state();
        state.clients += 1;
        Self { shared: Arc::clone(&self.shared), client: state.clients }
    }

    /// From now on requests meet this.
    pub fn set(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// What was asked for so far.
    pub fn bill(&self) -> Bill {
        self.state().bill
    }

    /// The objects themselves, in no weather.
    pub fn objects(&self) -> &MemoryStore {
        &self.shared.objects
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, lets its time pass, delivers what was delayed, and says what is wrong.
    fn ask(&self, request: &Request, bytes: usize) -> Trouble {
        let mut state = self.state();
        match request {
            Request::Put => state.bill.puts += 1,
            Request::Get => state.bill.gets += 1,
            Request::List => state.bill.lists += 1,
            Request::Delete => state.bill.deletes += 1,
        }
        state.bill.bytes += bytes as u64;
        let State { weather, dice, .. } = &mut *state;
        let trouble = weather.strike(dice);
        let delayed = dice.one_in(3).then(|| state.delayed.take()).flatten();
        drop(state);
        self.shared
            .clock
            .sleep(LATENCY + Duration::from_micros(bytes as u64 / BYTES_PER_MICROSECOND));
        if let Some((name, bytes)) = delayed {
            // An earlier request that the network delivers twice.
            let _ = self.objects().replace(&name, &bytes);
        }
        trouble
    }

    /// A request that changes something.
    fn change<T>(
        &self,
        request: &Request,
        name: &BlobName,
        length: usize,
        act: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let trouble = self.ask(request, length);
        trouble.before()?;
        let before = self.objects().size(name)?;
        let done = act()?;
        if before != self.objects().size(name)? {
            let unseen_by = Some(self.client);
            let change = Change { at: self.shared.clock.since_boot(), before, unseen_by };
            self.state().changes.insert(name.clone(), change);
        }
        trouble.after().map(|()| done)
    }

    /// A request that reads of one object.
    fn look<T>(
        &self,
        name: &BlobName,
        read: impl FnOnce() -> Result<Option<(T, usize)>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let found = read();
        let length = found.as_ref().ok().and_then(Option::as_ref).map_or(0, |found| found.1);
        let trouble = self.ask(&Request::Get, length);
        trouble.before()?;
        if self.is_invisible(name) {
            return Ok(None);
        }
        let found = found?.map(|(found, _)| found);
        // Half a body: its length was told beforehand, so that it is noticed.
        trouble.after().map(|()| found)
    }

    /// Whether this client is told that there is no such object though it has just made it. Others are
    /// not: what one was told of by another it can read, in S3, Azure Blob and Google Cloud Storage.
    fn is_invisible(&self, name: &BlobName) -> bool {
        let now = self.shared.clock.since_boot();
        let mut state = self.state();
        let lag = state.weather.read_lag;
        let Some(change) = state.changes.get_mut(name) else { return false };
        let is_new = change.before.is_none() && now.saturating_sub(change.at) < lag;
        is_new && change.unseen_by.take_if(|client| *client == self.client).is_some()
    }
}

impl BlobStore for ObjectStore {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.change(&Request::Put, name, bytes.len(), || self.objects().create(name, bytes))
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.change(&Request::Put, name, bytes.len(), || self.objects().replace(name, bytes))?;
        let mut state = self.state();
        let delays = state.weather.delays_replacements;
        state.delayed = delays.then(|| (name.clone(), bytes.to_vec()));
        Ok(())
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(name, || {
            let found = self.objects().read(name)?;
            Ok(found.map(|bytes| {
                let length = bytes.len();
                (bytes, length)
            }))
        })
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(name, || {
            let found = self.objects().read_range(name, offset, length)?;
            Ok(found.map(|bytes| (bytes, length)))
        })
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.look(name, || Ok(self.objects().size(name)?.map(|size| (size, 0))))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        let mut found = BTreeMap::new();
        self.objects().list(prefix, &mut |name, length| {
            found.insert(name, length);
        })?;
        let now = self.shared.clock.since_boot();
        let state = self.state();
        let lag = state.weather.list_lag;
        let late = state.changes.iter().filter(|(_, change)| now.saturating_sub(change.at) < lag);
        for (name, change) in late.filter(|(name, _)| name.as_str().starts_with(prefix)) {
            match change.before {
                Some(length) => {
                    found.insert(name.clone(), length);
                }
                None => {
                    found.remove(name);
                }
            }
        }
        drop(state);
        for page in 0..=found.len() as u64 / NAMES_PER_PAGE {
            let trouble = self.ask(&Request::List, 0);
            trouble.before()?;
            // A list that breaks off in the middle.
            if page == 0 && trouble.after().is_err() {
                for (name, length) in found.iter().take(found.len() / 2) {
                    visit(name.clone(), *length);
                }
                return trouble.after();
            }
        }
        for (name, length) in found {
            visit(name, length);
        }
        Ok(())
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.change(&Request::Delete, name, 0, || self.objects().delete(name))
    }
}
