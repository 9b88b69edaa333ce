//! From method and path to what is asked of the engine.
//!
//! ARM identifiers are case-insensitive and come with doubled slashes and percent escapes; they
//! are decoded and made canonical here, before anything is decided on them.

use custody_names::{Location, ResourceId, ResourceType};
use custody_resources::{Refusal, Registry, Verb};
use http::Method;

/// What an ARM path asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Address {
    /// The resource; for a list, the place to list below.
    pub(crate) id: ResourceId,
    /// For a list: the type listed.
    pub(crate) listed: Option<String>,
    /// What is asked.
    pub(crate) verb: Verb,
}

/// Paths over which a type is listed although its resources stand elsewhere.
const LISTED_ELSEWHERE: &[(&str, &str)] = &[
    ("microsoft.keyvault/deletedvaults", "Microsoft.KeyVault/locations/deletedVaults"),
    ("microsoft.keyvault/deletedmanagedhsms", "Microsoft.KeyVault/locations/deletedManagedHSMs"),
];

/// Words that ARM itself has in paths.
const FIXED_WORDS: [&str; 3] = ["subscriptions", "resourceGroups", "providers"];

/// Reads method and (decoded) path.
pub(crate) fn parse(method: &Method, path: &str) -> Result<Address, Refusal> {
    let segments = segments(path);
    match *method {
        Method::GET | Method::HEAD => read_or_list(path, &segments),
        Method::PUT => match access_policy_verb(&segments) {
            Some((id, action)) => Ok(Address { id: id?, listed: None, verb: Verb::Action(action) }),
            None => Ok(Address { id: parse_id(path)?, listed: None, verb: Verb::Put }),
        },
        Method::PATCH => Ok(Address { id: parse_id(path)?, listed: None, verb: Verb::Patch }),
        Method::DELETE => Ok(Address { id: parse_id(path)?, listed: None, verb: Verb::Delete }),
        Method::POST => {
            let Some((action, owner)) = segments.split_last() else { return Err(bad_path(path)) };
            let id = parse_id(&joined(owner))?;
            Ok(Address { id, listed: None, verb: Verb::Action((*action).to_owned()) })
        }
        _ => Err(Refusal::new(405, "MethodNotAllowed", format!("{method} is not served"))),
    }
}

fn read_or_list(path: &str, segments: &[&str]) -> Result<Address, Refusal> {
    if let Ok(id) = path.parse::<ResourceId>() {
        return Ok(Address { id, listed: None, verb: Verb::Read });
    }
    let Some((last, upper)) = segments.split_last() else { return Err(bad_path(path)) };
    let (place, listed) = match upper {
        [place @ .., providers, namespace] if providers.eq_ignore_ascii_case("providers") => {
            (joined(place), format!("{namespace}/{last}"))
        }
        _ => {
            let id = parse_id(&joined(upper))?;
            let listed = format!("{}/{last}", id.resource_type());
            let listed = match listed.strip_prefix("Microsoft.Resources/tenants/") {
                Some(top) => format!("Microsoft.Resources/{top}"),
                None => listed,
            };
            (id.to_string(), listed)
        }
    };
    listed.parse::<ResourceType>().map_err(|_| bad_path(path))?;
    let elsewhere = LISTED_ELSEWHERE.iter().find(|(over, _)| listed.eq_ignore_ascii_case(over));
    let listed = elsewhere.map_or(listed, |(_, kind)| (*kind).to_owned());
    Ok(Address { id: parse_id(&place)?, listed: Some(listed), verb: Verb::List })
}

/// `PUT …/vaults/N/accessPolicies/{add|replace|remove}` is a verb in the shape of a child.
fn access_policy_verb(segments: &[&str]) -> Option<(Result<ResourceId, Refusal>, String)> {
    match segments {
        [vault @ .., policies, verb] if policies.eq_ignore_ascii_case("accessPolicies") => {
            let action = format!("accessPolicies/{}", verb.to_ascii_lowercase());
            Some((parse_id(&joined(vault)), action))
        }
        _ => None,
    }
}

fn joined(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

fn parse_id(path: &str) -> Result<ResourceId, Refusal> {
    path.parse().map_err(|error: custody_names::InvalidName| {
        Refusal::new(400, "InvalidResourceId", error.to_string())
    })
}

fn bad_path(path: &str) -> Refusal {
    let shown: String = path.chars().take(200).collect();
    Refusal::new(404, "InvalidPath", format!("no resource has the path {shown:?}"))
}

/// The identifier with the words of ARM and the types spelled as the server spells them, whatever
/// case they came in. Names stay as they are.
pub(crate) fn spelled(id: &ResourceId, registry: &Registry) -> ResourceId {
    let mut spelled: Vec<String> = Vec::new();
    let mut words = id.as_str().split('/').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let fixed = FIXED_WORDS.iter().find(|fixed| fixed.eq_ignore_ascii_case(word));
        if fixed != Some(&"providers") {
            spelled.push(fixed.map_or(word, |fixed| *fixed).to_owned());
            spelled.extend(words.next().map(str::to_owned));
            continue;
        }
        spelled.push("providers".to_owned());
        let mut kind = words.next().unwrap_or_default().to_owned();
        let at = spelled.len();
        spelled.push(kind.clone());
        while let Some(word) = words.next_if(|word| !word.eq_ignore_ascii_case("providers")) {
            kind = format!("{kind}/{word}");
            spelled.push(word.to_owned());
            spelled.extend(words.next().map(str::to_owned));
            let Some(known) = registry.find(&kind) else { continue };
            // The namespace, then every second word is a type.
            let types = known.resource_type().split('/');
            let places = std::iter::once(at).chain((at + 1..).step_by(2));
            for (place, word) in places.zip(types) {
                if let Some(slot) = spelled.get_mut(place) {
                    word.clone_into(slot);
                }
            }
        }
    }
    format!("/{}", spelled.join("/")).parse().unwrap_or_else(|_| id.clone())
}

/// A path with its location in the normal form: clients write `locations/West Europe/…` as well.
pub(crate) fn in_normal_places(path: String) -> String {
    if !path.contains(' ') {
        return path;
    }
    let mut after_locations = false;
    let words = path.split('/').map(|word| {
        let is_place =
            std::mem::replace(&mut after_locations, word.eq_ignore_ascii_case("locations"));
        let place =
            if is_place && word.contains(' ') { word.parse::<Location>().ok() } else { None };
        place.map_or_else(|| word.to_owned(), |place| place.to_string())
    });
    words.collect::<Vec<_>>().join("/")
}

/// The words of a path: clients double slashes and leave versions empty (`/keys/k1//unwrapkey`).
pub(crate) fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Decodes percent escapes; refuses what is no UTF-8 or hides a separator or control character.
pub(crate) fn decode_path(raw: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) if value >= 0x20 && value != b'/' && value != 0x7f => bytes.push(value),
            _ => return Err(bad_path(raw)),
        }
        rest = tail.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| bad_path(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    #[test]
    fn addresses() {
        let check = |method: Method, path: String, expected: (&str, Option<&str>, Verb)| {
            let got = parse(&method, &path).unwrap();
            let want = Address {
                id: expected.0.parse().unwrap(),
                listed: expected.1.map(str::to_owned),
                verb: expected.2,
            };
            assert_eq!(got, want, "{method} {path}");
        };
        let group = format!("{S}/resourceGroups/g");
        let vault = format!("{group}/providers/Microsoft.KeyVault/vaults/kv1");
        let groups = "Microsoft.Resources/subscriptions/resourceGroups";
        check(Method::GET, vault.clone(), (&vault, None, Verb::Read));
        check(
            Method::GET,
            "/subscriptions".into(),
            ("/", Some("Microsoft.Resources/subscriptions"), Verb::List),
        );
        check(Method::GET, format!("{S}/resourceGroups"), (S, Some(groups), Verb::List));
        check(
            Method::GET,
            format!("{group}/providers/Microsoft.KeyVault/vaults"),
            (&group, Some("Microsoft.KeyVault/vaults"), Verb::List),
        );
        check(
            Method::GET,
            format!("{S}/providers/Microsoft.KeyVault/deletedVaults"),
            (S, Some("Microsoft.KeyVault/locations/deletedVaults"), Verb::List),
        );
        let backup = format!("{group}/providers/Microsoft.DataProtection/backupVaults/v");
        check(
            Method::GET,
            format!("{backup}/backupInstances"),
            (&backup, Some("Microsoft.DataProtection/backupVaults/backupInstances"), Verb::List),
        );
        let action = |name: &str| Verb::Action(name.to_owned());
        check(Method::POST, format!("{backup}/prune"), (&backup, None, action("prune")));
        check(
            Method::PUT,
            format!("{vault}/accessPolicies/Add"),
            (&vault, None, action("accessPolicies/add")),
        );
        check(Method::PUT, format!("{S}//resourceGroups/g/"), (&group, None, Verb::Put));
    }

    #[test]
    fn words_are_spelled_as_the_server_spells_them() {
        let registry = Registry::new()
            .with::<custody_key_vault::KeyVaultKind>()
            .with::<custody_directory::RoleAssignmentKind>();
        let check = |path: String, expected: String| {
            assert_eq!(spelled(&path.parse().unwrap(), &registry).as_str(), expected);
        };
        check(format!("{S}/resourcegroups/G"), format!("{S}/resourceGroups/G"));
        check(
            format!(
                "{}/RESOURCEGROUPS/g/Providers/microsoft.keyvault/VAULTS/Kv1",
                S.to_uppercase()
            ),
            format!(
                "/subscriptions/{}/resourceGroups/g/providers/Microsoft.KeyVault/vaults/Kv1",
                S.to_uppercase().rsplit('/').next().unwrap()
            ),
        );
        check(
            format!(
                "{S}/providers/microsoft.keyvault/vaults/k/keys/K/providers/microsoft.authorization/roleassignments/r"
            ),
            format!(
                "{S}/providers/Microsoft.KeyVault/vaults/k/keys/K/providers/Microsoft.Authorization/roleAssignments/r"
            ),
        );
        check(format!("{S}/providers/x.y/ThingS/t"), format!("{S}/providers/x.y/ThingS/t"));
    }

    #[test]
    fn hidden_separators_are_refused() {
        assert_eq!(decode_path("/a%20b").unwrap(), "/a b");
        for raw in ["/a%2fb", "/a%00", "/a%0a", "/a%", "/a%zz", "/%ff"] {
            assert!(decode_path(raw).is_err(), "{raw}");
        }
    }
}
