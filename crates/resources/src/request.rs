//! A request, free of HTTP.

use std::net::IpAddr;

use custody_ambient::{Entropy, Timestamp};
use custody_names::{ClientId, CorrelationId, OperationId, PrincipalId, ResourceId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Hosts;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// The principal that roles are granted to.
    pub principal: PrincipalId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What logs show: the principal's name, or the OS user behind the bootstrap administrator.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: CallerKind,
    /// Where the request came from; absent when it began in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// What a caller is. It is for the record; no decision looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CallerKind {
    /// Whoever can open the seal, in this process (DESIGN §8). The only kind there was when
    /// operations were first stored.
    #[default]
    Bootstrap,
    /// A person of the directory.
    User,
    /// An application with a credential of its own.
    Application {
        /// The application id.
        client: ClientId,
    },
    /// A managed identity.
    ManagedIdentity {
        /// The application id.
        client: ClientId,
        /// The identity's resource, or the one that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceId>,
    },
}

impl Caller {
    /// Whoever can open the seal, in this process; `name` is the user of the operating system.
    pub fn bootstrap(principal: PrincipalId, tenant: TenantId, name: String) -> Self {
        Self { principal, tenant, name, kind: CallerKind::Bootstrap, address: None }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Show one resource.
    Read,
    /// Show all resources of a kind below the request's id.
    List,
    /// Create or replace.
    Put,
    /// Change what is named, keep the rest.
    Patch,
    /// Remove.
    Delete,
    /// One of the kind's own verbs, by its name in the path.
    Action(String),
}

/// What must hold of a resource for a change of it to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It is there, at this etag; `*` is any (`If-Match`).
    Etag(String),
    /// It is not there (`If-None-Match: *`).
    Absent,
}

/// One request.
#[derive(Clone)]
pub struct Request<'a> {
    /// The resource; for [`Verb::List`] the parent.
    pub id: ResourceId,
    /// For [`Verb::List`]: the resource type that is listed.
    pub listed: Option<String>,
    /// What is asked.
    pub verb: Verb,
    /// The JSON body, `Null` without one.
    pub body: Value,
    /// The `api-version` parameter.
    pub api_version: String,
    /// The `If-Match` or `If-None-Match` header.
    pub if_match: Option<Precondition>,
    /// Who asks.
    pub caller: Caller,
    /// Ties together what this request sets off.
    pub correlation: CorrelationId,
    /// The id that an operation begun by this request will bear.
    pub operation: OperationId,
    /// The process that will carry such an operation out.
    pub owner: String,
    /// The time of the request.
    pub now: Timestamp,
    /// By which names the caller reaches the data planes.
    pub hosts: Hosts,
    /// For identifiers that a plan mints.
    pub entropy: &'a dyn Entropy,
}
