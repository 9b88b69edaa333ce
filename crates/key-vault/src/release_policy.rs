//! Release policies: to whom an exportable key may be given.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{KeyVaultError, Result};

/// Longest policy, in bytes of its JSON.
pub const RELEASE_POLICY_BYTES_MAX: usize = 10 * 1024;
/// Deepest nesting of `anyOf` and `allOf`.
const DEPTH_MAX: usize = 8;

/// A release policy as its owner wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePolicy {
    /// The kind of `data`; `application/json; charset=utf-8` for all that is known.
    pub content_type: String,
    /// Whether the policy can never be changed.
    pub immutable: bool,
    /// The policy's JSON.
    pub data: String,
}

impl ReleasePolicy {
    /// The policy in these bytes.
    ///
    /// # Errors
    /// [`KeyVaultError::BadParameter`] if it is no policy that could ever be evaluated.
    pub fn new(data: Vec<u8>, content_type: Option<String>, immutable: bool) -> Result<Self> {
        if data.len() > RELEASE_POLICY_BYTES_MAX {
            return Err(bad(&format!("it may have {RELEASE_POLICY_BYTES_MAX} bytes")));
        }
        let data = String::from_utf8(data).map_err(|_| bad("it is no UTF-8"))?;
        let content_type =
            content_type.unwrap_or_else(|| "application/json; charset=utf-8".to_owned());
        let policy = Self { content_type, immutable, data };
        policy.rules().map(|_| policy)
    }

    /// Whether a token with these claims, signed by `authority`, meets the policy.
    pub(crate) fn allows(&self, authority: &str, claims: &Value) -> Result<bool> {
        let own = |rule: &&Authority| same_authority(&rule.authority, authority);
        Ok(self.rules()?.iter().filter(own).any(|rule| rule.condition.holds(claims)))
    }

    fn rules(&self) -> Result<Vec<Authority>> {
        let json: Value = serde_json::from_str(&self.data).map_err(|_| bad("it is no JSON"))?;
        let version = json.get("version").and_then(Value::as_str);
        if version.is_some_and(|version| version != "1.0.0") {
            return Err(bad("its version must be 1.0.0"));
        }
        let entries = json.get("anyOf").and_then(Value::as_array);
        let entries = entries.filter(|entries| !entries.is_empty());
        let entries = entries.ok_or_else(|| bad("anyOf must list at least one authority"))?;
        entries.iter().map(Authority::read).collect()
    }
}

/// Whether two authorities are the same, a slash at the end aside.
pub(crate) fn same_authority(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

struct Authority {
    authority: String,
    condition: Condition,
}

impl Authority {
    fn read(json: &Value) -> Result<Self> {
        let authority = json.get("authority").and_then(Value::as_str);
        let authority = authority
            .filter(|authority| authority.starts_with("https://"))
            .ok_or_else(|| bad("every entry of anyOf needs an https authority"))?;
        Ok(Self { authority: authority.to_owned(), condition: Condition::group(json, 0)? })
    }
}

enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Equals { claim: String, value: Value },
}

impl Condition {
    fn read(json: &Value, depth: usize) -> Result<Self> {
        if depth > DEPTH_MAX {
            return Err(bad("it is nested too deeply"));
        }
        match (json.get("claim").and_then(Value::as_str), json.get("equals")) {
            (Some(claim), Some(value)) if !value.is_object() && !value.is_array() => {
                Ok(Self::Equals { claim: claim.to_owned(), value: value.clone() })
            }
            (None, None) => Self::group(json, depth),
            _ => Err(bad("a condition has a claim and the plain value it equals")),
        }
    }

    fn group(json: &Value, depth: usize) -> Result<Self> {
        let parts = |name: &str| {
            json.get(name).map(|parts| {
                let parts = parts.as_array().filter(|parts| !parts.is_empty());
                let parts = parts.ok_or_else(|| bad("anyOf and allOf list conditions"))?;
                parts.iter().map(|part| Self::read(part, depth + 1)).collect::<Result<Vec<_>>>()
            })
        };
        match (parts("allOf"), parts("anyOf")) {
            (Some(all), None) => all.map(Self::All),
            (None, Some(any)) => any.map(Self::Any),
            _ => Err(bad("a group of conditions has either allOf or anyOf")),
        }
    }

    fn holds(&self, claims: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(claims)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(claims)),
            Self::Equals { claim, value } => {
                find(claims, claim).is_some_and(|found| found == value)
            }
        }
    }
}

/// A claim by its name; dots lead into objects unless a claim has the whole name.
fn find<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(at, _)| {
        let (head, tail) = (name.get(..at)?, name.get(at + 1..)?);
        find(claims.get(head).filter(|inner| inner.is_object())?, tail)
    })
}

fn bad(reason: &str) -> KeyVaultError {
    KeyVaultError::BadParameter(format!("release_policy is not valid: {reason}"))
}
