//! The way to the embedded key vaults: what a request to one needs beside the request itself.

use std::sync::Arc;

use custody_access::{Grants, Principal, PrincipalKind, RoleAssignment};
use custody_directory::grants_for;
use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyVaultError, KeyVaultKind, KeyVaultRef, ManagedHsmKind,
    NetworkRules, Purpose, RequestContext, SOFT_DELETE_DAYS_MAX, Strictness, key_vault_claim,
    key_vault_ref, local_grants, managed_hsm_ref,
};
use custody_names::{
    ClientId, CorrelationId, KeyName, KeyUri, KeyVaultName, Location, OperationId, PrincipalId,
    ResourceId, ResourceName, TenantId,
};
use custody_resources::{Kind, Query, Record, Refusal, Stop, Stored, World};

use crate::{Platform, fault};

/// The key vault of the platform's own keys. Its name is no customer's to take.
pub const PLATFORM_KEY_VAULT: &str = "custody-platform";

/// A key vault and who may do what in it, as of one moment.
pub struct KeyVaultFacts {
    /// The key vault.
    pub vault: KeyVaultRef,
    /// Roles and policies that count there.
    pub grants: Grants,
}

/// Which facts are asked for: a key vault's, as they reach a key of this name in lower case if one is
/// named, or a managed HSM's.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    KeyVault(KeyVaultName, Option<String>),
    ManagedHsm(KeyVaultName),
}

/// What ties a request to the key vault to its cause.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The request that set it off.
    pub correlation: CorrelationId,
    /// The job that needs the key.
    pub job: Option<OperationId>,
    /// Why, where it is neither a caller's nor a job's own need.
    pub purpose: Option<Purpose>,
    /// Whether a vault asks as its system-assigned identity: a trusted service to the key vault's
    /// network rules.
    pub trusted: bool,
}

impl Cause {
    /// What a request asks for itself.
    pub fn of(correlation: CorrelationId) -> Self {
        Self { correlation, job: None, purpose: None, trusted: false }
    }
}

impl Platform {
    /// The key vault of this name, unless it is deleted or never was, with the grants that reach
    /// `key`, or the key vault itself where no key is named.
    pub fn key_vault(
        &self,
        name: &KeyVaultName,
        key: Option<&KeyName>,
    ) -> Result<Option<Arc<KeyVaultFacts>>, Refusal> {
        if name.as_str() == PLATFORM_KEY_VAULT {
            return Ok(None);
        }
        let asked = Asked::KeyVault(name.clone(), key.map(|key| key.as_str().to_lowercase()));
        self.known(asked, |world| {
            let holders = world.ask(Query::Claim(key_vault_claim(name)))?;
            let Some(record) = holders.first().filter(|record| is_a::<KeyVaultKind>(record)) else {
                return Ok(None);
            };
            let stored = Stored::<KeyVaultKind>::read(record)?;
            let scope = match key {
                Some(key) => record.id.child("keys", &resource_name(key)?),
                None => record.id.clone(),
            };
            let mut grants = grants_for(world, &scope)?;
            grants.permission_model = stored.spec.permission_model();
            let vault = self.placed(key_vault_ref(&stored)?);
            Ok(Some(KeyVaultFacts { vault, grants }))
        })
    }

    /// The managed HSM of this name with its local roles. Roles that are assigned above it do not
    /// reach into it.
    pub fn managed_hsm(&self, name: &KeyVaultName) -> Result<Option<Arc<KeyVaultFacts>>, Refusal> {
        self.known(Asked::ManagedHsm(name.clone()), |world| {
            let holder = world.claimant(&key_vault_claim(name))?;
            let Some(record) = holder.filter(|record| is_a::<ManagedHsmKind>(record)) else {
                return Ok(None);
            };
            let grants = local_grants(&record.id, world)?;
            let vault = self.placed(managed_hsm_ref(&Stored::<ManagedHsmKind>::read(record)?)?);
            Ok(Some(KeyVaultFacts { vault, grants }))
        })
    }

    /// The key vault or managed HSM that a key of this address lies in, whatever the subscription
    /// (rule 27): both share one name space.
    pub(crate) fn key_holder(&self, key: &KeyUri) -> Result<Option<Arc<KeyVaultFacts>>, Refusal> {
        let found = self.key_vault(&key.vault, Some(&key.key))?;
        found.map_or_else(|| self.managed_hsm(&key.vault), |found| Ok(Some(found)))
    }

    /// What the records say of it now.
    fn known(
        &self,
        asked: Asked,
        look: impl Fn(&World) -> Result<Option<KeyVaultFacts>, Stop>,
    ) -> Result<Option<Arc<KeyVaultFacts>>, Refusal> {
        let state = self.records.state().map_err(|error| fault::of_store(&error))?;
        let draw = || Ok(self.look(|world| look(world))?.map(Arc::new));
        self.key_vault_facts.get_or_draw(state, asked, draw)
    }

    /// The platform's own key vault, with the right to use it for `principal`.
    pub(crate) fn platform_key_vault(
        &self,
        principal: &Principal,
    ) -> Result<Arc<KeyVaultFacts>, Refusal> {
        let bug = |_| Refusal::bug("the platform's own names are valid");
        let resource: ResourceId =
            format!("/providers/Custody.Platform/keyVaults/{PLATFORM_KEY_VAULT}")
                .parse()
                .map_err(bug)?;
        let assignment = RoleAssignment {
            id: resource.clone(),
            principal: principal.id,
            role: custody_access::KEY_VAULT_CRYPTO_OFFICER,
            scope: resource.clone(),
        };
        let service = RoleAssignment {
            role: custody_access::KEY_VAULT_CRYPTO_SERVICE_ENCRYPTION_USER,
            ..assignment.clone()
        };
        let vault = KeyVaultRef {
            tenant: self.installation.tenant_id,
            vault: PLATFORM_KEY_VAULT.parse().map_err(bug)?,
            resource,
            soft_delete: true,
            soft_delete_days: SOFT_DELETE_DAYS_MAX,
            purge_protection: true,
            managed_hsm: false,
            location: self.installation.location.to_string(),
            geography: self.installation.location.to_string(),
            strictness: Strictness { refuses_rsa15: true, guards_dependants: false },
            network: NetworkRules::default(),
        };
        let grants = Grants { assignments: vec![assignment, service], ..Grants::default() };
        Ok(Arc::new(KeyVaultFacts { vault, grants }))
    }

    /// With the geography that its location is in.
    pub(crate) fn placed(&self, vault: KeyVaultRef) -> KeyVaultRef {
        let location: Option<Location> = vault.location.parse().ok();
        let geography = location.map(|location| self.locations.geography(&location).to_owned());
        KeyVaultRef { geography: geography.unwrap_or(vault.geography), ..vault }
    }

    /// Asks a key vault as `principal`; the answer is on the ledger when this returns.
    pub fn ask_key_vault(
        &self,
        principal: &Principal,
        facts: &KeyVaultFacts,
        operation: &KeyOperation<'_>,
        cause: Cause,
    ) -> Result<KeyAnswer, KeyVaultError> {
        let context = RequestContext {
            job: cause.job,
            purpose: cause.purpose,
            trusted: cause.trusted,
            ..RequestContext::begun(self.clock.as_ref(), cause.correlation)
        };
        self.key_vaults.perform(principal, &facts.vault, &facts.grants, operation, &context)
    }
}

fn is_a<K: Kind>(record: &Record) -> bool {
    record.id.resource_type().as_str().eq_ignore_ascii_case(K::TYPE)
}

fn resource_name(key: &KeyName) -> Result<ResourceName, Refusal> {
    key.as_str().parse().map_err(|_| Refusal::bug("a key's name is a resource name"))
}

/// A vault's identity as access decisions know it.
pub(crate) fn managed_identity(id: PrincipalId, client: ClientId, tenant: TenantId) -> Principal {
    Principal { id, tenant, kind: PrincipalKind::ManagedIdentity { client } }
}
