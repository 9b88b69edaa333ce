//! Keys by name: `https://NAME.vault.SUFFIX/keys/KEY[/VERSION]`, in a managed HSM
//! `https://NAME.managedhsm.SUFFIX/keys/KEY[/VERSION]`. Key vaults and managed HSMs share one name space.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InvalidName;
use crate::label::{label, length, only};

/// The host suffix that canonical key URIs are written with.
const CANONICAL_SUFFIX: &str = "vault.custody.localhost";
/// The same of keys in managed HSMs.
const CANONICAL_HSM_SUFFIX: &str = "managedhsm.custody.localhost";

label!(
/// The name of a key vault: 3–24 letters, digits and single hyphens, beginning with a letter,
/// ending with a letter or digit (Azure's rule); kept in lower case.
KeyVaultName, "key vault name", |text| {
    length(text, 3, 24)?;
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("it must begin with a letter");
    }
    if text.ends_with('-') || text.contains("--") {
        return Err("it may not end with a hyphen or hold two in a row");
    }
    only(&text.to_ascii_lowercase(), |c| c.is_ascii_alphanumeric() || c == '-',
        "only letters, digits and hyphens may stand in it")
});
label!(
/// The name of a key: 1–127 letters, digits and hyphens (`^[0-9a-zA-Z-]+$`).
KeyName, "key name", |text| {
    length(text, 1, 127)?;
    only(text, |c| c.is_ascii_alphanumeric() || c == '-',
        "only letters, digits and hyphens may stand in it")
});
label!(
/// A version of a key: 32 hexadecimal digits, kept in lower case.
KeyVersion, "key version", |text| {
    length(text, 32, 32)?;
    only(&text.to_ascii_lowercase(), |c| c.is_ascii_hexdigit(), "it must be 32 hexadecimal digits")
});

impl KeyVaultName {
    /// The key vault's canonical URI, without a slash at its end.
    pub fn uri(&self) -> String {
        format!("https://{self}.{CANONICAL_SUFFIX}")
    }
}

/// A key, and one version of it if the URI names one (rules 85 and 86: with a version it is
/// pinned, without it follows the newest).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyUri {
    /// The key vault that holds it.
    pub vault: KeyVaultName,
    /// Its name there.
    pub key: KeyName,
    /// The version, or none to follow the newest.
    pub version: Option<KeyVersion>,
}

impl KeyUri {
    /// The same key without a version.
    pub fn versionless(&self) -> Self {
        Self { version: None, ..self.clone() }
    }

    /// The canonical URI of this key in a managed HSM. Inside, the name alone says where it lies.
    pub fn in_managed_hsm(&self) -> String {
        let version = self.version.as_ref().map(|version| format!("/{version}"));
        let version = version.unwrap_or_default();
        format!("https://{}.{CANONICAL_HSM_SUFFIX}/keys/{}{version}", self.vault, self.key)
    }

    /// Whether a key's URI names a managed HSM as its holder.
    pub fn names_managed_hsm(text: &str) -> bool {
        let host = text.split("://").nth(1).unwrap_or_default().split('/').next();
        let suffix = host.and_then(|host| host.split_once('.')).map(|(_, suffix)| suffix);
        suffix.is_some_and(|suffix| strip_prefix_ignore_case(suffix, "managedhsm.").is_some())
    }

    /// One version of this key.
    pub fn at(&self, version: KeyVersion) -> KeyVersionUri {
        KeyVersionUri { vault: self.vault.clone(), key: self.key.clone(), version }
    }
}

/// Exactly one version of one key: what a wrap is recorded under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyVersionUri {
    /// The key vault that holds it.
    pub vault: KeyVaultName,
    /// Its name there.
    pub key: KeyName,
    /// The version.
    pub version: KeyVersion,
}

impl KeyVersionUri {
    /// The key that this is a version of, without the version.
    pub fn versionless(&self) -> KeyUri {
        KeyUri { vault: self.vault.clone(), key: self.key.clone(), version: None }
    }

    /// The same as a [`KeyUri`] that is pinned to this version.
    pub fn pinned(&self) -> KeyUri {
        KeyUri { version: Some(self.version.clone()), ..self.versionless() }
    }
}

impl FromStr for KeyUri {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = |reason| InvalidName::new("key URI", text, reason);
        let rest = strip_prefix_ignore_case(text, "https://")
            .ok_or_else(|| wrong("it must begin with https://"))?;
        let (host, path) =
            rest.split_once('/').ok_or_else(|| wrong("the path /keys/NAME is missing"))?;
        if host.contains('@') || text.contains(['?', '#', '%', '\\']) {
            return Err(wrong("only scheme, host and path may stand in it"));
        }
        let host = match host.split_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            Some(_) => return Err(wrong("what follows the host must be a port")),
            None => host,
        };
        let (vault, suffix) =
            host.split_once('.').ok_or_else(|| wrong("the host must be NAME.vault.SUFFIX"))?;
        let suffix = suffix.to_ascii_lowercase();
        if !suffix.starts_with("vault.") && !suffix.starts_with("managedhsm.") {
            return Err(wrong("the host must be NAME.vault.SUFFIX or NAME.managedhsm.SUFFIX"));
        }
        let mut parts = path.trim_end_matches('/').split('/');
        if !parts.next().is_some_and(|first| first.eq_ignore_ascii_case("keys")) {
            return Err(wrong("the path must be /keys/NAME or /keys/NAME/VERSION"));
        }
        let key = parts.next().ok_or_else(|| wrong("the key's name is missing"))?.parse()?;
        let version = parts.next().map(str::parse).transpose()?;
        if parts.next().is_some() {
            return Err(wrong("the path must be /keys/NAME or /keys/NAME/VERSION"));
        }
        Ok(Self { vault: vault.parse()?, key, version })
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/keys/{}", self.vault.uri(), self.key)?;
        match &self.version {
            Some(version) => write!(f, "/{version}"),
            None => Ok(()),
        }
    }
}

impl FromStr for KeyVersionUri {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let uri: KeyUri = text.parse()?;
        match uri.version {
            Some(version) => Ok(Self { vault: uri.vault, key: uri.key, version }),
            None => Err(InvalidName::new("key version URI", text, "the version is missing")),
        }
    }
}

impl fmt::Display for KeyVersionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pinned().fmt(f)
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.to_string()
            }
        }
    };
}
as_text!(KeyUri);
as_text!(KeyVersionUri);

fn strip_prefix_ignore_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_uris() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = text.parse::<KeyUri>().map(|uri| uri.to_string());
            match (parsed, expected) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.reason.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: got {got:?}, wanted {want:?}"),
            }
        };
        let version = "0123456789abcdef0123456789ABCDEF";
        check(
            "https://kv1.vault.azure.net/keys/k1",
            Ok("https://kv1.vault.custody.localhost/keys/k1"),
        );
        check(
            &format!("HTTPS://KV1.Vault.localhost:8443/keys/k1/{version}"),
            Ok("https://kv1.vault.custody.localhost/keys/k1/0123456789abcdef0123456789abcdef"),
        );
        check(
            "https://hsm1.managedHSM.azure.net/keys/k1",
            Ok("https://hsm1.vault.custody.localhost/keys/k1"),
        );
        check("http://kv1.vault.azure.net/keys/k1", Err("https://"));
        check("https://kv1.dedicated.azure.net/keys/k1", Err("NAME.managedhsm.SUFFIX"));
        check("https://kv1.vault.azure.net", Err("/keys/NAME is missing"));
        check("https://u@kv1.vault.azure.net/keys/k1", Err("only scheme"));
        check("https://169.254.169.254/keys/k1", Err("NAME.vault.SUFFIX"));
        check("https://kv1.vault.azure.net:1.evil.example/keys/k1", Err("must be a port"));
        check("https://kv1.vault.azure.net/secrets/k1", Err("/keys/NAME"));
        check("https://kv1.vault.azure.net/keys/k_1", Err("letters, digits"));
        check("https://kv1.vault.azure.net/keys/k1/abc", Err("too short"));
        check(&format!("https://kv1.vault.azure.net/keys/k1/{version}/x"), Err("/keys/NAME"));
    }

    #[test]
    fn holders_of_keys() {
        let check = |text: &str, is_hsm: bool| {
            assert_eq!(KeyUri::names_managed_hsm(text), is_hsm, "{text}");
        };
        check("https://hsm1.managedhsm.azure.net/keys/k1", true);
        check("HTTPS://hsm1.ManagedHSM.localhost:8443/keys/k1", true);
        check("https://kv1.vault.azure.net/keys/managedhsm.k", false);
        check("https://managedhsm.vault.azure.net/keys/k1", false);
        check("managedhsm.", false);
        let key: KeyUri = "https://hsm1.managedhsm.azure.net/keys/k1".parse().unwrap();
        assert!(KeyUri::names_managed_hsm(&key.in_managed_hsm()));
        assert_eq!(key.in_managed_hsm().parse::<KeyUri>().unwrap(), key);
    }
}
