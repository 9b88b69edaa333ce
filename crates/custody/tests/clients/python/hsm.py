"""A managed HSM with azure-mgmt-keyvault, -keyvault-administration and -keyvault-keys, unmodified.

Symmetric keys are there alone; the SDK has no public half to work with and asks the server for all.
"""

import uuid

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.administration import KeyVaultAccessControlClient, KeyVaultRoleScope
from azure.keyvault.keys import KeyClient, KeyCurveName, KeyType
from azure.keyvault.keys.crypto import (
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)
from officer import (
    ADMINISTRATOR,
    FACTS,
    GROUP,
    credential,
    management_client,
    refused,
    run,
    step,
    trust_hosts,
)

NAME = "sdk-hsm"
URL = f"https://{NAME}.{FACTS['managedHsmSuffix']}"
ME = credential()
MANAGEMENT = management_client(ME)
CLIENT = KeyClient(URL, ME, retry_total=0)
ROLES = KeyVaultAccessControlClient(URL, ME, retry_total=0)


def crypto(key):
    return CryptographyClient(key, ME, retry_total=0)


@step
def a_managed_hsm_is_made():
    properties = {
        "tenantId": FACTS["tenantId"],
        "initialAdminObjectIds": [ADMINISTRATOR["objectId"]],
        "softDeleteRetentionInDays": 7,
    }
    parameters = {
        "location": "local",
        "sku": {"family": "B", "name": "Standard_B1"},
        "properties": properties,
    }
    made = MANAGEMENT.managed_hsms.begin_create_or_update(GROUP, NAME, parameters).result()
    assert made.properties.hsm_uri.rstrip("/") == URL, made.properties.hsm_uri
    assert made.properties.provisioning_state == "Succeeded", made.properties
    listed = MANAGEMENT.managed_hsms.list_by_resource_group(GROUP)
    assert [each.name for each in listed] == [NAME]
    trust_hosts()


@step
def local_roles_decide():
    def create():
        return CLIENT.create_rsa_key("box", hardware_protected=True)

    refused(HttpResponseError, 403, "Forbidden", create)
    roles = {
        each.role_name: each for each in ROLES.list_role_definitions(KeyVaultRoleScope.GLOBAL)
    }
    for role in ("Managed HSM Crypto Officer", "Managed HSM Crypto User"):
        made = ROLES.create_role_assignment(
            KeyVaultRoleScope.KEYS, roles[role].id, ADMINISTRATOR["objectId"], name=uuid.uuid4()
        )
        found = ROLES.get_role_assignment(KeyVaultRoleScope.KEYS, made.name)
        assert found.properties.role_definition_id == roles[role].id
    assert create().key_type == KeyType.rsa_hsm
    # What is taken away counts at once.
    ROLES.delete_role_assignment(KeyVaultRoleScope.KEYS, made.name)
    refused(HttpResponseError, 403, "Forbidden", lambda: CLIENT.get_key("box"))
    ROLES.create_role_assignment(
        KeyVaultRoleScope.KEYS, roles[role].id, ADMINISTRATOR["objectId"], name=uuid.uuid4()
    )


@step
def symmetric_keys_encrypt():
    text, more = b"the only copy", b"for whom it is"
    for size in (128, 192, 256):
        key = CLIENT.create_oct_key(f"oct-{size}", size=size, hardware_protected=True)
        assert key.key_type == KeyType.oct_hsm and key.key.k is None
        client = crypto(key)
        algorithm = EncryptionAlgorithm(f"A{size}GCM")
        sealed = client.encrypt(algorithm, text, additional_authenticated_data=more)
        opened = client.decrypt(
            algorithm, sealed.ciphertext, iv=sealed.iv,
            authentication_tag=sealed.tag, additional_authenticated_data=more,
        )
        assert opened.plaintext == text
        refused(
            HttpResponseError, 400, "BadParameter",
            lambda: client.decrypt(
                algorithm, sealed.ciphertext, iv=sealed.iv,
                authentication_tag=bytes(16), additional_authenticated_data=more,
            ),
        )
        for padded, data in ((f"A{size}CBC", bytes(32)), (f"A{size}CBCPAD", text)):
            algorithm = EncryptionAlgorithm(padded)
            sealed = client.encrypt(algorithm, data, iv=bytes(range(16)))
            assert client.decrypt(algorithm, sealed.ciphertext, iv=sealed.iv).plaintext == data


@step
def symmetric_keys_wrap():
    for size in (128, 192, 256):
        client = crypto(CLIENT.get_key(f"oct-{size}"))
        algorithm = KeyWrapAlgorithm(f"A{size}KW")
        wrapped = client.wrap_key(algorithm, bytes(range(32)))
        assert client.unwrap_key(algorithm, wrapped.encrypted_key).key == bytes(range(32))


@step
def keys_of_hardware_sign_and_unwrap():
    box = CLIENT.get_key("box")
    wrapped = crypto(box).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, bytes(32))
    opened = crypto(box).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    assert opened.key == bytes(32)
    pen = CLIENT.create_ec_key("pen", curve=KeyCurveName.p_384, hardware_protected=True)
    assert pen.key_type == KeyType.ec_hsm
    signature = crypto(pen).sign(SignatureAlgorithm.es384, bytes(48)).signature
    assert crypto(pen).verify(SignatureAlgorithm.es384, bytes(48), signature).is_valid


@step
def random_bytes_are_given():
    assert len(CLIENT.get_random_bytes(128)) == 128
    assert CLIENT.get_random_bytes(16) != CLIENT.get_random_bytes(16)


@step
def keys_and_the_hsm_are_deleted():
    saved = CLIENT.backup_key("oct-256")
    CLIENT.begin_delete_key("oct-256").wait()
    CLIENT.purge_deleted_key("oct-256")
    refused(ResourceNotFoundError, 404, "KeyNotFound", lambda: CLIENT.get_key("oct-256"))
    assert CLIENT.restore_key_backup(saved).key_type == KeyType.oct_hsm
    MANAGEMENT.managed_hsms.begin_delete(GROUP, NAME).result()
    deleted = MANAGEMENT.managed_hsms.get_deleted(NAME, "local")
    assert deleted.properties.purge_protection_enabled is not True
    MANAGEMENT.managed_hsms.begin_purge_deleted(NAME, "local").result()
    assert list(MANAGEMENT.managed_hsms.list_deleted()) == []


run()
