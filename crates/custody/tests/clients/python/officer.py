"""What the scripts share: the facts of the server, who signs in, how refusals are compared."""

import json
import os
import subprocess
import time

from azure.identity import ClientSecretCredential
from azure.mgmt.keyvault import KeyVaultManagementClient

FACTS = json.loads(os.environ["CUSTODY_TEST_ENV"])
GROUP = "sdk"
ADMINISTRATOR = FACTS["administrator"]
with open(ADMINISTRATOR["clientSecretFile"], encoding="utf-8") as file:
    SECRET = file.read().strip()


def credential(secret=SECRET, tenant=FACTS["tenantId"], client=ADMINISTRATOR["clientId"]):
    return ClientSecretCredential(
        tenant,
        client,
        secret,
        authority=FACTS["authority"],
        disable_instance_discovery=True,
        additionally_allowed_tenants=["*"],
    )


def management_client(by):
    return KeyVaultManagementClient(
        by,
        FACTS["subscriptionId"],
        base_url=FACTS["resourceManager"],
        credential_scopes=[FACTS["resourceManager"] + "/.default"],
        retry_total=0,
    )


def trust_hosts():
    subprocess.run(
        [os.environ["CUSTODY_TEST_BINARY"], "trust", "hosts", "--yes"]
        + ["--hosts-file", os.environ["CUSTODY_TEST_HOSTS"]],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def refused(error, status, code, act, inner=None, says=""):
    """Checks that `act` is refused with this status, code, inner code and text."""
    try:
        act()
    except error as refusal:
        assert refusal.status_code == status, refusal
        found = refusal.error
        assert found is not None and found.code == code, refusal
        got = (found.innererror or {}).get("code") if inner else None
        assert got == inner, (refusal, found.innererror)
        assert says in refusal.message, refusal.message
    else:
        raise AssertionError(f"{code} expected")


STEPS = []


def step(function):
    STEPS.append(function)
    return function


def run():
    """Runs the steps in order."""
    for current in STEPS:
        began = time.monotonic()
        current()
        print(f"ok {current.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
