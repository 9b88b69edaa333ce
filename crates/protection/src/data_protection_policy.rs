//! `Microsoft.DataProtection/backupVaults/backupPolicies`: what clients say of schedule and
//! retention. Policies are kept, shown and named by items; when a backup runs is up to whoever asks
//! for it, for there is no scheduler here yet.

use custody_names::ResourceName;
use custody_resources::{
    Answers, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, Target, World,
};
use serde_json::{Map, Value};

/// Longest policy, in bytes of its JSON.
const POLICY_BYTES_MAX: usize = 64 << 10;

/// The kind of policies of Backup vaults.
pub struct DataProtectionPolicy;

impl Kind for DataProtectionPolicy {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/backupPolicies";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = Map<String, Value>;
    type Status = Map<String, Value>;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ResourceName>()
            .map_err(|error| Refusal::bad_request(format!("the policy's name: {error}")))?;
        if change.spec.get("objectType").and_then(Value::as_str) != Some("BackupPolicy") {
            let text = "properties.objectType must be BackupPolicy";
            return Err(Refusal::bad_request(text).into());
        }
        let bytes = Value::Object(change.spec.clone()).to_string().len();
        if bytes > POLICY_BYTES_MAX {
            let text = format!("a policy has at most {POLICY_BYTES_MAX} bytes, this one {bytes}");
            return Err(Refusal::bad_request(text).into());
        }
        Ok(Plan::done(change.spec, Map::new()))
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let users = world.referrers(Target::resource(&current.record.id))?;
        let Some(first) = users.first() else { return Ok(Removal::default()) };
        let text = format!(
            "{} item(s) are under the policy, the first is {}",
            users.len(),
            first.id.name().unwrap_or_default()
        );
        Err(Refusal::new(409, "PolicyInUse", text)
            .with_fix("give those items another policy first")
            .into())
    }
}
