//! Under which names the platform's data planes are reached.

/// The domains that whoever asks reaches the data planes by, each with its port where that is not
/// 443. Identifiers inside are free of them (DESIGN §8); only what is shown bears them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// What follows the name of a key vault, `vault.custody.localhost:8443` for example.
    pub key_vaults: String,
    /// What follows the name of a managed HSM.
    pub managed_hsms: String,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            key_vaults: "vault.custody.localhost".to_owned(),
            managed_hsms: "managedhsm.custody.localhost".to_owned(),
        }
    }
}
