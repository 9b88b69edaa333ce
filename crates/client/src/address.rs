//! Where things are: resource ids from names.

use custody_names::{InvalidName, ResourceGroupName, ResourceId, ResourceType, SubscriptionId};

/// The resource types that the command line speaks of.
pub mod kinds {
    /// User-assigned identities.
    pub const IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities";
    /// Key vaults.
    pub const KEY_VAULT: &str = "Microsoft.KeyVault/vaults";
    /// Managed HSMs.
    pub const MANAGED_HSM: &str = "Microsoft.KeyVault/managedHSMs";
    /// Backup vaults.
    pub const BACKUP_VAULT: &str = "Microsoft.DataProtection/backupVaults";
    /// Recovery Services vaults.
    pub const RECOVERY_SERVICES_VAULT: &str = "Microsoft.RecoveryServices/vaults";
    /// Destinations of audit records.
    pub const AUDIT_DESTINATION: &str = "Custody.Audit/destinations";
    /// Diagnostic settings.
    pub const DIAGNOSTIC_SETTING: &str = "Microsoft.Insights/diagnosticSettings";
    /// Role assignments.
    pub const ROLE_ASSIGNMENT: &str = "Microsoft.Authorization/roleAssignments";
    /// Role definitions.
    pub const ROLE_DEFINITION: &str = "Microsoft.Authorization/roleDefinitions";
}

/// The addresses below one subscription.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    subscription: SubscriptionId,
}

impl Addresses {
    /// The addresses of this subscription.
    pub fn new(subscription: SubscriptionId) -> Self {
        Self { subscription }
    }

    /// The subscription itself.
    pub fn subscription(&self) -> ResourceId {
        ResourceId::subscription(self.subscription)
    }

    /// A resource group.
    pub fn group(&self, group: &ResourceGroupName) -> ResourceId {
        ResourceId::resource_group(self.subscription, group)
    }

    /// A resource of one of the [`kinds`] in a resource group.
    pub fn resource(
        &self,
        group: &ResourceGroupName,
        kind: &str,
        name: &str,
    ) -> Result<ResourceId, InvalidName> {
        let kind: ResourceType = kind.parse()?;
        Ok(self.group(group).resource(&kind, &name.parse()?))
    }

    /// A protected item of a Backup vault.
    pub fn item(vault: &ResourceId, item: &str) -> Result<ResourceId, InvalidName> {
        Ok(vault.child("backupInstances", &item.parse()?))
    }

    /// A container of a Recovery Services vault.
    pub fn container(vault: &ResourceId, name: &str) -> Result<ResourceId, InvalidName> {
        let fabric = vault.child("backupFabrics", &"Azure".parse()?);
        Ok(fabric.child("protectionContainers", &name.parse()?))
    }

    /// The path of all resources of `kind` below `scope`, for listing and for extensions.
    pub fn collection(scope: &ResourceId, kind: &str) -> String {
        format!("{}/providers/{kind}", scope.as_str().trim_end_matches('/'))
    }
}
