//! The front of the key vault: every request is authorised, carried out and recorded here.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use custody_access::{Decision, Grant, Grants, KeyPermission, Principal, Question, Wanted, decide};
use custody_ambient::{Entropy, Timestamp};
use custody_names::{KeyName, KeyUri, ResourceId, ResourceName};

use crate::answer::KeyAnswer;
use crate::audit::{
    AuditIdentity, AuditProperties, AuditRecord, AuditSink, RequestContext, grant_text,
};
use crate::authority::ReleaseAuthority;
use crate::backup;
use crate::crypto::{self, KeyPair};
use crate::erase::PurgedKey;
use crate::error::{BarredCall, DeniedAccess, KeyVaultError, Result};
use crate::key::KeyOrigin;
use crate::key_event::{KeyEvent, Lifetime};
use crate::key_rows::Birth;
use crate::key_store::KeyStore;
use crate::opened_keys::OpenedKeys;
use crate::operation::KeyOperation;
use crate::private_key_pool::{Applicant, PrivateKeyPool};
use crate::rotation::due_rotations;
use crate::rotation_policy::RotationPolicy;
use crate::session::Session;
use crate::using::applicant;
use crate::vault::KeyVaultRef;

/// The key vaults of one installation.
pub struct KeyVaults {
    store: Arc<KeyStore>,
    audit: Arc<dyn AuditSink>,
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
}

/// A request as the record of it shows it, before it is known how it ends.
struct Request<'a> {
    caller: &'a Principal,
    context: &'a RequestContext,
    resource: &'a ResourceId,
    name: &'static str,
    algorithm: Option<&'static str>,
    id: String,
    uri: String,
    /// Of the version that an event is about.
    lifetime: Option<Lifetime>,
}

impl KeyVaults {
    /// Key vaults over this store; every request goes to `audit`. Private keys are used one at a
    /// time unless there are [more cores](Self::with_cores).
    pub fn new(store: Arc<KeyStore>, audit: Arc<dyn AuditSink>) -> Self {
        Self {
            store,
            audit,
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
        let version = outcome.ok().and_then(KeyAnswer::version);
        let lifetime = match outcome {
            Ok(KeyAnswer::Key(key)) => Lifetime::of_made(request.name, key),
            Ok(_) => request.lifetime,
            Err(_) => None,
        };
        let record = AuditRecord {
            time: request.context.now,
            resource_id: request.resource.as_str().to_uppercase(),
            operation_name: request.name,
            category: "AuditEvent",
            result_type: if outcome.is_ok() { "Success" } else { "Failure" },
            result_signature: outcome.map_or_else(KeyVaultError::code, |_| "OK"),
            result_description: outcome.err().map(ToString::to_string),
            caller_ip_address: request.context.client_address,
            correlation_id: request.context.correlation,
            identity: AuditIdentity::of(request.caller),
            properties: AuditProperties {
                id: version.map_or_else(|| request.id.clone(), ToString::to_string),
                request_uri: request.uri.clone(),
                http_status_code: outcome
                    .map_or_else(|error| error.answer().status, KeyAnswer::status),
                client_info: request.context.client_info.clone(),
                algorithm: request.algorithm,
                job_id: request.context.job,
                granted_by: granted.map(grant_text),
                nbf: lifetime.and_then(|lifetime| lifetime.not_before).map(Timestamp::as_second),
                exp: lifetime.and_then(|lifetime| lifetime.expires).map(Timestamp::as_second),
            },
        };
        Ok(self.audit.record(&record)?)
    }
}

fn authorise(
    caller: &Principal,
    vault: &KeyVaultRef,
    grants: &Grants,
    operation: &KeyOperation<'_>,
) -> Result<Grant> {
    let scope = match operation.key() {
        Some((key, _)) => {
            let name: ResourceName = key
                .as_str()
                .parse()
                .map_err(|_| KeyVaultError::Bug("a key's name is no resource name"))?;
            vault.resource.child("keys", &name)
        }
        None => vault.resource.clone(),
    };
    let allowed = |wanted: Wanted<'_>| match decide(
        &Question { principal: caller, wanted, scope: &scope },
        grants,
    ) {
        Decision::Allowed { by } => Ok(by),
        Decision::Denied { reason } => Err(KeyVaultError::Denied(Box::new(DeniedAccess {
            denial: reason,
            caller: caller.clone(),
            vault: vault.vault.clone(),
            location: vault.location.clone(),
            resource: scope.clone(),
        }))),
    };
    if vault.managed_hsm {
        if let KeyOperation::Rewrap { .. } = operation {
            allowed(Wanted::DataAction(KeyPermission::WrapKey.hsm_data_action()))?;
        }
        return allowed(Wanted::DataAction(operation.hsm_data_action()));
    }
    if let KeyOperation::Rewrap { .. } = operation {
        allowed(Wanted::Key(KeyPermission::WrapKey))?;
    }
    allowed(Wanted::Key(operation.permission()))
}

/// Whether a request changes the store.
fn changes(operation: &KeyOperation<'_>) -> bool {
    matches!(
        operation,
        KeyOperation::Create { .. }
            | KeyOperation::CreateIfAbsent { .. }
            | KeyOperation::Delete { .. }
            | KeyOperation::Import { .. }
            | KeyOperation::Purge { .. }
            | KeyOperation::Recover { .. }
            | KeyOperation::Restore { .. }
            | KeyOperation::Rotate { .. }
            | KeyOperation::SetRotationPolicy { .. }
            | KeyOperation::Update { .. }
    )
}

/// Whether a request only reads what the store knows of keys.
fn reads(operation: &KeyOperation<'_>) -> bool {
    matches!(
        operation,
        KeyOperation::GetDeleted { .. }
            | KeyOperation::GetRotationPolicy { .. }
            | KeyOperation::List { .. }
            | KeyOperation::ListDeleted { .. }
            | KeyOperation::ListVersions { .. }
    )
}

fn read(
    session: &Session<'_>,
    vault: &KeyVaultRef,
    operation: &KeyOperation<'_>,
) -> Result<KeyAnswer> {
    match operation {
        KeyOperation::GetDeleted { name } => {
            session.deleted_key(vault, name).map(KeyAnswer::DeletedKey)
        }
        KeyOperation::GetRotationPolicy { name } => {
            let policy = session.rotation_policy(vault, name)?;
            let policy = policy.unwrap_or_else(RotationPolicy::unset);
            Ok(KeyAnswer::RotationPolicy { key: key_uri(vault, name), policy })
        }
        KeyOperation::List { page } => {
            let (keys, next) = session.keys(vault, *page)?;
            Ok(KeyAnswer::Keys { keys, next })
        }
        KeyOperation::ListDeleted { page } => {
            let (keys, next) = session.deleted_keys(vault, *page)?;
            Ok(KeyAnswer::DeletedKeys { keys, next })
        }
        KeyOperation::ListVersions { name, page } => {
            let (keys, next) = session.versions(vault, name, *page)?;
            Ok(KeyAnswer::Versions { keys, next })
        }
        _ => Err(KeyVaultError::Bug("a change was asked for as a question")),
    }
}

fn change(
    session: &Session<'_>,
    vault: &KeyVaultRef,
    operation: &KeyOperation<'_>,
    pair: Option<&KeyPair>,
    context: &RequestContext,
) -> Result<KeyAnswer> {
    let now = context.now;
    if vault.strictness.guards_dependants && context.dependants > 0 && operation.takes_out_of_use()
    {
        return Err(KeyVaultError::KeyHasDependants(context.dependants));
    }
    match (operation, pair) {
        (KeyOperation::Create { name, key }, Some(pair)) => {
            session.create(vault, name, key, pair, Birth::made(now)).map(KeyAnswer::Key)
        }
        (KeyOperation::CreateIfAbsent { name, key, policy }, pair) => {
            session.create_if_absent(vault, name, key, (pair, *policy), now).map(KeyAnswer::Key)
        }
        (KeyOperation::Import { name, key, material }, Some(pair)) => {
            let born = Birth::imported(now, material);
            session.create(vault, name, key, pair, born).map(KeyAnswer::Key)
        }
        (KeyOperation::Rotate { name }, Some(pair)) => {
            session.rotate(vault, name, pair, now).map(KeyAnswer::Key)
        }
        (KeyOperation::Update { name, version, change }, _) => {
            session.update(vault, name, *version, change, now).map(KeyAnswer::Key)
        }
        (KeyOperation::Delete { name }, _) => {
            session.delete(vault, name, now).map(KeyAnswer::DeletedKey)
        }
        (KeyOperation::Recover { name }, _) => session.recover(vault, name).map(KeyAnswer::Key),
        (KeyOperation::Restore { blob }, _) => session.restore(vault, blob).map(KeyAnswer::Key),
        (KeyOperation::SetRotationPolicy { name, policy }, _) => {
            let policy = session.set_rotation_policy(vault, name, policy, now)?;
            Ok(KeyAnswer::RotationPolicy { key: key_uri(vault, name), policy })
        }
        (KeyOperation::Purge { name }, _) => {
            session.purge(vault, name).map(|kits| KeyAnswer::Purged { kits })
        }
        _ => Err(KeyVaultError::Bug("a question was asked as a change")),
    }
}

fn key_uri(vault: &KeyVaultRef, name: &KeyName) -> KeyUri {
    KeyUri { vault: vault.vault.clone(), key: name.clone(), version: None }
}

impl<'a> Request<'a> {
    fn to_key(
        caller: &'a Principal,
        vault: &'a KeyVaultRef,
        operation: &KeyOperation<'_>,
        context: &'a RequestContext,
    ) -> Self {
        let host = vault.vault.uri();
        let id = match operation.key() {
            Some((key, version)) => {
                let (key, version) = (key.clone(), version.cloned());
                KeyUri { vault: vault.vault.clone(), key, version }.to_string()
            }
            None => host.clone(),
        };
        let uri = format!("{host}{}", operation.path());
        let (name, algorithm) = (operation.audit_name(), operation.algorithm());
        let resource = &vault.resource;
        Self { caller, context, resource, name, algorithm, id, uri, lifetime: None }
    }

    fn to_vault(
        caller: &'a Principal,
        vault: &'a KeyVaultRef,
        operation: VaultOperation,
        context: &'a RequestContext,
    ) -> Self {
        let name = match operation {
            VaultOperation::Delete => "VaultDelete",
            VaultOperation::Recover => "VaultRecover",
            VaultOperation::Purge => "VaultPurge",
        };
        let (resource, id) = (&vault.resource, vault.vault.uri());
        let uri = resource.to_string();
        Self { caller, context, resource, name, algorithm: None, id, uri, lifetime: None }
    }

    fn of_event(caller: &'a Principal, event: &'a KeyEvent, context: &'a RequestContext) -> Self {
        let id = event.key.to_string();
        let (resource, uri, name) = (&event.vault, id.clone(), event.kind.recorded_as());
        let lifetime = Some(event.lifetime);
        Self { caller, context, resource, name, algorithm: None, id, uri, lifetime }
    }

    fn of_expiry(
        caller: &'a Principal,
        purged: &'a PurgedKey,
        context: &'a RequestContext,
    ) -> Self {
        let id = purged.key.to_string();
        let (resource, uri) = (&purged.vault, id.clone());
        let name = "KeyPurge";
        Self { caller, context, resource, name, algorithm: None, id, uri, lifetime: None }
    }
}
