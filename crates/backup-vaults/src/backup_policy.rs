//! `Microsoft.RecoveryServices/vaults/backupPolicies`: what clients must name when they protect
//! something. Kept as they write it; nothing is done by its schedule.

use custody_names::ResourceId;
use custody_resources::{
    Answers, Change, Kind, Place, Plan, Record, Refusal, Removal, Request, Stop, Stored,
    SystemData, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::vault::items_of;

/// The policy that every vault has.
const DEFAULT_POLICY: &str = "DefaultPolicy";

/// The kind of policies.
pub struct BackupPolicy;

/// What a client may write of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// The discriminator: `AzureWorkload`, for example.
    pub backup_management_type: String,
    /// Kept as the client wrote it.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl Kind for BackupPolicy {
    const TYPE: &'static str = "Microsoft.RecoveryServices/vaults/backupPolicies";
    const PLACE: Place = Place::Below("Microsoft.RecoveryServices/vaults");
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = BackupPolicySpec;
    type Status = Map<String, Value>;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Ok(Plan::done(change.spec, Map::new()))
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let id = &current.record.id;
        let vault = id.parent().unwrap_or_else(ResourceId::root);
        let names_it = |item: &&&Record| {
            let policy = item.spec.get("policyId").and_then(Value::as_str);
            policy.is_some_and(|policy| policy.parse::<ResourceId>().as_ref() == Ok(id))
        };
        match items_of(&vault, world)?.iter().find(names_it) {
            None => Ok(Removal::default()),
            Some(item) => {
                let text = format!("the policy {id} is that of {}", item.id);
                Err(Refusal::new(409, "PolicyInUse", text)
                    .with_fix("give the item another policy first")
                    .into())
            }
        }
    }
}

/// The policy that a new vault has.
pub(crate) fn default_policy(vault: &ResourceId, system: SystemData) -> Result<Write, Refusal> {
    let name = DEFAULT_POLICY.parse().map_err(|_| Refusal::bug("the policy has a name"))?;
    let record = Record::blank(vault.child("backupPolicies", &name), system);
    // `az backup policy list` fails on a policy without a part. It names no schedule: none is run.
    let parts = json!([{ "policyType": "Full" }]);
    let settings = json!({ "workLoadType": "SQLDataBase", "subProtectionPolicy": parts });
    let spec = BackupPolicySpec {
        backup_management_type: "AzureWorkload".to_owned(),
        settings: settings.as_object().cloned().unwrap_or_default(),
    };
    Stored::<BackupPolicy> { record, spec, status: Map::new() }.into_write()
}
