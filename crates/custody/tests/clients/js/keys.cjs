// A key officer's day with @azure/keyvault-keys and @azure/identity, unmodified.
//
// Against a key vault whose roles decide. What the SDK does by itself with the public key
// (encrypt, wrap) is asked of the server too, by a client that only knows the key's id.
"use strict";

const assert = require("node:assert/strict");
const { createHash, generateKeyPairSync } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { ClientSecretCredential, ManagedIdentityCredential } = require("@azure/identity");
const { CryptographyClient, KeyClient } = require("@azure/keyvault-keys");

const FACTS = JSON.parse(process.env.CUSTODY_TEST_ENV);
const URL = `https://${process.env.CUSTODY_TEST_KEY_VAULT}.${FACTS.keyVaultSuffix}`;
const SECRET = readFileSync(FACTS.administrator.clientSecretFile, "utf8").trim();
const QUICK = { retryOptions: { maxRetries: 0 } };
const AT_ONCE = { intervalInMs: 1 };

function credential(secret = SECRET) {
  return new ClientSecretCredential(FACTS.tenantId, FACTS.administrator.clientId, secret, {
    authorityHost: FACTS.authority,
    disableInstanceDiscovery: true,
  });
}

const ME = credential();
const CLIENT = new KeyClient(URL, ME, QUICK);

/** A client for cryptography; one that is given an id asks the server for everything. */
function crypto(key) {
  return new CryptographyClient(key, ME, QUICK);
}

async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
}

/** Checks that `act` is refused with this status, code, inner code and text. */
async function refused(status, code, inner, says, act) {
  await assert.rejects(act, (refusal) => {
    assert.equal(refusal.statusCode, status, refusal.message);
    assert.equal(refusal.code, code);
    assert.equal(refusal.details?.error?.innerError?.code, inner);
    assert.match(refusal.message, says);
    return true;
  });
}

const STEPS = {
  async keys_are_made_and_read() {
    const box = await CLIENT.createRsaKey("box", {
      keySize: 3072,
      keyOps: ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
      notBefore: new Date("2020-01-01T00:00:00Z"),
      expiresOn: new Date("2037-01-01T00:00:00Z"),
      tags: { purpose: "test" },
    });
    assert.equal(box.keyType, "RSA");
    assert.equal(box.key.n.length, 384);
    assert.deepEqual([...box.key.e], [1, 0, 1]);
    assert.equal(box.properties.enabled, true);
    assert.equal(box.properties.recoveryLevel, "CustomizedRecoverable+Purgeable");
    assert.equal(box.properties.recoverableDays, 7);
    assert.equal(box.properties.expiresOn.toISOString(), "2037-01-01T00:00:00.000Z");
    assert.deepEqual(box.properties.tags, { purpose: "test" });
    assert.equal(box.key.d, undefined);
    const found = await CLIENT.getKey("box");
    assert.equal(found.id, box.id);
    assert.deepEqual(found.keyOperations, box.keyOperations);
    const sizes = { "P-256": 32, "P-384": 48, "P-521": 66, "P-256K": 32 };
    for (const [curve, size] of Object.entries(sizes)) {
      const key = await CLIENT.createEcKey(`ec-${curve}`, { curve });
      assert.equal(key.key.crv, curve);
      assert.equal(key.key.x.length, size);
    }
    const hardware = await CLIENT.createRsaKey("hardware", { hsm: true });
    assert.equal(hardware.keyType, "RSA-HSM");
  },

  async lists_come_in_pages_and_versions_of_a_key_too() {
    const names = (await all(CLIENT.listPropertiesOfKeys())).map((each) => each.name);
    const wanted = ["box", "ec-P-256", "ec-P-256K", "ec-P-384", "ec-P-521", "hardware"];
    assert.deepEqual(names.sort(), wanted);
    for (let made = 0; made < 26; made += 1) await CLIENT.createEcKey("many");
    const versions = await all(CLIENT.listPropertiesOfKeyVersions("many"));
    assert.equal(new Set(versions.map((each) => each.version)).size, 26);
    const pages = CLIENT.listPropertiesOfKeyVersions("many").byPage();
    assert.equal((await pages.next()).value.length, 25);
    assert.equal((await pages.next()).value.length, 1);
  },

  async properties_are_changed_and_a_version_is_added() {
    const { version } = (await CLIENT.getKey("box")).properties;
    const changed = await CLIENT.updateKeyProperties("box", version, {
      tags: { a: "b" },
      keyOps: ["sign", "verify", "wrapKey", "unwrapKey", "encrypt", "decrypt"],
    });
    assert.deepEqual(changed.properties.tags, { a: "b" });
    const rotated = await CLIENT.rotateKey("box");
    assert.notEqual(rotated.properties.version, version);
    assert.equal((await CLIENT.getKey("box")).id, rotated.id);
    assert.equal((await CLIENT.getKey("box", { version })).properties.version, version);
    await refused(404, "KeyNotFound", undefined, /was not found in this key vault/, () =>
      CLIENT.getKey("nowhere"),
    );
  },

  async data_is_encrypted_and_keys_are_wrapped() {
    const text = Buffer.from("the only copy");
    const key = await CLIENT.getKey("box");
    for (const algorithm of ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"]) {
      for (const client of [crypto(key), crypto(key.id)]) {
        const sealed = await client.encrypt({ algorithm, plaintext: text });
        const opened = await client.decrypt({ algorithm, ciphertext: sealed.result });
        assert.deepEqual(Buffer.from(opened.result), text);
        const wrapped = await client.wrapKey(algorithm, text);
        const unwrapped = await client.unwrapKey(algorithm, wrapped.result);
        assert.deepEqual(Buffer.from(unwrapped.result), text);
        assert.equal(unwrapped.keyID, key.id);
      }
    }
    // Without a version the newest is meant.
    const newest = CLIENT.getCryptographyClient("box");
    const wrapped = await newest.wrapKey("RSA-OAEP-256", text);
    assert.equal(wrapped.keyID, key.id);
    assert.deepEqual(
      Buffer.from((await newest.unwrapKey("RSA-OAEP-256", wrapped.result)).result),
      text,
    );
    await refused(400, "BadParameter", undefined, /./, () =>
      crypto(key.id).unwrapKey("RSA-OAEP-256", Buffer.alloc(384)),
    );
  },

  async digests_are_signed_and_verified() {
    const rows = [
      ["box", "RS256", "sha256"],
      ["box", "RS512", "sha512"],
      ["box", "PS384", "sha384"],
      ["ec-P-256", "ES256", "sha256"],
      ["ec-P-384", "ES384", "sha384"],
      ["ec-P-521", "ES512", "sha512"],
      ["ec-P-256K", "ES256K", "sha256"],
    ];
    const text = Buffer.from("I owe you");
    for (const [name, algorithm, hash] of rows) {
      const client = crypto((await CLIENT.getKey(name)).id);
      const digest = createHash(hash).update(text).digest();
      const { result } = await client.sign(algorithm, digest);
      assert.equal((await client.verify(algorithm, digest, result)).result, true, algorithm);
      digest[0] ^= 1;
      assert.equal((await client.verify(algorithm, digest, result)).result, false, algorithm);
      const signed = await client.signData(algorithm, text);
      // What it verifies by itself this SDK takes for PKCS #1, be it PSS or not.
      if (algorithm.startsWith("PS")) continue;
      const { result: valid } = await client.verifyData(algorithm, text, signed.result);
      assert.equal(valid, true, algorithm);
    }
  },

  async keys_of_ones_own_are_imported() {
    for (const [type, options, alg] of [
      ["rsa", { modulusLength: 2048 }, "PS256"],
      ["ec", { namedCurve: "P-256" }, "ES256"],
    ]) {
      const { privateKey } = generateKeyPairSync(type, options);
      const { kty, crv, ...numbers } = privateKey.export({ format: "jwk" });
      const key = { kty, keyOps: ["sign", "verify"] };
      if (crv) key.crv = crv;
      for (const [name, value] of Object.entries(numbers)) key[name] = Buffer.from(value, "base64url");
      const imported = await CLIENT.importKey(`mine-${type}`, key, { tags: { from: "home" } });
      assert.deepEqual(imported.properties.tags, { from: "home" });
      assert.equal(imported.key.d, undefined);
      const digest = createHash("sha256").update("x").digest();
      const client = crypto(imported);
      const { result } = await client.sign(alg, digest);
      assert.equal((await client.verify(alg, digest, result)).result, true);
    }
  },

  async deleted_keys_come_back_or_go_for_good() {
    const key = await CLIENT.createRsaKey("doomed");
    const saved = await CLIENT.backupKey("doomed");
    await refused(409, "Conflict", "KeyAlreadyExists", /./, () => CLIENT.restoreKeyBackup(saved));
    const deleted = await (await CLIENT.beginDeleteKey("doomed", AT_ONCE)).pollUntilDone();
    assert.equal(deleted.properties.recoveryId, `${URL}/deletedkeys/doomed`);
    assert.ok(deleted.properties.deletedOn < deleted.properties.scheduledPurgeDate);
    await refused(409, "Conflict", "ObjectIsDeletedButRecoverable", /cannot be reused/, () =>
      CLIENT.createRsaKey("doomed"),
    );
    assert.deepEqual((await all(CLIENT.listDeletedKeys())).map((each) => each.name), ["doomed"]);
    assert.equal((await CLIENT.getDeletedKey("doomed")).key.kid, key.id);
    const back = await (await CLIENT.beginRecoverDeletedKey("doomed", AT_ONCE)).pollUntilDone();
    assert.equal(back.key.kid, key.id);
    await (await CLIENT.beginDeleteKey("doomed", AT_ONCE)).pollUntilDone();
    await CLIENT.purgeDeletedKey("doomed");
    await refused(404, "KeyNotFound", undefined, /./, () => CLIENT.getDeletedKey("doomed"));
    const restored = await CLIENT.restoreKeyBackup(saved);
    assert.equal(restored.id, key.id);
    assert.deepEqual(restored.key.n, key.key.n);
    await refused(400, "BadParameter", undefined, /./, () =>
      CLIENT.restoreKeyBackup(Buffer.from("nonsense")),
    );
  },

  async a_rotation_policy_is_kept() {
    const byDefault = await CLIENT.getKeyRotationPolicy("box");
    assert.deepEqual(
      byDefault.lifetimeActions.map((each) => [each.action.toLowerCase(), each.timeBeforeExpiry]),
      [["notify", "P30D"]],
    );
    await CLIENT.updateKeyRotationPolicy("box", {
      expiresIn: "P2Y",
      lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P90D" }],
    });
    const kept = await CLIENT.getKeyRotationPolicy("box");
    assert.equal(kept.id, `${URL}/keys/box/rotationpolicy`);
    assert.equal(kept.expiresIn, "P2Y");
    const rotate = kept.lifetimeActions.find((each) => each.action === "Rotate");
    assert.equal(rotate.timeAfterCreate, "P90D");
    assert.ok(kept.createdOn && kept.updatedOn);
  },

  async a_disabled_key_does_nothing() {
    const key = await CLIENT.createRsaKey("off");
    const sealed = (await crypto(key).wrapKey("RSA-OAEP-256", Buffer.alloc(32))).result;
    await CLIENT.updateKeyProperties("off", { enabled: false });
    const client = crypto(key.id);
    const rows = {
      unwrapKey: () => client.unwrapKey("RSA-OAEP-256", sealed),
      decrypt: () => client.decrypt("RSA-OAEP-256", sealed),
      sign: () => client.sign("RS256", Buffer.alloc(32)),
    };
    for (const [operation, act] of Object.entries(rows)) {
      const says = new RegExp(`Operation ${operation} is not allowed on a disabled key.`);
      await refused(403, "Forbidden", "KeyDisabled", says, act);
    }
  },

  async an_identity_of_this_host_does_what_its_role_allows() {
    // IDENTITY_ENDPOINT and IDENTITY_HEADER say who this is.
    const reader = new KeyClient(URL, new ManagedIdentityCredential(), QUICK);
    assert.equal((await reader.getKey("box")).name, "box");
    const says = /Action: 'Microsoft.KeyVault\/vaults\/keys\/create\/action'/;
    await refused(403, "Forbidden", "ForbiddenByRbac", says, () => reader.createRsaKey("own"));
  },

  async whoever_shows_the_wrong_things_is_refused() {
    const stranger = new KeyClient(URL, credential("wrong"), QUICK);
    await assert.rejects(() => stranger.getKey("box"), /AADSTS7000215|invalid_client/);
    const { token } = await ME.getToken(`https://${FACTS.keyVaultSuffix}/.default`);
    const shows = (token) => ({
      getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }),
    });
    assert.equal((await new KeyClient(URL, shows(token), QUICK).getKey("box")).name, "box");
    const forged = `${token.slice(0, token.lastIndexOf("."))}.${"A".repeat(342)}`;
    await refused(401, "Unauthorized", undefined, /AKV10/, () =>
      new KeyClient(URL, shows(forged), QUICK).getKey("box"),
    );
  },
};

(async () => {
  for (const [name, act] of Object.entries(STEPS)) {
    const began = performance.now();
    await act().catch((error) => {
      console.log(`FAILED ${name}`);
      throw error;
    });
    console.log(`ok ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  }
})();
