//! A request, free of HTTP.

use custody_ambient::{Entropy, Timestamp};
use custody_names::{CorrelationId, OperationId, PrincipalId, ResourceId, TenantId};
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
    /// The `If-Match` header.
    pub if_match: Option<String>,
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
