//! Which keys may protect a vault: what is asked of the key, and of the key vault it lies in.

use custody_ambient::Timestamp;
use custody_backup_vaults::KeyVaultProperties;
use custody_envelope::{KekError, KekFault, KekKind, KekState};
use custody_key_vault::RsaSize;
use custody_names::{KeyUri, KeyVersionUri, Location};

use super::VaultKeks;
use super::faults::{
    AUTH_FAILURE, KEY_DISABLED, KEY_EXPIRED, KEY_NOT_YET_VALID, KEY_SIZE_NOT_SUPPORTED,
    MISSING_PERMISSION, PURGE_PROTECTION_OFF, SOFT_DELETE_OFF,
};

/// Rules 12, 13, 14 and 15: an RSA key of 2048, 3072 or 4096 bits; another kind has the code of rule 13.
pub(crate) fn state_is_fit(state: &KekState) -> Result<(), KekError> {
    let refuse = |code, what: String| {
        let KeyVersionUri { vault, key, .. } = &state.version;
        Err(KekError {
            fault: KekFault::Refused,
            code,
            message: format!("the key {vault}/{key} {what}"),
            fix: Some(format!(
                "az keyvault key create --vault-name {vault} --name NAME --kty RSA --size 3072"
            )),
        })
    };
    match state.kind {
        KekKind::Rsa { bits } if RsaSize::try_from(bits).is_ok() => Ok(()),
        KekKind::Rsa { bits } => {
            let what = format!("has {bits} bits: 2048, 3072 or 4096 protect a vault (rule 12)");
            refuse(KEY_SIZE_NOT_SUPPORTED, what)
        }
        KekKind::Other => {
            refuse(MISSING_PERMISSION, "is no RSA key: no other protects a vault (rule 13)".into())
        }
    }
}

/// Rule 18: enabled, not before its `nbf`, not past its `exp`.
pub(crate) fn state_is_active(state: &KekState, now: Timestamp) -> Result<(), KekError> {
    let refuse = |code, what: &str, flag: &str| {
        let KeyVersionUri { vault, key, version } = &state.version;
        let place = format!("--vault-name {vault} --name {key} --version {version}");
        Err(KekError {
            fault: KekFault::Refused,
            code,
            message: format!("the key {} {what}", state.version),
            fix: Some(format!("custody keyvault key set-attributes {place} {flag}")),
        })
    };
    if !state.enabled {
        return refuse(KEY_DISABLED, "is disabled", "--enabled true");
    }
    if state.not_before.is_some_and(|start| now < start) {
        let flag = "--not-before 2020-01-01T00:00:00Z";
        return refuse(KEY_NOT_YET_VALID, "is not valid yet", flag);
    }
    if state.expires.is_some_and(|end| now >= end) {
        let flag = "--expires 2030-01-01T00:00:00Z";
        return refuse(KEY_EXPIRED, "has expired", flag);
    }
    Ok(())
}

impl VaultKeks {
    /// Rules 19, 20 and 21: a key may be assigned only if its key vault lets a deletion be undone and
    /// refuses to purge before the time. Which of the two is missing says the code, by its name: the
    /// document's texts under the two codes are swapped.
    pub(crate) fn require_recoverable(&self, key: &KeyUri) -> Result<(), KekError> {
        let facts = self.facts(key)?;
        let vault = &key.vault;
        let refuse = |code, what: &str, flag: &str| {
            Err(KekError {
                fault: KekFault::Refused,
                code,
                message: format!("{what} is not enabled on the key vault {vault} (rule 19)"),
                fix: Some(format!("az keyvault update --name {vault} {flag}")),
            })
        };
        if !facts.vault.soft_delete {
            return refuse(
                SOFT_DELETE_OFF,
                "soft delete",
                "--set properties.enableSoftDelete=true",
            );
        }
        if !facts.vault.purge_protection {
            return refuse(
                PURGE_PROTECTION_OFF,
                "purge protection",
                "--enable-purge-protection true",
            );
        }
        Ok(())
    }

    /// Rule 23: a Recovery Services vault and its key vault lie in one region.
    pub(crate) fn require_region(
        &self,
        key: &KeyUri,
        region: Option<&Location>,
    ) -> Result<(), KekError> {
        let facts = self.facts(key)?;
        let own: Option<Location> = facts.vault.location.parse().ok();
        if own.as_ref() == region {
            return Ok(());
        }
        let region = region.map(Location::as_str).unwrap_or_default();
        let vault = &key.vault;
        Err(KekError {
            fault: KekFault::Refused,
            code: "UserErrorCMKKeyVaultRegionMismatch",
            message: format!(
                "the key vault {vault} lies in {}, the vault in {region}: they must lie in one \
                 region (rule 23)",
                facts.vault.location
            ),
            fix: Some(format!("az keyvault create --name NAME --location {region}")),
        })
    }

    /// Rule 44: a key that is addressed as one of a managed HSM lies in one, and no other does.
    /// Both share one name space, so that the name alone would find it.
    pub(crate) fn require_holder(&self, key: &KeyVaultProperties) -> Result<(), KekError> {
        let facts = self.facts(&key.key_uri)?;
        if facts.vault.managed_hsm == key.in_managed_hsm {
            return Ok(());
        }
        let vault = &key.key_uri.vault;
        let (is, wanted) = if key.in_managed_hsm {
            ("a key vault", "managed HSM")
        } else {
            ("a managed HSM", "key vault")
        };
        Err(KekError {
            fault: KekFault::Refused,
            code: AUTH_FAILURE,
            message: format!("there is no {wanted} of the name {vault}: that is {is}"),
            fix: Some("write the key's address as `az keyvault key show` prints it".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use custody_envelope::KeyEncryptionKeys as _;
    use custody_test_world::keks::MemoryKeks;

    use super::*;

    /// Rules 12 to 15, with sizes that the embedded key vault does not make.
    #[test]
    fn only_rsa_keys_of_three_sizes_are_fit() {
        let keks = MemoryKeks::new();
        let version = keks.add_version("kv1", "k");
        let check = |kind: KekKind, expected: Option<&str>| {
            keks.set_kind(&version, kind);
            let state = keks.describe(&version.pinned()).unwrap();
            let code = state_is_fit(&state).err().map(|error| error.code);
            assert_eq!(code, expected, "{kind:?}");
        };
        for (bits, fits) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (4096, true), (8192, false)]
        {
            let expected = if fits { None } else { Some("UserErrorCMKKeySizeNotSupported") };
            check(KekKind::Rsa { bits }, expected);
        }
        check(KekKind::Other, Some(MISSING_PERMISSION));
    }
}
