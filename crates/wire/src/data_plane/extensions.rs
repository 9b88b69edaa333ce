//! What Key Vault does not have, under an api-version of its own.

use custody_key_vault::{KeyAnswer, KeyOperation, Page, RewrapItem};
use custody_names::{KeyUri, KeyVersion};
use custody_resources::Refusal;
use custody_worker::overview;
use serde_json::Value;

use super::{Answered, Ask, Fault, OWN_API_VERSION, Reply, bad_parameter, body, cryptography};

/// `{"alg", "items": [{"version" or "kid", "value"}]}`
pub(super) fn rewrap(ask: &Ask<'_>) -> Answered {
    require_own_api_version(ask)?;
    let algorithm = cryptography::encryption(ask)?;
    let items = ask.call.body.get("items").and_then(Value::as_array);
    let items = items.ok_or_else(|| bad_parameter("items is missing or no list"))?;
    let items = items.iter().map(|item| rewrap_item(ask, item)).collect::<Result<Vec<_>, _>>()?;
    let operation = KeyOperation::Rewrap { name: ask.name()?, algorithm, items: &items };
    Ok(ask.reply(&ask.ask(&operation)?))
}

/// What would break: the report of `drill revoke`, for whoever may list the key's versions.
pub(super) fn dependants(ask: &Ask<'_>) -> Answered {
    require_own_api_version(ask)?;
    let name = ask.name()?;
    let answer = ask.ask(&KeyOperation::ListVersions { name, page: Page::WHOLE })?;
    let KeyAnswer::Versions { keys, .. } = answer else {
        return Err(Refusal::bug("the key vault gave an answer of another kind").into());
    };
    let key = KeyUri { vault: ask.vault().vault.clone(), key: name.clone(), version: None };
    Ok(Reply::new(200, Some(overview::dependants_of(ask.platform, &key, keys)?)))
}

fn rewrap_item(ask: &Ask<'_>, item: &Value) -> Result<RewrapItem, Fault> {
    let version: KeyVersion = if let Some(version) = item.get("version").and_then(Value::as_str) {
        version.parse()?
    } else {
        let kid = body::text(item, "kid")?;
        let (key, version) = kid.rsplit_once('/').unwrap_or_default();
        let name = ask.name()?.as_str();
        if !key.rsplit('/').next().is_some_and(|key| key.eq_ignore_ascii_case(name)) {
            return Err(bad_parameter("kid is not a version of this key"));
        }
        version.parse()?
    };
    Ok(RewrapItem { version, wrapped: body::binary(item, "value")? })
}

fn require_own_api_version(ask: &Ask<'_>) -> Result<(), Fault> {
    if ask.is_own_api_version() {
        return Ok(());
    }
    Err(bad_parameter(format!("this is custody's own: ask with api-version={OWN_API_VERSION}")))
}
