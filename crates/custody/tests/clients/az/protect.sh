#!/usr/bin/env bash
# A backup operator's daily work on a Recovery Services vault, with az, unmodified. What az has no
# words for is a folder: the container's folders are named with `az rest`.
. "$(dirname "$0")/steps.sh"
vault=$group/providers/Microsoft.RecoveryServices/vaults/rsv
fabric="$arm$vault/backupFabrics/Azure"
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

# --- a policy; one with tiering is taken, one that nobody could carry out is refused ---
policy() {
    cat <<END
{"properties":{"backupManagementType":"AzureWorkload","workLoadType":"SQLDataBase",
 "settings":{"timeZone":"UTC","issqlcompression":false,"isCompression":false},
 "subProtectionPolicy":[{"policyType":"Full",$1
  "schedulePolicy":{"schedulePolicyType":"SimpleSchedulePolicy","scheduleRunFrequency":"Daily",
   "scheduleRunTimes":["2021-07-07T22:00:00+00:00"],"scheduleWeeklyFrequency":0},
  "retentionPolicy":{"retentionPolicyType":"LongTermRetentionPolicy","dailySchedule":
   {"retentionTimes":["2021-07-07T22:00:00+00:00"],
    "retentionDuration":{"count":30,"durationType":"Days"}}}}]}}
END
}
policy "" >"$work/daily.json"
policy '"tieringPolicy":{"ArchivedRP":{"tieringMode":"TierRecommended","duration":0,"durationType":"Invalid"}},' \
    >"$work/tiered.json"
is "daily" backup policy create -v rsv -g az -n daily --policy "$work/daily.json" \
    --backup-management-type AzureWorkload --workload-type MSSQL --query name
is "tiered" backup policy create -v rsv -g az -n tiered --policy "$work/tiered.json" \
    --backup-management-type AzureWorkload --workload-type MSSQL --query name
sed 's/"timeZone":"UTC"/"timeZone":"Pacific Standard Time"/' "$work/daily.json" >"$work/zone.json"
refused 1 PolicyTimeZoneNotSupported backup policy create -v rsv -g az -n zone \
    --policy "$work/zone.json" --backup-management-type AzureWorkload --workload-type MSSQL

# --- this machine is registered, its folder named and protected ---
machine=$(value rest --url "$fabric/protectableContainers?$version" \
    --query 'value[0].properties.containerId')
container=$(value rest --url "$fabric/protectableContainers?$version" --query 'value[0].name')
host=$(value rest --url "$fabric/protectableContainers?$version" \
    --query 'value[0].properties.friendlyName')
url="$fabric/protectionContainers/$container"
is "" backup container register -v rsv -g az --workload-type MSSQL --resource-id "$machine" \
    --backup-management-type AzureWorkload
is "$container	Registered" backup container list -v rsv -g az \
    --backup-management-type AzureWorkload --query '[].[name,properties.registrationStatus]'
is "$host" rest --method patch --url "$url?$version" --query properties.friendlyName \
    --body "{\"properties\":{\"folders\":{\"$item\":{\"paths\":[\"$work/documents\"]}}}}"
is "" backup container re-register -v rsv -g az --workload-type MSSQL \
    --container-name "$container" --backup-management-type AzureWorkload --yes
is "$item" backup protectable-item list -v rsv -g az --workload-type MSSQL --query '[].name'
is "$item	NotProtected" backup protectable-item show -v rsv -g az -n "$item" --server-name "$host" \
    --protectable-item-type SQLDatabase --workload-type MSSQL \
    --query '[[name,properties.protectionState]]'
is "ConfigureBackup	Completed" backup protection enable-for-azurewl -v rsv -g az \
    --policy-name daily --protectable-item-name "$item" \
    --protectable-item-type SQLDataBase --server-name "$host" --workload-type MSSQL \
    --query 'properties.[[operation,status]]'
of_item=(-v rsv -g az -c "$container" -i "$item" --backup-management-type AzureWorkload
    --workload-type MSSQL)
shown=(backup item show -v rsv -g az -c "$container" -n "$item"
    --backup-management-type AzureWorkload --workload-type MSSQL)
is "IRPending	daily" "${shown[@]}" --query '[[properties.protectionState,properties.policyName]]'

# --- back up, and look ---
is "Backup" backup protection backup-now "${of_item[@]}" --backup-type Full \
    --query properties.operation
job=$(value backup job list -v rsv -g az --query "[?properties.operation=='Backup'].name|[0]")
value backup job wait -v rsv -g az -n "$job" >/dev/null
is "Completed" backup job show -v rsv -g az -n "$job" --query properties.status
point=$(value backup recoverypoint list "${of_item[@]}" --query '[0].name')
is "Protected" "${shown[@]}" --query properties.protectionState

# --- restore, as files into a folder ---
az backup recoveryconfig show -v rsv -g az --restore-mode RestoreAsFiles --rp-name "$point" \
    --container-name "$container" --item-name "$item" --target-container-name "$container" \
    --filepath "$work/back" --workload-type MSSQL -o json --only-show-errors >"$work/config.json"
is "Restore	Completed" backup restore restore-azurewl -v rsv -g az \
    --recovery-config "$work/config.json" --query 'properties.[[operation,status]]'
step=$((step + 1))
if grep -rqx "dear reader" "$work/back"; then ok "the letter is back"; else fail "the letter is back"; fi
az backup recoveryconfig show -v rsv -g az --restore-mode OriginalWorkloadRestore \
    --rp-name "$point" --container-name "$container" --item-name "$item" --workload-type MSSQL \
    -o json --only-show-errors >"$work/config.json"
refused 1 RestoreTargetNotSupported backup restore restore-azurewl -v rsv -g az \
    --recovery-config "$work/config.json"

# --- stop, and keep the data; resume ---
is "DisableBackup	Completed" backup protection disable "${of_item[@]}" --yes \
    --query 'properties.[[operation,status]]'
is "ProtectionStopped	SQLDataBase" "${shown[@]}" \
    --query '[[properties.protectionState,properties.workloadType]]'
refused 1 UserErrorItemNotProtected backup protection backup-now "${of_item[@]}" --backup-type Full
is "$point" backup recoverypoint list "${of_item[@]}" --query '[].name'
is "ConfigureBackup" backup protection resume "${of_item[@]}" --policy-name daily \
    --query properties.operation
is "DisableBackup" backup protection disable "${of_item[@]}" --yes \
    --retain-recovery-points-as-per-policy --query properties.operation
is "BackupsSuspended	daily" "${shown[@]}" \
    --query '[[properties.protectionState,properties.policyName]]'

# --- delete with the data, which the vault keeps; take it back ---
is "DeleteBackupData	Completed" backup protection disable "${of_item[@]}" --yes \
    --delete-backup-data --query 'properties.[[operation,status]]'
is "true" "${shown[@]}" --query properties.isScheduledForDeferredDelete
refused 1 "existing resources within the vault" backup vault delete -n rsv -g az --yes
is "Undelete	Completed" backup protection undelete "${of_item[@]}" \
    --query 'properties.[[operation,status]]'
is "ProtectionStopped" "${shown[@]}" --query properties.protectionState
is "$point" backup recoverypoint list "${of_item[@]}" --query '[].name'

# --- what is not supported (rule 82), and what an attempt leaves behind (rules 54, 55) ---
refused 1 UserErrorMarsAgentNotSupported rest --method put --url "$url-2?$version" \
    --body '{"properties":{"containerType":"Windows","backupManagementType":"MAB"}}'
is "SystemAssigned" backup vault identity assign -n rsv -g az --system-assigned --query identity.type
refused 1 UserErrorCMKNotSupportedOnVaultWithRegisteredItems backup vault encryption update -n rsv \
    -g az --encryption-key-id "https://kv1.$suffix/keys/k" --mi-system-assigned

# --- a vault that keeps nothing of what is deleted: the end is the end ---
brief=$group/providers/Microsoft.RecoveryServices/vaults/brief
url="$arm$brief/backupFabrics/Azure/protectionContainers/$container"
is "Disabled" rest --method put --url "$arm$brief?$version" \
    --query properties.securitySettings.softDeleteSettings.softDeleteState \
    --body '{"location":"local","sku":{"name":"Standard"},"properties":{"securitySettings":{"softDeleteSettings":{"softDeleteState":"Disabled"}}}}'
is "" backup container register -v brief -g az --workload-type MSSQL --resource-id "$machine" \
    --backup-management-type AzureWorkload
is "$host" rest --method patch --url "$url?$version" --query properties.friendlyName \
    --body "{\"properties\":{\"folders\":{\"$item\":{\"paths\":[\"$work/documents\"]}}}}"
is "Completed" backup protection enable-for-azurewl -v brief -g az --policy-name DefaultPolicy \
    --protectable-item-name "$item" --protectable-item-type SQLDataBase --server-name "$host" \
    --workload-type MSSQL --query properties.status
of_item=(-v brief -g az -c "$container" -i "$item" --backup-management-type AzureWorkload
    --workload-type MSSQL)
value backup protection backup-now "${of_item[@]}" --backup-type Full >/dev/null
job=$(value backup job list -v brief -g az --query "[?properties.operation=='Backup'].name|[0]")
value backup job wait -v brief -g az -n "$job" >/dev/null
is "Completed" backup protection disable "${of_item[@]}" --yes --delete-backup-data \
    --query properties.status
is "" backup container unregister -v brief -g az --container-name "$container" --yes
is "" backup container list -v brief -g az --backup-management-type AzureWorkload
is "" backup vault delete -n brief -g az --yes

finish
