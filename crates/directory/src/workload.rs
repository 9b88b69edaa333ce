//! Workloads: what on this host may ask for tokens of which user-assigned identities. There is none
//! until an administrator attaches an identity.

use custody_names::ResourceId;
use custody_resources::{
    Change, Kind, Place, Plan, Reference, Refusal, Stop, Stored, Target, World,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tenant::directory_id;

/// The workload that stands for the whole host: whoever can reach the instance metadata address.
pub const WHOLE_HOST: &str = "imds";
/// Most identities of one workload.
pub const ATTACHED_MAX: usize = 20;

/// `Custody.Directory/workloads`.
pub struct Workload;

/// What a workload may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// The identities attached to it.
    pub identities: Vec<ResourceId>,
    /// The hash of the secret that its requests bear; none for [`WHOLE_HOST`].
    pub header_sha256: Option<String>,
}

/// The server writes nothing else of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadStatus {}

/// The record of the workload of this name.
pub fn workload_id(name: &str) -> Result<ResourceId, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Refusal::bad_request(
            "a workload's name has 1 to 64 letters, digits, hyphens and underscores",
        ));
    }
    directory_id(&format!("workloads/{name}"))
}

impl Kind for Workload {
    const TYPE: &'static str = "Custody.Directory/workloads";
    const PLACE: Place = Place::Root;
    const WRITABLE: bool = false;

    type Spec = WorkloadSpec;
    type Status = WorkloadStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("workloads are not written by way of ARM").into())
    }

    /// Not by way of ARM.
    fn properties(_stored: &Stored<Self>) -> Result<Value, Refusal> {
        Ok(Value::Null)
    }

    fn references(
        spec: &Self::Spec,
        _status: &Self::Status,
        _identity: Option<&custody_resources::Identity>,
    ) -> Vec<Reference> {
        let to = |id| Reference::new("attachedTo", Target::resource(id));
        spec.identities.iter().map(to).collect()
    }
}
