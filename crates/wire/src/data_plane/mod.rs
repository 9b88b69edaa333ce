//! Key Vault's data plane: one file per group of operations. Its error shape is its own
//! (`error.innererror`), its binary values are base64url, its times whole seconds.

mod backups;
mod body;
mod cryptography;
mod deleted_keys;
mod extensions;
mod keys;
mod release;
mod render;
mod rotation;
mod routes;

use std::sync::Arc;

use custody_access::Principal;
use custody_directory::principal_of;
use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyVaultError, KeyVaultRef, NewKey, RETRY_AFTER_SECONDS,
    RequestContext,
};
use custody_names::{InvalidName, KeyName, KeyUri, KeyVaultName, KeyVersion};
use custody_resources::Refusal;
use custody_worker::{KeyVaultFacts, Platform, fault, overview};
use http::{HeaderValue, Response, header};
use serde_json::Value;

pub(crate) use self::render::{Places, release_policy, shared_attributes};
use crate::base::HostKind;
use crate::reply::{self, Body};
use crate::server::Call;

/// What is said on disabling or deleting a key: how many vaults hang on it.
const DEPENDANTS_HEADER: &str = "x-custody-dependants";
/// What is said on purging a key: the recovery kits that still open it.
const KITS_HEADER: &str = "x-custody-recovery-kits";
/// Where a key vault lies.
pub(crate) const REGION_HEADER: &str = "x-ms-keyvault-region";
/// The api-version of what Key Vault does not have.
const OWN_API_VERSION: &str = "custody-1";

/// Answers one request to the key vault or managed HSM `name`.
pub(crate) fn answer(platform: &Arc<Platform>, name: &str, call: &Call<'_>) -> Response<Body> {
    let mut region = None;
    let mut response = match try_answer(platform, name, call, &mut region) {
        Ok(reply) => reply.into_response(),
        Err(Fault::Key(error)) => key_error(&error, told(&error, name, call)),
        Err(Fault::Other(refusal)) => reply::refusal(&refusal),
    };
    if let Some(region) = region.and_then(|region| HeaderValue::from_str(&region).ok()) {
        response.headers_mut().insert(REGION_HEADER, region);
    }
    response
}

/// `region` becomes the place of the key vault, where it is found.
fn try_answer(
    platform: &Arc<Platform>,
    name: &str,
    call: &Call<'_>,
    region: &mut Option<String>,
) -> Answered {
    let name: KeyVaultName = name.parse()?;
    check_api_version(call)?;
    let (handler, target) = routes::find(call)?;
    let facts = match call.host {
        HostKind::ManagedHsm(_) => platform.managed_hsm(&name)?,
        _ => platform.key_vault(&name, target.name.as_ref())?,
    };
    let facts = facts.ok_or(KeyVaultError::VaultNotFound(name))?;
    *region = Some(facts.vault.location.clone());
    let caller = principal_of(&call.caller);
    handler(&Ask { platform, call, facts, caller, target })
}

/// One request on its way to the keys.
struct Ask<'a> {
    platform: &'a Arc<Platform>,
    call: &'a Call<'a>,
    facts: Arc<KeyVaultFacts>,
    caller: Principal,
    target: Target,
}

/// What a path names.
#[derive(Default)]
struct Target {
    name: Option<KeyName>,
    version: Option<KeyVersion>,
}

impl Ask<'_> {
    /// Asks the key vault as the caller; the answer is on the ledger when this returns.
    fn ask(&self, operation: &KeyOperation<'_>) -> Result<KeyAnswer, Fault> {
        self.ask_counting(operation, 0)
    }

    fn ask_counting(
        &self,
        operation: &KeyOperation<'_>,
        dependants: usize,
    ) -> Result<KeyAnswer, Fault> {
        let context = RequestContext { dependants, ..context(self.platform, self.call) };
        let (vault, grants) = (&self.facts.vault, &self.facts.grants);
        let keys = &self.platform.key_vaults;
        Ok(keys.perform(&self.caller, vault, grants, operation, &context)?)
    }

    /// Asks, and says how many vaults hang on the key if it goes out of use.
    fn ask_with_warning(&self, operation: &KeyOperation<'_>) -> Answered {
        if !operation.takes_out_of_use() {
            return Ok(self.reply(&self.ask(operation)?));
        }
        let key = KeyUri {
            vault: self.facts.vault.vault.clone(),
            key: self.name()?.clone(),
            version: self.target.version.clone(),
        };
        let dependants = overview::dependant_count(self.platform, &key)?;
        let mut reply = self.reply(&self.ask_counting(operation, dependants)?);
        if dependants > 0 {
            reply.headers.push((DEPENDANTS_HEADER, dependants.to_string()));
        }
        Ok(reply)
    }

    fn reply(&self, answer: &KeyAnswer) -> Reply {
        let mut reply = Reply::new(answer.status(), render::answer(answer, &self.places()));
        if let (KeyAnswer::Key(key), true) = (answer, self.is_own_api_version()) {
            render::add_floor(reply.body.as_mut(), key);
        }
        if let KeyAnswer::Purged { kits } = answer
            && !kits.is_empty()
        {
            let kits: Vec<String> = kits.iter().map(|kit| kit.id.to_string()).collect();
            reply.headers.push((KITS_HEADER, kits.join(",")));
        }
        reply
    }

    /// What the answer's URIs are written with.
    fn places(&self) -> Places<'_> {
        Places::of(self.vault(), &self.call.base)
    }

    fn vault(&self) -> &KeyVaultRef {
        &self.facts.vault
    }

    /// The key that the path names; the route sees to it that it names one.
    fn name(&self) -> Result<&KeyName, Fault> {
        let name = self.target.name.as_ref();
        name.ok_or_else(|| Refusal::bug("this path names no key").into())
    }

    fn version(&self) -> Option<&KeyVersion> {
        self.target.version.as_ref()
    }

    fn is_own_api_version(&self) -> bool {
        self.call.parameter("api-version") == Some(OWN_API_VERSION)
    }
}

/// What a body of `create` asks for, as its kind of host holds it.
pub(crate) fn new_key(body: &Value, vault: &KeyVaultRef) -> Result<NewKey, Refusal> {
    match body::new_key(body) {
        Ok(key) => Ok(settled(key, vault)),
        Err(Fault::Key(error)) => Err(fault::of_key_vault(&error)),
        Err(Fault::Other(refusal)) => Err(refusal),
    }
}

/// What a request from outside brings along. Nothing in it makes a caller a trusted service.
pub(crate) fn context(platform: &Platform, call: &Call<'_>) -> RequestContext {
    RequestContext {
        begun: call.begun,
        client_address: call.origin,
        client_info: call.user_agent.clone(),
        api_version: call.parameter("api-version").filter(is_version).map(str::to_owned),
        hosts: call.base.hosts(),
        ..RequestContext::begun(platform.clock.as_ref(), call.correlation)
    }
}

/// A new key as its kind of host holds it.
fn settled(mut key: NewKey, vault: &KeyVaultRef) -> NewKey {
    key.hsm |= vault.managed_hsm;
    key
}

/// What goes back.
struct Reply {
    status: u16,
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    fn new(status: u16, body: Option<Value>) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    fn into_response(self) -> Response<Body> {
        let mut response = reply::json(self.status, self.body.as_ref());
        for (name, text) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

type Answered = Result<Reply, Fault>;

enum Fault {
    Key(KeyVaultError),
    Other(Refusal),
}

impl From<KeyVaultError> for Fault {
    fn from(error: KeyVaultError) -> Self {
        Self::Key(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal)
    }
}

impl From<InvalidName> for Fault {
    fn from(error: InvalidName) -> Self {
        bad_parameter(error.to_string())
    }
}

fn bad_parameter(text: impl Into<String>) -> Fault {
    KeyVaultError::BadParameter(text.into()).into()
}

/// Any version of Key Vault's API is served alike, stable or preview; none at all is not one.
fn check_api_version(call: &Call<'_>) -> Result<(), Fault> {
    let version = call
        .parameter("api-version")
        .ok_or_else(|| bad_parameter("api-version must be specified"))?;
    if is_version(&version) {
        return Ok(());
    }
    Err(bad_parameter("api-version is not one of Key Vault's, such as 7.6 or 2025-07-01"))
}

/// `7.6`, `7.6-preview.2`, `2025-07-01` and `2026-01-01-preview` for example. What is no version
/// never comes into a record.
fn is_version(version: &&str) -> bool {
    let numbers = |text: &str, separator: char, count: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let is_number =
            |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        parts.len() == count && parts.iter().all(is_number)
    };
    let (stable, preview) = version.split_once("-preview").unwrap_or((version, ""));
    let preview =
        preview.is_empty() || preview.strip_prefix('.').is_some_and(|n| numbers(n, '.', 1));
    *version == OWN_API_VERSION || (preview && (numbers(stable, '.', 2) || numbers(stable, '-', 3)))
}

/// What an error says, with the address that the key vault or managed HSM was reached by.
fn told(error: &KeyVaultError, name: &str, call: &Call<'_>) -> String {
    let text = error.to_string();
    let Ok(name) = name.parse::<KeyVaultName>() else { return text };
    let address = match call.host {
        HostKind::ManagedHsm(_) => call.base.managed_hsm(&name),
        _ => call.base.key_vault(&name),
    };
    text.replace(&name.uri(), &address)
}

fn key_error(error: &KeyVaultError, message: String) -> Response<Body> {
    let mut response = reply::error(error.answer().status, render::error_fields(error, message));
    if matches!(error, KeyVaultError::Throttled) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    response
}
