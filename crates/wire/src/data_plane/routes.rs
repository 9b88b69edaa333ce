//! Which path and method ask for what. Case does not distinguish; a version that is left out may
//! come as an empty segment (`/keys/k1/`, `/keys/k1//unwrapkey`).

use custody_key_vault::KeyVaultError;
use custody_names::KeyName;
use custody_resources::Refusal;
use http::Method;

use super::{
    Answered, Ask, Fault, Target, backups, cryptography, deleted_keys, extensions, keys, release,
    rotation,
};
use crate::server::Call;

pub(super) type Handler = fn(&Ask<'_>) -> Answered;

/// Method, path and who answers; `{v}` may be absent.
const ROUTES: &[(Method, &str, Handler)] = &[
    (Method::GET, "keys", keys::list),
    (Method::POST, "keys/restore", backups::restore),
    (Method::POST, "keys/{n}/create", keys::create),
    (Method::POST, "keys/{n}/backup", backups::backup),
    (Method::POST, "keys/{n}/rotate", rotation::rotate),
    (Method::POST, "keys/{n}/rewrap", extensions::rewrap),
    (Method::GET, "keys/{n}/dependants", extensions::dependants),
    (Method::GET, "keys/{n}/versions", keys::versions),
    (Method::GET, "keys/{n}/rotationpolicy", rotation::policy),
    (Method::PUT, "keys/{n}/rotationpolicy", rotation::set_policy),
    (Method::POST, "keys/{n}/{v}/encrypt", cryptography::encrypt),
    (Method::POST, "keys/{n}/{v}/decrypt", cryptography::decrypt),
    (Method::POST, "keys/{n}/{v}/wrapkey", cryptography::wrap),
    (Method::POST, "keys/{n}/{v}/unwrapkey", cryptography::unwrap),
    (Method::POST, "keys/{n}/{v}/sign", cryptography::sign),
    (Method::POST, "keys/{n}/{v}/verify", cryptography::verify),
    (Method::POST, "keys/{n}/{v}/release", release::release),
    (Method::POST, "keys/{n}/{v}/securewrapkey", release::secure_wrap),
    (Method::POST, "keys/{n}/{v}/secureunwrapkey", release::secure_wrap),
    (Method::GET, "keys/{n}/{v}/attestation", release::attestation),
    (Method::PUT, "keys/{n}", keys::import),
    (Method::DELETE, "keys/{n}", keys::delete),
    (Method::GET, "keys/{n}/{v}", keys::show),
    (Method::PATCH, "keys/{n}/{v}", keys::update),
    (Method::GET, "deletedkeys", deleted_keys::list),
    (Method::GET, "deletedkeys/{n}", deleted_keys::show),
    (Method::DELETE, "deletedkeys/{n}", deleted_keys::purge),
    (Method::POST, "deletedkeys/{n}/recover", deleted_keys::recover),
    (Method::POST, "rng", cryptography::random),
];

/// Who answers the call, and what its path names.
pub(super) fn find(call: &Call<'_>) -> Result<(Handler, Target), Fault> {
    let segments = crate::address::segments(&call.path);
    let mut other_method = false;
    for (method, path, handler) in ROUTES {
        let Some((name, version)) = matched(path, &segments) else { continue };
        if method != call.method {
            other_method = true;
            continue;
        }
        let name = name.map(str::parse::<KeyName>).transpose()?;
        return Ok((*handler, Target { name, version: version.map(str::parse).transpose()? }));
    }
    if other_method {
        let text = format!("{} is not possible on {}", call.method, call.path);
        return Err(Refusal::new(405, "MethodNotAllowed", text).into());
    }
    Err(not_served(call))
}

/// The name and version in a path that has this form.
fn matched<'s>(form: &str, segments: &[&'s str]) -> Option<(Option<&'s str>, Option<&'s str>)> {
    let mut parts: Vec<&str> = form.split('/').collect();
    if parts.len() == segments.len() + 1 {
        parts.retain(|part| *part != "{v}");
    }
    if parts.len() != segments.len() {
        return None;
    }
    let (mut name, mut version) = (None, None);
    for (part, segment) in parts.iter().zip(segments) {
        match *part {
            "{n}" => name = Some(*segment),
            "{v}" => version = Some(*segment),
            word if word.eq_ignore_ascii_case(segment) => {}
            _ => return None,
        }
    }
    Some((name, version))
}

fn not_served(call: &Call<'_>) -> Fault {
    let first = call.path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
    if ["secrets", "deletedsecrets", "certificates", "deletedcertificates", "storage"]
        .iter()
        .any(|kind| kind.eq_ignore_ascii_case(first))
    {
        let text = "secrets and certificates are not kept here: this key vault holds keys only";
        return Refusal::new(404, "NotFound", text).into();
    }
    let text = format!("{} {} is not served", call.method, call.path);
    Refusal::new(404, "NotFound", text).into()
}

/// The error for what Key Vault has and custody has not.
pub(super) fn not_supported(text: &'static str) -> Fault {
    KeyVaultError::NotSupported(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_forms() {
        let check = |form: &str, path: &str, expected: Option<(Option<&str>, Option<&str>)>| {
            let segments = crate::address::segments(path);
            assert_eq!(matched(form, &segments), expected, "{form} {path}");
        };
        check("keys", "/keys/", Some((None, None)));
        check("keys/{n}/{v}", "/keys/k1/", Some((Some("k1"), None)));
        check("keys/{n}/{v}", "/KEYS/K1/abc", Some((Some("K1"), Some("abc"))));
        check("keys/{n}/{v}/unwrapkey", "/keys/k1//unwrapKey", Some((Some("k1"), None)));
        check("keys/{n}/{v}/unwrapkey", "/keys/k1/unwrapkey", Some((Some("k1"), None)));
        check("keys/{n}/{v}/unwrapkey", "/keys/k1/v/UnwrapKey/", Some((Some("k1"), Some("v"))));
        check("keys/{n}/{v}/unwrapkey", "/keys/k1/v/x/unwrapkey", None);
        check("keys/{n}/create", "/keys/k1/rotate", None);
        check("keys", "/deletedkeys", None);
    }

    #[test]
    fn no_route_hides_another() {
        for (place, (method, path, _)) in ROUTES.iter().enumerate() {
            let example = path.replace("{n}", "a-key").replace("{v}", "a-version");
            let segments: Vec<&str> = example.split('/').collect();
            let first = ROUTES
                .iter()
                .position(|(other, form, _)| other == method && matched(form, &segments).is_some());
            assert_eq!(first, Some(place), "{method} {path}");
        }
    }
}
