//! ARM resource identifiers: hierarchical, case-insensitive and case-preserving.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InvalidName, ResourceGroupName, ResourceName, SubscriptionId};

/// Longest identifier accepted, in bytes.
const ID_BYTES_MAX: usize = 4_096;

/// A resource type, `Microsoft.KeyVault/vaults` for example: a namespace and one name a level.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceType(String);

impl ResourceType {
    /// The type as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceType {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |reason| InvalidName::new("resource type", text, reason);
        if text.split('/').count() < 2 {
            return Err(wrong("it must be NAMESPACE/TYPE"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if text.split('/').any(|part| part.is_empty() || !part.chars().all(plain)) {
            return Err(wrong("only letters, digits, dots and hyphens may stand in it"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A place in the ARM tree: the root, a subscription, a resource group or a resource. Also the
/// scope of a role assignment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(String);

impl ResourceId {
    /// The root, `/`: above all subscriptions.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// `/subscriptions/S`.
    pub fn subscription(subscription: SubscriptionId) -> Self {
        Self(format!("/subscriptions/{subscription}"))
    }

    /// `/subscriptions/S/resourceGroups/G`.
    pub fn resource_group(subscription: SubscriptionId, group: &ResourceGroupName) -> Self {
        Self(format!("/subscriptions/{subscription}/resourceGroups/{group}"))
    }

    /// The resource of `kind` (namespace and one type name) called `name` below this place.
    pub fn resource(&self, kind: &ResourceType, name: &ResourceName) -> Self {
        Self(format!("{}/providers/{}/{name}", self.0.trim_end_matches('/'), kind.0))
    }

    /// The child of this resource, `…/KIND/NAME`.
    pub fn child(&self, kind: &str, name: &ResourceName) -> Self {
        Self(format!("{}/{kind}/{name}", self.0))
    }

    /// The identifier as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that equal identifiers share: lower case. What stores use as key.
    pub fn canonical(&self) -> String {
        self.0.to_lowercase()
    }

    /// The place one level up; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let segments: Vec<&str> = self.segments().collect();
        let upper = segments.len().checked_sub(2)?;
        let mut kept = segments.get(..upper)?;
        // "/providers/NAMESPACE" belongs to the type that follows it, not to a place of its own.
        if let [rest @ .., provider, _namespace] = kept
            && provider.eq_ignore_ascii_case("providers")
        {
            kept = rest;
        }
        Some(if kept.is_empty() { Self::root() } else { Self(format!("/{}", kept.join("/"))) })
    }

    /// This place and all above it, nearest first, ending with the root.
    pub fn lineage(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// Whether `other` is this place or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        let (upper, lower) = (self.canonical(), other.canonical());
        upper == "/"
            || lower == upper
            || lower.strip_prefix(&upper).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.segments().last()
    }

    /// The subscription it lies in, if any.
    pub fn subscription_id(&self) -> Option<SubscriptionId> {
        self.after("subscriptions").and_then(|text| text.parse().ok())
    }

    /// The name of the resource group it lies in, if any.
    pub fn resource_group_name(&self) -> Option<&str> {
        self.after("resourceGroups")
    }

    /// Its resource type; subscriptions and groups are `Microsoft.Resources/subscriptions` and
    /// `Microsoft.Resources/subscriptions/resourceGroups`, the root is `Microsoft.Resources/tenants`.
    pub fn resource_type(&self) -> ResourceType {
        let segments: Vec<&str> = self.segments().collect();
        let provider = segments.iter().rposition(|s| s.eq_ignore_ascii_case("providers"));
        let text = match provider.and_then(|at| segments.get(at + 1..)) {
            Some([namespace, rest @ ..]) => {
                let types: Vec<&str> = rest.iter().copied().step_by(2).collect();
                format!("{namespace}/{}", types.join("/"))
            }
            _ => match segments.len() {
                0 => "Microsoft.Resources/tenants".to_owned(),
                2 => "Microsoft.Resources/subscriptions".to_owned(),
                _ => "Microsoft.Resources/subscriptions/resourceGroups".to_owned(),
            },
        };
        ResourceType(text)
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    fn after(&self, word: &str) -> Option<&str> {
        let mut segments = self.segments();
        segments.find(|segment| segment.eq_ignore_ascii_case(word))?;
        segments.next()
    }
}

impl FromStr for ResourceId {
    type Err = InvalidName;

    /// Parses an identifier. Doubled and trailing slashes are dropped; `.` and `..` are refused.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |reason| InvalidName::new("resource id", text, reason);
        if text.len() > ID_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        if !text.starts_with('/') {
            return Err(wrong("it must begin with /"));
        }
        let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        for segment in &segments {
            segment.parse::<ResourceName>().map_err(|error| wrong(error.reason))?;
        }
        check_shape(&segments).map_err(wrong)?;
        Ok(Self(format!("/{}", segments.join("/"))))
    }
}

/// `[/subscriptions/S[/resourceGroups/G]] (/providers/NS/TYPE/NAME[/TYPE/NAME]…)*`
fn check_shape(segments: &[&str]) -> Result<(), &'static str> {
    let mut rest = segments;
    if let [word, subscription, tail @ ..] = rest
        && word.eq_ignore_ascii_case("subscriptions")
    {
        subscription.parse::<SubscriptionId>().map_err(|_| "the subscription is not a GUID")?;
        rest = tail;
        if let [word, group, tail @ ..] = rest
            && word.eq_ignore_ascii_case("resourceGroups")
        {
            group.parse::<ResourceGroupName>().map_err(|error| error.reason)?;
            rest = tail;
        }
    }
    let is_provider = |word: &&str| word.eq_ignore_ascii_case("providers");
    if rest.first().is_some_and(|word| !is_provider(word)) {
        return Err("the path is neither a subscription, a group nor a provider's");
    }
    for (at, block) in rest.split(is_provider).enumerate() {
        // The first block stands before the first "providers" and is empty.
        if at > 0 && (block.len() < 3 || block.len().is_multiple_of(2)) {
            return Err("after /providers/NAMESPACE pairs of TYPE/NAME must follow");
        }
    }
    Ok(())
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! case_insensitive {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.to_lowercase() == other.0.to_lowercase()
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.to_lowercase().hash(state);
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
case_insensitive!(ResourceId);
case_insensitive!(ResourceType);

#[cfg(test)]
mod tests {
    use super::*;

    const S: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    #[test]
    fn ids_parse_with_type_parent_and_name() {
        let check = |text: String, kind: &str, parent: Option<&str>, name: Option<&str>| {
            let id: ResourceId = text.parse().unwrap();
            assert_eq!(id.resource_type().as_str(), kind, "{text}");
            assert_eq!(id.parent().map(|p| p.to_string()).as_deref(), parent, "{text}");
            assert_eq!(id.name(), name, "{text}");
        };
        check("/".into(), "Microsoft.Resources/tenants", None, None);
        check(S.into(), "Microsoft.Resources/subscriptions", Some("/"), S.rsplit('/').next());
        let group = format!("{S}/resourceGroups/g");
        check(
            group.clone(),
            "Microsoft.Resources/subscriptions/resourceGroups",
            Some(S),
            Some("g"),
        );
        let vault = format!("{group}/providers/Microsoft.DataProtection/backupVaults/v");
        check(vault.clone(), "Microsoft.DataProtection/backupVaults", Some(&group), Some("v"));
        check(
            format!("{vault}/backupInstances/i"),
            "Microsoft.DataProtection/backupVaults/backupInstances",
            Some(&vault),
            Some("i"),
        );
        check(
            format!("{vault}/providers/Microsoft.Authorization/roleAssignments/r"),
            "Microsoft.Authorization/roleAssignments",
            Some(&vault),
            Some("r"),
        );
    }

    #[test]
    fn case_does_not_distinguish_and_is_kept() {
        let one: ResourceId = format!("{S}/resourceGroups/Prod").parse().unwrap();
        let two: ResourceId = format!("{S}//RESOURCEGROUPS/prod/").parse().unwrap();
        assert_eq!(one, two);
        assert_eq!(one.resource_group_name(), Some("Prod"));
        assert_eq!(two.resource_group_name(), Some("prod"));
    }

    #[test]
    fn containment_is_by_whole_segments() {
        let group: ResourceId = format!("{S}/resourceGroups/a").parse().unwrap();
        let other: ResourceId = format!("{S}/resourceGroups/ab").parse().unwrap();
        assert!(ResourceId::root().contains(&group));
        assert!(group.contains(&group));
        assert!(!group.contains(&other));
        assert_eq!(group.lineage().count(), 3);
    }

    #[test]
    fn bad_ids_are_refused() {
        for text in [
            "",
            "x",
            "/x",
            "/subscriptions/no-guid",
            "/providers",
            "/providers/A/b",
            "/providers/A/b/..",
            "/providers/A/b/c/d",
            "/providers/A/b/c%2f",
        ] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
