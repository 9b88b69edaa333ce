"""A key officer's day with azure-keyvault-keys and azure-mgmt-keyvault, unmodified.

Against a key vault with access policies. What the server must do and the SDK does by itself with
the public key (encrypt, wrap, verify) is asked for twice: through the SDK, and of the server.
"""

import base64
import hashlib

import requests
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest
from azure.keyvault.keys import (
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyCurveName,
    KeyOperation,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
    KeyType,
)
from azure.keyvault.keys.crypto import (
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)
from azure.mgmt.core.tools import parse_resource_id
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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

VAULT = "sdk-keys"
URL = f"https://{VAULT}.{FACTS['keyVaultSuffix']}"


def key_client(by, **keywords):
    return KeyClient(URL, by, retry_total=0, **keywords)


ME = credential()
CLIENT = key_client(ME)


def crypto(key, **keywords):
    return CryptographyClient(key, ME, retry_total=0, **keywords)


def ask(path, body):
    """Asks the server itself, without what the SDK answers locally."""
    url = f"{path}?api-version=7.4"
    answer = CLIENT.send_request(HttpRequest("POST", url, json=body))
    answer.raise_for_status()
    return answer.json()


@step
def a_key_vault_with_access_policies_is_made():
    management = management_client(ME)
    entry = {
        "tenantId": FACTS["tenantId"],
        "objectId": ADMINISTRATOR["objectId"],
        "permissions": {"keys": ["all"]},
    }
    properties = {
        "tenantId": FACTS["tenantId"],
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": False,
        "accessPolicies": [entry],
        "softDeleteRetentionInDays": 7,
    }
    parameters = {"location": "local", "properties": properties}
    made = management.vaults.begin_create_or_update(GROUP, VAULT, parameters).result()
    assert made.properties.vault_uri.rstrip("/") == URL, made.properties.vault_uri
    assert made.properties.provisioning_state == "Succeeded"
    assert parse_resource_id(made.id)["name"] == VAULT
    found = management.vaults.get(GROUP, VAULT)
    assert found.properties.access_policies[0].object_id == ADMINISTRATOR["objectId"]
    assert [each.name for each in management.vaults.list_by_resource_group(GROUP)] == [VAULT]
    assert VAULT in [each.name for each in management.vaults.list_by_subscription()]
    taken = management.vaults.check_name_availability(
        {"name": VAULT, "type": "Microsoft.KeyVault/vaults"}
    )
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists"), taken
    trust_hosts()


@step
def keys_are_made_read_and_listed():
    made = CLIENT.create_rsa_key("rsa", size=2048, tags={"for": "test"})
    assert made.key_type == KeyType.rsa and len(made.key.n) == 256, made.key
    assert made.id == f"{URL}/keys/rsa/{made.properties.version}"
    assert set(made.key_operations) == {
        "encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey",
    }, made.key_operations
    assert made.properties.recovery_level == "CustomizedRecoverable+Purgeable"
    assert made.properties.recoverable_days == 7
    for version in (None, made.properties.version):
        found = CLIENT.get_key("rsa", version)
        assert found.id == made.id and found.key.n == made.key.n
        assert found.properties.tags == {"for": "test"}
    for curve, length in (("P-256", 32), ("P-384", 48), ("P-521", 66), ("P-256K", 32)):
        key = CLIENT.create_ec_key(f"ec-{curve}", curve=curve)
        assert (key.key.crv, len(key.key.x), len(key.key.y)) == (curve, length, length)
    for number in range(27):
        CLIENT.create_ec_key(f"page-{number:02}", curve=KeyCurveName.p_256)
    names = [each.name for each in CLIENT.list_properties_of_keys(max_page_size=10)]
    assert len(names) == len(set(names)) == 32, names
    pages = list(CLIENT.list_properties_of_keys().by_page())
    assert [len(list(page)) for page in pages] == [25, 7]
    refused(
        ResourceNotFoundError, 404, "KeyNotFound",
        lambda: CLIENT.get_key("nowhere"),
        says="A key with (name/id) nowhere was not found in this key vault.",
    )
    refused(HttpResponseError, 400, "BadParameter", lambda: CLIENT.create_rsa_key("x", size=1000))


@step
def versions_are_rotated_and_updated():
    first = CLIENT.get_key("rsa")
    second = CLIENT.rotate_key("rsa")
    assert second.properties.version != first.properties.version
    assert second.key.n != first.key.n
    third = CLIENT.create_rsa_key("rsa", size=3072)
    versions = [each.version for each in CLIENT.list_properties_of_key_versions("rsa")]
    assert set(versions) == {each.properties.version for each in (first, second, third)}
    changed = CLIENT.update_key_properties(
        "rsa", third.properties.version, key_operations=[KeyOperation.sign], tags={"a": "b"}
    )
    assert changed.key_operations == ["sign"] and changed.properties.tags == {"a": "b"}
    refused(
        HttpResponseError, 403, "Forbidden",
        lambda: ask(f"{third.id}/decrypt", {"alg": "RSA-OAEP", "value": "AAAA"}),
        inner="KeyOperationForbidden",
    )
    assert CLIENT.get_key("rsa", first.properties.version).key_operations != ["sign"]


@step
def texts_are_encrypted_and_keys_wrapped():
    key = CLIENT.create_rsa_key("box", size=2048)
    local = crypto(key)
    for algorithm in (EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256):
        sealed = local.encrypt(algorithm, b"the only copy")
        assert local.decrypt(algorithm, sealed.ciphertext).plaintext == b"the only copy"
    for algorithm in (KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256):
        wrapped = local.wrap_key(algorithm, bytes(range(32)))
        opened = local.unwrap_key(algorithm, wrapped.encrypted_key)
        assert opened.key == bytes(range(32)) and opened.key_id == key.id
    # Without a version the newest is meant; the server is asked itself.
    for path in (f"{URL}/keys/box", f"{URL}/keys/box/", key.id):
        sealed = ask(f"{path}/wrapkey", {"alg": "RSA-OAEP-256", "value": "AAECAw"})
        assert sealed["kid"] == key.id
        opened = ask(f"{path}/unwrapkey", {"alg": "RSA-OAEP-256", "value": sealed["value"]})
        assert opened["value"] == "AAECAw"
    # An older version opens what it sealed.
    CLIENT.rotate_key("box")
    assert local.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key
    refused(
        HttpResponseError, 400, "BadParameter",
        lambda: local.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, bytes(256)),
    )


@step
def digests_are_signed_and_verified():
    text = b"I owe you"
    rows = [
        ("box", "PS256", "sha256"), ("box", "RS384", "sha384"), ("box", "RS512", "sha512"),
        ("ec-P-256", "ES256", "sha256"), ("ec-P-384", "ES384", "sha384"),
        ("ec-P-521", "ES512", "sha512"), ("ec-P-256K", "ES256K", "sha256"),
    ]
    for name, algorithm, hashing in rows:
        algorithm = SignatureAlgorithm(algorithm)
        key = CLIENT.get_key(name)
        digest = hashlib.new(hashing, text).digest()
        client = crypto(key)
        signature = client.sign(algorithm, digest).signature
        assert client.verify(algorithm, digest, signature).is_valid, name
        # A client that only knows the key's id asks the server.
        other = hashlib.new(hashing, text + b"r").digest()
        assert not client.verify(algorithm, other, signature).is_valid, name
        for given, valid in ((digest, True), (other, False)):
            body = {"alg": algorithm, "digest": b64(given), "value": b64(signature)}
            assert ask(f"{key.id}/verify", body) == {"value": valid}, name


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@step
def keys_of_ones_own_are_imported():
    def number(value):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    private = rsa.generate_private_key(65537, 2048)
    secret = private.private_numbers()
    public = secret.public_numbers
    imported = CLIENT.import_key(
        "mine",
        JsonWebKey(
            kty="RSA",
            key_ops=["sign", "verify", "wrapKey", "unwrapKey"],
            n=number(public.n), e=number(public.e), d=number(secret.d), p=number(secret.p),
            q=number(secret.q), dp=number(secret.dmp1), dq=number(secret.dmq1),
            qi=number(secret.iqmp),
        ),
        tags={"from": "home"},
    )
    assert imported.key.n == number(public.n) and imported.key.d is None
    assert imported.properties.tags == {"from": "home"}
    wrapped = crypto(imported).wrap_key(KeyWrapAlgorithm.rsa_oaep, b"sixteen bytes ok")
    assert crypto(imported).unwrap_key(
        KeyWrapAlgorithm.rsa_oaep, wrapped.encrypted_key
    ).key == b"sixteen bytes ok"
    curve = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    point = curve.public_numbers
    imported = CLIENT.import_key(
        "mine-ec",
        JsonWebKey(
            kty="EC", crv="P-256", key_ops=["sign", "verify"],
            x=point.x.to_bytes(32, "big"), y=point.y.to_bytes(32, "big"),
            d=curve.private_value.to_bytes(32, "big"),
        ),
    )
    digest = hashlib.sha256(b"x").digest()
    signature = crypto(imported).sign(SignatureAlgorithm.es256, digest).signature
    assert crypto(imported).verify(SignatureAlgorithm.es256, digest, signature).is_valid


@step
def deleted_keys_come_back_or_go_for_good():
    key = CLIENT.create_rsa_key("doomed")
    newer = CLIENT.rotate_key("doomed")
    deleted = CLIENT.begin_delete_key("doomed").result()
    assert deleted.recovery_id == f"{URL}/deletedkeys/doomed"
    days = (deleted.scheduled_purge_date - deleted.deleted_date).days
    assert days == 7, days
    refused(ResourceNotFoundError, 404, "KeyNotFound", lambda: CLIENT.get_key("doomed"))
    refused(
        ResourceExistsError, 409, "Conflict",
        lambda: CLIENT.create_rsa_key("doomed"),
        inner="ObjectIsDeletedButRecoverable",
    )
    assert [each.name for each in CLIENT.list_deleted_keys()] == ["doomed"]
    assert CLIENT.get_deleted_key("doomed").id == newer.id
    assert CLIENT.begin_recover_deleted_key("doomed").result().id == newer.id
    assert CLIENT.get_key("doomed", key.properties.version).key.n == key.key.n

    saved = CLIENT.backup_key("doomed")
    refused(
        ResourceExistsError, 409, "Conflict", lambda: CLIENT.restore_key_backup(saved)
    )
    CLIENT.begin_delete_key("doomed").wait()
    refused(
        ResourceExistsError, 409, "Conflict", lambda: CLIENT.restore_key_backup(saved)
    )
    CLIENT.purge_deleted_key("doomed")
    refused(
        ResourceNotFoundError, 404, "KeyNotFound", lambda: CLIENT.get_deleted_key("doomed")
    )
    restored = CLIENT.restore_key_backup(saved)
    assert restored.id == newer.id and restored.key.n == newer.key.n
    versions = {each.version for each in CLIENT.list_properties_of_key_versions("doomed")}
    assert versions == {key.properties.version, newer.properties.version}
    refused(
        HttpResponseError, 400, "BadParameter", lambda: CLIENT.restore_key_backup(b"nonsense")
    )


@step
def a_rotation_policy_is_kept():
    default = CLIENT.get_key_rotation_policy("box")
    assert [(each.action, each.time_before_expiry) for each in default.lifetime_actions] == [
        (KeyRotationPolicyAction.notify, "P30D")
    ]
    actions = [
        KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D"),
        KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P30D"),
    ]
    policy = KeyRotationPolicy(lifetime_actions=actions, expires_in="P2Y")
    CLIENT.update_key_rotation_policy("box", policy)
    kept = CLIENT.get_key_rotation_policy("box")
    assert kept.id == f"{URL}/keys/box/rotationpolicy" and kept.expires_in == "P2Y"
    assert {
        (each.action, each.time_after_create, each.time_before_expiry)
        for each in kept.lifetime_actions
    } == {
        (KeyRotationPolicyAction.rotate, "P90D", None),
        (KeyRotationPolicyAction.notify, None, "P30D"),
    }
    assert kept.created_on and kept.updated_on
    # A version made under the policy expires as it says.
    lifetime = CLIENT.rotate_key("box").properties
    assert 729 <= (lifetime.expires_on - lifetime.created_on).days <= 731


@step
def a_disabled_key_does_nothing():
    key = CLIENT.create_rsa_key("off")
    client = crypto(key)
    wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, bytes(32)).encrypted_key
    changed = CLIENT.update_key_properties("off", enabled=False)
    assert changed.properties.enabled is False
    rows = [
        ("unwrapKey", lambda: client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped)),
        ("decrypt", lambda: client.decrypt(EncryptionAlgorithm.rsa_oaep_256, wrapped)),
        ("sign", lambda: client.sign(SignatureAlgorithm.rs256, bytes(32))),
    ]
    for operation, act in rows:
        refused(
            HttpResponseError, 403, "Forbidden", act, inner="KeyDisabled",
            says=f"Operation {operation} is not allowed on a disabled key.",
        )
    CLIENT.update_key_properties("off", enabled=True)
    assert client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == bytes(32)


@step
def every_stable_version_of_the_interface_answers():
    for version in ApiVersion:
        # Before 7.0 keys had another shape of interface; see docs/rest-api.md.
        if version == ApiVersion.V2016_10_01:
            continue
        client = key_client(ME, api_version=version)
        assert client.get_key("box").name == "box", version


@step
def whoever_shows_the_wrong_things_is_refused():
    def fails(by, says, act=lambda client: client.get_key("box")):
        try:
            act(key_client(by))
        except ClientAuthenticationError as refusal:
            assert says in str(refusal), refusal
        else:
            raise AssertionError(f"{says} expected")

    class Fixed:
        """A credential that shows one token, whatever it is asked for."""

        def __init__(self, token):
            self.token = token

        def get_token(self, *_scopes, **_keywords):
            return self.token

    management, keys = (
        ME.get_token(resource + "/.default")
        for resource in (FACTS["resourceManager"], f"https://{FACTS['keyVaultSuffix']}")
    )
    assert key_client(Fixed(keys)).get_key("box").name == "box"
    fails(credential(secret="wrong"), "AADSTS7000215")
    fails(Fixed(management), "(Unauthorized) AKV10")
    head, claims, _ = keys.token.split(".")
    fails(Fixed(keys._replace(token=f"{head}.{claims}.{b64(bytes(256))}")), "(Unauthorized) AKV10")

    made = requests.post(
        FACTS["resourceManager"] + "/custody/tenants",
        json={"displayName": "others"},
        headers={"Authorization": f"Bearer {management.token}"},
        timeout=60,
    ).json()
    other = made["administrator"]
    stranger = credential(other["clientSecret"], made["tenantId"], other["clientId"])
    # The challenge sends a stranger to the key vault's tenant, which does not know it.
    fails(stranger, "AADSTS700016")
    own = stranger.get_token(f"https://{FACTS['keyVaultSuffix']}/.default")
    fails(Fixed(own), "(Unauthorized) AKV10")


run()
