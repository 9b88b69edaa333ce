//! Keys in the control plane: `…/{vaults|managedHSMs}/NAME/keys[/KEY[/versions[/VERSION]]]`.
//!
//! ARM makes keys that are not there and shows the public facts of those that are; it changes none
//! and uses none. Roles on the control plane decide, and no network rule is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use custody_key_vault::{
    Key, KeyAnswer, KeyAttributes, KeyItem, KeyOperation, KeyUse, KeyVaultKind, KeyVaultRef,
    ManagedHsmKind, NewKey, PAGE_ENTRIES_MAX, Page, RotationPolicy,
};
use custody_names::{KeyName, KeyVersion, KeyVersionUri, ResourceId};
use custody_resources::{Kind as _, Refusal, flag};
use custody_worker::{KeyManagement, Platform};
use data_encoding::BASE64URL_NOPAD;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::data_plane::{self, Places};
use crate::links;
use crate::reply::{self, Body};
use crate::server::Call;

/// The use of a key that ARM calls otherwise than the data plane: `release` is its `export`.
const RELEASE: &str = "release";

/// What a path names.
enum Part {
    Keys,
    Key(KeyName),
    Versions(KeyName),
    Version(KeyName, KeyVersion),
}

/// One request about keys.
struct Ask<'a> {
    platform: &'a Arc<Platform>,
    call: &'a Call<'a>,
    /// The key vault or managed HSM, and its type as ARM spells it.
    holder: ResourceId,
    holder_type: &'static str,
    part: Part,
}

/// Answers if the path is one of keys.
pub(crate) fn answer(
    platform: &Arc<Platform>,
    call: &Call<'_>,
) -> Result<Option<Response<Body>>, Refusal> {
    let Some(ask) = Ask::read(platform, call)? else { return Ok(None) };
    let body = match (call.method, &ask.part) {
        (&Method::GET, Part::Keys) => ask.list()?,
        (&Method::GET, Part::Versions(name)) => ask.versions(name)?,
        (&Method::GET, Part::Key(name)) => ask.show(name, None)?,
        (&Method::GET, Part::Version(name, version)) => ask.show(name, Some(version))?,
        (&Method::PUT, Part::Key(name)) => ask.create(name)?,
        _ => {
            let text = format!(
                "{} is not possible on keys in the control plane; they are changed, used and \
                 deleted on the host of their {}.",
                call.method, ask.holder_type
            );
            return Err(Refusal::new(405, "MethodNotAllowed", text));
        }
    };
    Ok(Some(reply::json(200, Some(&body))))
}

impl<'a> Ask<'a> {
    /// Reads the path; none if it is not one of keys.
    fn read(platform: &'a Arc<Platform>, call: &'a Call<'a>) -> Result<Option<Self>, Refusal> {
        let segments = crate::address::segments(&call.path);
        let [subscriptions, _, groups, _, providers, space, kind, _, keys, rest @ ..] =
            segments.as_slice()
        else {
            return Ok(None);
        };
        let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
        let holder_type = match *kind {
            kind if is(kind, "vaults") => KeyVaultKind::TYPE,
            kind if is(kind, "managedHSMs") => ManagedHsmKind::TYPE,
            _ => return Ok(None),
        };
        let fits = is(subscriptions, "subscriptions")
            && is(groups, "resourceGroups")
            && is(providers, "providers")
            && is(space, "Microsoft.KeyVault")
            && is(keys, "keys");
        let part = match rest {
            _ if !fits => return Ok(None),
            [] => Part::Keys,
            [name] => Part::Key(name.parse().map_err(bad_name)?),
            [name, word] if is(word, "versions") => Part::Versions(name.parse().map_err(bad_name)?),
            [name, word, version] if is(word, "versions") => {
                Part::Version(name.parse().map_err(bad_name)?, version.parse().map_err(bad_name)?)
            }
            // Roles and settings on a key are kinds of their own.
            _ => return Ok(None),
        };
        let length = segments.len() - rest.len() - 1;
        let holder = segments.get(..length).unwrap_or_default().join("/");
        let holder = format!("/{holder}").parse().map_err(bad_name)?;
        let holder = crate::address::spelled(&holder, platform.engine.registry());
        Ok(Some(Self { platform, call, holder, holder_type, part }))
    }

    fn list(&self) -> Result<Value, Refusal> {
        let vault = self.vault("keys/read", &self.holder)?;
        let after = self.after()?;
        let page = Page { entries: PAGE_ENTRIES_MAX, after: after.as_deref() };
        let answer = self.ask("keys/read", &self.holder, &vault, &KeyOperation::List { page })?;
        let KeyAnswer::Keys { keys, next } = answer else { return Err(unexpected()) };
        let shown = keys.iter().map(|key| self.item(&vault, key, false));
        Ok(self.page(shown.collect(), next))
    }

    fn versions(&self, name: &KeyName) -> Result<Value, Refusal> {
        let scope = self.scope(name)?;
        let vault = self.vault("keys/versions/read", &scope)?;
        let after = self.after()?;
        let page = Page { entries: PAGE_ENTRIES_MAX, after: after.as_deref() };
        let operation = KeyOperation::ListVersions { name, page };
        let answer = self.ask("keys/versions/read", &scope, &vault, &operation)?;
        let KeyAnswer::Versions { keys, next } = answer else { return Err(unexpected()) };
        let shown = keys.iter().map(|key| self.item(&vault, key, true));
        Ok(self.page(shown.collect(), next))
    }

    fn show(&self, name: &KeyName, version: Option<&KeyVersion>) -> Result<Value, Refusal> {
        let permission = if version.is_some() { "keys/versions/read" } else { "keys/read" };
        let scope = self.scope(name)?;
        let vault = self.vault(permission, &scope)?;
        let operation = KeyOperation::Get { name, version };
        match self.ask(permission, &scope, &vault, &operation)? {
            KeyAnswer::Key(key) if version.is_some() => Ok(self.key(&vault, &key, true)),
            KeyAnswer::Key(key) => self.with_policy(permission, &scope, &vault, &key),
            _ => Err(unexpected()),
        }
    }

    /// Makes the key unless it is there; one that is there stays as it is.
    fn create(&self, name: &KeyName) -> Result<Value, Refusal> {
        let (permission, scope) = ("keys/write", self.scope(name)?);
        let mut seen = None;
        let answer = self.manage(permission, &scope, |asking| {
            self.platform.change_keys(asking, |vault| {
                let (key, policy) = wanted(&self.call.body, vault)?;
                let policy = policy.as_ref();
                let operation = KeyOperation::CreateIfAbsent { name, key: &key, policy };
                seen = Some(vault.clone());
                self.platform.ask_of_keys(asking, vault, &operation)
            })
        })?;
        match (answer, seen) {
            (KeyAnswer::Key(key), Some(vault)) => {
                self.with_policy(permission, &scope, &vault, &key)
            }
            _ => Err(unexpected()),
        }
    }

    /// The key with its rotation policy, if it has one.
    fn with_policy(
        &self,
        permission: &str,
        scope: &ResourceId,
        vault: &KeyVaultRef,
        key: &Key,
    ) -> Result<Value, Refusal> {
        let operation = KeyOperation::GetRotationPolicy { name: &key.id.key };
        let answer = self.ask(permission, scope, vault, &operation)?;
        let KeyAnswer::RotationPolicy { policy, .. } = answer else { return Err(unexpected()) };
        let mut shown = self.key(vault, key, false);
        // What counts for keys without a policy was never written.
        let written = policy.attributes.created.is_some();
        if let (true, Some(Value::Object(properties))) = (written, shown.get_mut("properties")) {
            properties.insert("rotationPolicy".into(), rotation_policy(&policy));
        }
        Ok(shown)
    }

    fn vault(&self, permission: &str, scope: &ResourceId) -> Result<KeyVaultRef, Refusal> {
        self.manage(permission, scope, |asking| self.platform.managed_keys(asking))
    }

    fn ask(
        &self,
        permission: &str,
        scope: &ResourceId,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
    ) -> Result<KeyAnswer, Refusal> {
        self.manage(permission, scope, |asking| self.platform.ask_of_keys(asking, vault, operation))
    }

    /// Does something as the caller with this permission at this scope.
    fn manage<T>(
        &self,
        permission: &str,
        scope: &ResourceId,
        manage: impl FnOnce(KeyManagement<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        manage(KeyManagement {
            caller: &self.call.caller,
            correlation: self.call.correlation,
            client_info: self.call.user_agent.as_deref(),
            api_version: self.call.parameter("api-version").unwrap_or_default(),
            hosts: &self.call.base.hosts(),
            holder: &self.holder,
            scope,
            permission: &format!("{}/{permission}", self.holder_type),
        })
    }

    fn scope(&self, name: &KeyName) -> Result<ResourceId, Refusal> {
        Ok(self.holder.child("keys", &name.as_str().parse().map_err(bad_name)?))
    }

    /// Where the page before ended.
    fn after(&self) -> Result<Option<String>, Refusal> {
        let Some(token) = self.call.parameter("$skiptoken") else { return Ok(None) };
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.map(Some).ok_or_else(|| Refusal::bad_request("$skiptoken is not of this list"))
    }

    fn page(&self, shown: Vec<Value>, next: Option<String>) -> Value {
        let mut body = Map::new();
        body.insert("value".into(), Value::Array(shown));
        if let Some(mark) = next {
            let token = BASE64URL_NOPAD.encode(mark.as_bytes());
            body.insert("nextLink".into(), links::next(self.call, token).into());
        }
        Value::Object(body)
    }

    /// A key as lists show it.
    fn item(&self, vault: &KeyVaultRef, key: &KeyItem, versioned: bool) -> Value {
        let places = Places::of(vault, &self.call.base);
        let mut properties = Map::new();
        properties.insert("attributes".into(), attributes(&key.attributes, vault));
        properties.insert("keyUri".into(), places.key(&key.id.key).into());
        if versioned {
            properties.insert("keyUriWithVersion".into(), places.version(&key.id).into());
        }
        self.resource(vault, &key.id, versioned, (json!(key.tags), properties))
    }

    /// A key by itself. Its public half is the data plane's to show.
    fn key(&self, vault: &KeyVaultRef, key: &Key, versioned: bool) -> Value {
        let places = Places::of(vault, &self.call.base);
        let uses = key.operations.iter().map(|one| match one {
            KeyUse::Export => json!(RELEASE),
            other => json!(other),
        });
        let mut properties = Map::new();
        properties.insert("attributes".into(), attributes(&key.attributes, vault));
        properties.insert("kty".into(), key.shape.key_type(key.hsm).into());
        properties.insert("keyOps".into(), uses.collect::<Vec<_>>().into());
        match key.shape.curve() {
            Some(curve) => properties.insert("curveName".into(), curve.as_str().into()),
            None => properties.insert("keySize".into(), key.shape.bits().into()),
        };
        properties.insert("keyUri".into(), places.key(&key.id.key).into());
        properties.insert("keyUriWithVersion".into(), places.version(&key.id).into());
        if let Some(policy) = &key.release_policy {
            properties.insert("release_policy".into(), data_plane::release_policy(policy));
        }
        self.resource(vault, &key.id, versioned, (json!(key.tags), properties))
    }

    fn resource(
        &self,
        vault: &KeyVaultRef,
        id: &KeyVersionUri,
        versioned: bool,
        (tags, properties): (Value, Map<String, Value>),
    ) -> Value {
        let (place, kind) = (&vault.resource, self.holder_type);
        let key = format!("{place}/keys/{}", id.key);
        let (id, name, kind) = if versioned {
            let version = id.version.to_string();
            (format!("{key}/versions/{version}"), version, format!("{kind}/keys/versions"))
        } else {
            (key, id.key.to_string(), format!("{kind}/keys"))
        };
        json!({
            "id": id,
            "name": name,
            "type": kind,
            "location": vault.location,
            "tags": tags,
            "properties": properties,
        })
    }
}

/// What a body may say of a key that is to be made.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    kty: Option<String>,
    key_ops: Option<Vec<String>>,
    key_size: Option<u32>,
    curve_name: Option<String>,
    attributes: WantedAttributes,
    rotation_policy: Option<RotationPolicy>,
    #[serde(rename = "release_policy")]
    release_policy: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WantedAttributes {
    #[serde(deserialize_with = "flag")]
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
    #[serde(deserialize_with = "flag")]
    exportable: Option<bool>,
}

/// The key and rotation policy that a body asks for.
fn wanted(body: &Value, vault: &KeyVaultRef) -> Result<(NewKey, Option<RotationPolicy>), Refusal> {
    let properties = body.get("properties").filter(|properties| properties.is_object());
    let properties = properties.ok_or_else(|| Refusal::bad_request("properties is missing"))?;
    let wanted = Wanted::deserialize(properties)
        .map_err(|error| Refusal::bad_request(format!("properties: {error}")))?;
    let uses = wanted.key_ops.map(|all| {
        let one = |word: String| if word == RELEASE { "export".to_owned() } else { word };
        all.into_iter().map(one).collect::<BTreeSet<String>>()
    });
    let attributes = wanted.attributes;
    let same = json!({
        "kty": wanted.kty,
        "key_ops": uses,
        "key_size": wanted.key_size,
        "crv": wanted.curve_name,
        "attributes": {
            "enabled": attributes.enabled,
            "nbf": attributes.nbf,
            "exp": attributes.exp,
            "exportable": attributes.exportable,
        },
        "release_policy": wanted.release_policy,
        "tags": body.get("tags"),
    });
    Ok((data_plane::new_key(&same, vault)?, wanted.rotation_policy))
}

fn attributes(own: &KeyAttributes, vault: &KeyVaultRef) -> Value {
    let mut all = data_plane::shared_attributes(own, vault);
    all.insert("exportable".into(), own.exportable.into());
    Value::Object(all)
}

/// ARM writes the actions in lower case.
fn rotation_policy(policy: &RotationPolicy) -> Value {
    let mut shown = json!(policy);
    let actions = shown.get_mut("lifetimeActions").and_then(Value::as_array_mut);
    for action in actions.into_iter().flatten() {
        if let Some(Value::String(word)) = action.pointer_mut("/action/type") {
            word.make_ascii_lowercase();
        }
    }
    shown
}

fn bad_name(error: custody_names::InvalidName) -> Refusal {
    Refusal::new(400, "InvalidResourceId", error.to_string())
}

fn unexpected() -> Refusal {
    Refusal::bug("the key vault answered something else than was asked")
}
