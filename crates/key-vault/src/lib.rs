//! Key vaults, keys, versions, soft delete, rotation, cryptographic operations, seals and recovery
//! kits: the embedded key vault (DESIGN §5).
//!
//! [`KeyVaults::perform`] is the only way to a key: it asks `custody-access`, carries the request
//! out and hands a record to the [`AuditSink`] before it answers. Beneath it [`KeyStore`] keeps
//! sealed keys in `keys.db`, apart from the records; the root key is behind a [`Seal`], never in
//! that file. A purge is an erase: the root key is replaced, so that older copies of `keys.db` do
//! not open the purged key either. A [`RecoveryKit`] is everything in one file under a passphrase.
//!
//! Formats, order of writes and threat model: `docs/formats/keys-db.md`.

mod algorithm;
mod answer;
mod audit;
mod authorise;
mod authority;
mod backup;
mod create_if_absent;
mod crypto;
mod deleted_vault_kind;
mod erase;
mod error;
mod hand_over;
mod jwk;
mod key;
mod key_event;
mod key_facts;
mod key_list;
mod key_rows;
mod key_shape;
mod key_store;
mod key_use;
mod key_vaults;
mod kit_notes;
mod local_role_definition_kind;
mod local_role_kind;
mod managed_hsm_kind;
mod opened_keys;
mod operation;
mod passphrase;
mod private_file;
mod private_key_pool;
mod recovery_kit;
mod release;
mod release_policy;
mod request_record;
mod rewrap;
mod role_requests;
mod rotation;
mod rotation_policy;
mod schema;
mod seal;
mod sealed_box;
mod session;
mod using;
mod vault;
mod vault_kind;
mod vault_network;
mod vault_policies;
mod vault_purge;
mod vault_rows;
mod vault_rules;

pub use algorithm::{EncryptionAlgorithm, Hash, SignatureAlgorithm};
pub use answer::KeyAnswer;
pub use audit::{
    AuditClaim, AuditIdentity, AuditProperties, AuditRecord, AuditSink, AuditUnavailable, Purpose,
    RequestContext,
};
pub use authority::ReleaseAuthority;
pub use backup::BACKUP_VERSIONS_MAX;
pub use crypto::Sealed;
pub use deleted_vault_kind::{
    Deleted, DeletedKeyVaultKind, DeletedKeyVaultProperties, DeletedKeyVaultStatus,
    DeletedManagedHsmKind, KeyHolder, deleted_key_vault_ref,
};
pub use erase::PurgedKey;
pub use error::{BarredCall, DeniedAccess, ErrorAnswer, KeyVaultError};
pub use jwk::{ImportedKey, RsaComponents};
pub use key::{
    AttributeChange, Change, DeletedKey, DeletedKeyItem, Key, KeyAttributes, KeyItem, KeyOrigin,
    NewKey, Standing, TAG_CHARS_MAX, TAGS_MAX,
};
pub use key_event::{KeyEvent, KeyEventKind, Lifetime};
pub use key_facts::KeyFacts;
pub use key_list::{PAGE_ENTRIES_MAX, Page};
pub use key_rows::{KEYS_MAX, VERSIONS_MAX};
pub use key_shape::{Curve, KeyShape, OctSize, PublicKey, RsaSize};
pub use key_store::KeyStore;
pub use key_use::KeyUse;
pub use key_vaults::{KeyVaults, VaultOperation};
pub use kit_notes::{Coverage, KitId, KitNote};
pub use local_role_definition_kind::{
    LOCAL_ROLE_DEFINITIONS_MAX, LocalRoleDefinitionKind, LocalRoleDefinitionSpec,
    define_local_role, local_role_definitions, remove_local_role_definition,
};
pub use local_role_kind::{
    LocalRoleKind, LocalRoleSpec, LocalScope, administrators, assign_local_role, local_grants,
    local_grants_at,
};
pub use managed_hsm_kind::{
    HsmRegion, HsmSku, ManagedHsmKind, ManagedHsmSpec, ManagedHsmStatus, managed_hsm_ref,
    managed_hsm_regions,
};
pub use operation::KeyOperation;
pub use private_key_pool::{
    NEWCOMERS_MAX, RETRY_AFTER_SECONDS, SHARE_MIN, WAITING_MAX, WEIGHT_MAX,
};
pub use recovery_kit::{KIT_BYTES_MAX, KitRepository, RecoveryKit};
pub use release::{ReleaseAlgorithm, ReleaseRequest};
pub use release_policy::{RELEASE_POLICY_BYTES_MAX, ReleasePolicy};
pub use rewrap::{REWRAP_ITEMS_MAX, RewrapItem, Rewrapped};
pub use role_requests::RoleRequest;
pub use rotation::{DueRotation, due_rotations};
pub use rotation_policy::{
    ActionKind, ActionType, EXPIRY_DAYS_MIN, LifetimeAction, Period, ROTATION_DAYS_MIN,
    RotationAttributes, RotationPolicy, Trigger,
};
pub use seal::{FileSeal, PassphraseSeal, RootKey, RootKeyId, Seal};
pub use using::RANDOM_BYTES_MAX;
pub use vault::{
    KeyVaultRef, SOFT_DELETE_DAYS_MAX, SOFT_DELETE_DAYS_MIN, Strictness, TAG_GUARD_DEPENDANTS,
    TAG_REFUSE_RSA15,
};
pub use vault_kind::{
    CreateMode, KeyVaultKind, KeyVaultSpec, KeyVaultStatus, Sku, SkuName, key_vault_claim,
    key_vault_ref,
};
pub use vault_network::{
    AddressRange, AddressRule, Barrier, Bypass, NetworkAcls, NetworkAction, NetworkRules,
    NoAddressRange, PublicNetworkAccess, VirtualNetworkRule,
};
pub use vault_policies::{Permissions, PolicyChange, PolicyEntry, change_policies};
pub use vault_purge::{PurgeKeyVault, TASK_PURGE_KEY_VAULT};
pub use vault_rules::key_vault_name;
