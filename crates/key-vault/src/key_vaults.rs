//! The front of the key vault: every request is authorised, carried out and recorded here.

use std::sync::Arc;

use custody_access::{Decision, Grant, Grants, Principal, Question, Wanted, decide};
use custody_names::{KeyUri, ResourceId, ResourceName};

use crate::audit::{
    AuditIdentity, AuditProperties, AuditRecord, AuditSink, RequestContext, grant_text,
};
use crate::erase::PurgedKey;
use crate::error::{DeniedAccess, KeyVaultError, Result};
use crate::key::KeyUse;
use crate::key_store::KeyStore;
use crate::operation::{KeyAnswer, KeyOperation};
use crate::rsa::{self, KeyPair};
use crate::session::Session;
use crate::vault::KeyVaultRef;

/// The key vaults of one installation.
pub struct KeyVaults {
    store: Arc<KeyStore>,
    audit: Arc<dyn AuditSink>,
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
}

impl KeyVaults {
    /// Key vaults over this store; every request goes to `audit`.
    pub fn new(store: Arc<KeyStore>, audit: Arc<dyn AuditSink>) -> Self {
        Self { store, audit }
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
        let granted = match authorise(caller, vault, grants, operation) {
            Ok(granted) => granted,
            Err(error) => return self.refuse(&request, None, error),
        };
        match operation {
            KeyOperation::Get { .. }
            | KeyOperation::GetDeleted { .. }
            | KeyOperation::List
            | KeyOperation::ListDeleted
            | KeyOperation::ListVersions { .. }
            | KeyOperation::Unwrap { .. }
            | KeyOperation::Wrap { .. } => {
                let outcome = self.answer(vault, operation, context);
                self.record(&request, Some(&granted), outcome.as_ref())?;
                outcome
            }
            _ => match self.fresh_key_pair(vault, operation) {
                Ok(pair) => self.change(&request, Some(&granted), |session| {
                    change(session, vault, operation, pair.as_ref(), context)
                }),
                Err(error) => self.refuse(&request, Some(&granted), error),
            },
        }
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
            Ok(KeyAnswer::Keys(Vec::new()))
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

    /// Requests that change nothing in the store.
    fn answer(
        &self,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        match operation {
            KeyOperation::Unwrap { name, version, algorithm, wrapped } => {
                let (key, private) = self.store.read(|session| {
                    let row = session.version(vault, name, *version)?;
                    row.key.permits(KeyUse::UnwrapKey, context.now)?;
                    let private = session.private_key(vault, &row)?;
                    Ok((row.key.id, private))
                })?;
                match rsa::unwrap(&private, *algorithm, wrapped)? {
                    Some(plain) => Ok(KeyAnswer::Unwrapped { key, plain }),
                    None => Err(KeyVaultError::WrapMismatch(key)),
                }
            }
            KeyOperation::Wrap { name, version, algorithm, plain } => {
                let row = self.store.read(|session| session.version(vault, name, *version))?;
                row.key.permits(KeyUse::WrapKey, context.now)?;
                let wrapped = rsa::wrap(&row.public_der, *algorithm, plain)?;
                Ok(KeyAnswer::Wrapped { key: row.key.id, wrapped })
            }
            _ => self.store.read(|session| match operation {
                KeyOperation::Get { name, version } => {
                    session.version(vault, name, *version).map(|row| KeyAnswer::Key(row.key))
                }
                KeyOperation::GetDeleted { name } => {
                    session.deleted_key(vault, name).map(KeyAnswer::DeletedKey)
                }
                KeyOperation::List => session.keys(vault).map(KeyAnswer::Keys),
                KeyOperation::ListDeleted => {
                    session.deleted_keys(vault).map(KeyAnswer::DeletedKeys)
                }
                KeyOperation::ListVersions { name } => {
                    session.versions(vault, name).map(KeyAnswer::Keys)
                }
                _ => Err(KeyVaultError::Bug("a change was asked for as a question")),
            }),
        }
    }

    /// The key pair that a request needs. Making one takes long: nothing is locked meanwhile.
    fn fresh_key_pair(
        &self,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
    ) -> Result<Option<KeyPair>> {
        let size = match operation {
            KeyOperation::Create { key, .. } => key.size,
            KeyOperation::Rotate { name } => {
                self.store.read(|session| session.version(vault, name, None))?.key.size
            }
            _ => return Ok(None),
        };
        rsa::generate(size).map(Some)
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
    let wanted = Wanted::Key(operation.permission());
    match decide(&Question { principal: caller, wanted, scope: &scope }, grants) {
        Decision::Allowed { by } => Ok(by),
        Decision::Denied { reason } => Err(KeyVaultError::Denied(Box::new(DeniedAccess {
            denial: reason,
            caller: caller.clone(),
            vault: vault.vault.clone(),
            resource: scope,
        }))),
    }
}

/// Requests that change the store.
fn change(
    session: &Session<'_>,
    vault: &KeyVaultRef,
    operation: &KeyOperation<'_>,
    pair: Option<&KeyPair>,
    context: &RequestContext,
) -> Result<KeyAnswer> {
    let now = context.now;
    match (operation, pair) {
        (KeyOperation::Create { name, key }, Some(pair)) => {
            session.create(vault, name, key, pair, now).map(KeyAnswer::Key)
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
        (KeyOperation::Purge { name }, _) => {
            session.purge(vault, name).map(|kits| KeyAnswer::Purged { kits })
        }
        _ => Err(KeyVaultError::Bug("a question was asked as a change")),
    }
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
        Self { caller, context, resource: &vault.resource, name, algorithm, id, uri }
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
        Self { caller, context, resource, name, algorithm: None, id, uri }
    }

    fn of_expiry(
        caller: &'a Principal,
        purged: &'a PurgedKey,
        context: &'a RequestContext,
    ) -> Self {
        let id = purged.key.to_string();
        let (resource, uri) = (&purged.vault, id.clone());
        Self { caller, context, resource, name: "KeyPurge", algorithm: None, id, uri }
    }
}
