//! The addresses that need no token.

use http::{Request, header};
use serde_json::{Value, json};

use crate::site::{MAIN, Site, VAULTS, read};

#[test]
fn a_secret_gets_a_token_for_the_resource_as_it_was_written() {
    let site = Site::new();
    let (tenant, client) = (site.tenant.clone(), site.client.clone());
    for resource in [MAIN.to_owned(), format!("{MAIN}/"), VAULTS.to_owned()] {
        let scope = format!("{resource}/.default openid profile offline_access");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client.as_str()),
            ("client_secret", site.secret.as_str()),
            ("client_info", "1"),
            ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
            ("scope", &scope),
        ];
        let answer = site.token(&tenant, &fields);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["expires_in"], 3_600);
        let claims = claims(answer.body["access_token"].as_str().unwrap());
        assert_eq!(claims["aud"], resource);
        assert_eq!(claims["iss"], format!("{MAIN}/{tenant}/v2.0"));
        assert_eq!(claims["oid"], site.object);
    }
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client.as_str()),
        ("client_secret", site.secret.as_str()),
        ("resource", VAULTS),
    ];
    let answer = site.form(&format!("/{tenant}/oauth2/token"), &fields);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["resource"], VAULTS);
    assert_eq!(answer.body["expires_in"], "3600");
}

fn claims(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(middle.as_bytes()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn client_and_secret_may_come_as_basic_authentication() {
    let site = Site::new();
    let check = |secret: &str, expected: u16| {
        let pair = format!("{}:{secret}", site.client);
        let basic = data_encoding::BASE64.encode(pair.as_bytes());
        let scope = format!("grant_type=client_credentials&scope={VAULTS}/.default");
        let request = Request::post(format!("{MAIN}/{}/oauth2/v2.0/token", site.tenant))
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .body(scope.into_bytes());
        let answer = read(site.server.handle(request.unwrap()));
        assert_eq!(answer.status, expected, "{answer:?}");
    };
    check(&site.secret, 200);
    check("wrong", 401);
}

#[test]
fn errors_of_the_token_endpoint() {
    let site = Site::new();
    let secret = site.secret.as_str();
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", site.client.as_str()),
        ("client_secret", secret),
        ("scope", "https://vault.custody.localhost/.default"),
    ];
    let check = |tenant: &str, changes: &[(&str, &str)], expected: (u16, &str, u32)| {
        let mut fields: Vec<(&str, &str)> = good.to_vec();
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        let answer = site.token(tenant, &fields);
        let (status, word, number) = expected;
        assert_eq!(answer.status, status, "{changes:?} {answer:?}");
        assert_eq!(answer.body["error"], word, "{changes:?}");
        assert_eq!(answer.body["error_codes"], json!([number]), "{changes:?}");
        let text = answer.body["error_description"].as_str().unwrap();
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        for field in ["timestamp", "trace_id", "correlation_id"] {
            assert!(answer.body[field].is_string(), "{field}");
        }
        assert!(!answer.body.to_string().contains(secret));
    };
    let own = site.tenant.as_str();
    let stranger = "11111111-1111-1111-1111-111111111111";
    check(stranger, &[], (400, "invalid_request", 90_002));
    check("common", &[], (400, "invalid_request", 90_002));
    check("x", &[], (400, "invalid_request", 90_002));
    check(own, &[("grant_type", "")], (400, "invalid_request", 900_144));
    check(own, &[("grant_type", "password")], (400, "unsupported_grant_type", 70_003));
    check(own, &[("client_id", "")], (400, "invalid_request", 900_144));
    check(own, &[("client_id", stranger)], (400, "unauthorized_client", 700_016));
    check(own, &[("client_id", "no guid")], (400, "unauthorized_client", 700_016));
    check(own, &[("client_secret", "")], (401, "invalid_client", 7_000_218));
    check(own, &[("client_secret", "wrong")], (401, "invalid_client", 7_000_215));
    check(own, &[("client_assertion", "x")], (400, "invalid_request", 9_000_411));
    check(own, &[("scope", "")], (400, "invalid_request", 900_144));
    for scope in ["x", "/.default", "a/.default b/.default", "openid"] {
        check(own, &[("scope", scope)], (400, "invalid_scope", 70_011));
    }
    check(own, &[("scope", "https://other/.default")], (400, "invalid_resource", 500_011));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion =
        [("client_secret", ""), ("client_assertion", "a.b.c"), ("client_assertion_type", kind)];
    check(own, &assertion, (401, "invalid_client", 700_027));
    check(own, &assertion[..2], (400, "invalid_request", 900_144));
    let twice = site.token(own, &[("grant_type", "a"), ("grant_type", "b")]);
    assert_eq!((twice.status, &twice.body["error_codes"]), (400, &json!([9_000_411])));
}

#[test]
fn who_guesses_secrets_must_wait() {
    let site = Site::new();
    let fields = |secret| {
        [
            ("grant_type", "client_credentials"),
            ("client_id", site.client.as_str()),
            ("client_secret", secret),
            ("scope", "https://vault.custody.localhost/.default"),
        ]
    };
    for _ in 0..10 {
        assert_eq!(site.token(&site.tenant, &fields("wrong")).status, 401);
    }
    assert_eq!(site.token(&site.tenant, &fields("wrong")).status, 429);
    assert_eq!(site.token(&site.tenant, &fields(&site.secret)).status, 200);
    site.clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(site.token(&site.tenant, &fields("wrong")).status, 401);
}

#[test]
fn discovery_and_keys() {
    let site = Site::new();
    let tenant = &site.tenant;
    let open = |path: &str| site.ask("GET", path, None, Value::Null);
    for path in [
        format!("/{tenant}/v2.0/.well-known/openid-configuration"),
        format!("/{tenant}/.well-known/openid-configuration"),
    ] {
        let answer = open(&path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body["issuer"], format!("{MAIN}/{tenant}/v2.0"));
        let token_endpoint = format!("{MAIN}/{tenant}/oauth2/v2.0/token");
        assert_eq!(answer.body["token_endpoint"], token_endpoint);
        assert!(answer.body["authorization_endpoint"].is_string());
    }
    for word in ["common", "organizations"] {
        let answer = open(&format!("/{word}/v2.0/.well-known/openid-configuration"));
        assert_eq!(answer.body["issuer"], format!("{MAIN}/{{tenantid}}/v2.0"));
    }
    let stranger = "/11111111-1111-1111-1111-111111111111/v2.0/.well-known/openid-configuration";
    assert_eq!(open(stranger).status, 400);
    let keys = open(&format!("/{tenant}/discovery/v2.0/keys")).body;
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["use"], &key["alg"]),
        (&json!("RSA"), &json!("sig"), &json!("RS256"))
    );
    assert_eq!(key["e"], "AQAB");
    let token = site.bearer(VAULTS);
    let header = token.split('.').next().unwrap();
    let header = data_encoding::BASE64URL_NOPAD.decode(header.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["kid"], key["kid"]);
    let own = format!("{MAIN}/common/oauth2/v2.0/authorize");
    let own = open(&format!("/common/discovery/instance?authorization_endpoint={own}"));
    assert_eq!(own.body["metadata"][0]["aliases"], json!(["custody.localhost"]));
    let other = "/common/discovery/instance?authorization_endpoint=https://login.example/x";
    assert_eq!(open(other).body["error"], "invalid_instance");
}
