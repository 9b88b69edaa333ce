//! Answers as JSON.

use custody_ambient::Timestamp;
use custody_key_vault::{
    DeletedKey, DeletedKeyItem, Key, KeyAnswer, KeyAttributes, KeyItem, KeyShape, KeyVaultError,
    KeyVaultRef, PublicKey, ReleasePolicy, Rewrapped, RotationPolicy, Sealed,
};
use custody_names::{KeyName, KeyVersionUri};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::base::Base;
use crate::server::Call;

/// What URIs are written with.
pub(crate) struct Places<'a> {
    vault: &'a KeyVaultRef,
    /// Scheme, host and port that the key vault is reached by.
    host: String,
}

impl<'a> Places<'a> {
    pub(crate) fn of(vault: &'a KeyVaultRef, base: &Base) -> Self {
        let name = &vault.vault;
        let host = if vault.managed_hsm { base.managed_hsm(name) } else { base.key_vault(name) };
        Self { vault, host }
    }

    pub(crate) fn version(&self, id: &KeyVersionUri) -> String {
        format!("{}/keys/{}/{}", self.host, id.key, id.version)
    }

    pub(crate) fn key(&self, name: &KeyName) -> String {
        format!("{}/keys/{name}", self.host)
    }

    fn deleted(&self, name: &KeyName) -> String {
        format!("{}/deletedkeys/{name}", self.host)
    }
}

/// The body of an answer; none where Key Vault sends none.
pub(super) fn answer(answer: &KeyAnswer, places: &Places<'_>) -> Option<Value> {
    let used = |key: &KeyVersionUri, bytes: &[u8]| json!({ "kid": places.version(key), "value": BASE64URL_NOPAD.encode(bytes) });
    Some(match answer {
        KeyAnswer::Backup(blob) => json!({ "value": BASE64URL_NOPAD.encode(blob) }),
        KeyAnswer::Key(key) => bundle(key, places),
        KeyAnswer::DeletedKey(deleted) => deleted_bundle(deleted, places),
        KeyAnswer::Keys { keys, .. } => {
            let shown = |key: &KeyItem| item(key, places.key(&key.id.key), places);
            json!({ "value": keys.iter().map(shown).collect::<Vec<_>>() })
        }
        KeyAnswer::Versions { keys, .. } => {
            let shown = |key: &KeyItem| item(key, places.version(&key.id), places);
            json!({ "value": keys.iter().map(shown).collect::<Vec<_>>() })
        }
        KeyAnswer::DeletedKeys { keys, .. } => {
            let items: Vec<Value> = keys.iter().map(|key| deleted_item(key, places)).collect();
            json!({ "value": items })
        }
        KeyAnswer::Purged { .. } => return None,
        KeyAnswer::Encrypted { key, sealed } => encrypted(used(key, &sealed.bytes), sealed),
        KeyAnswer::Decrypted { key, plain } | KeyAnswer::Unwrapped { key, plain } => {
            used(key, plain.expose())
        }
        KeyAnswer::Wrapped { key, wrapped } => used(key, wrapped),
        KeyAnswer::Signed { key, signature } => used(key, signature),
        KeyAnswer::Verified { valid, .. } => json!({ "value": valid }),
        KeyAnswer::Random(bytes) => json!({ "value": BASE64URL_NOPAD.encode(bytes.expose()) }),
        KeyAnswer::Released { token, .. } => json!({ "value": token }),
        KeyAnswer::RotationPolicy { key, policy } => rotation_policy(&key.key, policy, places),
        KeyAnswer::Rewrapped { key, items } => {
            let kid = places.version(key);
            let items = items.iter().map(|item| rewrapped(item, &kid, places));
            json!({ "kid": kid, "items": items.collect::<Vec<_>>() })
        }
    })
}

/// Adds where the next page of a list is. Clients take its path and query, with their own
/// api-version.
pub(super) fn add_next_link(
    body: &mut Value,
    answer: &KeyAnswer,
    call: &Call<'_>,
    entries: u32,
    places: &Places<'_>,
) {
    let (KeyAnswer::Keys { next, .. }
    | KeyAnswer::Versions { next, .. }
    | KeyAnswer::DeletedKeys { next, .. }) = answer
    else {
        return;
    };
    let link = next.as_ref().map(|mark| {
        let (path, token) = (&call.path, BASE64URL_NOPAD.encode(mark.as_bytes()));
        let version = call.parameter("api-version").unwrap_or_default();
        let query = format!("api-version={version}&$skiptoken={token}&maxresults={entries}");
        format!("{}{path}?{query}", places.host)
    });
    if let Some(fields) = body.as_object_mut() {
        fields.insert("nextLink".into(), link.into());
    }
}

/// Adds the key's floor to its attributes. Clients of Key Vault's own versions do not know it.
pub(super) fn add_floor(body: Option<&mut Value>, key: &Key) {
    let attributes = body.and_then(|body| body.get_mut("attributes"));
    if let (Some(floor), Some(Value::Object(all))) = (&key.floor, attributes) {
        all.insert("min_decryption_version".into(), floor.as_str().into());
    }
}

/// The fields of `error`.
pub(super) fn error_fields(error: &KeyVaultError, message: String) -> Value {
    let answer = error.answer();
    let mut fields = json!({ "code": answer.code, "message": message });
    if let (Some(inner), Some(all)) = (answer.inner, fields.as_object_mut()) {
        all.insert("innererror".into(), json!({ "code": inner }));
    }
    fields
}

fn rewrapped(item: &Rewrapped, kid: &str, places: &Places<'_>) -> Value {
    let from = places.version(&item.from);
    match &item.wrapped {
        Ok(wrapped) => {
            json!({ "from": from, "kid": kid, "value": BASE64URL_NOPAD.encode(wrapped) })
        }
        Err(error) => {
            let told = error.to_string().replace(&places.vault.vault.uri(), &places.host);
            json!({ "from": from, "error": error_fields(error, told) })
        }
    }
}

fn bundle(key: &Key, places: &Places<'_>) -> Value {
    let mut jwk = json!({
        "kid": places.version(&key.id),
        "kty": key.shape.key_type(key.hsm),
        "key_ops": key.operations,
    });
    let mut put = |name: &str, value: Value| {
        if let Some(fields) = jwk.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    };
    let number = |bytes: &[u8]| Value::from(BASE64URL_NOPAD.encode(bytes));
    match (&key.public_key, key.shape) {
        (PublicKey::Rsa { modulus, exponent }, _) => {
            put("n", number(modulus));
            put("e", number(exponent));
        }
        (PublicKey::Ec { x, y }, KeyShape::Ec(curve)) => {
            put("crv", curve.as_str().into());
            put("x", number(x));
            put("y", number(y));
        }
        _ => {}
    }
    let mut body = json!({
        "key": jwk,
        "attributes": attributes(&key.attributes, key.shape, places),
        "tags": key.tags,
    });
    if let (Some(policy), Some(fields)) = (&key.release_policy, body.as_object_mut()) {
        fields.insert("release_policy".into(), release_policy(policy));
    }
    body
}

fn deleted_bundle(deleted: &DeletedKey, places: &Places<'_>) -> Value {
    let mut body = bundle(&deleted.key, places);
    add_deletion(
        &mut body,
        &deleted.key.id.key,
        (deleted.deleted, deleted.scheduled_purge),
        places,
    );
    body
}

fn item(key: &KeyItem, kid: String, places: &Places<'_>) -> Value {
    json!({
        "kid": kid,
        "attributes": attributes(&key.attributes, key.shape, places),
        "tags": key.tags,
    })
}

fn deleted_item(deleted: &DeletedKeyItem, places: &Places<'_>) -> Value {
    let name = &deleted.item.id.key;
    let mut body = item(&deleted.item, places.key(name), places);
    add_deletion(&mut body, name, (deleted.deleted, deleted.scheduled_purge), places);
    body
}

fn add_deletion(
    body: &mut Value,
    name: &KeyName,
    (deleted, scheduled_purge): (Timestamp, Timestamp),
    places: &Places<'_>,
) {
    let Some(fields) = body.as_object_mut() else { return };
    fields.insert("recoveryId".into(), places.deleted(name).into());
    fields.insert("deletedDate".into(), deleted.as_second().into());
    fields.insert("scheduledPurgeDate".into(), scheduled_purge.as_second().into());
}

/// The attributes that both planes show alike.
pub(crate) fn shared_attributes(own: &KeyAttributes, vault: &KeyVaultRef) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("enabled".into(), own.enabled.into());
    for (name, time) in [("nbf", own.not_before), ("exp", own.expires)] {
        if let Some(time) = time {
            all.insert(name.into(), time.as_second().into());
        }
    }
    all.insert("created".into(), own.created.as_second().into());
    all.insert("updated".into(), own.updated.as_second().into());
    all.insert("recoveryLevel".into(), vault.recovery_level().into());
    all
}

fn attributes(own: &KeyAttributes, shape: KeyShape, places: &Places<'_>) -> Value {
    let mut all = shared_attributes(own, places.vault);
    all.insert("recoverableDays".into(), places.vault.soft_delete_days.into());
    all.insert("exportable".into(), own.exportable.into());
    all.insert("key_size".into(), shape.bits().into());
    if own.below_floor {
        all.insert("belowMinDecryptionVersion".into(), true.into());
    }
    Value::Object(all)
}

fn encrypted(mut body: Value, sealed: &Sealed) -> Value {
    let parts = [("iv", &sealed.iv), ("tag", &sealed.tag), ("aad", &sealed.associated)];
    for (name, bytes) in parts {
        if let (Some(bytes), Some(fields)) = (bytes, body.as_object_mut()) {
            fields.insert(name.into(), BASE64URL_NOPAD.encode(bytes).into());
        }
    }
    body
}

pub(crate) fn release_policy(policy: &ReleasePolicy) -> Value {
    json!({
        "contentType": policy.content_type,
        "immutable": policy.immutable,
        "data": BASE64URL_NOPAD.encode(policy.data.as_bytes()),
    })
}

fn rotation_policy(name: &KeyName, policy: &RotationPolicy, places: &Places<'_>) -> Value {
    json!({
        "id": format!("{}/rotationpolicy", places.key(name)),
        "lifetimeActions": policy.lifetime_actions,
        "attributes": policy.attributes,
    })
}
