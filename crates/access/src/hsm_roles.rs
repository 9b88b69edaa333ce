//! The built-in local roles of managed HSMs, with Azure's own names and GUIDs. They are assigned
//! within a managed HSM and count nowhere else.

use std::sync::LazyLock;

use custody_names::RoleDefinitionId;

use crate::{ActionPattern, RoleDefinition};

/// All local roles of managed HSMs.
pub fn managed_hsm_roles() -> &'static [RoleDefinition] {
    static ROLES: LazyLock<Vec<RoleDefinition>> =
        LazyLock::new(|| TABLE.iter().map(definition).collect());
    &ROLES
}

/// Everything on keys but deleting them for good: cryptography, making, changing.
pub const MANAGED_HSM_CRYPTO_USER: RoleDefinitionId = id(0x21dbd100_6940_42c2_9190_5d6cb909625b);
/// The HSM itself: its roles, security domain and backups; no keys.
pub const MANAGED_HSM_ADMINISTRATOR: RoleDefinitionId = id(0xa290e904_7015_4bba_90c8_60543313cdb4);

struct Row {
    id: RoleDefinitionId,
    name: &'static str,
    description: &'static str,
    /// Below `Microsoft.KeyVault/managedHsm/`.
    data_actions: &'static [&'static str],
}

const fn id(guid: u128) -> RoleDefinitionId {
    RoleDefinitionId::from_bytes(guid.to_be_bytes())
}

fn definition(row: &Row) -> RoleDefinition {
    let pattern = |text: &&str| ActionPattern::new(format!("Microsoft.KeyVault/managedHsm/{text}"));
    RoleDefinition {
        id: row.id,
        role_name: row.name.to_owned(),
        description: row.description.to_owned(),
        actions: Vec::new(),
        not_actions: Vec::new(),
        data_actions: row.data_actions.iter().map(pattern).collect(),
        not_data_actions: Vec::new(),
    }
}

const TABLE: &[Row] = &[
    Row {
        id: MANAGED_HSM_ADMINISTRATOR,
        name: "Managed HSM Administrator",
        description: "Everything on the security domain, backup, restore and roles; no keys.",
        data_actions: &[
            "securitydomain/*",
            "backup/*",
            "restore/*",
            "roleDefinitions/*",
            "roleAssignments/*",
        ],
    },
    Row {
        id: id(0x515eb02d_2335_4d2d_92f2_b1cbdf9c3778),
        name: "Managed HSM Crypto Officer",
        description: "Purge, recover and export keys, and assign roles.",
        data_actions: &[
            "keys/deletedKeys/read/action",
            "keys/deletedKeys/recover/action",
            "keys/deletedKeys/delete",
            "keys/export/action",
            "roleDefinitions/*",
            "roleAssignments/*",
        ],
    },
    Row {
        id: MANAGED_HSM_CRYPTO_USER,
        name: "Managed HSM Crypto User",
        description: "Create, change and use keys, but neither purge nor recover them.",
        data_actions: &[
            "keys/read/action",
            "keys/write/action",
            "keys/rotate/action",
            "keys/create",
            "keys/delete",
            "keys/import/action",
            "keys/release/action",
            "keys/backup/action",
            "keys/restore/action",
            "keys/encrypt/action",
            "keys/decrypt/action",
            "keys/wrap/action",
            "keys/unwrap/action",
            "keys/sign/action",
            "keys/verify/action",
            "rng/action",
        ],
    },
    Row {
        id: id(0x4bd23610_cdcf_4971_bdee_bdc562cc28e4),
        name: "Managed HSM Policy Administrator",
        description: "Assign and define roles.",
        data_actions: &["roleDefinitions/*", "roleAssignments/*"],
    },
    Row {
        id: id(0x2c18b078_7c48_4d3a_af88_5a3a1b3f82b3),
        name: "Managed HSM Crypto Auditor",
        description: "Read keys, without using them.",
        data_actions: &["keys/read/action"],
    },
    Row {
        id: id(0x33413926_3206_4cdd_b39a_83574fe37a17),
        name: "Managed HSM Crypto Service Encryption User",
        description: "Read the metadata of keys, wrap and unwrap with them.",
        data_actions: &["keys/read/action", "keys/wrap/action", "keys/unwrap/action"],
    },
    Row {
        id: id(0x21dbd100_6940_42c2_9190_5d6cb909625c),
        name: "Managed HSM Crypto Service Release User",
        description: "Release keys to attested environments.",
        data_actions: &["keys/release/action"],
    },
    Row {
        id: id(0x7b127d3c_77bd_4e3e_bbe0_dbb8971fa7f8),
        name: "Managed HSM Backup",
        description: "Back the whole HSM up.",
        data_actions: &["backup/start/action", "backup/status/action", "keys/backup/action"],
    },
];
