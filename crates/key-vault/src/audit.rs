//! The record of every request, allowed or refused, in the form of Key Vault's `AuditEvent`.

use std::net::IpAddr;
use std::time::Duration;

use custody_access::{Grant, Principal};
use custody_ambient::{Clock, Timestamp};
use custody_names::{ClientId, CorrelationId, OperationId, PrincipalId};
use custody_resources::Hosts;
use serde::Serialize;

/// Takes the records: the ledger, in the binary.
///
/// A request is answered only after its record was taken, and fails if it was not (rule 118). The
/// sink is called while the key store is locked: it must not use that key store.
pub trait AuditSink: Send + Sync {
    /// Takes one record, durably.
    fn record(&self, record: &AuditRecord) -> Result<(), AuditUnavailable>;
}

/// The record could not be written, so the request fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record of this request could not be written, so it was refused: {0}")]
pub struct AuditUnavailable(pub String);

/// One request to a key vault. The names of its JSON are those of Azure's log, ours come last in
/// `properties`. It holds no key bytes: there is no field for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When.
    pub time: Timestamp,
    /// The key vault's ARM id, in upper case.
    pub resource_id: String,
    /// What was asked for, `KeyUnwrap` for example.
    pub operation_name: &'static str,
    /// The api-version of the request; none if it did not come by a REST interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_version: Option<String>,
    /// Always `AuditEvent`.
    pub category: &'static str,
    /// `Success` or `Failure`.
    pub result_type: &'static str,
    /// `OK`, or the code of the error.
    pub result_signature: &'static str,
    /// The error's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_description: Option<String>,
    /// How long it took until it was recorded, in milliseconds; a text, as Azure writes it.
    pub duration_ms: String,
    /// Where the request came from; none if from this machine's own process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_ip_address: Option<IpAddr>,
    /// Ties together everything that one request set off.
    pub correlation_id: CorrelationId,
    /// Who asked.
    pub identity: AuditIdentity,
    /// On what, with what, how it was answered.
    pub properties: AuditProperties,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditIdentity {
    /// The claims of its token.
    pub claim: AuditClaim,
    /// The operating system's user, for requests of the bootstrap administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_user: Option<String>,
}

/// The claims that name a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditClaim {
    /// The object id.
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/objectidentifier")]
    pub object_id: PrincipalId,
    /// The application id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<ClientId>,
}

/// What was asked for and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditProperties {
    /// The canonical URI of the key, key vault or managed HSM; with the version that was used, if one was.
    pub id: String,
    /// The request as a URI of the data plane, by the host and port that it came to. Of its query
    /// only the api-version is told: nothing says what else may stand there.
    pub request_uri: String,
    /// The HTTP status of the answer.
    pub http_status_code: u16,
    /// What the client says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<String>,
    /// `RSA-OAEP-256` or `RSA-OAEP`, for wraps and unwraps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<&'static str>,
    /// The job or other operation that needed the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<OperationId>,
    /// Why the platform used a key by itself; none for what callers and their jobs ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// The role assignment or `access policy` that allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<String>,
    /// `nbf` of the version that was made or told of, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// `exp` of the version that was made or told of, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

/// Why a key was used or changed other than for its own sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// To see whether a vault can still reach its key.
    Probe,
    /// To rehearse what happens when it cannot.
    Drill,
}

/// What a request brings along besides what it asks for.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The time of the request; attributes are judged by it.
    pub now: Timestamp,
    /// When it arrived, by the boot clock ([`Clock::since_boot`]).
    pub begun: Duration,
    /// Ties together everything that one request set off.
    pub correlation: CorrelationId,
    /// The job or other operation that needs the key.
    pub job: Option<OperationId>,
    /// Why, where that is not what the request itself says.
    pub purpose: Option<Purpose>,
    /// Where it came from; none if from this machine's own process.
    pub client_address: Option<IpAddr>,
    /// What the client says it is (`User-Agent`).
    pub client_info: Option<String>,
    /// The api-version it asks for, with nothing in it but what versions are made of; none if it
    /// did not come by a REST interface.
    pub api_version: Option<String>,
    /// The domains that the data planes were reached by.
    pub hosts: Hosts,
    /// Whether a vault asks from within as its system-assigned identity: then the key vault's
    /// network rules may let it pass. No token makes a caller trusted.
    pub trusted: bool,
    /// How many vaults hang on the key, where that is to be looked at before it goes.
    pub dependants: usize,
}

impl RequestContext {
    /// A request that begins now within this process, with nothing else to it.
    pub fn begun(clock: &dyn Clock, correlation: CorrelationId) -> Self {
        Self {
            now: clock.now(),
            begun: clock.since_boot(),
            correlation,
            job: None,
            purpose: None,
            client_address: None,
            client_info: None,
            api_version: None,
            hosts: Hosts::default(),
            trusted: false,
            dependants: 0,
        }
    }

    /// A request as a URI below `address`.
    pub(crate) fn request_uri(&self, address: &str, path: &str) -> String {
        match &self.api_version {
            Some(version) => format!("{address}{path}?api-version={version}"),
            None => format!("{address}{path}"),
        }
    }
}

impl AuditIdentity {
    pub(crate) fn of(principal: &Principal) -> Self {
        Self {
            claim: AuditClaim { object_id: principal.id, appid: principal.application() },
            os_user: principal.os_user().map(str::to_owned),
        }
    }
}

pub(crate) fn grant_text(grant: &Grant) -> String {
    match grant {
        Grant::RoleAssignment(id) => id.to_string(),
        Grant::AccessPolicy => "access policy".to_owned(),
    }
}
