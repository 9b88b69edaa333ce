//! The policy that every new Recovery Services vault has. Policies are a kind of the crate
//! `protection`, which this one does not know: the record is written as that kind reads it.

use custody_names::ResourceId;
use custody_resources::{Record, Refusal, SystemData, Write};
use serde_json::json;

/// Its name.
const DEFAULT_POLICY: &str = "DefaultPolicy";

/// The policy that a new vault has. `az backup policy list` fails on a policy without a part. It
/// names no schedule, so none is run until somebody names another policy.
pub(crate) fn default_policy(vault: &ResourceId, system: SystemData) -> Result<Write, Refusal> {
    let name = DEFAULT_POLICY.parse().map_err(|_| Refusal::bug("the policy has a name"))?;
    let mut record = Record::blank(vault.child("backupPolicies", &name), system);
    record.revision = 1;
    record.spec = json!({
        "backupManagementType": "AzureWorkload",
        "workLoadType": "SQLDataBase",
        "subProtectionPolicy": [{ "policyType": "Full" }],
    });
    record.status = json!({});
    Ok(Write::Put(Box::new(record)))
}
