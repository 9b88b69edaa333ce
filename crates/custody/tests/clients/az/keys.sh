#!/usr/bin/env bash
# A key officer's day with az, unmodified: every command of key-vault work, each answer compared.
. "$(dirname "$0")/steps.sh"
vault=$group/providers/Microsoft.KeyVault/vaults/az-keys

# --- signing in ---
register_cloud
refused 1 AADSTS7000215 login --service-principal -u "$client" -p wrong --tenant "$tenant"
sign_in
is "Succeeded" group create -n az -l local --query properties.provisioningState

# --- a key vault whose roles decide ---
is "az-keys	True	https://az-keys.$suffix/" keyvault create -n az-keys -g az -l local \
    --query '[[name,properties.enableRbacAuthorization,properties.vaultUri]]'
trust_hosts
refused 1 "already exists" keyvault create -n az-keys -g az -l local
is "90" keyvault show -n az-keys --query properties.softDeleteRetentionInDays
is "az-keys" keyvault list -g az --query '[].name'
is "az-keys" keyvault list --resource-type vault --query "[?name=='az-keys'].name"
is "true" keyvault update -n az-keys --enabled-for-deployment true \
    --query properties.enabledForDeployment
is "false" keyvault check-name -n az-keys --query nameAvailable
is "az-keys" resource list --resource-type Microsoft.KeyVault/vaults --query '[].name'
is "Microsoft.KeyVault/vaults" resource show --ids "$vault" --query type
refused 1 ForbiddenByRbac keyvault key list --vault-name az-keys

# --- roles ---
is "14b46e9e-c2b7-41b4-b07b-48a6ebf60603" role definition list \
    --name "Key Vault Crypto Officer" --query '[].name'
officer=$(value role assignment create --role "Key Vault Crypto Officer" --scope "$vault" \
    --assignee-object-id "$object" --assignee-principal-type ServicePrincipal --query id)
is "Key Vault Crypto Officer" role assignment list --scope "$vault" \
    --assignee-object-id "$object" --query '[].roleDefinitionName'
identity=$(value identity show -n app -g custody --query principalId)

# --- keys ---
is "RSA	True" keyvault key create --vault-name az-keys -n box --kty RSA --size 3072 \
    --query '[[key.kty,attributes.enabled]]'
is "P-384" keyvault key create --vault-name az-keys -n pen --kty EC --curve P-384 --query key.crv
first=$(value keyvault key show --vault-name az-keys -n box --query key.kid)
is "box pen" keyvault key list --vault-name az-keys --query "sort([].name)|[join(' ',@)]"
second=$(value keyvault key rotate --vault-name az-keys -n box --query key.kid)
[ "$first" != "$second" ] || fail "keyvault key rotate" "the same version"
is "2" keyvault key list-versions --vault-name az-keys -n box --query 'length(@)'
is "$first" keyvault key show --id "$first" --query key.kid
refused 3 KeyNotFound keyvault key show --vault-name az-keys -n nowhere
cat >"$work/policy.json" <<'JSON'
{"lifetimeActions": [
  {"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}},
  {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
 "attributes": {"expiryTime": "P2Y"}}
JSON
is "P2Y" keyvault key rotation-policy update --vault-name az-keys -n box \
    --value "$work/policy.json" --query expiresIn
is "P90D" keyvault key rotation-policy show --vault-name az-keys -n box \
    --query "lifetimeActions[?to_string(action)!='notify'].timeAfterCreate"
sealed=$(value keyvault key encrypt --vault-name az-keys -n box -a RSA-OAEP-256 \
    --data-type plaintext --value "the only copy" --query result)
is "b'the only copy'" keyvault key decrypt --vault-name az-keys -n box -a RSA-OAEP-256 \
    --data-type plaintext --value "$sealed" --query result
digest=$(head -c 48 /dev/zero | base64 -w 0)
signature=$(value keyvault key sign --vault-name az-keys -n pen -a ES384 --digest "$digest" \
    --query signature)
is "true" keyvault key verify --vault-name az-keys -n pen -a ES384 --digest "$digest" \
    --signature "$signature" --query isValid
openssl genrsa -out "$work/own.pem" 2048 2>/dev/null
is "RSA" keyvault key import --vault-name az-keys -n own --pem-file "$work/own.pem" --query key.kty
is "" keyvault key download --vault-name az-keys -n own -f "$work/public.pem" -e PEM
openssl rsa -in "$work/own.pem" -pubout 2>/dev/null | cmp - "$work/public.pem" ||
    fail "keyvault key download" "another key"
is "false" keyvault key set-attributes --vault-name az-keys -n box --enabled false \
    --query attributes.enabled
refused 1 KeyDisabled keyvault key decrypt --vault-name az-keys -n box -a RSA-OAEP-256 \
    --value "$sealed"
is "True	2099-01-01T00:00:00+00:00	b" keyvault key set-attributes --vault-name az-keys -n box \
    --enabled true --expires 2099-01-01T00:00:00Z --tags a=b \
    --query '[[attributes.enabled,attributes.expires,tags.a]]'
is "sign" keyvault key create --vault-name az-keys -n narrow --kty EC --ops sign \
    --not-before 2020-01-01T00:00:00Z --disabled true --query 'key.keyOps'
is "EC-HSM" keyvault key create --vault-name az-keys -n hardware --kty EC-HSM --query key.kty

# --- keys deleted, restored ---
is "" keyvault key backup --vault-name az-keys -n pen -f "$work/pen.backup"
is "https://az-keys.$suffix/deletedkeys/pen" keyvault key delete --vault-name az-keys -n pen \
    --query recoveryId
refused 1 ObjectIsDeletedButRecoverable keyvault key create --vault-name az-keys -n pen
is "pen" keyvault key list-deleted --vault-name az-keys --query '[].name'
is "P-384" keyvault key show-deleted --vault-name az-keys -n pen --query key.crv
is "P-384" keyvault key recover --vault-name az-keys -n pen --query key.crv
is "https://az-keys.$suffix/deletedkeys/pen" keyvault key delete --vault-name az-keys -n pen \
    --query recoveryId
refused 1 Conflict keyvault key restore --vault-name az-keys -f "$work/pen.backup"
is "" keyvault key purge --vault-name az-keys -n pen
is "P-384" keyvault key restore --vault-name az-keys -f "$work/pen.backup" --query key.crv
for kind in secret certificate; do
    refused 1 "this key vault holds keys only" keyvault $kind list --vault-name az-keys
    refused 3 "this key vault holds keys only" keyvault $kind show --vault-name az-keys -n none
done
refused 1 "this key vault holds keys only" keyvault secret set --vault-name az-keys -n none --value x

# --- a key vault whose access policies decide ---
is "False	$object" keyvault create -n az-policies -g az -l local --retention-days 7 \
    --enable-rbac-authorization false \
    --query '[[properties.enableRbacAuthorization,properties.accessPolicies[0].objectId]]'
trust_hosts
is "get	wrapKey" keyvault set-policy -n az-policies --object-id "$identity" \
    --key-permissions get wrapKey \
    --query "properties.accessPolicies[?objectId=='$identity']|[0].permissions.keys|[join('	',sort(@))]"
is "1" keyvault delete-policy -n az-policies --object-id "$identity" \
    --query 'length(properties.accessPolicies)'
is "get	list" keyvault set-policy -n az-policies --spn "$client" --key-permissions get list \
    --query "properties.accessPolicies[0].permissions.keys|[join('	',sort(@))]"
refused 1 AccessDenied keyvault key create --vault-name az-policies -n box
is "" keyvault key list --vault-name az-policies --query '[].name'

# --- the firewall ---
is "203.0.113.0/24" keyvault network-rule add -n az-policies --ip-address 203.0.113.0/24 \
    --query 'properties.networkAcls.ipRules[].value'
is "Deny" keyvault update -n az-policies --default-action Deny \
    --query properties.networkAcls.defaultAction
refused 1 ForbiddenByFirewall keyvault key list --vault-name az-policies
is "203.0.113.0/24" keyvault network-rule list -n az-policies --query 'ipRules[].value'
is "" keyvault network-rule remove -n az-policies --ip-address 203.0.113.0/24 \
    --query 'properties.networkAcls.ipRules[].value'

# --- identities of this host ---
is "" role assignment delete --ids "$officer"
refused 1 ForbiddenByRbac keyvault key list --vault-name az-keys
is "$identity" role assignment create --role "Key Vault Crypto User" --scope "$vault" \
    --assignee-object-id "$identity" --assignee-principal-type ServicePrincipal \
    --query principalId
# As IDENTITY_ENDPOINT and IDENTITY_HEADER say (App Service), then as the instance metadata does.
is "systemAssignedIdentity" login --identity --query '[].user.name'
is "box" keyvault key list --vault-name az-keys --query "[?name=='box'].name"
is "b'the only copy'" keyvault key decrypt --vault-name az-keys -n box -a RSA-OAEP-256 \
    --data-type plaintext --value "$sealed" --query result
refused 1 ForbiddenByRbac keyvault key create --vault-name az-keys -n apps
is "" logout
sign_in
id=$(value identity show -n app -g custody --query id)
is "" rest --method post --url "$arm/custody/host/identities" --body "{\"identityId\":\"$id\"}" \
    --query identityHeader
endpoint=$(fact managedIdentityEndpoint)
export AZURE_POD_IDENTITY_AUTHORITY_HOST=${endpoint%/msi/token}
unset IDENTITY_ENDPOINT IDENTITY_HEADER
is "userAssignedIdentity" login --identity --resource-id "$id" --query '[].user.name'
is "RSA" keyvault key show --vault-name az-keys -n box --query key.kty
sign_in

# --- key vaults deleted ---
is "" keyvault delete -n az-policies
is "az-policies" keyvault list-deleted --resource-type vault --query '[].name'
is "az-policies" keyvault show-deleted -n az-policies --query name
is "az-policies" keyvault recover -n az-policies --query name
is "" keyvault delete -n az-policies
is "" keyvault purge -n az-policies
is "" keyvault delete -n az-keys
is "" keyvault purge -n az-keys
is "" keyvault list-deleted --resource-type vault --query '[].name'
finish
