//! Requests to the local roles of a managed HSM. The roles are records, not keys, but they are asked
//! for on the data plane: its network rules hold for them, and each request is on record.

use std::borrow::Cow;

use custody_access::Principal;
use custody_resources::{Hosts, Refusal};

use crate::KeyVaults;
use crate::audit::{AuditIdentity, AuditProperties, AuditRecord, RequestContext};
use crate::error::{BarredCall, KeyVaultError};
use crate::vault::KeyVaultRef;

/// A request to the local roles of a managed HSM.
#[derive(Clone, Copy)]
pub struct RoleRequest<'a> {
    /// Who asks.
    pub caller: &'a Principal,
    /// The managed HSM.
    pub hsm: &'a KeyVaultRef,
    /// What the log calls it, `RoleAssignmentCreate` for example.
    pub name: &'static str,
    /// Its path on the data plane.
    pub path: &'a str,
}

impl RoleRequest<'_> {
    /// Whether the network rules let the request through.
    pub fn admit(&self, context: &RequestContext) -> Result<(), KeyVaultError> {
        let address = context.client_address;
        let admitted = self.hsm.network.admit(address, context.trusted);
        admitted.map_err(|barrier| {
            KeyVaultError::Barred(Box::new(BarredCall {
                barrier,
                address,
                caller: self.caller.clone(),
                vault: self.hsm.vault.clone(),
                location: self.hsm.location.clone(),
            }))
        })
    }
}

impl KeyVaults {
    /// Hands the record of a request to the audit sink: of the status that it will be answered
    /// with, or of its refusal.
    ///
    /// # Errors
    /// [`KeyVaultError::AuditUnavailable`] if the record could not be written: then nothing must be
    /// changed and nothing answered.
    pub fn record_role_request(
        &self,
        request: RoleRequest<'_>,
        context: &RequestContext,
        outcome: Result<u16, &Refusal>,
    ) -> Result<(), KeyVaultError> {
        let took = self.since_boot().saturating_sub(context.begun);
        let record = AuditRecord {
            time: context.now,
            resource_id: request.hsm.resource.as_str().to_uppercase(),
            operation_name: request.name,
            operation_version: context.api_version.clone(),
            category: "AuditEvent",
            result_type: if outcome.is_ok() { "Success" } else { "Failure" },
            result_signature: outcome.map_or_else(signature, |_| "OK"),
            result_description: outcome.err().map(|refusal| refusal.message.clone()),
            duration_ms: took.as_millis().to_string(),
            caller_ip_address: context.client_address,
            correlation_id: context.correlation,
            identity: AuditIdentity::of(request.caller),
            properties: AuditProperties {
                id: request.hsm.address(&Hosts::default()),
                request_uri: context
                    .request_uri(&request.hsm.address(&context.hosts), request.path),
                http_status_code: outcome.unwrap_or_else(|refusal| refusal.status),
                client_info: context.client_info.clone(),
                algorithm: None,
                job_id: context.job,
                purpose: context.purpose,
                nbf: None,
                exp: None,
                granted_by: None,
            },
        };
        Ok(self.audit().record(&record)?)
    }
}

fn signature(refusal: &Refusal) -> &'static str {
    match refusal.code {
        Cow::Borrowed(code) => code,
        Cow::Owned(_) => "Failure",
    }
}
