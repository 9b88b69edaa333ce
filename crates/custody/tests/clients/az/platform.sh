#!/usr/bin/env bash
# A platform administrator's day with az, unmodified: subscriptions, groups, identities, roles,
# applications, audit settings.
. "$(dirname "$0")/steps.sh"
vault=$group/providers/Microsoft.KeyVault/vaults/az-platform

# --- the cloud, signing in ---
register_cloud
is ".$suffix	.$(fact managedHsmSuffix)" cloud show \
    --query '[[suffixes.keyvaultDns,suffixes.mhsmDns]]'
sign_in
is "$tenant" account show --query tenantId
is "$subscription" account list --query '[].id'
is "local	northeurope	westeurope" account list-locations \
    --query "sort([?contains(['local','westeurope','northeurope'],name)].name)|[join('	',@)]"
is "Bearer" account get-access-token --query tokenType
is "Registered" provider show -n Microsoft.KeyVault --query registrationState
is "Microsoft.KeyVault" provider list --query "[?namespace=='Microsoft.KeyVault'].namespace"
is "$subscription" rest --url "$arm/subscriptions/$subscription?api-version=2022-12-01" \
    --query subscriptionId
refused 1 InvalidResourceType rest --url "$arm$group/providers/Microsoft.Nothing/x?api-version=2022-12-01"

# --- groups, tags, identities ---
is "Succeeded	test" group create -n az -l local --tags purpose=test \
    --query '[[properties.provisioningState,tags.purpose]]'
is "az" group show -n az --query name
is "true" group exists -n az
is "az" group list --query "[?name=='az'].name"
identity=$(value identity create -n reader -g az --query principalId)
is "$identity" identity show -n reader -g az --query principalId
is "reader" identity list -g az --query '[].name'
is "officer" tag create --resource-id "$group" --tags owner=officer --query properties.tags.owner
is "officer" tag list --resource-id "$group" --query properties.tags.owner
is "b" tag update --resource-id "$group" --operation Merge --tags a=b --query properties.tags.a
is "officer" tag list --query "[?tagName=='owner'].values[0].tagValue"
is "" tag delete --resource-id "$group" --yes
is "" group create -n doomed -l westeurope --query tags
is "c" group update -n doomed --set tags.b=c --query tags.b
refused 3 ResourceNotFound identity show -n nobody -g az
refused 3 ResourceGroupNotFound group show -n nowhere

# --- management groups ---
is "Mine" account management-group create -n mine --display-name Mine --query displayName
is "Below" account management-group create -n below --display-name Below --parent mine \
    --query displayName
is "below mine" account management-group list --query "[join(' ',sort([].name))]"
is "/providers/Microsoft.Management/managementGroups/mine" account management-group show \
    -n below --query details.parent.id
is "" account management-group subscription add -n below -s "$subscription" --query tags
is "$subscription" account management-group show -n below --expand --query 'children[].name'
is "" account management-group subscription remove -n below -s "$subscription"
is "" account management-group delete -n below
is "" account management-group delete -n mine

# --- roles ---
is "$identity" role assignment create --role Reader --scope "$group" \
    --assignee-object-id "$identity" --assignee-principal-type ServicePrincipal \
    --query principalId
is "Reader" role assignment list -g az --assignee "$identity" --query '[].roleDefinitionName'
is "Reader" role assignment list --all --assignee "$identity" --query '[].roleDefinitionName'
is "" role assignment delete --assignee "$identity" --role Reader --scope "$group"
is "" role assignment list -g az --assignee "$identity" --query '[].roleDefinitionName'
cat >"$work/role.json" <<JSON
{"Name": "Key Lister", "Description": "lists keys", "AssignableScopes": ["$group"],
 "Actions": ["Microsoft.KeyVault/vaults/read"],
 "DataActions": ["Microsoft.KeyVault/vaults/keys/read"]}
JSON
is "Key Lister	CustomRole" role definition create --role-definition "$work/role.json" \
    --query '[[roleName,roleType]]'
is "Key Lister" role definition list --custom-role-only true --scope "$group" \
    --query '[].roleName'
is "Microsoft.KeyVault/vaults/keys/read" role definition list --name "Key Lister" \
    --scope "$group" --query '[].permissions[].dataActions[]'
sed -i 's/lists keys/reads keys/' "$work/role.json"
is "reads keys" role definition update --role-definition "$work/role.json" --query description
is "$identity" role assignment create --role "Key Lister" --scope "$group" \
    --assignee "$identity" --query principalId
is "" role assignment delete --assignee "$identity" --role "Key Lister" --scope "$group"
is "" role definition delete --name "Key Lister" --scope "$group"
is "" role definition list --name "Key Lister" --scope "$group" --query '[].roleName'

# --- a key vault to be granted and watched ---
is "az-platform" keyvault create -n az-platform -g az -l local --query name
trust_hosts
is "Microsoft.KeyVault/vaults" resource list -g az --query "[?name=='az-platform'].type"

# --- audit settings ---
"$CUSTODY_TEST_BINARY" audit destination create -n kept --type file >/dev/null
destination=$("$CUSTODY_TEST_BINARY" audit destination list --query '[0].id' -o tsv)
is "audit" monitor diagnostic-settings create -n audit --resource "$vault" \
    --storage-account "$destination" \
    --logs '[{"category":"AuditEvent","enabled":true}]' --query name
is "AuditEvent" monitor diagnostic-settings show -n audit --resource "$vault" \
    --query 'logs[].category'
is "audit" monitor diagnostic-settings list --resource "$vault" --query '[].name'
is "" monitor diagnostic-settings delete -n audit --resource "$vault"
is "" monitor diagnostic-settings list --resource "$vault" --query '[].name'
is "Microsoft.KeyVault/vaults/write" monitor activity-log list --resource-id "$vault" \
    --offset 1h --query "[?operationName.value=='Microsoft.KeyVault/vaults/write'].operationName.value|[0]"
is "true" monitor activity-log list -g az --offset 1h --query 'length(@) > `0`'

# --- applications ---
value ad sp create-for-rbac -n robot --role "Key Vault Crypto User" --scopes "$vault" \
    --query '[[appId,password,tenant]]' | IFS=$'\t' read -r robot password of
[ "$of" = "$tenant" ] || fail "ad sp create-for-rbac" "tenant $of"
is "robot" ad sp show --id "$robot" --query displayName
is "robot" ad sp list --display-name robot --query '[].displayName'
is "robot" ad app list --app-id "$robot" --query '[].displayName'
is "Key Vault Crypto User" role assignment list --scope "$vault" --assignee "$robot" \
    --query '[].roleDefinitionName'
is "$robot" login --service-principal -u "$robot" -p "$password" --tenant "$tenant" \
    --query '[].user.name'
refused 1 ForbiddenByRbac keyvault key create --vault-name az-platform -n robots
refused 1 AuthorizationFailed keyvault update -n az-platform -g az --enabled-for-deployment false
is "" logout --username "$robot"
sign_in
is "" ad sp delete --id "$robot"
refused 3 "does not exist" ad sp show --id "$robot"

# --- an application of this tenant in another ---
shared=$(value ad app create --display-name shared --query appId)
is "shared" ad app show --id "$shared" --query displayName
is "" ad app update --id "$shared" --display-name "shared by two"
is "shared by two" ad app list --display-name "shared by two" --query '[].displayName'
password=$(value ad app credential reset --id "$shared" --query password)
is "1" ad app credential list --id "$shared" --query 'length(@)'
value rest --method post --url "$arm/custody/tenants" --body '{"displayName":"others"}' \
    --query '[[tenantId,subscriptionId,administrator.clientId,administrator.clientSecret]]' |
    IFS=$'\t' read -r other others owner key
is "$others" login --service-principal -u "$owner" -p "$key" --tenant "$other" --query '[].id'
refused 3 ResourceGroupNotFound group show -n az
is "shared by two" ad sp create --id "$shared" --query displayName
is "/subscriptions/$others" role assignment create --role Reader \
    --scope "/subscriptions/$others" --assignee "$shared" --query scope
is "$other" login --service-principal -u "$shared" -p "$password" --tenant "$other" \
    --query '[].tenantId'
is "" group list --query '[].name'
refused 1 AuthorizationFailed group create -n mine -l local
is "" account clear
sign_in
is "" ad app delete --id "$shared"
refused 1 AADSTS700016 login --service-principal -u "$shared" -p "$password" --tenant "$other"

# --- the end ---
is "" identity delete -n reader -g az
is "" identity list -g az --query '[].name'
is "" group delete -n doomed --yes --no-wait
is "" group wait -n doomed --deleted
is "" group delete -n az --yes
is "false" group exists -n az
is "" logout
finish
