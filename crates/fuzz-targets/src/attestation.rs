//! Tokens of attestation authorities, which say that an exportable key may be released.

use std::fs;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use custody_access::{
    Grants, KEY_VAULT_CRYPTO_OFFICER, PermissionModel, Principal, PrincipalKind, RoleAssignment,
};
use custody_ambient::Timestamp;
use custody_key_vault::{
    AuditRecord, AuditSink, AuditUnavailable, FileSeal, KeyOperation, KeyStore, KeyUse,
    KeyVaultRef, KeyVaults, NetworkRules, NewKey, ReleaseAlgorithm, ReleaseAuthority,
    ReleasePolicy, ReleaseRequest, RequestContext, RsaSize, Strictness,
};
use custody_names::{CorrelationId, KeyName, PrincipalId, TenantId};
use custody_test_world::{FixedClock, SeededEntropy};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use tempfile::TempDir;

use crate::site::World;

const AUTHORITY: &str = "https://attest.example";
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g";
const OFFICER: PrincipalId = PrincipalId::from_bytes([10; 16]);
const TENANT: TenantId = TenantId::from_bytes([1; 16]);
/// When requests are made, in seconds since 1970.
const NOW: i64 = 1_800_000_000;

/// A line for the header and one for the claims, signed with the authority's key. Only what the
/// authority says in its own name releases the key.
pub(crate) fn attestation(world: &World, data: &[u8]) {
    let attested = world.attested();
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
        // Any bytes as a token.
        let Ok(text) = std::str::from_utf8(data) else { return };
        assert!(!attested.releases(text.to_owned()), "released for {text:?}");
        return;
    };
    let (header, claims) = (&data[..at], &data[at + 1..]);
    let signed = [header, claims].map(|part| BASE64URL_NOPAD.encode(part)).join(".");
    let signature = attested.signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
    if attested.releases(token) {
        let claims: serde_json::Value = serde_json::from_slice(claims).unwrap();
        let issuer = claims["iss"].as_str().unwrap_or_default();
        assert_eq!(issuer.trim_end_matches('/').to_ascii_lowercase(), AUTHORITY, "{claims}");
        assert!(claims["exp"].as_f64().is_some_and(|end| end > 1.8e9), "{claims}");
    }
}

/// A key vault with an exportable key, and an authority that it knows.
pub(crate) struct Attested {
    vaults: KeyVaults,
    vault: KeyVaultRef,
    grants: Grants,
    signer: EcdsaKeyPair,
    name: KeyName,
    _folder: TempDir,
}

/// The ledger is not what is looked at.
struct Unkept;

impl AuditSink for Unkept {
    fn record(&self, _: &AuditRecord) -> Result<(), AuditUnavailable> {
        Ok(())
    }
}

impl Attested {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let seal = Arc::new(FileSeal::at(&folder.path().join("seal"), &data).unwrap());
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = KeyStore::create(&data.join("keys.db"), seal, entropy).unwrap();
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = signer.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|half| BASE64URL_NOPAD.encode(half));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y });
        let authority = ReleaseAuthority::new(AUTHORITY, &json!({ "keys": [jwk] })).unwrap();
        let officer = RoleAssignment {
            id: "/providers/Microsoft.Authorization/roleAssignments/r".parse().unwrap(),
            principal: OFFICER,
            role: KEY_VAULT_CRYPTO_OFFICER,
            scope: GROUP.parse().unwrap(),
        };
        let attested = Self {
            vaults: KeyVaults::new(Arc::new(store), Arc::new(Unkept), Arc::new(clock()))
                .with_release_authorities(vec![authority]),
            vault: vault(),
            grants: Grants {
                assignments: vec![officer],
                custom_roles: Vec::new(),
                permission_model: PermissionModel::Rbac,
            },
            signer,
            name: "k".parse().unwrap(),
            _folder: folder,
        };
        let mut key = NewKey::of_size(RsaSize::Bits2048);
        key.exportable = true;
        key.release_policy = Some(policy());
        key.operations.insert(KeyUse::Export);
        let made = attested.ask(&KeyOperation::Create { name: &attested.name, key: &key });
        assert!(made, "the key is made");
        attested
    }

    fn releases(&self, target: String) -> bool {
        let algorithm = ReleaseAlgorithm::RsaAesKeyWrap256;
        let request = ReleaseRequest { target, nonce: None, algorithm };
        self.ask(&KeyOperation::Release { name: &self.name, version: None, request: &request })
    }

    fn ask(&self, operation: &KeyOperation<'_>) -> bool {
        let kind = PrincipalKind::BootstrapAdministrator { os_user: "kim".into() };
        let officer = Principal { id: OFFICER, tenant: TENANT, kind };
        let context = RequestContext::begun(&clock(), CorrelationId::from_bytes([5; 16]));
        self.vaults.perform(&officer, &self.vault, &self.grants, operation, &context).is_ok()
    }
}

fn clock() -> FixedClock {
    FixedClock::at(Timestamp::from_second(NOW).unwrap())
}

fn vault() -> KeyVaultRef {
    KeyVaultRef {
        tenant: TENANT,
        vault: "kv1".parse().unwrap(),
        resource: format!("{GROUP}/providers/Microsoft.KeyVault/vaults/kv1").parse().unwrap(),
        soft_delete: true,
        soft_delete_days: 90,
        purge_protection: false,
        managed_hsm: false,
        location: "westeurope".into(),
        geography: "Europe".into(),
        strictness: Strictness::default(),
        network: NetworkRules::default(),
    }
}

fn policy() -> ReleasePolicy {
    let rules = json!({
        "version": "1.0.0",
        "anyOf": [{ "authority": AUTHORITY, "allOf": [
            { "claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm" },
            { "anyOf": [
                { "claim": "debug", "equals": false }, { "claim": "level", "equals": 3 },
            ]},
        ]}],
    });
    ReleasePolicy::new(rules.to_string().into_bytes(), None, false).unwrap()
}
