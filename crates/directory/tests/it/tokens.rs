//! What a token must be to be believed.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use custody_ambient::Timestamp;
use custody_directory::SigningKeys;
use custody_directory::token::{
    APPLICATION_SECONDS, Claims, Expected, Proof, Subject, TokenRefused, issue, issuer, validate,
};
use custody_envelope::SecretBytes;
use custody_names::{ClientId, PrincipalId, TenantId};
use custody_test_world::SeededEntropy;
use data_encoding::BASE64URL_NOPAD;
use minicbor::Decoder;
use serde_json::{Value, json};

const HOST: &str = "https://custody.localhost:8443";
const VAULTS: &str = "https://vault.custody.localhost:8443";
const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn tenant() -> TenantId {
    TenantId::from_bytes([7; 16])
}

fn subject() -> Subject {
    Subject {
        tenant: tenant(),
        client: ClientId::from_bytes([1; 16]),
        principal: PrincipalId::from_bytes([2; 16]),
        proof: Proof::Secret,
    }
}

/// The keys and, since a forger is assumed to have everything but it, the private key itself.
struct World {
    keys: SigningKeys,
    pair: RsaKeyPair,
}

fn world() -> World {
    let stored = SigningKeys::with_new_key(None, at(0)).unwrap();
    World { keys: SigningKeys::read(&stored).unwrap(), pair: private_key(&stored) }
}

fn private_key(stored: &SecretBytes) -> RsaKeyPair {
    let mut cbor = Decoder::new(stored.expose());
    cbor.array().unwrap();
    assert_eq!((cbor.str().unwrap(), cbor.u8().unwrap()), ("custody signing keys", 1));
    cbor.array().unwrap();
    cbor.array().unwrap();
    cbor.i64().unwrap();
    cbor.null().unwrap();
    RsaKeyPair::from_pkcs8(cbor.bytes().unwrap()).unwrap()
}

fn token(world: &World, audience: &str) -> String {
    let entropy = SeededEntropy::new(1);
    let issuer = issuer(HOST, tenant());
    issue(&world.keys, subject(), audience, &issuer, at(0), &entropy).unwrap().token
}

fn claims(world: &World) -> Value {
    let token = token(world, VAULTS);
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(middle.as_bytes()).unwrap()).unwrap()
}

fn encoded(part: &Value) -> String {
    BASE64URL_NOPAD.encode(part.to_string().as_bytes())
}

/// A token with this header and these claims, signed with RS256 by this key.
fn signed(pair: &RsaKeyPair, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn judge(world: &World, token: &str, now: i64) -> Result<Claims, TokenRefused> {
    let audiences = [VAULTS.to_owned()];
    let expected = Expected { host: HOST, audiences: &audiences, tenant: Some(tenant()) };
    validate(token, &world.keys, &expected, at(now))
}

#[test]
fn a_token_says_who_it_is_for() {
    let world = world();
    for audience in [VAULTS.to_owned(), format!("{VAULTS}/")] {
        let claims = judge(&world, &token(&world, &audience), 10).unwrap();
        assert_eq!(claims.aud, audience);
        assert_eq!(claims.oid, subject().principal);
        assert_eq!(claims.sub, subject().principal);
        assert_eq!((claims.appid, claims.azp), (subject().client, subject().client));
        assert_eq!(claims.tid, tenant());
        assert_eq!(claims.iss, format!("{HOST}/{}/v2.0", tenant()));
        assert_eq!((claims.appidacr.as_str(), claims.idtyp.as_str()), ("1", "app"));
        assert_eq!(claims.exp, NOW + APPLICATION_SECONDS);
    }
}

#[test]
fn tokens_with_false_claims_are_refused() {
    let world = world();
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": world.keys.newest() });
    let check = |change: Value, expected: Result<(), TokenRefused>| {
        let mut claims = claims(&world);
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = signed(&world.pair, &header, &claims);
        assert_eq!(judge(&world, &token, 10).map(drop), expected, "{change}");
    };
    let stranger = TenantId::from_bytes([8; 16]);
    check(json!({}), Ok(()));
    check(json!({ "aud": HOST }), Err(TokenRefused::Audience));
    check(json!({ "aud": "https://vault.custody.localhost" }), Err(TokenRefused::Audience));
    check(json!({ "aud": [VAULTS] }), Err(TokenRefused::Malformed));
    check(json!({ "iss": format!("{HOST}/{stranger}/v2.0") }), Err(TokenRefused::Issuer));
    check(json!({ "iss": format!("https://evil/{}/v2.0", tenant()) }), Err(TokenRefused::Issuer));
    check(json!({ "tid": stranger }), Err(TokenRefused::Issuer));
    let iss = format!("{HOST}/{stranger}/v2.0");
    check(json!({ "tid": stranger, "iss": iss }), Err(TokenRefused::Issuer));
    check(json!({ "exp": NOW + 10 }), Err(TokenRefused::Time));
    check(json!({ "exp": NOW + 11 }), Ok(()));
    check(json!({ "nbf": NOW + 310 }), Ok(()));
    check(json!({ "nbf": NOW + 311 }), Err(TokenRefused::Time));
    check(json!({ "oid": null }), Err(TokenRefused::Malformed));
    check(json!({ "exp": "never" }), Err(TokenRefused::Malformed));
    check(json!({ "fill": "x".repeat(9_000) }), Err(TokenRefused::Malformed));
}

#[test]
fn tokens_with_false_headers_are_refused() {
    let world = world();
    let claims = claims(&world);
    let kid = world.keys.newest();
    let check = |header: Value, expected: Result<(), TokenRefused>| {
        let token = signed(&world.pair, &header, &claims);
        assert_eq!(judge(&world, &token, 10).map(drop), expected, "{header}");
    };
    check(json!({ "typ": "JWT", "alg": "RS256", "kid": kid }), Ok(()));
    check(json!({ "typ": "JWT", "alg": "RS256" }), Err(TokenRefused::Signature));
    check(json!({ "typ": "JWT", "alg": "RS256", "kid": "x" }), Err(TokenRefused::Signature));
    for alg in ["none", "None", "HS256", "RS384", "PS256", "rs256", ""] {
        check(json!({ "typ": "JWT", "alg": alg, "kid": kid }), Err(TokenRefused::Signature));
    }
    let typed = json!({ "typ": "pop", "alg": "RS256", "kid": kid });
    check(typed, Err(TokenRefused::Malformed));
    let extended = json!({ "typ": "JWT", "alg": "RS256", "kid": kid, "crit": ["b64"] });
    check(extended, Err(TokenRefused::Malformed));
    let fetched = json!({
        "typ": "JWT", "alg": "RS256", "kid": "x", "jku": "https://evil/keys",
        "jwk": { "kty": "RSA" }, "x5u": "https://evil/certificate",
    });
    check(fetched, Err(TokenRefused::Signature));
}

#[test]
fn signatures_of_others_are_refused() {
    let world = world();
    let claims = claims(&world);
    let kid = world.keys.newest();
    let refused = |token: &str, expected| {
        assert_eq!(judge(&world, token, 10).map(drop), Err(expected), "{token}");
    };
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": kid });
    let stranger = private_key(&SigningKeys::with_new_key(None, at(0)).unwrap());
    refused(&signed(&stranger, &header, &claims), TokenRefused::Signature);
    // The public key as the key of a MAC.
    let mac = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
    let text = format!("{}.{}", encoded(&mac), encoded(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, world.pair.public_key().as_ref());
    let tag = BASE64URL_NOPAD.encode(hmac::sign(&key, text.as_bytes()).as_ref());
    refused(&format!("{text}.{tag}"), TokenRefused::Signature);
    // Another padding under the right name.
    let text = format!("{}.{}", encoded(&header), encoded(&claims));
    let mut signature = vec![0; world.pair.public_modulus_len()];
    let random = SystemRandom::new();
    world.pair.sign(&RSA_PSS_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
    let signature = BASE64URL_NOPAD.encode(&signature);
    refused(&format!("{text}.{signature}"), TokenRefused::Signature);
    let good = token(&world, VAULTS);
    let (signed_part, tail) = good.rsplit_once('.').unwrap();
    refused(&format!("{signed_part}."), TokenRefused::Signature);
    for broken in ["", ".", "..", "a.b.c", "\u{e9}.x.y", signed_part] {
        refused(broken, TokenRefused::Malformed);
    }
    refused(&format!("{good}.{tail}"), TokenRefused::Malformed);
    refused(&format!("{good}="), TokenRefused::Malformed);
}

#[test]
fn a_replaced_key_verifies_until_its_tokens_have_expired() {
    let old = SigningKeys::with_new_key(None, at(0)).unwrap();
    let old = World { keys: SigningKeys::read(&old).unwrap(), pair: private_key(&old) };
    assert!(!old.keys.are_due(at(90 * 86_400)));
    assert!(old.keys.are_due(at(90 * 86_400 + 1)));
    let token = token(&old, VAULTS);
    let stored = SigningKeys::with_new_key(Some(&old.keys), at(60)).unwrap();
    let new = World { keys: SigningKeys::read(&stored).unwrap(), pair: private_key(&stored) };
    assert_ne!(old.keys.newest(), new.keys.newest());
    assert!(new.keys.knows(old.keys.newest()));
    judge(&new, &token, 100).unwrap();
    let shown = |seconds| new.keys.jwks("issuer", at(seconds))["keys"].as_array().unwrap().len();
    assert_eq!(shown(60), 2);
    assert_eq!(shown(60 + 86_400 + 59), 2);
    assert_eq!(shown(60 + 86_400 + 60), 1);
    let later = SigningKeys::with_new_key(Some(&new.keys), at(2 * 86_400)).unwrap();
    let later = SigningKeys::read(&later).unwrap();
    assert!(later.knows(new.keys.newest()) && !later.knows(old.keys.newest()));
}

#[test]
fn a_stored_form_that_is_none_is_refused() {
    let stored = SigningKeys::with_new_key(None, at(0)).unwrap();
    for length in 0..stored.expose().len() {
        let cut = SecretBytes::new(stored.expose()[..length].to_vec());
        assert!(SigningKeys::read(&cut).is_none(), "{length}");
    }
}

#[test]
fn a_token_with_any_byte_changed_is_refused() {
    let world = world();
    let good = token(&world, VAULTS);
    judge(&world, &good, 10).unwrap();
    for at in 0..good.len() {
        for change in [1, 2, 0x10] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= change;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(judge(&world, &changed, 10).is_err(), "{at} {change}");
            }
        }
    }
}
