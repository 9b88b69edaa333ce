#!/usr/bin/env bash
# A key officer's day with az, unmodified: every command of key-vault work, each answer compared.
# Variables: see main.rs.
set -euo pipefail
shopt -s lastpipe

fact() { python3 -c 'import json,os,sys; v=json.loads(os.environ["CUSTODY_TEST_ENV"])
for k in sys.argv[1].split("."): v=v[k]
print(v)' "$1"; }
step=0 failed=0

# is WANTED az-arguments…: what it prints as tab-separated text is this.
is() {
    local wanted=$1 got
    shift
    step=$((step + 1))
    got=$(az "$@" -o tsv --only-show-errors 2>"$errors") || got="exit $? $(<"$errors")"
    if [ "$got" = "$wanted" ]; then ok "$*"; else fail "$*" "wanted: $wanted" "got:    $got"; fi
}

# refused EXIT TEXT az-arguments…: it ends with this code and says this.
refused() {
    local code=$1 text=$2 got=0
    shift 2
    step=$((step + 1))
    az "$@" -o none --only-show-errors 2>"$errors" || got=$?
    if [ "$got" = "$code" ] && grep -qF -- "$text" "$errors"; then
        ok "$* (refused)"
    else
        fail "$*" "wanted: exit $code, $text" "got:    exit $got" "$(<"$errors")"
    fi
}

# value az-arguments…: what it prints, for later use.
value() { az "$@" -o tsv --only-show-errors; }

ok() { echo "ok $step az ${1//$secret/SECRET}"; }

# Says what is wrong and goes on, so that one run shows all that is.
fail() {
    failed=$((failed + 1))
    echo "FAILED $step az ${1//$secret/SECRET}"
    shift
    printf '  %s\n' "$@"
}

trust_hosts() {
    "$CUSTODY_TEST_BINARY" trust hosts --yes --hosts-file "$CUSTODY_TEST_HOSTS" >/dev/null 2>&1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
errors=$work/stderr
export AZURE_CONFIG_DIR=$work/azure AZURE_CORE_COLLECT_TELEMETRY=no AZURE_CORE_NO_COLOR=1

arm=$(fact resourceManager) suffix=$(fact keyVaultSuffix) tenant=$(fact tenantId)
subscription=$(fact subscriptionId) client=$(fact administrator.clientId)
object=$(fact administrator.objectId) secret=$(<"$(fact administrator.clientSecretFile)")
group=/subscriptions/$subscription/resourceGroups/az
vault=$group/providers/Microsoft.KeyVault/vaults/az-keys

# --- the cloud, signing in ---
is "" cloud register -n custody --endpoint-resource-manager "$arm/"
is "" config set core.instance_discovery=false
is "" cloud set -n custody
is ".$suffix" cloud show --query suffixes.keyvaultDns
refused 1 AADSTS7000215 login --service-principal -u "$client" -p wrong --tenant "$tenant"
is "$subscription	$tenant	custody" login --service-principal -u "$client" -p "$secret" \
    --tenant "$tenant" --query '[].[id,tenantId,cloudName]'
is "$tenant" account show --query tenantId
is "local	northeurope	westeurope" account list-locations \
    --query "sort([?contains(['local','westeurope','northeurope'],name)].name)|[join('	',@)]"
is "Bearer" account get-access-token --query tokenType

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
is "$identity" role assignment create --role Reader --scope "$group" \
    --assignee-object-id "$identity" --assignee-principal-type ServicePrincipal \
    --query principalId
is "Reader" role assignment list -g az --assignee "$identity" --query '[].roleDefinitionName'
is "" role assignment delete --assignee "$identity" --role Reader --scope "$group"
is "" role assignment list -g az --assignee "$identity" --query '[].roleDefinitionName'

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
is "true" keyvault key set-attributes --vault-name az-keys -n box --enabled true \
    --query attributes.enabled

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
refused 3 "secrets" keyvault secret show --vault-name az-keys -n none

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
is "RSA" keyvault key show --vault-name az-keys -n box --query key.kty
refused 1 ForbiddenByRbac keyvault key create --vault-name az-keys -n robots
refused 1 AuthorizationFailed keyvault update -n az-keys -g az --enabled-for-deployment false
is "" logout --username "$robot"
is "$subscription" login --service-principal -u "$client" -p "$secret" --tenant "$tenant" \
    --query '[].id'
is "" ad sp delete --id "$robot"

# --- a right that is taken away counts at once ---
is "" role assignment delete --ids "$officer"
refused 1 ForbiddenByRbac keyvault key list --vault-name az-keys

# --- key vaults deleted ---
is "" keyvault delete -n az-policies
is "az-policies" keyvault list-deleted --resource-type vault --query '[].name'
is "az-policies" keyvault show-deleted -n az-policies --query name
is "az-policies" keyvault recover -n az-policies --query name
is "" keyvault delete -n az-policies
is "" keyvault purge -n az-policies
is "" keyvault list-deleted --resource-type vault --query '[].name'
is "" group delete -n az --yes
is "false" group exists -n az
is "" logout
echo "$step steps, $failed failed"
[ "$failed" = 0 ]
