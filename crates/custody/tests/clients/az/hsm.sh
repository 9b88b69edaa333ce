#!/usr/bin/env bash
# A managed HSM with az, unmodified: made, given local roles, used, deleted, recovered, purged.
. "$(dirname "$0")/steps.sh"

register_cloud
sign_in
is "Succeeded" group create -n az -l local --query properties.provisioningState

# --- made ---
url=https://az-hsm.$(fact managedHsmSuffix)
is "az-hsm	Succeeded	$url/	7" keyvault create --hsm-name az-hsm -g az -l local \
    --administrators "$object" --retention-days 7 \
    --query '[[name,properties.provisioningState,properties.hsmUri,properties.softDeleteRetentionInDays]]'
trust_hosts
is "$object" keyvault show --hsm-name az-hsm --query 'properties.initialAdminObjectIds'
is "az-hsm" keyvault list --resource-type hsm --query '[].name'
is "AlreadyExists" keyvault check-name -n az-hsm --resource-type hsm --query reason
is "b" keyvault update-hsm --hsm-name az-hsm -g az --set tags.a=b --query tags.a

# --- local roles ---
refused 1 Forbidden keyvault key list --hsm-name az-hsm
is "Managed HSM Administrator" keyvault role assignment list --hsm-name az-hsm \
    --query '[].roleName'
is "Managed HSM Crypto User" keyvault role definition list --hsm-name az-hsm \
    --query "[?roleName=='Managed HSM Crypto User'].roleName"
officer=$(value keyvault role assignment create --hsm-name az-hsm --scope / \
    --role "Managed HSM Crypto Officer" --assignee "$object" --query id)
is "/keys" keyvault role assignment create --hsm-name az-hsm --scope /keys \
    --role "Managed HSM Crypto User" --assignee-object-id "$object" \
    --assignee-principal-type ServicePrincipal --query scope
is "Managed HSM Crypto User" keyvault role assignment list --hsm-name az-hsm --scope /keys \
    --assignee-object-id "$object" --query '[].roleName'

# --- keys ---
is "RSA-HSM" keyvault key create --hsm-name az-hsm -n box --kty RSA-HSM --size 3072 --query key.kty
is "EC-HSM	P-521" keyvault key create --hsm-name az-hsm -n pen --kty EC-HSM --curve P-521 \
    --query '[[key.kty,key.crv]]'
is "oct-HSM" keyvault key create --hsm-name az-hsm -n safe --kty oct-HSM --size 256 \
    --ops encrypt decrypt wrapKey unwrapKey --query key.kty
is "box pen safe" keyvault key list --hsm-name az-hsm --query "[join(' ',sort([].name))]"
value keyvault key encrypt --hsm-name az-hsm -n safe -a A256GCM --data-type plaintext \
    --value "the only copy" --aad 414141 --query '[[result,iv,tag]]' |
    IFS=$'\t' read -r sealed iv tag
is "b'the only copy'" keyvault key decrypt --hsm-name az-hsm -n safe -a A256GCM \
    --data-type plaintext --value "$sealed" --iv "$iv" --tag "$tag" --aad 414141 --query result
refused 1 BadParameter keyvault key decrypt --hsm-name az-hsm -n safe -a A256GCM \
    --data-type plaintext --value "$sealed" --iv "$iv" --tag "$tag" --aad 414142
[ "$(value keyvault key random --hsm-name az-hsm --count 16)" != \
    "$(value keyvault key random --hsm-name az-hsm --count 16)" ] ||
    fail "keyvault key random" "the same bytes twice"
first=$(value keyvault key show --hsm-name az-hsm -n box --query key.kid)
[ "$first" != "$(value keyvault key rotate --hsm-name az-hsm -n box --query key.kid)" ] ||
    fail "keyvault key rotate" "the same version"
is "2" keyvault key list-versions --hsm-name az-hsm -n box --query 'length(@)'
is "" keyvault key backup --hsm-name az-hsm -n safe -f "$work/safe.backup"
is "$url/deletedkeys/safe" keyvault key delete --hsm-name az-hsm -n safe --query recoveryId
is "safe" keyvault key list-deleted --hsm-name az-hsm --query '[].name'
is "" keyvault key purge --hsm-name az-hsm -n safe
is "oct-HSM" keyvault key restore --hsm-name az-hsm -f "$work/safe.backup" --query key.kty

# --- a right that is taken away counts at once ---
is "" keyvault role assignment delete --hsm-name az-hsm --ids "$officer"
refused 1 Forbidden keyvault key list-deleted --hsm-name az-hsm

# --- deleted ---
is "" keyvault delete --hsm-name az-hsm
is "az-hsm" keyvault list-deleted --resource-type hsm --query '[].name'
is "az-hsm" keyvault show-deleted --hsm-name az-hsm -l local --query name
is "az-hsm" keyvault recover --hsm-name az-hsm -l local --query name
is "/keys" keyvault role assignment create --hsm-name az-hsm --scope /keys \
    --role "Managed HSM Crypto User" --assignee-object-id "$object" \
    --assignee-principal-type ServicePrincipal --query scope
is "box pen safe" keyvault key list --hsm-name az-hsm --query "[join(' ',sort([].name))]"
is "" keyvault delete --hsm-name az-hsm
is "" keyvault purge --hsm-name az-hsm -l local
is "" keyvault list-deleted --resource-type hsm --query '[].name'
finish
