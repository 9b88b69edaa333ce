//! One field or body each of a request that is otherwise right.

use http::{Request, header};
use serde_json::json;

use crate::site::{KEY_VAULT, MAIN, World};

/// The body of an import: JSON web keys.
pub(crate) fn import_key(world: &World, data: &[u8]) {
    to_key(world, "PUT", "/keys/imported", data.to_vec());
}

/// A rotation policy with its durations.
pub(crate) fn rotation_policy(world: &World, data: &[u8]) {
    to_key(world, "PUT", "/keys/ec/rotationpolicy", data.to_vec());
}

/// A release policy, as it stands in the body of a key that is made.
pub(crate) fn release_policy(world: &World, data: &[u8]) {
    let policy = json!({ "data": data_encoding::BASE64URL_NOPAD.encode(data) });
    let attributes = json!({ "exportable": true });
    let body = json!({ "kty": "EC-HSM", "attributes": attributes, "release_policy": policy });
    to_key(world, "POST", "/keys/exportable/create", body.to_string().into_bytes());
}

/// A backup: bytes of any kind, or after a zero what is changed in a right one, in groups of three
/// (place and difference). What differs from the right one is refused.
pub(crate) fn backup_blob(world: &World, data: &[u8]) {
    let site = world.site();
    let blob = match data.split_first() {
        Some((0, changes)) => {
            let mut blob = site.blob.clone();
            for change in changes.chunks_exact(3) {
                let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % blob.len();
                blob[place] ^= change[2];
            }
            blob
        }
        _ => data.to_vec(),
    };
    if blob == site.blob {
        return;
    }
    let value = data_encoding::BASE64URL_NOPAD.encode(&blob);
    let body = json!({ "value": value }).to_string().into_bytes();
    let uri = format!("{KEY_VAULT}/keys/restore?api-version=7.6");
    let answer = site.ask_with_token("POST", &uri, body);
    assert!(answer.is_some_and(|answer| answer.status >= 400), "a changed backup was taken");
}

/// `$filter`, by the first byte of ARM's resources, of role definitions and assignments, of the
/// activity log or of Graph.
pub(crate) fn filter(world: &World, data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let site = world.site();
    let (subscription, escaped) = (&site.subscription, escaped(text));
    let authorization = "providers/Microsoft.Authorization";
    let path = match which % 6 {
        0 => format!("{subscription}/resources"),
        1 => format!("{subscription}/{authorization}/roleDefinitions"),
        2 => format!("{subscription}/{authorization}/roleAssignments"),
        3 => format!("{subscription}/providers/Microsoft.Insights/eventtypes/management/values"),
        4 => "/v1.0/applications".to_owned(),
        _ => "/v1.0/servicePrincipals".to_owned(),
    };
    let uri = format!("{MAIN}{path}?api-version=2024-11-01&$filter={escaped}");
    site.ask_with_token("GET", &uri, Vec::new());
}

/// Parameters of a query: skip tokens, page sizes, api-versions; the first byte chooses.
pub(crate) fn query(world: &World, data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let site = world.site();
    let value = escaped(text);
    let subscription = &site.subscription;
    let uri = match which % 6 {
        0 => format!("{KEY_VAULT}/keys?api-version=7.6&$skiptoken={value}"),
        1 => format!("{KEY_VAULT}/keys/ec/versions?api-version=7.6&maxresults={value}"),
        2 => format!("{KEY_VAULT}/keys?api-version={value}"),
        3 => format!("{MAIN}{subscription}/resourceGroups?api-version={value}"),
        4 => format!("{MAIN}{subscription}/resources?api-version=2024-11-01&$skiptoken={value}"),
        _ => format!("{MAIN}{subscription}/resources?{}", String::from_utf8_lossy(text)),
    };
    site.ask_with_token("GET", &uri, Vec::new());
}

/// The form of the token endpoint.
pub(crate) fn form(world: &World, data: &[u8]) {
    let site = world.site();
    let body = String::from_utf8_lossy(data).replace("{C}", &site.client).into_bytes();
    let uri = format!("{MAIN}/{}/oauth2/v2.0/token", site.tenant);
    if let Ok(request) = Request::post(uri).body(body) {
        site.ask(request);
    }
}

/// JSON: its depth, names that stand twice, numbers, escapes. A resource group holds any tags.
pub(crate) fn json(world: &World, data: &[u8]) {
    let site = world.site();
    let uri = format!("{MAIN}{}/resourceGroups/json?api-version=2024-11-01", site.subscription);
    site.ask_with_token("PUT", &uri, data.to_vec());
}

/// Addresses and ranges of a key vault's firewall.
pub(crate) fn address_rule(world: &World, data: &[u8]) {
    let site = world.site();
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rules: Vec<_> = text.split('\n').map(|rule| json!({ "value": rule })).collect();
    let networks = json!({ "bypass": "None", "defaultAction": "Deny", "ipRules": rules });
    let properties = json!({ "networkAcls": networks });
    let body = json!({ "location": "local", "properties": properties }).to_string();
    let uri = format!(
        "{MAIN}{}/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/walled\
         ?api-version=2026-02-01",
        site.subscription
    );
    site.ask_with_token("PUT", &uri, body.into_bytes());
    // The rules are read again, and applied, when the vault is asked.
    let uri = "https://walled.vault.custody.localhost/keys?api-version=7.6";
    let request =
        Request::get(uri).header(header::AUTHORIZATION, format!("Bearer {}", site.tokens[1]));
    if let Ok(request) = request.body(Vec::new()) {
        site.ask(request);
    }
}

/// The host that a request names in its header.
pub(crate) fn host(world: &World, data: &[u8]) {
    let site = world.site();
    let request = Request::get("/subscriptions?api-version=2022-12-01").header(header::HOST, data);
    if let Ok(request) = request.body(Vec::new()) {
        site.ask(request);
    }
}

fn to_key(world: &World, method: &str, path: &str, body: Vec<u8>) {
    let uri = format!("{KEY_VAULT}{path}?api-version=7.6");
    world.site().ask_with_token(method, &uri, body);
}

fn escaped(text: &[u8]) -> String {
    data_encoding::HEXUPPER
        .encode(text)
        .as_bytes()
        .chunks(2)
        .fold(String::new(), |all, digits| all + "%" + &String::from_utf8_lossy(digits))
}
