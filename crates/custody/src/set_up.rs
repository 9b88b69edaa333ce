//! First use: makes what a Backup vault under a customer key needs, and says each thing it makes.
//!
//! The order is the documents' (rule 57): identity, permissions, key vault with soft delete and
//! purge protection, then the key's assignment. Every step looks before it makes, so that a run
//! that was cut short is carried on by the next.

use std::path::Path;

use custody_ambient::random_array;
use custody_client::{Client, SourcePath, kinds};
use custody_names::{KeyName, KeyVaultName, ResourceGroupName, ResourceId};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Size of a new key, in bits.
pub(crate) const KEY_BITS: u32 = 3072;
/// The administrator's role on keys: everything about them.
const CRYPTO_OFFICER: Role =
    Role { name: "Key Vault Crypto Officer", id: "14b46e9e-c2b7-41b4-b07b-48a6ebf60603" };
/// The vault identity's role on keys: read, wrap and unwrap, no more (rule 42).
const ENCRYPTION_USER: Role = Role {
    name: "Key Vault Crypto Service Encryption User",
    id: "e147488a-f6f5-4113-8e2d-b22465e65bf6",
};

/// A built-in role, with Azure's GUID.
struct Role {
    name: &'static str,
    id: &'static str,
}

/// What is to be there.
pub(crate) struct Wanted<'a> {
    /// The resource group of everything.
    pub group: ResourceGroupName,
    /// The Backup vault.
    pub vault: &'a ResourceId,
    /// The folder of its repository, if not the data folder.
    pub store: Option<&'a Path>,
}

/// Makes what is missing, and says in one line each what it made.
pub(crate) fn ensure(context: &Context<'_>, wanted: &Wanted<'_>) -> Result<Vec<String>, CliError> {
    let client = context.client()?;
    if let Some(vault) = client.find(wanted.vault.as_str())? {
        check_store(&vault, wanted.store)?;
        return Ok(Vec::new());
    }
    let defaults = &context.installation()?.defaults;
    let key_vault_name: KeyVaultName = defaults.key_vault.parse()?;
    let key: KeyName = defaults.key.parse()?;
    let addresses = context.addresses()?;
    let identity = addresses.resource(&wanted.group, kinds::IDENTITY, &defaults.identity)?;
    let key_vault = addresses.resource(&wanted.group, kinds::KEY_VAULT, key_vault_name.as_str())?;

    let mut steps = Steps { context, client, made: Vec::new() };
    steps.group(&addresses.group(&wanted.group))?;
    let principal = steps.identity(&identity)?;
    steps.key_vault(&key_vault)?;
    let administrator = &context.installation()?.administrator;
    let you = format!("you ({})", terminal::line(&administrator.name));
    steps.grant(&key_vault, &CRYPTO_OFFICER, &administrator.principal_id, &you)?;
    steps.key(&key_vault_name, &key)?;
    let whom = format!("the identity {}", defaults.identity);
    steps.grant(&key_vault, &ENCRYPTION_USER, &principal, &whom)?;
    let key_uri = client.key_vault(&key_vault_name).key_uri(&key);
    steps.vault(wanted, &key_uri, &identity)?;
    Ok(steps.made)
}

/// A vault stays where it was made; asking for another place is a mistake to point out.
fn check_store(vault: &Value, store: Option<&Path>) -> Result<(), CliError> {
    let Some(store) = store else { return Ok(()) };
    let place = vault.pointer("/properties/store/path").and_then(SourcePath::from_json);
    if place.as_ref().is_some_and(|place| place.to_path() == store) {
        return Ok(());
    }
    let at = place.map_or_else(
        || "in the data folder".to_owned(),
        |place| format!("in {}", terminal::path(place.as_bytes())),
    );
    Err(CliError::Conflict {
        code: "StorePlaceFixed",
        message: format!("the vault's repository lies {at} and stays there"),
        fix: "leave --store out, or name another vault with --vault".to_owned(),
    })
}

/// The steps that have been done so far.
struct Steps<'a, 'w> {
    context: &'a Context<'w>,
    client: &'a Client,
    made: Vec<String>,
}

impl Steps<'_, '_> {
    fn group(&mut self, id: &ResourceId) -> Result<(), CliError> {
        let body = json!({ "location": self.context.installation()?.location });
        self.make(id, &body, &format!("resource group {}", name(id)))?;
        Ok(())
    }

    fn identity(&mut self, id: &ResourceId) -> Result<String, CliError> {
        let body = json!({ "location": self.context.installation()?.location });
        let identity = self.make(id, &body, &format!("identity {}", name(id)))?;
        let principal = identity.pointer("/properties/principalId").and_then(Value::as_str);
        Ok(principal.unwrap_or_default().to_owned())
    }

    fn key_vault(&mut self, id: &ResourceId) -> Result<(), CliError> {
        let installation = self.context.installation()?;
        let body = json!({
            "location": installation.location,
            "properties": {
                "tenantId": installation.tenant_id,
                "sku": { "family": "A", "name": "standard" },
                "enableRbacAuthorization": true,
                "enableSoftDelete": true,
                "enablePurgeProtection": true,
            },
        });
        let what = format!("key vault {} (soft delete and purge protection on)", name(id));
        self.make(id, &body, &what)?;
        Ok(())
    }

    fn grant(
        &mut self,
        scope: &ResourceId,
        role: &Role,
        principal: &str,
        whom: &str,
    ) -> Result<(), CliError> {
        let collection = custody_client::Addresses::collection(scope, kinds::ROLE_ASSIGNMENT);
        let assigned = self.client.list(&collection)?;
        if assigned.iter().any(|one| is_grant(one, scope, role, principal)) {
            return Ok(());
        }
        grant(self.context, scope, &definition_id(role.id), principal)?;
        self.tell(&format!("granted {} on {} to {whom}", role.name, name(scope)));
        Ok(())
    }

    fn key(&mut self, key_vault: &KeyVaultName, key: &KeyName) -> Result<(), CliError> {
        let keys = self.client.key_vault(key_vault);
        match keys.show(key, None) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        keys.create(key, &json!({ "kty": "RSA", "key_size": KEY_BITS }))?;
        self.tell(&format!("made key {key} in {key_vault} (RSA {KEY_BITS})"));
        Ok(())
    }

    fn vault(
        &mut self,
        wanted: &Wanted<'_>,
        key_uri: &str,
        identity: &ResourceId,
    ) -> Result<(), CliError> {
        let mut body = json!({
            "location": self.context.installation()?.location,
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": { identity.as_str(): {} },
            },
            "properties": {
                "storageSettings": [
                    { "datastoreType": "VaultStore", "type": "LocallyRedundant" }
                ],
                "securitySettings": { "encryptionSettings": {
                    "state": "Enabled",
                    "keyVaultProperties": { "keyUri": key_uri },
                    "kekIdentity": {
                        "identityType": "UserAssigned",
                        "identityId": identity,
                    },
                    "infrastructureEncryption": "Disabled",
                } },
            },
        });
        let mut place = "in the data folder".to_owned();
        if let Some(store) = wanted.store {
            if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
                let path = SourcePath::from(store).to_json();
                properties.insert("store".to_owned(), json!({ "path": path }));
            }
            place = format!("in {}", terminal::path(store.as_os_str().as_encoded_bytes()));
        }
        self.client.put(wanted.vault.as_str(), &body)?;
        let vault = name(wanted.vault);
        self.tell(&format!(
            "made Backup vault {vault} {place}, encrypted under {key_uri} (follows the newest \
             version)"
        ));
        Ok(())
    }

    /// Makes a resource unless it is there.
    fn make(&mut self, id: &ResourceId, body: &Value, what: &str) -> Result<Value, CliError> {
        if let Some(resource) = self.client.find(id.as_str())? {
            return Ok(resource);
        }
        let resource = self.client.put(id.as_str(), body)?;
        self.tell(&format!("made {what}"));
        Ok(resource)
    }

    fn tell(&mut self, line: &str) {
        let line = terminal::line(line);
        self.context.say(&line);
        self.made.push(line);
    }
}

/// The id of a built-in role's definition.
pub(crate) fn definition_id(guid: &str) -> String {
    format!("/providers/{}/{guid}", kinds::ROLE_DEFINITION)
}

/// Assigns a role and brings the assignment.
pub(crate) fn grant(
    context: &Context<'_>,
    scope: &ResourceId,
    role_definition: &str,
    principal: &str,
) -> Result<Value, CliError> {
    let bytes = random_array::<16>(context.world.entropy.as_ref())?;
    let assignment = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let collection = custody_client::Addresses::collection(scope, kinds::ROLE_ASSIGNMENT);
    let body = json!({
        "properties": { "roleDefinitionId": role_definition, "principalId": principal },
    });
    Ok(context.client()?.put(&format!("{collection}/{assignment}"), &body)?)
}

fn is_grant(assignment: &Value, scope: &ResourceId, role: &Role, principal: &str) -> bool {
    let property = |name: &str| {
        let value = assignment.get("properties").and_then(|all| all.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase()
    };
    property("roleDefinitionId").ends_with(role.id)
        && property("principalId") == principal.to_ascii_lowercase()
        && property("scope") == scope.canonical()
}

fn name(id: &ResourceId) -> &str {
    id.name().unwrap_or_default()
}
