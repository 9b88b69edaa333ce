//! The way to the embedded key vaults: what a request to one needs beside the request itself.

use custody_access::{Grants, Principal, PrincipalKind, RoleAssignment};
use custody_directory::grants_for;
use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyVaultError, KeyVaultKind, KeyVaultRef, ManagedHsmKind,
    NetworkRules, RequestContext, SOFT_DELETE_DAYS_MAX, Strictness, key_vault_claim, key_vault_ref,
    local_grants, managed_hsm_ref,
};
use custody_names::{
    ClientId, CorrelationId, KeyName, KeyVaultName, Location, OperationId, PrincipalId, ResourceId,
    ResourceName, TenantId,
};
use custody_resources::{Query, Refusal, Stored};

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

/// What ties a request to the key vault to its cause.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The request that set it off.
    pub correlation: CorrelationId,
    /// The job that needs the key.
    pub job: Option<OperationId>,
    /// Whether a vault asks as its system-assigned identity: a trusted service to the key vault's
    /// network rules.
    pub trusted: bool,
}

impl Platform {
    /// The key vault of this name, unless it is deleted or never was, with the grants that reach
    /// `key`, or the key vault itself where no key is named.
    pub fn key_vault(
        &self,
        name: &KeyVaultName,
        key: Option<&KeyName>,
    ) -> Result<Option<KeyVaultFacts>, Refusal> {
        if name.as_str() == PLATFORM_KEY_VAULT {
            return Ok(None);
        }
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = None;
            let holders = world.ask(Query::Claim(key_vault_claim(name)))?;
            let kind = <KeyVaultKind as custody_resources::Kind>::TYPE;
            let live = holders
                .first()
                .filter(|record| record.id.resource_type().as_str().eq_ignore_ascii_case(kind));
            let Some(record) = live else { return Ok(()) };
            let stored = Stored::<KeyVaultKind>::read(record)?;
            let scope = match key {
                Some(key) => record.id.child("keys", &resource_name(key)?),
                None => record.id.clone(),
            };
            let mut grants = grants_for(world, &scope)?;
            grants.permission_model = stored.spec.permission_model();
            let vault = self.placed(key_vault_ref(&stored)?);
            found = Some(KeyVaultFacts { vault, grants });
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// The managed HSM of this name with its local roles. Roles that are assigned above it do not
    /// reach into it.
    pub fn managed_hsm(&self, name: &KeyVaultName) -> Result<Option<KeyVaultFacts>, Refusal> {
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = None;
            let holder = world.claimant(&key_vault_claim(name))?;
            let kind = <ManagedHsmKind as custody_resources::Kind>::TYPE;
            let live = holder
                .filter(|record| record.id.resource_type().as_str().eq_ignore_ascii_case(kind));
            let Some(record) = live else { return Ok(()) };
            let grants = local_grants(&record.id, world)?;
            let vault = managed_hsm_ref(&Stored::<ManagedHsmKind>::read(record)?)?;
            let vault = self.placed(vault);
            found = Some(KeyVaultFacts { vault, grants });
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// The platform's own key vault, with the right to use it for `principal`.
    pub(crate) fn platform_key_vault(
        &self,
        principal: &Principal,
    ) -> Result<KeyVaultFacts, Refusal> {
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
            soft_delete_days: SOFT_DELETE_DAYS_MAX,
            purge_protection: true,
            managed_hsm: false,
            location: self.installation.location.to_string(),
            geography: self.installation.location.to_string(),
            strictness: Strictness { refuses_rsa15: true, guards_dependants: false },
            network: NetworkRules::default(),
        };
        let grants = Grants { assignments: vec![assignment, service], ..Grants::default() };
        Ok(KeyVaultFacts { vault, grants })
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
            now: self.clock.now(),
            correlation: cause.correlation,
            job: cause.job,
            client_address: None,
            client_info: None,
            trusted: cause.trusted,
            dependants: 0,
        };
        self.key_vaults.perform(principal, &facts.vault, &facts.grants, operation, &context)
    }
}

fn resource_name(key: &KeyName) -> Result<ResourceName, Refusal> {
    key.as_str().parse().map_err(|_| Refusal::bug("a key's name is a resource name"))
}

/// A vault's identity as access decisions know it.
pub(crate) fn managed_identity(id: PrincipalId, client: ClientId, tenant: TenantId) -> Principal {
    Principal { id, tenant, kind: PrincipalKind::ManagedIdentity { client } }
}
