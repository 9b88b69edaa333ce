//! A key vault as the key store needs to know it.

use std::collections::BTreeMap;

use custody_ambient::Timestamp;
use custody_names::{KeyVaultName, ResourceId, TenantId};
use custody_resources::{Hosts, Kind as _, days_after};

use crate::managed_hsm_kind::ManagedHsmKind;
use crate::vault_network::NetworkRules;

/// Shortest time that a soft-deleted key or key vault is kept, in days.
pub const SOFT_DELETE_DAYS_MIN: u32 = 7;
/// Longest time that a soft-deleted key or key vault is kept, in days; the default.
pub const SOFT_DELETE_DAYS_MAX: u32 = 90;

/// Which key vault, and its settings that decide over its keys. The record of the key vault lives
/// with the other ARM resources; whoever asks hands in what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVaultRef {
    /// The tenant.
    pub tenant: TenantId,
    /// The name, unique over all tenants.
    pub vault: KeyVaultName,
    /// The ARM id.
    pub resource: ResourceId,
    /// Whether deletion can be undone (rule 19).
    pub soft_delete: bool,
    /// How long soft-deleted keys are kept, in days (7–90).
    pub soft_delete_days: u32,
    /// Whether nothing may be purged before that time (rule 125).
    pub purge_protection: bool,
    /// Whether it is a managed HSM: symmetric keys, another host, roles of its own.
    pub managed_hsm: bool,
    /// Where it is.
    pub location: String,
    /// The geography of that location: backups of keys open only there.
    pub geography: String,
    /// What its owner lets it refuse beyond Azure.
    pub strictness: Strictness,
    /// From where its keys may be used.
    pub network: NetworkRules,
}

/// What a key vault refuses because its owner set it to, by tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// `RSA1_5`.
    pub refuses_rsa15: bool,
    /// To disable or delete a key that vaults depend on.
    pub guards_dependants: bool,
}

impl Strictness {
    /// Everything that can be refused.
    pub const STRICTEST: Self = Self { refuses_rsa15: true, guards_dependants: true };

    /// What these tags of the key vault say.
    pub fn of_tags(tags: &BTreeMap<String, String>) -> Self {
        let is_set =
            |tag: &str| tags.get(tag).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self {
            refuses_rsa15: is_set(TAG_REFUSE_RSA15),
            guards_dependants: is_set(TAG_GUARD_DEPENDANTS),
        }
    }
}

/// The tag that makes a key vault refuse `RSA1_5`, with the value `true`.
pub const TAG_REFUSE_RSA15: &str = "custody-refuse-rsa1-5";
/// The tag that makes a key vault refuse to disable or delete keys with dependants, with the value
/// `true`.
pub const TAG_GUARD_DEPENDANTS: &str = "custody-guard-dependants";

impl KeyVaultRef {
    /// What can be undone with its keys (`recoveryLevel` of the API).
    pub fn recovery_level(&self) -> &'static str {
        match (self.soft_delete_days < SOFT_DELETE_DAYS_MAX, self.purge_protection) {
            (true, true) => "CustomizedRecoverable",
            (true, false) => "CustomizedRecoverable+Purgeable",
            (false, true) => "Recoverable",
            (false, false) => "Recoverable+Purgeable",
        }
    }

    /// Its address below these domains, without a slash at its end.
    pub fn address(&self, hosts: &Hosts) -> String {
        address(&self.vault, self.managed_hsm, hosts)
    }

    /// When something that is soft-deleted at `now` is purged by itself.
    pub(crate) fn purge_after(&self, now: Timestamp) -> Timestamp {
        let days = self.soft_delete_days.clamp(SOFT_DELETE_DAYS_MIN, SOFT_DELETE_DAYS_MAX);
        days_after(now, days)
    }
}

fn address(name: &KeyVaultName, managed_hsm: bool, hosts: &Hosts) -> String {
    let domain = if managed_hsm { &hosts.managed_hsms } else { &hosts.key_vaults };
    format!("https://{name}.{domain}")
}

/// A text that names keys of a key vault by canonical URIs, with its address instead: identifiers
/// inside do not tell a managed HSM's keys from a key vault's, their names do.
pub(crate) fn told(text: &str, name: &KeyVaultName, address: &str) -> String {
    text.replace(&name.uri(), address)
}

/// The same for what belongs to this resource, by the canonical domain of its kind.
pub(crate) fn told_of(text: &str, name: &KeyVaultName, resource: &ResourceId) -> String {
    let kind = resource.resource_type();
    let managed_hsm = kind.as_str().eq_ignore_ascii_case(ManagedHsmKind::TYPE);
    told(text, name, &address(name, managed_hsm, &Hosts::default()))
}
