//! The way to the embedded key vaults: what a request to one needs beside the request itself.

use custody_access::{Grants, Principal, PrincipalKind, RoleAssignment};
use custody_directory::grants_for;
use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyVaultError, KeyVaultKind, KeyVaultRef, RequestContext,
    SOFT_DELETE_DAYS_MAX, TAG_GUARD_DEPENDANTS, TAG_REFUSE_RSA15, key_vault_claim, key_vault_ref,
};
use custody_names::{
    ClientId, CorrelationId, KeyName, KeyVaultName, OperationId, PrincipalId, ResourceId,
    ResourceName, TenantId,
};
use custody_resources::{Query, Record, Refusal, Stored};
use serde_json::Value;

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
            let vault = key_vault_ref(&stored)?;
            found = Some(KeyVaultFacts { vault, grants });
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        Ok(found)
    }

    /// The managed HSM of this name, with the local roles that reach `key`, or the HSM itself where
    /// no key is named. Roles that are assigned above it do not reach into it.
    pub fn managed_hsm(
        &self,
        name: &KeyVaultName,
        key: Option<&KeyName>,
    ) -> Result<Option<KeyVaultFacts>, Refusal> {
        let mut found = None;
        let looked = self.records.view(&mut |world| {
            found = None;
            let records = world.below(&ResourceId::root(), MANAGED_HSM_TYPE)?;
            let own = |record: &&Record| {
                record.id.name().is_some_and(|own| own.eq_ignore_ascii_case(name.as_str()))
            };
            let Some(record) = records.iter().find(own) else { return Ok(()) };
            let scope = match key {
                Some(key) => record.id.child("keys", &resource_name(key)?),
                None => record.id.clone(),
            };
            let mut grants = grants_for(world, &scope)?;
            grants.assignments.retain(|assignment| record.id.contains(&assignment.scope));
            let vault = managed_hsm_ref(name, record, self.installation.tenant_id)?;
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
            refuses_rsa15: true,
            guards_dependants: false,
        };
        let grants = Grants { assignments: vec![assignment, service], ..Grants::default() };
        Ok(KeyVaultFacts { vault, grants })
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
            dependants: 0,
        };
        self.key_vaults.perform(principal, &facts.vault, &facts.grants, operation, &context)
    }
}

/// The type of managed HSMs.
const MANAGED_HSM_TYPE: &str = "Microsoft.KeyVault/managedHSMs";

/// A managed HSM as the key store takes it.
fn managed_hsm_ref(
    name: &KeyVaultName,
    record: &Record,
    tenant: TenantId,
) -> Result<KeyVaultRef, Refusal> {
    let tenant = match record.spec.get("tenantId").and_then(Value::as_str) {
        Some(text) => text.parse().map_err(|_| Refusal::bug("a tenant's id is no GUID"))?,
        None => tenant,
    };
    let days = record.spec.get("softDeleteRetentionInDays").and_then(Value::as_u64);
    let location = record.location.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(KeyVaultRef {
        tenant,
        vault: name.clone(),
        resource: record.id.clone(),
        soft_delete_days: days
            .and_then(|days| u32::try_from(days).ok())
            .unwrap_or(SOFT_DELETE_DAYS_MAX),
        purge_protection: record.spec.get("enablePurgeProtection") == Some(&Value::Bool(true)),
        managed_hsm: true,
        geography: location.clone(),
        location,
        refuses_rsa15: has_tag(record, TAG_REFUSE_RSA15),
        guards_dependants: has_tag(record, TAG_GUARD_DEPENDANTS),
    })
}

fn has_tag(record: &Record, tag: &str) -> bool {
    record.tags.get(tag).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn resource_name(key: &KeyName) -> Result<ResourceName, Refusal> {
    key.as_str().parse().map_err(|_| Refusal::bug("a key's name is a resource name"))
}

/// A vault's identity as access decisions know it.
pub(crate) fn managed_identity(id: PrincipalId, client: ClientId, tenant: TenantId) -> Principal {
    Principal { id, tenant, kind: PrincipalKind::ManagedIdentity { client } }
}
