//! What can be protected in a Recovery Services vault, and what even trying to leaves behind.

use custody_names::ResourceId;
use custody_resources::{Kind, Plan, Record, Refusal, Stop, World, Write, not_found};
use serde_json::{Value, json};

use crate::actions::vault_is_ready;
use crate::item::vault_around;

/// The fabric: the only word that stands in its place in paths.
const FABRIC: &str = "Azure";
/// How everything here is managed, in the API's words.
pub(crate) const WORKLOAD: &str = "AzureWorkload";
/// The agent's way of being managed.
const AGENT: &str = "MAB";
/// The type of classic virtual machines, as container and as item.
const CLASSIC: &str = "Microsoft.ClassicCompute/virtualMachines";
/// The flag in the vault's status, read by the rules on its encryption.
const EVER_PROTECTED: &str = "everProtected";

/// Rules 54, 55 and 56: decides on a well-formed request to register or protect something, and
/// marks its vault whatever the decision. From then on the vault keeps its platform-managed key,
/// unless it had a customer's before.
pub(crate) fn attempt<K: Kind>(
    id: &ResourceId,
    world: &World,
    decide: impl FnOnce() -> Result<Plan<K>, Stop>,
) -> Result<Plan<K>, Stop> {
    let vault = vault_around(id);
    let vault = world.record(&vault)?.ok_or_else(|| not_found(&vault))?;
    let decided = vault_is_ready(&vault.id, world).and_then(|()| decide());
    match decided {
        Ok(mut plan) => {
            plan.writes.extend(mark(vault));
            Ok(plan)
        }
        Err(Stop::Refused(mut refusal)) => {
            refusal.writes.extend(mark(vault));
            Err(Stop::Refused(refusal))
        }
        Err(needs) => Err(needs),
    }
}

fn mark(vault: &Record) -> Option<Write> {
    if vault.status.get(EVER_PROTECTED) == Some(&Value::Bool(true)) {
        return None;
    }
    let mut marked = vault.clone();
    match &mut marked.status {
        Value::Object(status) => {
            status.insert(EVER_PROTECTED.to_owned(), true.into());
        }
        other => *other = json!({ EVER_PROTECTED: true }),
    }
    marked.revision += 1;
    Some(Write::Put(Box::new(marked)))
}

/// The path names the one fabric there is, and the body a type.
pub(crate) fn is_well_formed(id: &ResourceId, kind: &str, field: &str) -> Result<(), Refusal> {
    let fabric = id.lineage().find(|place| {
        place
            .resource_type()
            .as_str()
            .eq_ignore_ascii_case("Microsoft.RecoveryServices/vaults/backupFabrics")
    });
    let name = fabric.as_ref().and_then(ResourceId::name).unwrap_or_default();
    if !name.eq_ignore_ascii_case(FABRIC) {
        let text = format!("there is no fabric {name:?}: the one there is is called {FABRIC}");
        return Err(Refusal::new(404, "FabricNotFound", text));
    }
    if kind.is_empty() {
        return Err(Refusal::bad_request(format!("properties.{field} is missing")));
    }
    Ok(())
}

/// Rule 82: what the agent backs up under its own passphrase and classic virtual machines are not
/// taken in; nor is anything else that is no workload.
pub(crate) fn is_supported(kind: &str, management: &str, known: &[&str]) -> Result<(), Refusal> {
    let is = |text: &str, one: &str| text.eq_ignore_ascii_case(one);
    let of_agent = kind.to_ascii_lowercase().starts_with("mab") || is(kind, "Windows");
    if of_agent || is(management, AGENT) {
        let text = "backups of the MARS agent, which encrypts by a passphrase of its own, are not \
                    supported (rule 82)";
        return Err(Refusal::new(400, "UserErrorMarsAgentNotSupported", text)
            .with_fix("protect the folder itself: backupManagementType AzureWorkload"));
    }
    if is(kind, CLASSIC) {
        let text = "classic virtual machines are not supported (rule 82)";
        return Err(Refusal::new(400, "UserErrorClassicVirtualMachineNotSupported", text));
    }
    let workload = management.is_empty() || is(management, WORKLOAD);
    if workload && known.iter().any(|one| is(kind, one)) {
        return Ok(());
    }
    let text = format!(
        "{kind} ({management}) cannot be protected here; workloads can: {WORKLOAD} with {}",
        known.join(", ")
    );
    Err(Refusal::new(400, "UserErrorWorkloadTypeNotSupported", text))
}
