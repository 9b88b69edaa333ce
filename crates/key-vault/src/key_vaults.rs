//! The front of the key vault: every request is authorised, carried out and recorded here.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use custody_access::{Grant, Grants, Principal};
use custody_ambient::{Clock, Entropy};
use custody_names::{KeyName, TenantId};

use crate::answer::KeyAnswer;
use crate::audit::{AuditSink, RequestContext};
use crate::authorise::authorise;
use crate::authority::ReleaseAuthority;
use crate::backup;
use crate::crypto::{self, KeyPair};
use crate::erase::PurgedKey;
use crate::error::{BarredCall, KeyVaultError, Result};
use crate::key::KeyOrigin;
use crate::key_event::KeyEvent;
use crate::key_store::KeyStore;
use crate::opened_keys::OpenedKeys;
use crate::operation::KeyOperation;
use crate::private_key_pool::{Applicant, PrivateKeyPool};
use crate::request_record::Request;
use crate::rotation::due_rotations;
use crate::session::Session;
use crate::using::applicant;
use crate::vault::KeyVaultRef;

mod in_store;

use in_store::{change, changes, read, reads};

/// The key vaults of one installation.
pub struct KeyVaults {
    store: Arc<KeyStore>,
    audit: Arc<dyn AuditSink>,
    /// What durations are measured with.
    clock: Arc<dyn Clock>,
    release_authorities: Vec<ReleaseAuthority>,
    rsa15_uses: AtomicU64,
    opened: OpenedKeys,
    /// Where private keys are used.
    pool: PrivateKeyPool,
    /// Where keys are made: that takes a thousand times longer, so nothing else waits behind it.
    foundry: PrivateKeyPool,
}

/// What happens to a whole key vault. Whether the caller may is decided with the ARM resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultOperation {
    /// Soft-delete it: no key of it is found any more.
    Delete,
    /// Bring it back with its keys as they were.
    Recover,
    /// Erase all its keys.
    Purge,
    /// Let it pass to this tenant, keys and all.
    HandOver(TenantId),
}

impl KeyVaults {
    /// Key vaults over this store; every request goes to `audit`, with how long it took by the boot
    /// clock of `clock`. Private keys are used one at a
    /// time unless there are [more cores](Self::with_cores).
    pub fn new(store: Arc<KeyStore>, audit: Arc<dyn AuditSink>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            audit,
            clock,
            release_authorities: Vec::new(),
            rsa15_uses: AtomicU64::new(0),
            opened: OpenedKeys::default(),
            pool: PrivateKeyPool::new(1),
            foundry: PrivateKeyPool::new(1),
        }
    }

    /// The same on so many cores: all of them use private keys, and half of them make new ones.
    #[must_use]
    pub fn with_cores(self, cores: NonZeroUsize) -> Self {
        let pool = PrivateKeyPool::new(cores.get());
        Self { pool, foundry: PrivateKeyPool::new(cores.get() / 2), ..self }
    }

    /// The same, with authorities whose word counts for the release of keys. Without any, no key
    /// is ever released.
    pub fn with_release_authorities(self, release_authorities: Vec<ReleaseAuthority>) -> Self {
        Self { release_authorities, ..self }
    }

    pub(crate) fn release_authorities(&self) -> &[ReleaseAuthority] {
        &self.release_authorities
    }

    /// How often `RSA1_5` was asked for since the start: it is to disappear.
    pub fn rsa15_uses(&self) -> u64 {
        self.rsa15_uses.load(Ordering::Relaxed)
    }

    pub(crate) fn count_rsa15(&self) {
        self.rsa15_uses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn audit(&self) -> &dyn AuditSink {
        self.audit.as_ref()
    }

    pub(crate) fn since_boot(&self) -> Duration {
        self.clock.since_boot()
    }

    pub(crate) fn opened(&self) -> &OpenedKeys {
        &self.opened
    }

    pub(crate) fn pool(&self) -> &PrivateKeyPool {
        &self.pool
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.store.entropy.as_ref()
    }

    /// The store beneath, for its counter of changes, server secrets and recovery kits.
    pub fn store(&self) -> &Arc<KeyStore> {
        &self.store
    }

    /// Carries a request out if `grants` allow it. One record goes to the audit sink before this
    /// returns, whatever it returns; a second one only if the commit fails after the first said
    /// that all went well. A crash between record and commit leaves a record of what did not
    /// happen, never the reverse.
    ///
    /// # Errors
    /// [`KeyVaultError::AuditUnavailable`] if the record could not be written: then nothing was
    /// changed and nothing is answered.
    pub fn perform(
        &self,
        caller: &Principal,
        vault: &KeyVaultRef,
        grants: &Grants,
        operation: &KeyOperation<'_>,
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        let request = Request::to_key(caller, vault, operation, context);
        if let Err(barrier) = vault.network.admit(context.client_address, context.trusted) {
            let call = BarredCall {
                barrier,
                address: context.client_address,
                caller: caller.clone(),
                vault: vault.vault.clone(),
                location: vault.location.clone(),
            };
            return self.refuse(&request, None, KeyVaultError::Barred(Box::new(call)));
        }
        match authorise(caller, vault, grants, operation) {
            Ok(granted) => self.carry_out(&request, Some(&granted), vault, operation),
            Err(error) => self.refuse(&request, None, error),
        }
    }

    /// Carries a request of the control plane out. Whether the caller may was decided there:
    /// network rules, access policies and roles on data are the data plane's and do not count.
    /// Recorded as [`KeyVaults::perform`] records.
    pub fn perform_managed(
        &self,
        caller: &Principal,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        let request = Request::to_key(caller, vault, operation, context);
        self.carry_out(&request, None, vault, operation)
    }

    fn carry_out(
        &self,
        request: &Request<'_>,
        granted: Option<&Grant>,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
    ) -> Result<KeyAnswer> {
        let context = request.context;
        if changes(operation) {
            return match self.fresh_key_pair(applicant(request.caller, context), vault, operation) {
                Ok(pair) => self.change(request, granted, |session| {
                    change(session, vault, operation, pair.as_ref(), context)
                }),
                Err(error) => self.refuse(request, granted, error),
            };
        }
        let outcome = match operation {
            KeyOperation::Backup { name } => self.backup(vault, name),
            KeyOperation::Get { name, version } => self.shown(vault, name, *version),
            operation if reads(operation) => {
                self.store.read(|session| read(session, vault, operation))
            }
            operation => self.use_key(request.caller, vault, operation, context),
        };
        self.record(request, granted, outcome.as_ref())?;
        outcome
    }

    /// Deletes, recovers or purges a key vault with all its keys.
    pub fn perform_on_vault(
        &self,
        caller: &Principal,
        vault: &KeyVaultRef,
        operation: VaultOperation,
        context: &RequestContext,
    ) -> Result<()> {
        let request = Request::to_vault(caller, vault, operation, context);
        self.change(&request, None, |session| {
            match operation {
                VaultOperation::Delete => session.delete_vault(vault, context.now),
                VaultOperation::Recover => session.recover_vault(vault),
                VaultOperation::Purge => session.purge_vault(vault),
                VaultOperation::HandOver(to) => session.hand_over(vault, to),
            }?;
            Ok(KeyAnswer::Keys { keys: Vec::new(), next: None })
        })
        .map(drop)
    }

    /// Purges what was soft-deleted long enough ago, with a record for each key.
    pub fn purge_expired(
        &self,
        caller: &Principal,
        context: &RequestContext,
    ) -> Result<Vec<PurgedKey>> {
        if !self.store.read(|session| session.has_expired(context.now))? {
            return Ok(Vec::new());
        }
        self.store.change(
            |session| session.purge_expired(context.now),
            |outcome| {
                let purged = outcome.map(Vec::as_slice).unwrap_or_default();
                purged.iter().try_for_each(|purged| {
                    let request = Request::of_expiry(caller, purged, context);
                    self.record(&request, None, Ok(&KeyAnswer::Purged { kits: Vec::new() }))
                })
            },
        )
    }

    /// The newest version of a key, if there is such a key: for the platform itself, which decides by
    /// it what is due. Nothing is used, so nothing is recorded.
    ///
    /// # Errors
    /// The store's.
    pub fn newest_version(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
    ) -> Result<Option<crate::Key>> {
        match self.store.read(|session| session.version(vault, name, None)) {
            Ok(found) => Ok(Some(found.key)),
            Err(KeyVaultError::KeyNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Rotates the keys whose rotation policy says so, and tells what happened to keys by itself:
    /// new versions, and expiries that are near or past. Called again and again by the server; when
    /// two processes do so at once, a key is rotated once and an event told once.
    pub fn tick(&self, caller: &Principal, context: &RequestContext) -> Result<Vec<KeyEvent>> {
        let now = context.now;
        let due = self.store.read(|session| Ok(due_rotations(&session.rotating_keys()?, now)))?;
        let mut events = Vec::new();
        for due in due {
            let name = &due.newest.id.key;
            let operation = KeyOperation::Rotate { name };
            let request = Request::to_key(caller, &due.vault, &operation, context);
            let pair = crypto::generate(due.newest.shape, self.entropy())?;
            let rotated = self.change(&request, None, |session| {
                let newest = session.version(&due.vault, name, None)?.key;
                if newest.id != due.newest.id || !newest.attributes.enabled {
                    return Err(KeyVaultError::RotatedMeanwhile(name.clone()));
                }
                session.rotate(&due.vault, name, &pair, context.now).map(KeyAnswer::Key)
            });
            match rotated {
                Ok(KeyAnswer::Key(key)) => events.push(KeyEvent::new_version(&key, &due.vault)),
                Ok(_) | Err(KeyVaultError::RotatedMeanwhile(_)) => {}
                Err(error) => return Err(error),
            }
        }
        events.extend(self.expiry_events(caller, context)?);
        Ok(events)
    }

    fn expiry_events(&self, caller: &Principal, context: &RequestContext) -> Result<Vec<KeyEvent>> {
        if !self.store.read(|session| session.has_expiry_events(context.now))? {
            return Ok(Vec::new());
        }
        self.store.transact(|session| {
            let events = session.expiry_events(context.now)?;
            for event in &events {
                let request = Request::of_event(caller, event, context);
                self.record(&request, None, Ok(&KeyAnswer::Keys { keys: Vec::new(), next: None }))?;
            }
            Ok(events)
        })
    }

    fn backup(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<KeyAnswer> {
        self.store.server_secret(backup::SECRET)?;
        self.store.read(|session| session.backup(vault, name)).map(KeyAnswer::Backup)
    }

    /// The key that a request brings or needs. Making one takes long: nothing is locked meanwhile.
    fn fresh_key_pair(
        &self,
        applicant: Applicant,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
    ) -> Result<Option<KeyPair>> {
        let shape = match operation {
            KeyOperation::Create { key, .. } => {
                key.check(vault, KeyOrigin::Made)?;
                key.shape
            }
            KeyOperation::CreateIfAbsent { name, key, .. } => {
                key.check(vault, KeyOrigin::Made)?;
                if self.store.read(|session| session.has_key(vault, name))? {
                    return Ok(None);
                }
                key.shape
            }
            KeyOperation::Rotate { name } => {
                let newest = self.store.read(|session| session.version(vault, name, None))?;
                if newest.key.attributes.origin == KeyOrigin::ImportedPublic {
                    return Err(KeyVaultError::BadParameter(
                        "only the public half of this key is here; import its new version"
                            .to_owned(),
                    ));
                }
                newest.key.shape
            }
            KeyOperation::Import { key, material, .. } => {
                key.check(vault, material.origin())?;
                return crypto::import(material).map(Some);
            }
            KeyOperation::Restore { .. } => {
                self.store.server_secret(backup::SECRET)?;
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let _place = self.foundry.enter(applicant, shape)?;
        crypto::generate(shape, self.entropy()).map(Some)
    }

    fn change(
        &self,
        request: &Request<'_>,
        granted: Option<&Grant>,
        work: impl FnOnce(&Session<'_>) -> Result<KeyAnswer>,
    ) -> Result<KeyAnswer> {
        let mut recorded_success = false;
        let outcome = self.store.change(work, |outcome| {
            recorded_success = outcome.is_ok();
            self.record(request, granted, outcome)
        });
        self.opened.close();
        match outcome {
            Err(error @ KeyVaultError::AuditUnavailable(_)) => Err(error),
            Err(error) if recorded_success => self.refuse(request, granted, error),
            outcome => outcome,
        }
    }

    /// Records the refusal, then refuses.
    fn refuse<T>(
        &self,
        request: &Request<'_>,
        granted: Option<&Grant>,
        error: KeyVaultError,
    ) -> Result<T> {
        self.record(request, granted, Err(&error))?;
        Err(error)
    }

    fn record(
        &self,
        request: &Request<'_>,
        granted: Option<&Grant>,
        outcome: std::result::Result<&KeyAnswer, &KeyVaultError>,
    ) -> Result<()> {
        Ok(self.audit.record(&request.ended(granted, outcome, self.since_boot()))?)
    }
}
