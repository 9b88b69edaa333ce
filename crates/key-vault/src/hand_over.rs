//! A key vault passes to another tenant with its subscription.

use custody_names::TenantId;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Result;
use crate::sealed_box;
use crate::session::Session;
use crate::vault::KeyVaultRef;
use crate::vault_rows::VaultRow;

impl Session<'_> {
    /// Binds the keys of a key vault, deleted or not, to another tenant: what is sealed is bound to
    /// the tenant, so all of it is sealed anew, under a new key of the key vault. Done before, or
    /// without a key in it, nothing is changed.
    pub(crate) fn hand_over(&self, vault: &KeyVaultRef, to: TenantId) -> Result<()> {
        let row = self
            .rows()
            .prepare_cached("SELECT * FROM vault WHERE resource = ?1")?
            .query_one([vault.resource.canonical()], VaultRow::read)
            .optional()?;
        let Some(row) = row.filter(|row| row.tenant != to) else { return Ok(()) };
        let root = self.root_key()?;
        let old = row.open_key(&root)?;
        let fresh = sealed_box::mint_key(self.entropy())?;
        let mut becomes = row.clone();
        becomes.tenant = to;
        self.reseal_private_keys((&row, &old), (&becomes, &fresh))?;
        let sealed = becomes.seal_key(&root, &fresh, self.entropy())?;
        self.rows().execute(
            "UPDATE vault SET tenant = ?1, sealed_key = ?2 WHERE id = ?3",
            params![to.as_bytes(), sealed, row.id],
        )?;
        Ok(())
    }
}
