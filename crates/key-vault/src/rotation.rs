//! Rotation policies at work: which keys are due, and what their owners are told.

use custody_ambient::Timestamp;
use custody_names::KeyName;
use rusqlite::{OptionalExtension, params};

use crate::error::Result;
use crate::key::{KeyItem, KeyOrigin, not_found};
use crate::key_event::{KeyEvent, KeyEventKind};
use crate::key_rows::{json, read_item};
use crate::rotation_policy::RotationPolicy;
use crate::session::Session;
use crate::vault::KeyVaultRef;
use crate::vault_rows::VaultRow;

/// Values of `version.told`.
const TOLD_NOTHING: i64 = 0;
const TOLD_NEAR_EXPIRY: i64 = 1;
const TOLD_EXPIRED: i64 = 2;

/// A key whose rotation policy wants a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRotation {
    /// Its key vault, as far as it is known without the ARM record.
    pub vault: KeyVaultRef,
    /// Its newest version.
    pub newest: KeyItem,
    /// Since when it is due.
    pub since: Timestamp,
}

/// Which of these keys are due at `now`. A key whose newest version is disabled is not: its owner
/// took it out of use, and a new version would put it back.
pub fn due_rotations(
    keys: &[(KeyVaultRef, KeyItem, RotationPolicy)],
    now: Timestamp,
) -> Vec<DueRotation> {
    keys.iter()
        .filter(|(_, newest, _)| {
            newest.attributes.enabled && newest.attributes.origin != KeyOrigin::ImportedPublic
        })
        .filter_map(|(vault, newest, policy)| {
            let since = policy.rotates(newest.attributes.created, newest.attributes.expires)?;
            let due = DueRotation { vault: vault.clone(), newest: newest.clone(), since };
            (since <= now).then_some(due)
        })
        .collect()
}

impl Session<'_> {
    /// The rotation policy of a key, if it has one.
    pub(crate) fn rotation_policy(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
    ) -> Result<Option<RotationPolicy>> {
        let absent = || not_found(name, None);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let text: Option<String> = self
            .rows()
            .prepare_cached(
                "SELECT rotation_policy FROM key \
                 WHERE vault = ?1 AND name = ?2 AND deleted IS NULL",
            )?
            .query_one(params![row.id, name.as_str()], |row| row.get(0))
            .optional()?
            .ok_or_else(absent)?;
        text.map(|text| parsed_policy(&text)).transpose()
    }

    /// Gives a key a rotation policy.
    pub(crate) fn set_rotation_policy(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        policy: &RotationPolicy,
        now: Timestamp,
    ) -> Result<RotationPolicy> {
        policy.check(vault.managed_hsm)?;
        let before = self.rotation_policy(vault, name)?;
        let created = before.and_then(|before| before.attributes.created);
        let mut policy = policy.clone();
        policy.attributes.created = created.or(Some(now.as_second()));
        policy.attributes.updated = Some(now.as_second());
        self.rows().execute(
            "UPDATE key SET rotation_policy = ?1 WHERE name = ?2 AND vault = \
             (SELECT id FROM vault WHERE resource = ?3)",
            params![json(&policy)?, name.as_str(), vault.resource.canonical()],
        )?;
        Ok(policy)
    }

    /// Every key that has a rotation policy, with its newest version.
    pub(crate) fn rotating_keys(&self) -> Result<Vec<(KeyVaultRef, KeyItem, RotationPolicy)>> {
        let mut statement = self.rows().prepare_cached(
            "SELECT vault.*, key.name AS key_name, key.floor, key.rotation_policy, version.* \
             FROM key JOIN vault ON key.vault = vault.id JOIN version ON version.number = \
             (SELECT max(number) FROM version WHERE key = key.id) \
             WHERE key.rotation_policy IS NOT NULL AND key.deleted IS NULL \
             AND vault.deleted IS NULL",
        )?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let vault = VaultRow::read(row)?.reference()?;
            let item = read_item(row, &vault)?;
            found.push((vault, item, parsed_policy(&row.get::<_, String>("rotation_policy")?)?));
        }
        Ok(found)
    }

    /// Whether any event about an expiry is due at `now`.
    pub(crate) fn has_expiry_events(&self, now: Timestamp) -> Result<bool> {
        Ok(!self.due_expiry_events(now)?.is_empty())
    }

    /// Events about expiry that are due at `now`; each is told once for a version.
    pub(crate) fn expiry_events(&self, now: Timestamp) -> Result<Vec<KeyEvent>> {
        let due = self.due_expiry_events(now)?;
        for (number, told, _) in &due {
            self.rows()
                .execute("UPDATE version SET told = ?1 WHERE number = ?2", params![told, number])?;
        }
        Ok(due.into_iter().map(|(_, _, event)| event).collect())
    }

    /// The number of a version, what will have been told of it then, and the event. Events are about
    /// versions that were the newest: one that expired is told of also when a newer one has come
    /// since, as its rotation policy may make in the same moment.
    fn due_expiry_events(&self, now: Timestamp) -> Result<Vec<(i64, i64, KeyEvent)>> {
        let mut statement = self.rows().prepare_cached(
            "SELECT vault.*, key.name AS key_name, key.floor, key.rotation_policy, version.* \
             FROM version JOIN key ON version.key = key.id JOIN vault ON key.vault = vault.id \
             WHERE version.expires IS NOT NULL AND version.told < ?1 \
             AND key.deleted IS NULL AND vault.deleted IS NULL AND NOT EXISTS \
             (SELECT 1 FROM version AS later WHERE later.key = key.id \
             AND later.number > version.number AND later.created < version.expires)",
        )?;
        let mut rows = statement.query([TOLD_EXPIRED])?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()? {
            let vault = VaultRow::read(row)?.reference()?;
            let item = read_item(row, &vault)?;
            let policy: Option<String> = row.get("rotation_policy")?;
            let policy = policy.map(|text| parsed_policy(&text)).transpose()?;
            let policy = policy.unwrap_or_else(RotationPolicy::unset);
            let (number, told): (i64, i64) = (row.get("number")?, row.get("told")?);
            let Some(expires) = item.attributes.expires else { continue };
            let near = policy.notifies(expires).is_some_and(|time| now >= time);
            let (kind, told) = match told {
                _ if now >= expires => (KeyEventKind::Expired, TOLD_EXPIRED),
                TOLD_NOTHING if near => (KeyEventKind::NearExpiry, TOLD_NEAR_EXPIRY),
                _ => continue,
            };
            due.push((number, told, KeyEvent::about(kind, &item, &vault, now)));
        }
        Ok(due)
    }
}

pub(crate) fn parsed_policy(text: &str) -> Result<RotationPolicy> {
    serde_json::from_str(text)
        .map_err(|_| crate::KeyVaultError::Damaged("a rotation policy in keys.db".to_owned()))
}
