//! Values that stand in requests: names, certificates, tokens, client assertions.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use custody_directory::Certificate;
use custody_names::{
    ItemName, KeyUri, KeyVaultName, KeyVersionUri, ResourceGroupName, ResourceId, ResourceType,
    TenantId,
};
use data_encoding::BASE64URL_NOPAD;
use http::{Request, header};
use serde_json::{Value, json};

use crate::site::{MAIN, World};

/// A certificate that signs assertions, and its key: the directory's own test data.
pub(crate) const CERTIFICATE: &[u8] =
    include_bytes!("../../directory/tests/it/data/certificate.der");
const KEY: &[u8] = include_bytes!("../../directory/tests/it/data/certificate-key.der");

/// Identifiers: what is written of one is read as the same one.
pub(crate) fn names(_: &World, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    reads_back::<ResourceId>(text);
    reads_back::<ResourceType>(text);
    reads_back::<KeyUri>(text);
    reads_back::<KeyVersionUri>(text);
    reads_back::<KeyVaultName>(text);
    reads_back::<ResourceGroupName>(text);
    reads_back::<ItemName>(text);
    reads_back::<TenantId>(text);
    if let Ok(id) = text.parse::<ResourceId>() {
        reads_back::<ResourceType>(&id.resource_type().to_string());
    }
}

fn reads_back<T>(text: &str)
where
    T: std::str::FromStr + std::fmt::Display + PartialEq,
{
    let Ok(read) = text.parse::<T>() else { return };
    let written = read.to_string();
    let again = written.parse::<T>().ok();
    assert!(again.as_ref() == Some(&read), "{text:?} is written as {written:?}");
}

/// DER.
pub(crate) fn certificate(_: &World, data: &[u8]) {
    if let Some(certificate) = Certificate::read(data) {
        assert!(!certificate.public_key.is_empty());
    }
}

/// Bearer tokens: header, claims and signature in lines of their own, or a token as it is. None is
/// believed, for only the server holds its key.
pub(crate) fn token(world: &World, data: &[u8]) {
    let site = world.site();
    let parts: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'\n').collect();
    let token = match parts.as_slice() {
        [header, claims, signature] => {
            let claims = String::from_utf8_lossy(claims);
            let claims = claims.replace("{T}", &site.tenant).replace("{P}", &site.principal);
            let claims = claims.replace("{C}", &site.client);
            [*header, claims.as_bytes(), *signature]
                .map(|part| BASE64URL_NOPAD.encode(part))
                .join(".")
                .into_bytes()
        }
        _ => data.to_vec(),
    };
    let value = [b"Bearer ".as_slice(), &token].concat();
    let uri = format!("{MAIN}/subscriptions?api-version=2022-12-01");
    let request = Request::get(uri).header(header::AUTHORIZATION, value).body(Vec::new());
    let Ok(request) = request else { return };
    let answer = site.ask(request);
    assert_eq!(answer.status, 401, "a token was believed that nobody issued");
}

/// Client assertions: a line for the header and one for the claims, signed with the registered key.
/// What signs somebody in says what it must say.
pub(crate) fn assertion(world: &World, data: &[u8]) {
    let site = world.site();
    let text = String::from_utf8_lossy(data);
    let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
    let endpoint = format!("{MAIN}/{}/oauth2/v2.0/token", site.tenant);
    let thumbprint = Certificate::read(CERTIFICATE).unwrap().x5t_s256;
    let header = header.replace("{X}", &thumbprint);
    let claims = claims.replace("{C}", &site.certified).replace("{E}", &endpoint);
    let signed = [&header, &claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    let key = RsaKeyPair::from_pkcs8(KEY).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
    let assertion = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
    let body = format!(
        "grant_type=client_credentials&client_id={}&scope={MAIN}/.default&client_assertion_type=\
         urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}",
        site.certified
    );
    let Ok(request) = Request::post(&endpoint).body(body.into_bytes()) else { return };
    if site.ask(request).status == 200 {
        let claims: Value = serde_json::from_str(&claims).unwrap_or_default();
        let issuer = claims["iss"].as_str().unwrap_or_default();
        assert!(issuer.eq_ignore_ascii_case(&site.certified), "{claims}");
        assert_eq!(claims["sub"].as_str().map(str::len), Some(issuer.len()), "{claims}");
        assert!(json!(claims["aud"]).is_string() && claims["exp"].is_i64(), "{claims}");
    }
}
