#!/usr/bin/env bash
# A backup operator's way to a Recovery Services vault under a customer's key, with az, unmodified:
# the script of rule 126 and the steps of the document "Recovery Services vault CMK".
. "$(dirname "$0")/steps.sh"
vault=$group/providers/Microsoft.RecoveryServices/vaults/rsv
config="$arm$vault/backupEncryptionConfigs/backupResourceEncryptionConfig?api-version=2024-04-01"

register_cloud
sign_in
is "az" group create -n az -l local --query name

# --- the vault, on the platform's key (rules 1, 71, 72) ---
is "rsv	Standard	Succeeded" backup vault create -n rsv -g az -l local \
    --query '[[name,sku.name,properties.provisioningState]]'
is "rsv" backup vault list -g az --query '[].name'
is "MicrosoftManaged	NotEnabled	Disabled" backup vault encryption show -n rsv -g az \
    --query 'properties.[[encryptionAtRestType,lastUpdateStatus,infrastructureEncryptionState]]'

# --- the key (rule 126) ---
is "az-rsv" keyvault create -n az-rsv -g az -l local --enable-rbac-authorization false \
    --enable-purge-protection true --retention-days 7 --query name
trust_hosts
is "all" keyvault set-policy -n az-rsv -g az --object-id "$object" --key-permissions all \
    --query 'properties.accessPolicies[0].permissions.keys[0]'
is "RSA" keyvault key create --vault-name az-rsv -n backup --kty RSA --size 2048 --query key.kty
key=$(value keyvault key show --vault-name az-rsv -n backup --query key.kid)

# --- an identity first (rules 29, 30, 57) ---
refused 1 "Please enable identities of Recovery Services Vault" backup vault encryption update -n rsv -g az \
    --encryption-key-id "$key" --mi-user-assigned "$group/providers/x/y/z"
is "SystemAssigned" backup vault identity assign -n rsv -g az --system-assigned \
    --query identity.type
principal=$(value backup vault show -n rsv -g az --query identity.principalId)

# --- no permission yet: the document's code, and nothing has changed (rules 48, 57) ---
refused 1 UserErrorCMKMissingMangedIdentityPermissionOnKeyVault backup vault encryption update \
    -n rsv -g az --encryption-key-id "$key" --mi-system-assigned
is "MicrosoftManaged" backup vault encryption show -n rsv -g az \
    --query properties.encryptionAtRestType
is "$principal" keyvault set-policy -n az-rsv -g az --object-id "$principal" \
    --key-permissions get wrapKey unwrapKey \
    --query "properties.accessPolicies[?objectId=='$principal'].objectId"

# --- the key is set (rules 51, 71, 73, 75, 127) ---
is "" backup vault encryption update -n rsv -g az --encryption-key-id "$key" \
    --mi-system-assigned --infrastructure-encryption Enabled
is "CustomerManaged	Succeeded	Enabled" backup vault encryption show -n rsv -g az \
    --query 'properties.[[encryptionAtRestType,lastUpdateStatus,infrastructureEncryptionState]]'
is "$key" backup vault encryption show -n rsv -g az --query properties.keyUri
is "UpdateEncryptionSettings	Completed" backup job list -v rsv -g az \
    --query '[0].properties.[[operation,status]]'
job=$(value backup job list -v rsv -g az --query '[0].name')
is "UpdateEncryptionSettings	Completed" backup job show -v rsv -g az -n "$job" \
    --query 'properties.[[operation,status]]'
is "Succeeded" monitor activity-log list --resource-id "$vault" --offset 1h \
    --query "[?operationName.value=='Microsoft.RecoveryServices/vaults/write'].status.value|[0]"
refused 1 UserErrorCMKOldModelUpdateNotAllowed rest --method put --url "$config" --body '{}'
refused 1 UserErrorCMKCannotBeDisabled rest --method patch \
    --url "$arm$vault?api-version=2024-04-01" --body '{"properties":{"encryption":null}}'

# --- a new version is followed where the URI names none; the same key may be sent again (76, 88) ---
is "" backup vault encryption update -n rsv -g az --encryption-key-id "${key%/*}"
is "RSA" keyvault key create --vault-name az-rsv -n backup --kty RSA --size 2048 --query key.kty
is "" backup vault encryption update -n rsv -g az --encryption-key-id "${key%/*}"

# --- a resource guard: what weakens the vault takes the guard ---
guard=$group/providers/Microsoft.DataProtection/resourceGuards/guard
is "guard" rest --method put --url "$arm$guard?api-version=2025-07-01" \
    --body "{\"location\":\"local\",\"properties\":{}}" --query name
is "VaultProxy" backup vault resource-guard-mapping update -n rsv -g az --resource-guard-id "$guard" --query name
is "$guard" backup vault resource-guard-mapping show -n rsv -g az --query properties.resourceGuardResourceId
is "Enabled" backup vault show -n rsv -g az --query properties.securitySettings.multiUserAuthorization
is "" backup vault encryption update -n rsv -g az --encryption-key-id "${key%/*}"
is "" backup vault resource-guard-mapping delete -n rsv -g az --yes
refused 3 ResourceNotFound backup vault resource-guard-mapping show -n rsv -g az

# --- its settings, and its end ---
is "AlwaysON" backup vault backup-properties show -n rsv -g az --query '[1].properties.softDeleteFeatureState'
is "" backup vault delete -n rsv -g az --yes
refused 3 ResourceNotFound backup vault show -n rsv -g az

# --- it is kept for its days, hangs on its key, and comes back as it was ---
is "$vault" backup deleted-vault get -n rsv --location local --query properties.vaultId
is "rsv" backup deleted-vault list --location local --query '[0].name'
is "" backup deleted-vault undelete -n rsv --location local --query nothing
is "CustomerManaged	Succeeded	Enabled" backup vault encryption show -n rsv -g az \
    --query 'properties.[[encryptionAtRestType,lastUpdateStatus,infrastructureEncryptionState]]'
refused 1 ResourceNotFound backup deleted-vault get -n rsv --location local

finish
