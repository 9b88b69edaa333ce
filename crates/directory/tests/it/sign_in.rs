//! How applications prove who they are.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use custody_ambient::Timestamp;
use custody_directory::{
    Application, ApplicationSpec, ApplicationStatus, Certificate, Credentials, SecretAnswer,
    ServicePrincipal, ServicePrincipalSpec, ServicePrincipalStatus, Shown, SignIn, Wish,
    application_id, service_principal_id, sign_in,
};
use custody_names::{ClientId, PrincipalId, TenantId};
use custody_resources::{Query, Record, Stored, SystemData, World};
use custody_test_world::SeededEntropy;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

const CERTIFICATE: &[u8] = include_bytes!("data/certificate.der");
const KEY: &[u8] = include_bytes!("data/certificate-key.der");
/// Within the certificate's ten years.
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn client() -> ClientId {
    ClientId::from_bytes([1; 16])
}

fn tenant() -> TenantId {
    TenantId::from_bytes([7; 16])
}

fn endpoint() -> String {
    format!("https://custody.localhost/{}/oauth2/v2.0/token", tenant())
}

/// A world with one application and its service principal, if there is to be one.
fn world(credentials: Credentials, principal: Option<bool>) -> World {
    let blank = |id| Record::blank(id, SystemData::new("test", now()));
    let (app_id, object_id) = (client(), PrincipalId::from_bytes([2; 16]));
    let application = Stored::<Application> {
        record: blank(application_id(app_id).unwrap()),
        spec: ApplicationSpec { credentials, ..ApplicationSpec::default() },
        status: ApplicationStatus { app_id, object_id, tenant: tenant(), created: now() },
    };
    let place = service_principal_id(tenant(), app_id).unwrap();
    let principal = principal.map(|account_enabled| Stored::<ServicePrincipal> {
        record: blank(place.clone()),
        spec: ServicePrincipalSpec {
            account_enabled,
            display_name: "test".to_owned(),
            credentials: Credentials::default(),
        },
        status: ServicePrincipalStatus {
            app_id,
            object_id,
            tenant: tenant(),
            home_tenant: tenant(),
            created: now(),
        },
    });
    let mut world = World::new();
    let application = application.into_record().unwrap();
    world.learn(Query::Record(application.id.canonical()), vec![application]);
    let principal = principal.map(|principal| principal.into_record().unwrap());
    world.learn(Query::Record(place.canonical()), principal.into_iter().collect());
    let other = application_id(ClientId::from_bytes([9; 16])).unwrap();
    world.learn(Query::Record(other.canonical()), Vec::new());
    let other = service_principal_id(tenant(), ClientId::from_bytes([9; 16])).unwrap();
    world.learn(Query::Record(other.canonical()), Vec::new());
    world
}

/// Zero for a proof that is good, else the number of the error.
fn number(world: &World, client: ClientId, shown: Shown<'_>, now: Timestamp) -> u32 {
    let endpoints = [endpoint()];
    let request = SignIn { tenant: tenant(), client, shown, endpoints: &endpoints, now };
    let answer = sign_in(world, &request).unwrap();
    answer.map_or_else(|error| error.number(), |_| 0)
}

#[test]
fn secrets() {
    let entropy = SeededEntropy::new(3);
    let mut credentials = Credentials::default();
    let first = credentials.add_password(Wish::default(), now(), &entropy).unwrap();
    let second = credentials.add_password(Wish::default(), now(), &entropy).unwrap();
    let (first, second) = (first.secret, second.secret);
    assert_ne!(first.expose(), second.expose());
    assert_eq!(first.expose().len(), "custody_".len() + 43);
    let world = world(credentials.clone(), Some(true));
    let check = |shown: &[u8], days: i64, expected: u32| {
        let at = Timestamp::from_second(NOW + days * 86_400).unwrap();
        assert_eq!(number(&world, client(), Shown::Secret(shown), at), expected, "{days}");
    };
    check(first.expose(), 0, 0);
    check(second.expose(), 729, 0);
    check(second.expose(), 730, 7_000_222);
    check(second.expose(), -1, 7_000_222);
    check(b"custody_", 0, 7_000_215);
    check(credentials.passwords[0].key_id.as_bytes(), 0, 7_000_215);
    check(credentials.passwords[0].sha256.as_bytes(), 0, 7_000_215);
    let key_id = credentials.passwords[0].key_id.clone();
    credentials.remove_password(&key_id).unwrap();
    assert_eq!(credentials.check_secret(first.expose(), now()), SecretAnswer::Wrong);
    assert_eq!(credentials.check_secret(second.expose(), now()), SecretAnswer::Right);
    assert!(credentials.remove_password(&key_id).is_err());
}

#[test]
fn applications_that_cannot_sign_in() {
    let entropy = SeededEntropy::new(3);
    let mut credentials = Credentials::default();
    let secret = credentials.add_password(Wish::default(), now(), &entropy).unwrap().secret;
    let shown = || Shown::Secret(secret.expose());
    let check = |principal: Option<bool>, client: ClientId, expected: u32| {
        let world = world(credentials.clone(), principal);
        assert_eq!(number(&world, client, shown(), now()), expected);
    };
    check(Some(true), client(), 0);
    check(Some(false), client(), 7_000_112);
    check(None, client(), 7_000_229);
    check(Some(true), ClientId::from_bytes([9; 16]), 700_016);
}

fn assertion(header: &Value, claims: &Value, padding: &'static dyn RsaEncoding) -> String {
    let encoded = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let pair = RsaKeyPair::from_pkcs8(KEY).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[test]
fn assertions() {
    let certificate = Certificate::read(CERTIFICATE).unwrap();
    let mut credentials = Credentials::default();
    credentials.add_certificate(CERTIFICATE, Wish::default(), &SeededEntropy::new(3)).unwrap();
    let world = world(credentials, Some(true));
    let id = client().to_string();
    let claims = json!({
        "iss": id, "sub": id, "aud": endpoint(), "jti": "one", "nbf": NOW, "exp": NOW + 600,
    });
    let check = |header: &Value, change: Value, expected: u32| {
        let mut claims = claims.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let padding: &'static dyn RsaEncoding =
            if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let text = assertion(header, &claims, padding);
        let got = number(&world, client(), Shown::Assertion(&text), now());
        assert_eq!(got, expected, "{header} {change}");
    };
    let rs256 = json!({ "alg": "RS256", "typ": "JWT", "x5t": certificate.x5t });
    let ps256 = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": certificate.x5t_s256 });
    check(&rs256, json!({}), 0);
    check(&ps256, json!({}), 0);
    check(&rs256, json!({ "jti": null }), 0);
    check(&rs256, json!({ "iss": "other" }), 700_027);
    check(&rs256, json!({ "sub": "other" }), 700_027);
    check(&rs256, json!({ "aud": "https://login.microsoftonline.com" }), 700_023);
    check(&rs256, json!({ "exp": NOW }), 700_024);
    check(&rs256, json!({ "exp": NOW + 86_400 }), 700_024);
    check(&rs256, json!({ "nbf": NOW + 301 }), 700_024);
    let mixed = json!({ "alg": "PS256", "x5t": certificate.x5t, "x5t#S256": "x" });
    for header in [
        mixed,
        json!({ "alg": "RS256" }),
        json!({ "alg": "RS256", "x5t": "x" }),
        json!({ "alg": "HS256", "x5t": certificate.x5t }),
        json!({ "alg": "none", "x5t": certificate.x5t }),
        json!({ "alg": "PS384", "x5t": certificate.x5t }),
    ] {
        check(&header, json!({}), 700_027);
    }
    // Signed in one way, said to be signed in another.
    let lie = assertion(&ps256, &claims, &RSA_PKCS1_SHA256);
    assert_eq!(number(&world, client(), Shown::Assertion(&lie), now()), 700_027);
    let late = certificate.not_after;
    let good = assertion(&rs256, &claims, &RSA_PKCS1_SHA256);
    assert_eq!(number(&world, client(), Shown::Assertion(&good), late), 700_027);
}

#[test]
fn certificates() {
    let certificate = Certificate::read(CERTIFICATE).unwrap();
    assert!(certificate.not_before < now() && now() < certificate.not_after);
    assert_eq!(certificate.x5t.len(), 27);
    assert_eq!(certificate.x5t_s256.len(), 43);
    for length in 0..CERTIFICATE.len() {
        assert!(Certificate::read(&CERTIFICATE[..length]).is_none(), "{length}");
    }
    assert!(Certificate::read(&[CERTIFICATE, b"\0"].concat()).is_none());
}

/// A certificate is read, or not, whatever bytes it has; what is read of a changed one is never
/// taken for the registered one.
#[test]
fn a_certificate_with_any_byte_changed_is_another() {
    let good = Certificate::read(CERTIFICATE).unwrap();
    for at in 0..CERTIFICATE.len() {
        for change in [1, 0x80, 0xFF] {
            let mut bytes = CERTIFICATE.to_vec();
            bytes[at] ^= change;
            let read = Certificate::read(&bytes);
            assert!(read.is_none_or(|read| read.x5t_s256 != good.x5t_s256), "{at} {change}");
        }
    }
}
