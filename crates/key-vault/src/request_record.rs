//! A request on its way to the record of it.

use std::time::Duration;

use custody_access::{Grant, Principal};
use custody_ambient::Timestamp;
use custody_names::{KeyUri, ResourceId};
use custody_resources::Hosts;

use crate::answer::KeyAnswer;
use crate::audit::{AuditIdentity, AuditProperties, AuditRecord, RequestContext, grant_text};
use crate::erase::PurgedKey;
use crate::error::KeyVaultError;
use crate::key_event::{KeyEvent, Lifetime};
use crate::key_vaults::VaultOperation;
use crate::operation::KeyOperation;
use crate::vault::{KeyVaultRef, told, told_of};

/// A request as the record of it shows it, before it is known how it ends.
pub(crate) struct Request<'a> {
    pub(crate) caller: &'a Principal,
    pub(crate) context: &'a RequestContext,
    resource: &'a ResourceId,
    /// Where it was asked; none if nobody asked.
    vault: Option<&'a KeyVaultRef>,
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
        let canonical = vault.address(&Hosts::default());
        let id = match operation.key() {
            Some((key, version)) => {
                let (key, version) = (key.clone(), version.cloned());
                let uri = KeyUri { vault: vault.vault.clone(), key, version }.to_string();
                told(&uri, &vault.vault, &canonical)
            }
            None => canonical,
        };
        let uri = context.request_uri(&vault.address(&context.hosts), &operation.path());
        let (name, algorithm) = (operation.audit_name(), operation.algorithm());
        let (resource, vault) = (&vault.resource, Some(vault));
        Self { caller, context, resource, vault, name, algorithm, id, uri, lifetime: None }
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
            VaultOperation::HandOver(_) => "VaultHandOver",
        };
        let (resource, id) = (&vault.resource, vault.address(&Hosts::default()));
        let (uri, vault, algorithm) = (resource.to_string(), Some(vault), None);
        Self { caller, context, resource, vault, name, algorithm, id, uri, lifetime: None }
    }

    /// What happened to a key by itself.
    pub(crate) fn of_event(
        caller: &'a Principal,
        event: &'a KeyEvent,
        context: &'a RequestContext,
    ) -> Self {
        let id = told_of(&event.key.to_string(), &event.key.vault, &event.vault);
        let (resource, uri, name) = (&event.vault, id.clone(), event.kind.recorded_as());
        let (vault, algorithm, lifetime) = (None, None, Some(event.lifetime));
        Self { caller, context, resource, vault, name, algorithm, id, uri, lifetime }
    }

    /// A purge whose time had come.
    pub(crate) fn of_expiry(
        caller: &'a Principal,
        purged: &'a PurgedKey,
        context: &'a RequestContext,
    ) -> Self {
        let id = told_of(&purged.key.to_string(), &purged.key.vault, &purged.vault);
        let (resource, uri, name) = (&purged.vault, id.clone(), "KeyPurge");
        let (vault, algorithm, lifetime) = (None, None, None);
        Self { caller, context, resource, vault, name, algorithm, id, uri, lifetime }
    }

    /// The record, now that it is known how it ended, at this time of the boot clock.
    pub(crate) fn ended(
        &self,
        granted: Option<&Grant>,
        outcome: std::result::Result<&KeyAnswer, &KeyVaultError>,
        at: Duration,
    ) -> AuditRecord {
        let hosted = |text: String, hosts: &Hosts| match self.vault {
            Some(vault) => told(&text, &vault.vault, &vault.address(hosts)),
            None => text,
        };
        let version = outcome.ok().and_then(KeyAnswer::version).map(ToString::to_string);
        let version = version.map(|version| hosted(version, &Hosts::default()));
        let error = outcome.err().map(|error| hosted(error.to_string(), &self.context.hosts));
        let lifetime = match outcome {
            Ok(KeyAnswer::Key(key)) => Lifetime::of_made(self.name, key),
            Ok(_) => self.lifetime,
            Err(_) => None,
        };
        AuditRecord {
            time: self.context.now,
            resource_id: self.resource.as_str().to_uppercase(),
            operation_name: self.name,
            operation_version: self.context.api_version.clone(),
            category: "AuditEvent",
            result_type: if outcome.is_ok() { "Success" } else { "Failure" },
            result_signature: outcome.map_or_else(KeyVaultError::code, |_| "OK"),
            result_description: error,
            duration_ms: at.saturating_sub(self.context.begun).as_millis().to_string(),
            caller_ip_address: self.context.client_address,
            correlation_id: self.context.correlation,
            identity: AuditIdentity::of(self.caller),
            properties: AuditProperties {
                id: version.unwrap_or_else(|| self.id.clone()),
                request_uri: self.uri.clone(),
                http_status_code: outcome
                    .map_or_else(|error| error.answer().status, KeyAnswer::status),
                client_info: self.context.client_info.clone(),
                algorithm: self.algorithm,
                job_id: self.context.job,
                purpose: self.context.purpose,
                granted_by: granted.map(grant_text),
                nbf: lifetime.and_then(|lifetime| lifetime.not_before).map(Timestamp::as_second),
                exp: lifetime.and_then(|lifetime| lifetime.expires).map(Timestamp::as_second),
            },
        }
    }
}
