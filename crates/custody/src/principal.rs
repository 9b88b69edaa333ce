//! Who is meant: a principal by object id, by the name of an identity, or `me`.

use custody_names::PrincipalId;
use serde_json::Value;

use crate::commands::identity;
use crate::context::Context;
use crate::error::CliError;

/// The object id of a principal: given as such, as an identity's client id or name, or `me`.
pub(crate) fn resolve(context: &Context<'_>, who: &str) -> Result<String, CliError> {
    if who.eq_ignore_ascii_case("me") {
        return Ok(context.installation()?.administrator.principal_id.clone());
    }
    let identities = identity::all(context, None)?;
    let field = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
    let known = identities.iter().find(|one| {
        ["name", "clientId", "id"]
            .iter()
            .any(|name| field(one, name).is_some_and(|value| value.eq_ignore_ascii_case(who)))
    });
    if let Some(principal) = known.and_then(|one| field(one, "principalId")) {
        return Ok(principal);
    }
    match who.parse::<PrincipalId>() {
        Ok(principal) => Ok(principal.to_string()),
        Err(_) => Err(CliError::NotFound {
            message: format!("{who:?} is neither an object id nor the name of an identity"),
            fix: "custody identity list -o table".to_owned(),
        }),
    }
}
