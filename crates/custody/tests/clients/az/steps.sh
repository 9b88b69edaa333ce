# What the transcripts of az have in common: comparing answers, and signing in to the server.
# Sourced by them; variables: see main.rs.
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

# Makes the server one of az's clouds, once, and takes it.
register_cloud() {
    is "" cloud register -n custody --endpoint-resource-manager "$arm/"
    is "" config set core.instance_discovery=false
    is "" cloud set -n custody
}

# Signs in as the administrator's application.
sign_in() {
    is "$subscription	$tenant	custody" login --service-principal -u "$client" -p "$secret" \
        --tenant "$tenant" --query '[].[id,tenantId,cloudName]'
}

# The last words of a transcript, and whether it passed.
finish() {
    echo "$step steps, $failed failed"
    [ "$failed" = 0 ]
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
errors=$work/stderr
export AZURE_CONFIG_DIR=$work/azure AZURE_CORE_COLLECT_TELEMETRY=no AZURE_CORE_NO_COLOR=1

arm=$(fact resourceManager) suffix=$(fact keyVaultSuffix) tenant=$(fact tenantId)
subscription=$(fact subscriptionId) client=$(fact administrator.clientId)
object=$(fact administrator.objectId) secret=$(<"$(fact administrator.clientSecretFile)")
group=/subscriptions/$subscription/resourceGroups/az
