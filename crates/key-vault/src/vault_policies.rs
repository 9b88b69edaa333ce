//! Access policies of a key vault as ARM writes them, and the three ways to change them.

use std::collections::BTreeSet;

use custody_access::{AccessPolicy, KeyPermission};
use custody_names::{ClientId, PrincipalId, TenantId};
use custody_resources::Refusal;
use serde::{Deserialize, Serialize};

/// Most access policies of a key vault (Azure's limit).
pub(crate) const POLICIES_MAX: usize = 1_024;
/// The word for every permission of a sort.
const ALL: &str = "all";
/// What `all` means on secrets (`SecretPermissions` of Azure's interface).
const SECRET_PERMISSIONS: [&str; 8] =
    ["backup", "delete", "get", "list", "purge", "recover", "restore", "set"];
/// What `all` means on certificates (`CertificatePermissions`).
const CERTIFICATE_PERMISSIONS: [&str; 16] = [
    "backup",
    "create",
    "delete",
    "deleteissuers",
    "get",
    "getissuers",
    "import",
    "list",
    "listissuers",
    "managecontacts",
    "manageissuers",
    "purge",
    "recover",
    "restore",
    "setissuers",
    "update",
];
/// What `all` means on storage accounts (`StoragePermissions`).
const STORAGE_PERMISSIONS: [&str; 14] = [
    "backup",
    "delete",
    "deletesas",
    "get",
    "getsas",
    "list",
    "listsas",
    "purge",
    "recover",
    "regeneratekey",
    "restore",
    "set",
    "setsas",
    "update",
];

/// One access policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEntry {
    /// The principal's tenant.
    pub tenant_id: TenantId,
    /// The object id of the principal.
    pub object_id: PrincipalId,
    /// The application through which alone the principal is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<ClientId>,
    /// What is permitted.
    pub permissions: Permissions,
}

/// What an access policy permits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// On keys.
    pub keys: BTreeSet<KeyPermission>,
    /// On secrets; kept and shown, there are none here.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// On certificates; kept and shown, there are none here.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub certificates: BTreeSet<String>,
    /// On storage accounts; kept and shown, there are none here.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub storage: BTreeSet<String>,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.secrets.is_empty()
            && self.certificates.is_empty()
            && self.storage.is_empty()
    }

    fn add(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.secrets.extend(more.secrets);
        self.certificates.extend(more.certificates);
        self.storage.extend(more.storage);
    }

    /// Takes away by name; `all`, on either side, means every permission of its sort.
    fn remove(&mut self, less: &Self) {
        if less.keys.contains(&KeyPermission::All) {
            self.keys.clear();
        } else if !less.keys.is_empty() && self.keys.remove(&KeyPermission::All) {
            self.keys.extend(KeyPermission::EACH.iter().filter(|one| **one != KeyPermission::All));
        }
        self.keys.retain(|permission| !less.keys.contains(permission));
        remove_words(&mut self.secrets, &less.secrets, &SECRET_PERMISSIONS);
        remove_words(&mut self.certificates, &less.certificates, &CERTIFICATE_PERMISSIONS);
        remove_words(&mut self.storage, &less.storage, &STORAGE_PERMISSIONS);
    }
}

/// The same for a sort that is kept as words; `every` is what `all` means there.
fn remove_words(own: &mut BTreeSet<String>, less: &BTreeSet<String>, every: &[&str]) {
    let is_all = |word: &str| word.eq_ignore_ascii_case(ALL);
    if less.iter().any(|word| is_all(word)) {
        own.clear();
    } else if !less.is_empty() && own.iter().any(|word| is_all(word)) {
        own.retain(|word| !is_all(word));
        own.extend(every.iter().map(|word| (*word).to_owned()));
    }
    own.retain(|word| !less.iter().any(|taken| taken.eq_ignore_ascii_case(word)));
}

impl PolicyEntry {
    /// What the decision looks at; nothing if the policy is for one application of the principal.
    pub(crate) fn grant(&self) -> Option<AccessPolicy> {
        self.application_id.is_none().then(|| AccessPolicy {
            tenant: self.tenant_id,
            principal: self.object_id,
            keys: self.permissions.keys.clone(),
        })
    }

    fn is_for(&self, other: &Self) -> bool {
        (self.tenant_id, self.object_id, self.application_id)
            == (other.tenant_id, other.object_id, other.application_id)
    }
}

/// How access policies are changed (`PUT …/accessPolicies/VERB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// Permit more; a principal's permissions come together in one policy.
    Add,
    /// Permit the named principals exactly this.
    Replace,
    /// Permit less; a policy that permits nothing any more goes.
    Remove,
}

impl PolicyChange {
    /// The change that an action's name means, with or without `accessPolicies/` before it.
    pub fn parse(action: &str) -> Option<Self> {
        match action.rsplit('/').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "add" => Some(Self::Add),
            "replace" => Some(Self::Replace),
            "remove" => Some(Self::Remove),
            _ => None,
        }
    }
}

/// The access policies after a change of those of `asked`'s principals: the step "set-policy" of the
/// printed flow (rule 126).
pub fn change_policies(
    mut policies: Vec<PolicyEntry>,
    change: PolicyChange,
    asked: Vec<PolicyEntry>,
) -> Result<Vec<PolicyEntry>, Refusal> {
    for entry in asked {
        let own = policies.iter_mut().find(|policy| policy.is_for(&entry));
        match (change, own) {
            (PolicyChange::Add, Some(own)) => own.permissions.add(entry.permissions),
            (PolicyChange::Replace, Some(own)) => own.permissions = entry.permissions,
            (PolicyChange::Remove, Some(own)) => own.permissions.remove(&entry.permissions),
            (PolicyChange::Add | PolicyChange::Replace, None) => policies.push(entry),
            (PolicyChange::Remove, None) => {}
        }
    }
    if change == PolicyChange::Remove {
        policies.retain(|policy| !policy.permissions.is_empty());
    }
    check_count(&policies)?;
    Ok(policies)
}

/// A key vault holds so many policies and no more.
pub(crate) fn check_count(policies: &[PolicyEntry]) -> Result<(), Refusal> {
    if policies.len() <= POLICIES_MAX {
        return Ok(());
    }
    let text = format!("a key vault holds at most {POLICIES_MAX} access policies");
    Err(Refusal::new(400, "BadRequest", text)
        .with_fix("use role assignments: set enableRbacAuthorization to true"))
}
