//! Lists in pages: each page reads its own rows and no others.

use custody_names::KeyName;
use rusqlite::{Row, params};

use crate::error::{KeyVaultError, Result};
use crate::key::{DeletedKeyItem, KeyItem, not_found};
use crate::key_rows::read_item;
use crate::session::{Session, time};
use crate::vault::KeyVaultRef;

/// Most entries of a page of the API, and as many as it has unless asked for fewer.
pub const PAGE_ENTRIES_MAX: u32 = 25;

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// How many entries at most.
    pub entries: u32,
    /// Where the page before ended, as its answer said; none for the first page.
    pub after: Option<&'a str>,
}

impl Page<'static> {
    /// Everything in one page.
    pub const WHOLE: Self = Self { entries: u32::MAX, after: None };
}

/// A page of a list, and what the request for the next one must name.
pub(crate) type Listed<T> = (Vec<T>, Option<String>);

/// A row of a list and where it stands in it.
type Placed<T> = (T, String);

impl Session<'_> {
    /// The newest version of every key, by name.
    pub(crate) fn keys(&self, vault: &KeyVaultRef, page: Page<'_>) -> Result<Listed<KeyItem>> {
        self.newest(vault, page, "key.deleted IS NULL", |row| read_item(row, vault))
    }

    /// All soft-deleted keys, by name.
    pub(crate) fn deleted_keys(
        &self,
        vault: &KeyVaultRef,
        page: Page<'_>,
    ) -> Result<Listed<DeletedKeyItem>> {
        self.newest(vault, page, "key.deleted IS NOT NULL", |row| {
            Ok(DeletedKeyItem {
                item: read_item(row, vault)?,
                deleted: time(row, "deleted")?.unwrap_or_default(),
                scheduled_purge: time(row, "scheduled_purge")?.unwrap_or_default(),
            })
        })
    }

    /// All versions of a key, the newest first.
    pub(crate) fn versions(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        page: Page<'_>,
    ) -> Result<Listed<KeyItem>> {
        let absent = || not_found(name, None);
        let row = self.live_vault(vault)?.ok_or_else(absent)?;
        let key = self.find_key(row.id, name)?.filter(|key| !key.deleted).ok_or_else(absent)?;
        let before: i64 = match page.after {
            None => i64::MAX,
            Some(mark) => mark.parse().map_err(|_| bad_mark())?,
        };
        let mut statement = self.rows().prepare_cached(
            "SELECT key.name AS key_name, key.floor, version.* FROM version \
             JOIN key ON version.key = key.id \
             WHERE version.key = ?1 AND version.number < ?2 ORDER BY version.number DESC LIMIT ?3",
        )?;
        let rows = statement.query_map(params![key.id, before, limit(page)], |row| {
            Ok((read_item(row, vault)?, row.get::<_, i64>("number")?.to_string()))
        })?;
        Ok(cut(rows.collect::<rusqlite::Result<_>>()?, page))
    }

    fn newest<T>(
        &self,
        vault: &KeyVaultRef,
        page: Page<'_>,
        condition: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Listed<T>> {
        let Some(row) = self.live_vault(vault)? else { return Ok((Vec::new(), None)) };
        let mut statement = self.rows().prepare_cached(&format!(
            "SELECT key.name AS key_name, key.deleted, key.scheduled_purge, key.floor, version.* \
             FROM key JOIN version ON version.number = \
             (SELECT max(number) FROM version WHERE key = key.id) \
             WHERE key.vault = ?1 AND key.name > ?2 AND {condition} ORDER BY key.name LIMIT ?3"
        ))?;
        let after = page.after.unwrap_or_default();
        let rows = statement.query_map(params![row.id, after, limit(page)], |row| {
            Ok((read(row)?, row.get::<_, String>("key_name")?))
        })?;
        Ok(cut(rows.collect::<rusqlite::Result<_>>()?, page))
    }
}

/// One row more than is shown tells whether there is a next page.
fn limit(page: Page<'_>) -> i64 {
    i64::from(page.entries) + 1
}

fn cut<T>(mut rows: Vec<Placed<T>>, page: Page<'_>) -> Listed<T> {
    let shown = usize::try_from(page.entries).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| more).map(|(_, mark)| mark.clone());
    (rows.into_iter().map(|(entry, _)| entry).collect(), next)
}

fn bad_mark() -> KeyVaultError {
    KeyVaultError::BadParameter("$skiptoken is not of this list".to_owned())
}
