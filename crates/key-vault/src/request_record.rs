//! A request on its way to the record of it.

use custody_access::{Grant, Principal};
use custody_ambient::Timestamp;
use custody_names::{KeyUri, ResourceId};

use crate::answer::KeyAnswer;
use crate::audit::{AuditIdentity, AuditProperties, AuditRecord, RequestContext, grant_text};
use crate::erase::PurgedKey;
use crate::error::KeyVaultError;
use crate::key_event::{KeyEvent, Lifetime};
use crate::key_vaults::VaultOperation;
use crate::operation::KeyOperation;
use crate::vault::KeyVaultRef;

/// A request as the record of it shows it, before it is known how it ends.
pub(crate) struct Request<'a> {
    pub(crate) caller: &'a Principal,
    pub(crate) context: &'a RequestContext,
    resource: &'a ResourceId,
    name: &'static str,
    algorithm: Option<&'static str>,
    id: String,
    uri: String,
    /// Of the version that an event is about.
    lifetime: Option<Lifetime>,
}

impl<'a> Request<'a> {
    /// What was asked of a key.
    pub(crate) fn to_key(
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

    /// What was asked of a whole key vault.
    pub(crate) fn to_vault(
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

    /// What happened to a key by itself.
    pub(crate) fn of_event(
        caller: &'a Principal,
        event: &'a KeyEvent,
        context: &'a RequestContext,
    ) -> Self {
        let id = event.key.to_string();
        let (resource, uri, name) = (&event.vault, id.clone(), event.kind.recorded_as());
        let lifetime = Some(event.lifetime);
        Self { caller, context, resource, name, algorithm: None, id, uri, lifetime }
    }

    /// A purge whose time had come.
    pub(crate) fn of_expiry(
        caller: &'a Principal,
        purged: &'a PurgedKey,
        context: &'a RequestContext,
    ) -> Self {
        let id = purged.key.to_string();
        let (resource, uri) = (&purged.vault, id.clone());
        let name = "KeyPurge";
        Self { caller, context, resource, name, algorithm: None, id, uri, lifetime: None }
    }

    /// The record, now that it is known how it ended.
    pub(crate) fn ended(
        &self,
        granted: Option<&Grant>,
        outcome: std::result::Result<&KeyAnswer, &KeyVaultError>,
    ) -> AuditRecord {
        let version = outcome.ok().and_then(KeyAnswer::version);
        let lifetime = match outcome {
            Ok(KeyAnswer::Key(key)) => Lifetime::of_made(self.name, key),
            Ok(_) => self.lifetime,
            Err(_) => None,
        };
        AuditRecord {
            time: self.context.now,
            resource_id: self.resource.as_str().to_uppercase(),
            operation_name: self.name,
            category: "AuditEvent",
            result_type: if outcome.is_ok() { "Success" } else { "Failure" },
            result_signature: outcome.map_or_else(KeyVaultError::code, |_| "OK"),
            result_description: outcome.err().map(ToString::to_string),
            caller_ip_address: self.context.client_address,
            correlation_id: self.context.correlation,
            identity: AuditIdentity::of(self.caller),
            properties: AuditProperties {
                id: version.map_or_else(|| self.id.clone(), ToString::to_string),
                request_uri: self.uri.clone(),
                http_status_code: outcome
                    .map_or_else(|error| error.answer().status, KeyAnswer::status),
                client_info: self.context.client_info.clone(),
                algorithm: self.algorithm,
                job_id: self.context.job,
                granted_by: granted.map(grant_text),
                nbf: lifetime.and_then(|lifetime| lifetime.not_before).map(Timestamp::as_second),
                exp: lifetime.and_then(|lifetime| lifetime.expires).map(Timestamp::as_second),
            },
        }
    }
}
