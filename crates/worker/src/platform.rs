//! One process's hold on an installation: its stores, its key vault, its ledger, its engine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use custody_activity::Ledger;
use custody_ambient::{Clock, Entropy};
use custody_backup_vaults::Vault;
use custody_directory::Locations;
use custody_envelope::SecretBytes;
use custody_key_vault::KeyVaults;
use custody_names::{OperationId, ResourceId};
use custody_protection::Item;
use custody_record_store::{RecordStore, TrackedOperation};
use custody_resources::{Answer, Caller, Decided, Engine, Kind, Refusal, Request, Stored, Verb};
use serde_json::Value;

use crate::conclusions::Conclusions;
use crate::due_work::DueWork;
use crate::fault;
use crate::following::Following;
use crate::installation::{DataFolder, Installation};
use crate::key_access::{Asked, KeyVaultFacts};
use crate::key_alerts::KeyFailures;
use crate::key_probes::Probing;
use crate::key_vault_link::KeyVaultLink;
use crate::sign_in::TokenDesk;

mod opening;
mod seal_choice;

pub use opening::PlatformOptions;
pub use seal_choice::SealChoice;
pub(crate) use seal_choice::open_seal;

/// How long a waiter sleeps before it looks for changes that another process made.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The group that resources lie in unless told otherwise.
pub(crate) const DEFAULT_GROUP: &str = "custody";

/// One process's hold on an installation.
pub struct Platform {
    /// The data folder.
    pub folder: DataFolder,
    /// Which installation it is.
    pub installation: Installation,
    /// The records.
    pub records: Arc<dyn RecordStore>,
    /// Where resources may lie.
    pub locations: Locations,
    /// The engine.
    pub engine: Engine,
    /// The embedded key vault, authorised and audited.
    pub key_vaults: KeyVaults,
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// This process, as operations name it.
    pub owner: String,
    /// The seal's file.
    pub seal_place: PathBuf,
    pub(crate) seal_kind: &'static str,
    pub(crate) os_user: String,
    pub(crate) signing_seed: SecretBytes,
    pub(crate) tokens: TokenDesk,
    /// Events that were given up since the start.
    pub events_dropped: AtomicU64,
    pub(crate) key_vault_facts: Conclusions<Asked, Arc<KeyVaultFacts>>,
    /// What lost keys have cost since the start.
    pub key_failures: KeyFailures,
    pub(crate) following: Following,
    pub(crate) key_vault_link: OnceLock<Arc<dyn KeyVaultLink>>,
    /// The probes of vaults' keys.
    pub(crate) probing: Probing,
    pub(crate) due_work: DueWork,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    warnings: Mutex<HashMap<OperationId, Vec<Value>>>,
    changed: (Mutex<u64>, Condvar),
}

impl Platform {
    /// The name of this machine.
    pub fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Who acts for whoever can open the seal (DESIGN §8).
    pub fn administrator(&self) -> Caller {
        let Installation { administrator_id, tenant_id, .. } = self.installation;
        Caller::bootstrap(administrator_id, tenant_id, self.os_user.clone())
    }

    /// Waits, `seconds` at most, until the operation has a later revision than `after`.
    pub fn wait_for_change(
        &self,
        mut tracked: TrackedOperation,
        after: u64,
        seconds: u64,
    ) -> Result<TrackedOperation, Refusal> {
        let id = tracked.operation.id;
        let until = self.clock.since_boot() + Duration::from_secs(seconds);
        while tracked.revision <= after && self.clock.since_boot() < until {
            let (count, condition) = &self.changed;
            let count = count.lock().unwrap_or_else(PoisonError::into_inner);
            drop(condition.wait_timeout(count, LOOK_EVERY));
            let found = self.records.operation(id).map_err(|error| fault::of_store(&error))?;
            tracked = found.ok_or_else(|| Refusal::bug("an operation vanished"))?;
        }
        Ok(tracked)
    }

    /// The warnings of an operation that this process carried out. They name files, so they are
    /// kept in memory and in the sealed recovery point, never in the records.
    pub fn warnings_of(&self, id: OperationId) -> Option<Vec<Value>> {
        lock(&self.warnings).get(&id).cloned()
    }

    /// Lets jobs that wait for their key vault wait no longer: this process is to end.
    pub fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until every operation begun here has ended, and signs the ledger's head.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A task's panic is settled within its thread; nothing is left to do with it here.
            let _ = thread.join();
        }
        // An unsigned head is signed by the next process.
        let _ = self.ledger.sign_head();
    }

    /// Lets the engine decide a request and applies what it decided; what only reads is decided on
    /// a snapshot. An operation that was begun is for the caller to [`Platform::begin`].
    pub fn decide(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let mut decided = None;
        let outcome = if matches!(request.verb, Verb::Read | Verb::List) {
            self.records.view(&mut |world| {
                decided = Some(self.engine.answer(request, world)?);
                Ok(())
            })
        } else {
            self.records.apply(&mut |world| {
                let answer = self.engine.answer(request, world)?;
                let writes = answer.writes.clone();
                decided = Some(answer);
                Ok(writes)
            })
        };
        outcome.map_err(fault::of_apply)?;
        let decided = decided.map(|decided: Decided| decided.answer);
        decided.ok_or_else(|| Refusal::bug("a request was applied but not decided"))
    }

    /// One record, read as its kind.
    pub(crate) fn stored<K: Kind>(&self, id: &ResourceId) -> Result<Stored<K>, Refusal> {
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = Some(world.expect::<K>(id)?);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        found.ok_or_else(|| Refusal::bug("a record was read but not found"))
    }

    /// The vault that `id` is or lies in.
    pub(crate) fn vault_of(&self, id: &ResourceId) -> Result<Vault, Refusal> {
        let vault = Vault::around(id);
        self.vault(&vault.ok_or_else(|| Refusal::bug(format!("{id} lies in no vault")))?)
    }

    /// One vault.
    pub(crate) fn vault(&self, id: &ResourceId) -> Result<Vault, Refusal> {
        self.look(|world| Vault::expect(id, world))
    }

    /// The item that `id` is or lies in.
    pub(crate) fn item_of(&self, id: &ResourceId) -> Result<Item, Refusal> {
        let item = Item::around(id);
        let item = item.ok_or_else(|| Refusal::bug(format!("{id} lies in no item")))?;
        self.look(|world| Item::expect(&item, world))
    }

    /// Changes what the server writes of a vault, and returns it as it is then.
    pub(crate) fn change_vault(
        &self,
        id: &ResourceId,
        change: impl Fn(&mut Vault),
    ) -> Result<Vault, Refusal> {
        let stored = self.records.apply(&mut |world| {
            let mut found = Vault::expect(id, world)?;
            change(&mut found);
            Ok(vec![found.into_write()?])
        });
        stored.map_err(fault::of_apply)?;
        self.vault(id)
    }

    pub(crate) fn remember_thread(&self, thread: JoinHandle<()>) {
        lock(&self.threads).push(thread);
    }

    pub(crate) fn keep_warnings(&self, job: &crate::job::Job<'_>) {
        lock(&self.warnings).insert(job.id(), job.warnings());
    }

    /// Wakes whoever waits for an operation to change.
    pub(crate) fn announce(&self) {
        let (count, condition) = &self.changed;
        *lock(count) += 1;
        condition.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
