//! The built-in roles, with Azure's own names and GUIDs.
//!
//! The permissions are Azure's as far as they touch resource types that custody serves; the long
//! operation lists of the backup roles are written as the wildcards that cover them.

use std::sync::LazyLock;

use custody_names::RoleDefinitionId;

use crate::{ActionPattern, RoleDefinition};

/// All built-in roles.
pub fn built_in_roles() -> &'static [RoleDefinition] {
    static ROLES: LazyLock<Vec<RoleDefinition>> =
        LazyLock::new(|| TABLE.iter().map(definition).collect());
    &ROLES
}

/// The built-in role of this name, `Key Vault Reader` for example; case does not distinguish.
pub fn built_in_role(name: &str) -> Option<&'static RoleDefinition> {
    built_in_roles().iter().find(|role| role.role_name.eq_ignore_ascii_case(name))
}

/// Everything, the granting of roles included; no use of keys.
pub const OWNER: RoleDefinitionId = id(0x8e3af657_a8ff_443c_a75c_2fe8c4bcb635);
/// Everything on keys of a key vault: more than a vault's identity needs, and good for it (rule 45).
pub const KEY_VAULT_CRYPTO_OFFICER: RoleDefinitionId = id(0x14b46e9e_c2b7_41b4_b07b_48a6ebf60603);
/// What a vault's identity, or a service's application, needs and no more: read, wrap, unwrap
/// (rules 42, 144).
pub const KEY_VAULT_CRYPTO_SERVICE_ENCRYPTION_USER: RoleDefinitionId =
    id(0xe147488a_f6f5_4113_8e2d_b22465e65bf6);

/// The granting of roles on key vaults' data, and of no others.
pub const KEY_VAULT_DATA_ACCESS_ADMINISTRATOR: RoleDefinitionId =
    id(0x8b54135c_b56d_4d72_a534_26097cfdc8d8);

struct Row {
    id: RoleDefinitionId,
    name: &'static str,
    description: &'static str,
    actions: &'static [&'static str],
    not_actions: &'static [&'static str],
    data_actions: &'static [&'static str],
}

const fn id(guid: u128) -> RoleDefinitionId {
    RoleDefinitionId::from_bytes(guid.to_be_bytes())
}

fn definition(row: &Row) -> RoleDefinition {
    let patterns =
        |texts: &[&'static str]| texts.iter().map(|text| ActionPattern::new(*text)).collect();
    RoleDefinition {
        id: row.id,
        role_name: row.name.to_owned(),
        description: row.description.to_owned(),
        actions: patterns(row.actions),
        not_actions: patterns(row.not_actions),
        data_actions: patterns(row.data_actions),
        not_data_actions: Vec::new(),
    }
}

const TABLE: &[Row] = &[
    Row {
        id: OWNER,
        name: "Owner",
        description: "Full access to manage all resources, including assigning roles.",
        actions: &["*"],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xb24988ac_6180_42a0_ab88_20f7382dd24c),
        name: "Contributor",
        description: "Full access to manage all resources, but not to assign roles.",
        actions: &["*"],
        not_actions: &[
            "Microsoft.Authorization/*/delete",
            "Microsoft.Authorization/*/write",
            "Microsoft.Authorization/elevateAccess/action",
        ],
        data_actions: &[],
    },
    Row {
        id: id(0xacdd72a7_3385_48ef_bd42_f606fba81ae7),
        name: "Reader",
        description: "View all resources, but make no changes.",
        actions: &["*/read"],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0x18d7d88d_d35e_4fb5_a5c3_7773c20a72d9),
        name: "User Access Administrator",
        description: "Manage who has access to resources.",
        actions: &["*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xc2a970b4_16a7_4a51_8c84_8a8ea6ee0bb8),
        name: "Backup MUA Admin",
        description: "Manage resource guards and which vaults they guard.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.DataProtection/*/read",
            "Microsoft.DataProtection/resourceGuards/write",
            "Microsoft.DataProtection/resourceGuards/delete",
            "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/*",
            "Microsoft.RecoveryServices/vaults/read",
            "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/*",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xf54b6d04_23c6_443e_b462_9c16ab7b4a52),
        name: "Backup MUA Operator",
        description: "Perform critical operations that a resource guard guards.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.DataProtection/*/action",
            "Microsoft.DataProtection/*/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0x5e467623_bb1f_42f4_a55d_6e525e11384b),
        name: "Backup Contributor",
        description: "Manage backups, but neither delete vaults nor give access to others.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.RecoveryServices/locations/*",
            "Microsoft.RecoveryServices/vaults/read",
            "Microsoft.RecoveryServices/vaults/write",
            "Microsoft.RecoveryServices/vaults/*/read",
            "Microsoft.RecoveryServices/vaults/backup*",
            "Microsoft.RecoveryServices/vaults/certificates/*",
            "Microsoft.RecoveryServices/vaults/monitoring*",
            "Microsoft.RecoveryServices/vaults/registeredIdentities/*",
            "Microsoft.RecoveryServices/vaults/usages/*",
            "Microsoft.DataProtection/*/read",
            "Microsoft.DataProtection/*/action",
            "Microsoft.DataProtection/backupVaults/write",
            "Microsoft.DataProtection/backupVaults/backupInstances/*",
            "Microsoft.DataProtection/backupVaults/backupPolicies/*",
            "Microsoft.DataProtection/backupVaults/deletedBackupInstances/*",
        ],
        not_actions: &["Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/*"],
        data_actions: &[],
    },
    Row {
        id: id(0x00c29273_979b_4161_815c_10b084fb9324),
        name: "Backup Operator",
        description: "Manage backups, but neither remove them, make vaults nor give access.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.RecoveryServices/*/read",
            "Microsoft.RecoveryServices/locations/*",
            "Microsoft.RecoveryServices/vaults/backupFabrics/*/action",
            "Microsoft.RecoveryServices/vaults/backupFabrics/*/write",
            "Microsoft.RecoveryServices/vaults/backupJobs/*",
            "Microsoft.RecoveryServices/vaults/backupJobsExport/action",
            "Microsoft.DataProtection/*/read",
            "Microsoft.DataProtection/backupVaults/backupInstances/*/action",
            "Microsoft.DataProtection/backupVaults/backupInstances/write",
            "Microsoft.DataProtection/backupVaults/validateForBackup/action",
            "Microsoft.DataProtection/locations/*",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xa795c7a0_d4a2_40c1_ae25_d81f01202912),
        name: "Backup Reader",
        description: "View backups, but make no changes.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.RecoveryServices/*/read",
            "Microsoft.DataProtection/*/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xf1a07417_d97a_45cb_824c_7a7467783830),
        name: "Managed Identity Operator",
        description: "Read user-assigned identities and assign them to resources.",
        actions: &[
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xe40ec5ca_96e0_45a2_b4ff_59039f2c2b59),
        name: "Managed Identity Contributor",
        description: "Create, read, update and delete user-assigned identities.",
        actions: &[
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/delete",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0x00482a5a_887f_4fb3_b363_3b7fe8e74483),
        name: "Key Vault Administrator",
        description: "Everything in the data plane of a key vault; no management of the vault.",
        actions: KEY_VAULT_VISIBLE,
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/*"],
    },
    Row {
        id: KEY_VAULT_CRYPTO_OFFICER,
        name: "Key Vault Crypto Officer",
        description: "Everything on the keys of a key vault, except granting access.",
        actions: KEY_VAULT_VISIBLE,
        not_actions: &[],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/*",
            "Microsoft.KeyVault/vaults/keyrotationpolicies/*",
        ],
    },
    Row {
        id: id(0x12338af0_0e69_4776_bea7_57ae8d297424),
        name: "Key Vault Crypto User",
        description: "Cryptographic operations with keys.",
        actions: &[],
        not_actions: &[],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/read",
            "Microsoft.KeyVault/vaults/keys/update/action",
            "Microsoft.KeyVault/vaults/keys/backup/action",
            "Microsoft.KeyVault/vaults/keys/encrypt/action",
            "Microsoft.KeyVault/vaults/keys/decrypt/action",
            "Microsoft.KeyVault/vaults/keys/wrap/action",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
            "Microsoft.KeyVault/vaults/keys/sign/action",
            "Microsoft.KeyVault/vaults/keys/verify/action",
        ],
    },
    Row {
        id: KEY_VAULT_CRYPTO_SERVICE_ENCRYPTION_USER,
        name: "Key Vault Crypto Service Encryption User",
        description: "Read the metadata of keys, wrap and unwrap with them.",
        actions: &[],
        not_actions: &[],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/read",
            "Microsoft.KeyVault/vaults/keys/wrap/action",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
        ],
    },
    Row {
        id: id(0x08bbd89e_9f13_488c_ac41_acfcb10c90ab),
        name: "Key Vault Crypto Service Release User",
        description: "Release keys to attested environments.",
        actions: &[],
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/keys/release/action"],
    },
    Row {
        id: id(0x21090545_7ca7_4776_b22c_e363652d74d2),
        name: "Key Vault Reader",
        description: "Read the metadata of a key vault and its keys, without key material.",
        actions: KEY_VAULT_VISIBLE,
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/*/read"],
    },
    Row {
        id: id(0xf25e0fa2_a7c8_4377_a976_54943a77a395),
        name: "Key Vault Contributor",
        description: "Manage key vaults, without access to their keys.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.KeyVault/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
        not_actions: &[
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/hsmPools/*",
            "Microsoft.KeyVault/managedHsms/*",
        ],
        data_actions: &[],
    },
    Row {
        id: id(0xa68e7c17_0ab2_4c09_9a58_125dae29748c),
        name: "Key Vault Purge Operator",
        description: "Purge soft-deleted key vaults.",
        actions: &[
            "Microsoft.KeyVault/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/locations/operationResults/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: KEY_VAULT_DATA_ACCESS_ADMINISTRATOR,
        name: "Key Vault Data Access Administrator",
        description: "Give and take roles on the data of key vaults, and no others.",
        actions: &[
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Management/managementGroups/read",
            "Microsoft.KeyVault/vaults/*/read",
        ],
        not_actions: &[],
        data_actions: &[],
    },
    Row {
        id: id(0xa4417e6f_fecd_4de8_b567_7b0420556985),
        name: "Key Vault Certificates Officer",
        description: "Everything on certificates, of which there are none here.",
        actions: KEY_VAULT_VISIBLE,
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/certificates/*"],
    },
    Row {
        id: id(0xdb79e9a7_68ee_4b58_9aeb_b90e7c24fcba),
        name: "Key Vault Certificate User",
        description: "Read certificates, of which there are none here.",
        actions: &[],
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/certificates/read"],
    },
    Row {
        id: id(0xb86a8fe4_44ce_4948_aee5_eccb2c155cd7),
        name: "Key Vault Secrets Officer",
        description: "Everything on secrets, of which there are none here.",
        actions: KEY_VAULT_VISIBLE,
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/secrets/*"],
    },
    Row {
        id: id(0x4633458b_17de_408a_b874_0445c86b69e6),
        name: "Key Vault Secrets User",
        description: "Read secrets, of which there are none here.",
        actions: &[],
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/secrets/getSecret/action"],
    },
];

/// What lets the holder of a data-plane role find the key vault in the control plane.
const KEY_VAULT_VISIBLE: &[&str] = &[
    "Microsoft.Authorization/*/read",
    "Microsoft.Resources/deployments/*",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.KeyVault/checkNameAvailability/read",
    "Microsoft.KeyVault/deletedVaults/read",
    "Microsoft.KeyVault/locations/*/read",
    "Microsoft.KeyVault/vaults/*/read",
    "Microsoft.KeyVault/operations/read",
];
