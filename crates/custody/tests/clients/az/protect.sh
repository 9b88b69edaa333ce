#!/usr/bin/env bash
# A backup operator's daily work on a Recovery Services vault, with az, unmodified. Registering a
# container alone is done with `az rest`: az asks for a virtual machine there, not for a folder.
. "$(dirname "$0")/steps.sh"
vault=$group/providers/Microsoft.RecoveryServices/vaults/rsv
container='VMAppContainer;Compute;az;host'
url="$arm$vault/backupFabrics/Azure/protectionContainers/$container"
version=api-version=2024-04-01
item='SQLDataBase;mssqlserver;documents'
mkdir -p "$work/documents/inner"
echo "dear reader" >"$work/documents/inner/letter"

register_cloud
sign_in
is "az" group create -n az -l local --query name
is "rsv" backup vault create -n rsv -g az -l local --query name
is "DefaultPolicy	AzureWorkload" backup policy list -v rsv -g az \
    --query '[].[name,properties.backupManagementType]'

# --- a container that names a folder, and the folder protected by az's own command ---
is "Registered" rest --method put --url "$url?$version" --query properties.registrationStatus \
    --body "{\"properties\":{\"containerType\":\"VMAppContainer\",\"backupManagementType\":\"AzureWorkload\",\"workloadType\":\"SQLDataBase\",\"friendlyName\":\"host\",\"folders\":{\"$item\":{\"paths\":[\"$work/documents\"]}}}}"
is "$container" backup container list -v rsv -g az --backup-management-type AzureWorkload \
    --query '[].name'
is "$item" backup protectable-item list -v rsv -g az --workload-type MSSQL --query '[].name'
is "ConfigureBackup	Completed" backup protection enable-for-azurewl -v rsv -g az \
    --policy-name DefaultPolicy --protectable-item-name "$item" \
    --protectable-item-type SQLDataBase --server-name host --workload-type MSSQL \
    --query 'properties.[[operation,status]]'
is "$item	IRPending" rest --url "$arm$vault/backupProtectedItems?$version" \
    --query 'value[].[name,properties.protectionState]'

# --- back up, and look ---
is "Backup" backup protection backup-now -v rsv -g az -c "$container" -i "$item" \
    --backup-type Full --backup-management-type AzureWorkload --workload-type MSSQL --query properties.operation
job=$(value backup job list -v rsv -g az --query "[?properties.operation=='Backup'].name|[0]")
value backup job wait -v rsv -g az -n "$job" >/dev/null
is "Completed" backup job show -v rsv -g az -n "$job" --query properties.status
point=$(value backup recoverypoint list -v rsv -g az -c "$container" -i "$item" \
    --backup-management-type AzureWorkload --workload-type MSSQL --query '[0].name')

# --- restore ---
is "" rest --method post --url "$url/protectedItems/$item/recoveryPoints/$point/restore?$version" \
    --body "{\"properties\":{\"objectType\":\"AzureWorkloadRestoreRequest\",\"recoveryMode\":\"FileRecovery\",\"targetInfo\":{\"targetDirectoryForFileRestore\":\"$work/back\"}}}"
job=$(value backup job list -v rsv -g az --query "[?properties.operation=='Restore'].name|[0]")
value backup job wait -v rsv -g az -n "$job" >/dev/null
step=$((step + 1))
if grep -rqx "dear reader" "$work/back"; then ok "the letter is back"; else fail "the letter is back"; fi

# --- what is not supported (rule 82), and what an attempt leaves behind (rules 54, 55) ---
refused 1 UserErrorMarsAgentNotSupported rest --method put --url "$url-2?$version" \
    --body '{"properties":{"containerType":"Windows","backupManagementType":"MAB"}}'
is "SystemAssigned" backup vault identity assign -n rsv -g az --system-assigned --query identity.type
refused 1 UserErrorCMKNotSupportedOnVaultWithRegisteredItems backup vault encryption update -n rsv \
    -g az --encryption-key-id "https://kv1.$suffix/keys/k" --mi-system-assigned

finish
