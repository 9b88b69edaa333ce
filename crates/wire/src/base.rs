//! Hosts: which surface a request is for, and under which addresses its answers speak of things.

use std::fmt;

use custody_resources::Hosts;

/// The suffix that canonical URIs are written with.
pub const CANONICAL_SUFFIX: &str = "custody.localhost";
/// The port that https URIs leave out.
const HTTPS_PORT: u16 = 443;
/// Names by which the machine itself may be called; they mean the main host.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the server is reached by: every URI in an answer is written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The main host; key vaults stand below it.
    pub suffix: String,
    /// The port, unless it is 443.
    pub port: Option<u16>,
}

/// Which host a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// ARM, tokens, Graph, metadata, health and metrics.
    Main,
    /// The key vault of this name.
    KeyVault(String),
    /// The managed HSM of this name.
    ManagedHsm(String),
}

impl Base {
    /// The base of requests from the same process.
    pub fn canonical() -> Self {
        Self { suffix: CANONICAL_SUFFIX.to_owned(), port: None }
    }

    /// A base; port 443 is left out.
    pub fn new(suffix: impl Into<String>, port: u16) -> Self {
        Self { suffix: suffix.into(), port: Some(port).filter(|port| *port != HTTPS_PORT) }
    }

    /// The main host's URI, without a slash at its end.
    pub fn main(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// A key vault's URI, without a slash at its end.
    pub fn key_vault(&self, name: &dyn fmt::Display) -> String {
        format!("https://{name}.vault.{}", self.authority())
    }

    /// A managed HSM's URI, without a slash at its end.
    pub fn managed_hsm(&self, name: &dyn fmt::Display) -> String {
        format!("https://{name}.managedhsm.{}", self.authority())
    }

    /// What tokens for key vaults are issued for: the parent domain of all of them.
    pub fn key_vaults(&self) -> String {
        format!("https://vault.{}", self.authority())
    }

    /// What tokens for managed HSMs are issued for.
    pub fn managed_hsms(&self) -> String {
        format!("https://managedhsm.{}", self.authority())
    }

    /// The domains of key vaults and managed HSMs, as the platform is told them.
    pub(crate) fn hosts(&self) -> Hosts {
        Hosts {
            key_vaults: format!("vault.{}", self.authority()),
            managed_hsms: format!("managedhsm.{}", self.authority()),
        }
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.suffix),
            None => self.suffix.clone(),
        }
    }

    /// Finds what host `authority` names below this suffix, and the base with the port it names.
    /// The case of the host does not matter, its port need not be the listener's: a proxy or a
    /// container may map it.
    pub(crate) fn locate(&self, authority: &str) -> Option<(HostKind, Self)> {
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let base = Self::new(self.suffix.clone(), port.unwrap_or(HTTPS_PORT));
        if host == self.suffix || OWN_NAMES.contains(&host.as_str()) {
            return Some((HostKind::Main, base));
        }
        let below = host.strip_suffix(self.suffix.as_str())?.strip_suffix('.')?;
        let (name, service) = below.split_once('.')?;
        match service {
            "vault" if !name.is_empty() => Some((HostKind::KeyVault(name.to_owned()), base)),
            "managedhsm" if !name.is_empty() => Some((HostKind::ManagedHsm(name.to_owned()), base)),
            _ => None,
        }
    }
}

/// Parts host and port; none if the port is no number.
pub(crate) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':').filter(|at| *at > bracket) {
        Some(at) => {
            let (host, port) = authority.split_at(at);
            Some((host, Some(port.get(1..)?.parse().ok()?)))
        }
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let own = Base::new("custody.localhost", 8443);
        let check = |authority: &str, expected: Option<(HostKind, Option<u16>)>| {
            let found = own.locate(authority).map(|(kind, base)| (kind, base.port));
            assert_eq!(found, expected, "{authority}");
        };
        let vault = |name: &str| HostKind::KeyVault(name.to_owned());
        check("custody.localhost:8443", Some((HostKind::Main, Some(8443))));
        check("CUSTODY.localhost", Some((HostKind::Main, None)));
        check("custody.localhost:443", Some((HostKind::Main, None)));
        check("127.0.0.1:9000", Some((HostKind::Main, Some(9000))));
        check("[::1]:9000", Some((HostKind::Main, Some(9000))));
        check("[::1]", Some((HostKind::Main, None)));
        check("KV1.Vault.custody.localhost:8443", Some((vault("kv1"), Some(8443))));
        check("h.managedhsm.custody.localhost", Some((HostKind::ManagedHsm("h".to_owned()), None)));
        for authority in [
            "vault.custody.localhost",
            ".vault.custody.localhost",
            "a.b.vault.custody.localhost",
            "kv1.vault.azure.net",
            "evilcustody.localhost",
            "other.custody.localhost",
            "custody.localhost:x",
            "custody.localhost:99999",
            "",
        ] {
            check(authority, None);
        }
    }

    #[test]
    fn uris() {
        let base = Base::new("custody.localhost", 8443);
        assert_eq!(base.main(), "https://custody.localhost:8443");
        assert_eq!(base.key_vault(&"kv1"), "https://kv1.vault.custody.localhost:8443");
        assert_eq!(base.managed_hsm(&"h"), "https://h.managedhsm.custody.localhost:8443");
        assert_eq!(base.key_vaults(), "https://vault.custody.localhost:8443");
        assert_eq!(Base::canonical().managed_hsms(), "https://managedhsm.custody.localhost");
        assert_eq!(Base::new("x.example", 443).main(), "https://x.example");
    }
}
