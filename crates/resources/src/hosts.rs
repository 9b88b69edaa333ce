//! Under which names the platform's data planes are reached.

use custody_names::KeyUri;

/// The domains that whoever asks reaches the data planes by, each with its port where that is not
/// 443. Identifiers inside are free of them (DESIGN §8); only what is shown bears them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// What follows the name of a key vault, `vault.custody.localhost:8443` for example.
    pub key_vaults: String,
    /// What follows the name of a managed HSM.
    pub managed_hsms: String,
}

impl Hosts {
    /// The address of a key in a key vault as whoever asks reaches it.
    pub fn key_uri(&self, key: &KeyUri) -> String {
        self.key_uri_of(key, false)
    }

    /// The address of a key in a key vault or a managed HSM.
    pub fn key_uri_of(&self, key: &KeyUri, in_managed_hsm: bool) -> String {
        let KeyUri { vault, key: name, version } = key;
        let version = version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
        let domain = if in_managed_hsm { &self.managed_hsms } else { &self.key_vaults };
        format!("https://{vault}.{domain}/keys/{name}{version}")
    }

    /// Whether a key's address names a host below one of these domains, or of those that
    /// identifiers are written with. Any other host is somebody else's, and nothing is ever asked
    /// of it.
    pub fn serve(&self, address: &str) -> bool {
        let without_port =
            |text: &str| text.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let host = address.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        let host = without_port(host.split('/').next().unwrap_or_default());
        let Some((_, domain)) = host.split_once('.') else { return false };
        let own = Self::default();
        [&self.key_vaults, &self.managed_hsms, &own.key_vaults, &own.managed_hsms]
            .iter()
            .any(|known| without_port(known) == domain)
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            key_vaults: "vault.custody.localhost".to_owned(),
            managed_hsms: "managedhsm.custody.localhost".to_owned(),
        }
    }
}
