//! `Microsoft.DataProtection/resourceGuards`: critical operations on a vault take the right to them
//! on its guard as well, so that no one person can carry them out alone.

use custody_names::ResourceId;
use custody_resources::{
    Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, Target, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::guard_proxy;

/// The kind of guards.
pub struct ResourceGuard;

/// What a client may write of a guard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceGuardSpec {
    /// The critical operations that it does not guard; those that are mandatory it does.
    pub vault_critical_operation_exclusion_list: Vec<String>,
}

/// The server writes nothing of a guard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

/// An operation that a guard may guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CriticalOperation {
    /// Its name in Azure.
    pub(crate) name: &'static str,
    /// The requests for it below a guard, on which its permission is asked.
    pub(crate) requests: &'static str,
    /// Whether no guard may leave it out.
    pub(crate) mandatory: bool,
}

const fn optional(name: &'static str, requests: &'static str) -> CriticalOperation {
    CriticalOperation { name, requests, mandatory: false }
}

const fn mandatory(name: &'static str, requests: &'static str) -> CriticalOperation {
    CriticalOperation { name, requests, mandatory: true }
}

const DELETE_PROXY: &str = "deleteResourceGuardProxyRequests";
const DISABLE_SOFT_DELETE: &str = "disableSoftDeleteRequests";
const MODIFY_ENCRYPTION: &str = "modifyEncryptionSettingsRequests";
const UPDATE_POLICY: &str = "updateProtectionPolicyRequests";
const UPDATE_ITEM: &str = "updateProtectedItemRequests";

/// To end what is protected in a Recovery Services vault, data and all.
pub(crate) const RSV_DELETE_ITEM: CriticalOperation = optional(
    "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/delete",
    "deleteProtectedItemRequests",
);
/// To put what is protected under another policy, or end or pause its backups.
pub(crate) const RSV_UPDATE_ITEM: CriticalOperation = optional(
    "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/write",
    UPDATE_ITEM,
);
/// To change a policy: what it keeps no longer expires.
pub(crate) const RSV_POLICY: CriticalOperation =
    optional("Microsoft.RecoveryServices/vaults/backupPolicies/write", UPDATE_POLICY);
/// To change its key or identity.
pub(crate) const RSV_ENCRYPTION: CriticalOperation =
    optional("Microsoft.RecoveryServices/vaults/write#modifyEncryptionSettings", MODIFY_ENCRYPTION);
/// To turn its soft delete off, or shorten it.
pub(crate) const RSV_SOFT_DELETE: CriticalOperation =
    mandatory("Microsoft.RecoveryServices/vaults/backupconfig/write", DISABLE_SOFT_DELETE);
/// To take its guard away.
pub(crate) const RSV_DELETE_PROXY: CriticalOperation =
    mandatory("Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/delete", DELETE_PROXY);
/// To end what is protected in a Backup vault, data and all.
pub(crate) const BV_DELETE_ITEM: CriticalOperation = optional(
    "Microsoft.DataProtection/backupVaults/backupInstances/delete",
    "deleteBackupInstanceRequests",
);
/// To put what is protected under another policy. custody's own name, as the next.
pub(crate) const BV_UPDATE_ITEM: CriticalOperation =
    optional("Microsoft.DataProtection/backupVaults/backupInstances/write", UPDATE_ITEM);
/// To change a policy: what it keeps no longer expires.
pub(crate) const BV_POLICY: CriticalOperation =
    optional("Microsoft.DataProtection/backupVaults/backupPolicies/write", UPDATE_POLICY);
/// To end its backups, data kept.
pub(crate) const BV_STOP: CriticalOperation = optional(
    "Microsoft.DataProtection/backupVaults/backupInstances/stopProtection/action",
    "stopProtectionRequests",
);
/// To pause them.
pub(crate) const BV_SUSPEND: CriticalOperation = optional(
    "Microsoft.DataProtection/backupVaults/backupInstances/suspendBackups/action",
    "suspendBackupsRequests",
);
/// To change its key or identity.
pub(crate) const BV_ENCRYPTION: CriticalOperation = optional(
    "Microsoft.DataProtection/backupVaults/write#modifyEncryptionSettings",
    MODIFY_ENCRYPTION,
);
/// To turn its soft delete off, or shorten it. custody's own name: Azure has not told one.
pub(crate) const BV_SOFT_DELETE: CriticalOperation = mandatory(
    "Microsoft.DataProtection/backupVaults/write#reduceSoftDeleteSecurity",
    DISABLE_SOFT_DELETE,
);
/// To take its guard away.
pub(crate) const BV_DELETE_PROXY: CriticalOperation = mandatory(
    "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete",
    DELETE_PROXY,
);

/// All of them.
pub(crate) const CRITICAL_OPERATIONS: [CriticalOperation; 14] = [
    RSV_DELETE_ITEM,
    RSV_UPDATE_ITEM,
    RSV_POLICY,
    RSV_ENCRYPTION,
    RSV_SOFT_DELETE,
    RSV_DELETE_PROXY,
    BV_DELETE_ITEM,
    BV_UPDATE_ITEM,
    BV_POLICY,
    BV_STOP,
    BV_SUSPEND,
    BV_ENCRYPTION,
    BV_SOFT_DELETE,
    BV_DELETE_PROXY,
];

/// The sorts of requests below a guard.
pub fn guard_requests() -> impl Iterator<Item = &'static str> {
    CRITICAL_OPERATIONS.into_iter().map(|operation| operation.requests)
}

impl CriticalOperation {
    /// The permission that it takes on the guard.
    pub(crate) fn permission(self) -> String {
        format!("{}/{}/action", ResourceGuard::TYPE, self.requests)
    }

    /// The request for it, as clients name it.
    pub(crate) fn request_of(self, guard: &ResourceId) -> String {
        format!("{guard}/{}/default", self.requests)
    }
}

impl ResourceGuardSpec {
    /// Whether the guard guards this.
    pub(crate) fn guards(&self, operation: CriticalOperation) -> bool {
        let excluded = &self.vault_critical_operation_exclusion_list;
        operation.mandatory
            || !excluded.iter().any(|name| name.eq_ignore_ascii_case(operation.name))
    }

    /// What the guard guards.
    pub(crate) fn guarded(&self) -> impl Iterator<Item = CriticalOperation> {
        CRITICAL_OPERATIONS.into_iter().filter(|operation| self.guards(*operation))
    }
}

impl Kind for ResourceGuard {
    const TYPE: &'static str = "Microsoft.DataProtection/resourceGuards";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;

    type Spec = ResourceGuardSpec;
    type Status = NoStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let spec = change.spec;
        for name in &spec.vault_critical_operation_exclusion_list {
            let known = CRITICAL_OPERATIONS.iter().find(|one| one.name.eq_ignore_ascii_case(name));
            if known.is_some_and(|known| known.mandatory) {
                let text = format!(
                    "properties.vaultCriticalOperationExclusionList: {name} is always guarded"
                );
                return Err(Refusal::new(400, "InvalidRestApiParameter", text).into());
            }
        }
        let mut plan = Plan::done(spec.clone(), NoStatus {});
        for proxy in world.referrers(Target::resource(&change.request.id))? {
            // The vaults show what is guarded.
            plan.writes.extend(guard_proxy::refreshed(proxy, &spec)?);
        }
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let id = &current.record.id;
        Removal::unless_named(id, world, |_, proxy| {
            let text = format!("the resource guard {id} guards a vault: {proxy}");
            Refusal::new(409, "ResourceGuardInUse", text)
                .with_fix("take it away from its vaults first")
        })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let operations = stored.spec.guarded().map(|operation| {
            json!({
                "vaultCriticalOperation": operation.name,
                "requestResourceType": format!("{}/{}", Self::TYPE, operation.requests),
            })
        });
        Ok(json!({
            "allowAutoApprovals": true,
            "resourceGuardOperations": operations.collect::<Vec<_>>(),
            "vaultCriticalOperationExclusionList":
                stored.spec.vault_critical_operation_exclusion_list,
            "description": DESCRIPTION,
        }))
    }
}

/// What people are told who meet a guard.
pub(crate) const DESCRIPTION: &str =
    "Whoever performs a critical operation needs the role Backup MUA Operator on this guard.";
