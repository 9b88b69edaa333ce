"""The document "Backup vault CMK" with azure-mgmt-dataprotection, unmodified, step by step.

Where the document clicks in the portal, the portal's requests are sent; az's own commands for
Backup vaults are an extension, which is built on the same interface.
"""

import os
import tempfile
import uuid

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import KeyClient
from azure.mgmt.dataprotection import DataProtectionMgmtClient
from officer import FACTS, GROUP, credential, management_client, refused, run, step, trust_hosts

SUBSCRIPTION = FACTS["subscriptionId"]
SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
MISSING = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault"
BY = credential()
KEY_VAULTS = management_client(BY)
VAULTS = DataProtectionMgmtClient(
    BY,
    SUBSCRIPTION,
    base_url=FACTS["resourceManager"],
    credential_scopes=[FACTS["resourceManager"] + "/.default"],
    retry_total=0,
    polling_interval=1,
)
KEYS = {}
PLACE = tempfile.TemporaryDirectory()


def settings(key=None, identity=None, layer=None, state="Enabled"):
    """Encryption settings as the document's surfaces send them."""
    asked = {"state": state}
    if key:
        asked["keyVaultProperties"] = {"keyUri": key}
    if identity == "own":
        asked["kekIdentity"] = {"identityType": "SystemAssigned"}
    elif identity:
        asked["kekIdentity"] = {"identityType": "UserAssigned", "identityId": identity}
    if layer:
        asked["infrastructureEncryption"] = layer
    return asked


def vault(identities=(), own=False, encryption=None):
    kinds = ["SystemAssigned"] * own + ["UserAssigned"] * bool(identities)
    body = {
        "location": "local",
        "identity": {"type": ",".join(kinds) or "None"},
        "properties": {
            "storageSettings": [{"datastoreType": "VaultStore", "type": "LocallyRedundant"}],
            "securitySettings": {
                "softDeleteSettings": {"state": "Off", "retentionDurationInDays": 14},
            },
        },
    }
    if identities:
        body["identity"]["userAssignedIdentities"] = {name: {} for name in identities}
    if encryption:
        body["properties"]["securitySettings"]["encryptionSettings"] = encryption
    return body


def put(name, body):
    return VAULTS.backup_vaults.begin_create_or_update(GROUP, name, body).result()


def encrypt(name, asked):
    body = {"properties": {"securitySettings": {"encryptionSettings": asked}}}
    return VAULTS.backup_vaults.begin_update(GROUP, name, body).result()


def in_force(name):
    shown = VAULTS.backup_vaults.get(GROUP, name)
    return shown.properties.security_settings.encryption_settings


def arm(method, path, body=None, version="2024-11-01"):
    """A request to ARM for which no client is installed here."""
    from azure.core.rest import HttpRequest

    url = f"{FACTS['resourceManager']}{path}?api-version={version}"
    answer = VAULTS._client.send_request(HttpRequest(method, url, json=body))
    answer.raise_for_status()
    return answer.json() if answer.content else None


def grant(principal, scope):
    role = "e147488a-f6f5-4113-8e2d-b22465e65bf6"
    definition = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
    body = {"properties": {"roleDefinitionId": definition + role, "principalId": principal}}
    name = uuid.uuid4()
    arm("PUT", f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}", body)


def identity(name):
    path = f"{SCOPE}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    made = arm("PUT", path, {"location": "local"})
    return made["id"], made["properties"]["principalId"]


def failed(code, act):
    try:
        act()
    except HttpResponseError as error:
        assert error.error is not None and error.error.code == code, error
    else:
        raise AssertionError(f"{code} expected")


@step
def a_key_vault_with_a_key():
    for name, purge in (("dpp-keys", True), ("dpp-loose", None)):
        properties = {
            "tenantId": FACTS["tenantId"],
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
            "enablePurgeProtection": purge,
            "softDeleteRetentionInDays": 7,
        }
        body = {"location": "local", "properties": properties}
        made = KEY_VAULTS.vaults.begin_create_or_update(GROUP, name, body).result()
        trust_hosts()
        officer = FACTS["administrator"]["objectId"]
        role = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603"
        definitions = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization"
        body = {
            "properties": {
                "roleDefinitionId": f"{definitions}/roleDefinitions/{role}",
                "principalId": officer,
            }
        }
        assignment = f"{made.id}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        arm("PUT", assignment, body)
        keys = KeyClient(made.properties.vault_uri, BY)
        KEYS[name] = (made.id, keys.create_rsa_key("backup", size=2048))
        if name == "dpp-keys":
            KEYS["elliptic"] = (made.id, keys.create_ec_key("curve"))


@step
def a_vault_on_the_platforms_key():
    made = put("plain", vault())
    assert made.properties.provisioning_state == "Succeeded", made
    assert in_force("plain") is None
    assert [one.name for one in VAULTS.backup_vaults.get_in_resource_group(GROUP)] == ["plain"]


@step
def its_own_identity():
    body = {"identity": {"type": "SystemAssigned"}}
    shown = VAULTS.backup_vaults.begin_update(GROUP, "plain", body).result()
    assert shown.identity.type == "SystemAssigned" and shown.identity.principal_id, shown


@step
def no_permission_no_key():
    _, key = KEYS["dpp-keys"]
    failed(MISSING, lambda: encrypt("plain", settings(key.id, "own")))
    assert in_force("plain") is None or in_force("plain").state != "Enabled", in_force("plain")


@step
def the_key_is_set():
    scope, key = KEYS["dpp-keys"]
    principal = VAULTS.backup_vaults.get(GROUP, "plain").identity.principal_id
    grant(principal, scope)
    shown = encrypt("plain", settings(key.id, "own"))
    found = shown.properties.security_settings.encryption_settings
    assert (found.state, found.key_vault_properties.key_uri) == ("Enabled", key.id), found
    assert found.kek_identity.identity_type == "SystemAssigned", found


@step
def a_key_vault_that_may_be_purged_is_refused():
    scope, key = KEYS["dpp-loose"]
    principal = VAULTS.backup_vaults.get(GROUP, "plain").identity.principal_id
    grant(principal, scope)
    code = "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault"
    asked = {"keyVaultProperties": {"keyUri": key.id}}
    failed(code, lambda: encrypt("plain", asked))
    assert in_force("plain").key_vault_properties.key_uri == KEYS["dpp-keys"][1].id


@step
def a_vault_is_created_under_a_key():
    _, key = KEYS["dpp-keys"]
    name, principal = identity("dpp")
    KEYS["identity"] = (name, principal)
    grant(principal, KEYS["dpp-keys"][0])
    own = settings(key.id, "own")
    code = "UserErrorCMKSystemAssignedIdentityAtCreation"
    refused(HttpResponseError, 400, code, lambda: put("never", vault(own=True, encryption=own)))
    made = put("layered", vault([name], encryption=settings(key.id, name, "Enabled")))
    found = made.properties.security_settings.encryption_settings
    assert (found.state, found.infrastructure_encryption) == ("Enabled", "Enabled"), found


@step
def key_and_identity_change_one_at_a_time():
    name, _ = KEYS["identity"]
    versionless = KEYS["dpp-keys"][1].id.rsplit("/", 1)[0]
    body = vault([name], True, settings(versionless, "own"))
    code = "UserErrorCMKKeyUriAndIdentityUpdateNotAllowedTogether"
    refused(HttpResponseError, 400, code, lambda: put("layered", body))
    body = vault([name], True, settings(versionless, name))
    put("layered", body)
    assert in_force("layered").key_vault_properties.key_uri == versionless
    assert in_force("layered").infrastructure_encryption == "Enabled"


@step
def there_is_no_way_back():
    code = "UserErrorCMKCannotBeDisabled"
    refused(HttpResponseError, 400, code, lambda: encrypt("plain", settings(state="Disabled")))
    refused(HttpResponseError, 400, code, lambda: encrypt("plain", None))
    assert in_force("plain").state == "Enabled"


@step
def a_policy():
    policy = {
        "properties": {
            "objectType": "BackupPolicy",
            "datasourceTypes": ["Custody.Folder"],
            "policyRules": [],
        }
    }
    made = VAULTS.backup_policies.create_or_update(GROUP, "plain", "daily", policy)
    assert made.name == "daily", made
    assert [one.name for one in VAULTS.backup_policies.list(GROUP, "plain")] == ["daily"]


@step
def an_item_is_protected_backed_up_and_restored():
    source = os.path.join(PLACE.name, "source")
    os.mkdir(source)
    with open(os.path.join(source, "letter"), "w", encoding="utf-8") as file:
        file.write("dear reader")
    policy = VAULTS.backup_policies.get(GROUP, "plain", "daily").id
    body = {
        "properties": {
            "objectType": "BackupInstance",
            "friendlyName": "letters",
            "dataSourceInfo": {
                "objectType": "Datasource",
                "datasourceType": "Custody.Folder",
                "resourceID": f"/custody/folders{source}",
            },
            "policyInfo": {"policyId": policy},
            "folder": {"paths": [source]},
        }
    }
    VAULTS.backup_instances.begin_validate_for_backup(
        GROUP, "plain", {"backupInstance": body["properties"]}
    ).result()
    made = VAULTS.backup_instances.begin_create_or_update(GROUP, "plain", "letters", body).result()
    assert made.properties.current_protection_state == "ProtectionConfigured", made
    assert made.properties.protection_status.status == "ProtectionConfigured", made
    rule = {"backupRuleOptions": {"ruleName": "now", "triggerOption": {}}}
    job = VAULTS.backup_instances.begin_adhoc_backup(GROUP, "plain", "letters", rule).result()
    shown = VAULTS.jobs.get(GROUP, "plain", job.job_id.rsplit("/", 1)[-1])
    assert (shown.properties.operation, shown.properties.status) == ("Backup", "Completed"), shown
    points = list(VAULTS.recovery_points.list(GROUP, "plain", "letters"))
    assert len(points) == 1, points
    target = os.path.join(PLACE.name, "target")
    request = {
        "objectType": "AzureBackupRecoveryPointBasedRestoreRequest",
        "recoveryPointId": points[0].name,
        "sourceDataStoreType": "VaultStore",
        "restoreTargetInfo": {
            "objectType": "RestoreFilesTargetInfo",
            "recoveryOption": "FailIfExists",
            "targetDetails": {
                "filePrefix": "",
                "restoreTargetLocationType": "AzureFiles",
                "url": target,
            },
        },
    }
    VAULTS.backup_instances.begin_validate_for_restore(
        GROUP, "plain", "letters", {"restoreRequestObject": request}
    ).result()
    job = VAULTS.backup_instances.begin_trigger_restore(
        GROUP, "plain", "letters", request
    ).result()
    assert job.job_id, job
    found = [
        os.path.join(folder, name) for folder, _, names in os.walk(target) for name in names
    ]
    assert [open(name, encoding="utf-8").read() for name in found] == ["dear reader"], found
    done = [one.properties.operation for one in VAULTS.jobs.list(GROUP, "plain")]
    assert {"Backup", "Restore", "UpdateEncryptionSettings"} <= set(done), done


@step
def protection_is_stopped_and_resumed():
    instances = VAULTS.backup_instances

    def state():
        return instances.get(GROUP, "plain", "letters").properties.current_protection_state

    instances.begin_stop_protection(GROUP, "plain", "letters").result()
    assert state() == "ProtectionStopped", state()
    rule = {"backupRuleOptions": {"ruleName": "now", "triggerOption": {}}}
    failed(
        "UserErrorItemNotProtected",
        lambda: instances.begin_adhoc_backup(GROUP, "plain", "letters", rule).result(),
    )
    instances.begin_resume_protection(GROUP, "plain", "letters").result()
    instances.begin_suspend_backups(GROUP, "plain", "letters").result()
    assert state() == "BackupSchedulesSuspended", state()
    instances.begin_resume_backups(GROUP, "plain", "letters").result()
    assert state() == "ProtectionConfigured", state()


@step
def what_is_deleted_is_kept_and_taken_back():
    def keep(state):
        settings = {"softDeleteSettings": {"state": state, "retentionDurationInDays": 14}}
        body = {"properties": {"securitySettings": settings}}
        VAULTS.backup_vaults.begin_update(GROUP, "plain", body).result()

    keep("On")
    VAULTS.backup_instances.begin_delete(GROUP, "plain", "letters").result()
    kept = VAULTS.deleted_backup_instances.get(GROUP, "plain", "letters").properties
    assert kept.current_protection_state == "SoftDeleted", kept
    assert kept.deletion_info.scheduled_purge_time > kept.deletion_info.deletion_time, kept
    assert [one.name for one in VAULTS.deleted_backup_instances.list(GROUP, "plain")] == ["letters"]
    refused(
        HttpResponseError,
        409,
        "VaultHoldsItems",
        lambda: VAULTS.backup_vaults.begin_delete(GROUP, "plain").result(),
    )
    VAULTS.deleted_backup_instances.begin_undelete(GROUP, "plain", "letters").result()
    back = VAULTS.backup_instances.get(GROUP, "plain", "letters").properties
    assert back.current_protection_state == "ProtectionStopped", back
    points = list(VAULTS.recovery_points.list(GROUP, "plain", "letters"))
    assert len(points) == 1, points
    VAULTS.backup_instances.begin_resume_protection(GROUP, "plain", "letters").result()
    keep("Off")


@step
def what_blocks_a_deletion_is_named():
    try:
        VAULTS.backup_vaults.begin_delete(GROUP, "plain").result()
    except HttpResponseError as error:
        assert "letters" in error.message, error
    else:
        raise AssertionError("the vault still protects an item")
    VAULTS.backup_instances.begin_delete(GROUP, "plain", "letters").result()
    VAULTS.backup_vaults.begin_delete(GROUP, "plain").result()
    try:
        VAULTS.backup_vaults.get(GROUP, "plain")
    except ResourceNotFoundError:
        pass
    else:
        raise AssertionError("the vault is gone")


@step
def a_deleted_vault_is_kept_and_brought_back():
    body = vault()
    settings_of = body["properties"]["securitySettings"]
    settings_of["softDeleteSettings"] = {"state": "On", "retentionDurationInDays": 30}
    put("kept", body)
    VAULTS.backup_vaults.begin_delete(GROUP, "kept").result()
    deleted = VAULTS.deleted_backup_vaults.get("local", "kept")
    assert deleted.properties.original_backup_vault_name == "kept", deleted
    times = deleted.properties.resource_deletion_info
    kept_for = times.scheduled_purge_time - times.deletion_time
    assert round(kept_for.total_seconds()) == 30 * 24 * 3600, kept_for
    named = [one.name for one in VAULTS.deleted_backup_vaults.list_by_location("local")]
    assert named == ["kept"], named
    back = VAULTS.backup_vaults.begin_create_or_update(
        GROUP, "kept", body, x_ms_deleted_vault_id=deleted.id
    ).result()
    assert back.properties.provisioning_state == "Succeeded", back
    assert list(VAULTS.deleted_backup_vaults.list_by_location("local")) == []


@step
def a_vault_is_put_under_a_guard_and_taken_away():
    guard = VAULTS.resource_guards.put(GROUP, "guard", {"location": "local", "properties": {}})
    assert guard.properties.resource_guard_operations, guard
    proxies = VAULTS.dpp_resource_guard_proxy
    name = "DppResourceGuardProxy"
    body = {"properties": {"resourceGuardResourceId": guard.id}}
    proxy = proxies.create_or_update(GROUP, "kept", name, body)
    vault = VAULTS.backup_vaults.get(GROUP, "kept")
    assert vault.properties.is_vault_protected_by_resource_guard is True, vault
    wanted = "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete"
    requests = [
        one.default_resource_request
        for one in proxy.properties.resource_guard_operation_details
        if one.vault_critical_operation == wanted
    ]
    ask = {"resourceGuardOperationRequests": requests, "resourceToBeDeleted": proxy.id}
    assert proxies.unlock_delete(GROUP, "kept", name, ask).unlock_delete_expiry_time
    proxies.delete(GROUP, "kept", name)
    assert list(proxies.list(GROUP, "kept")) == []
    vault = VAULTS.backup_vaults.get(GROUP, "kept")
    assert vault.properties.is_vault_protected_by_resource_guard is False, vault
    VAULTS.resource_guards.delete(GROUP, "guard")


run()
