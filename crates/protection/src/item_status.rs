//! What only the server writes of an item, whichever kind it is of.

use custody_ambient::Timestamp;
use custody_names::ItemId;
use custody_resources::Refusal;
use serde::{Deserialize, Serialize};

/// How far an item is under protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protection {
    /// Backups are taken and expire as its policy says.
    #[default]
    #[serde(rename = "ProtectionConfigured")]
    Active,
    /// No backups are taken, and what there is stays until somebody deletes it.
    #[serde(rename = "ProtectionStopped")]
    Stopped,
    /// No backups are taken; what there is expires as its policy says, but for the newest point.
    #[serde(rename = "BackupsSuspended")]
    Suspended,
}

/// That an item was deleted, and until when it can come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoftDeletion {
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// When it is given up for good, with its recovery points.
    pub purge_at: Timestamp,
}

/// What only the server writes of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemStatus {
    /// The item as the repository knows it.
    pub item_id: ItemId,
    /// How far it is under protection.
    #[serde(default, rename = "currentProtectionState")]
    pub protection: Protection,
    /// When its newest recovery point was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point_time: Option<Timestamp>,
    /// Up to when its policy's schedule was carried out. Times before it are not made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_until: Option<Timestamp>,
    /// When expired points were last to be given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_tried_at: Option<Timestamp>,
    /// When points were last to be moved to the archive tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiering_tried_at: Option<Timestamp>,
    /// Set while the item is soft-deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<SoftDeletion>,
}

impl ItemStatus {
    /// The status of an item that comes under protection now.
    pub fn new(item_id: ItemId, now: Timestamp) -> Self {
        Self {
            item_id,
            protection: Protection::Active,
            newest_point_time: None,
            scheduled_until: Some(now),
            expiry_tried_at: None,
            tiering_tried_at: None,
            deletion: None,
        }
    }

    /// Puts the item into this state. What its schedule would have done while it was out of
    /// protection is not made up for.
    pub(crate) fn become_now(&mut self, protection: Protection, now: Timestamp) {
        if protection == Protection::Active && self.protection != Protection::Active {
            self.scheduled_until = Some(now);
        }
        self.protection = protection;
    }

    /// Refuses backups while nothing is protected.
    pub fn takes_backups(&self) -> Result<(), Refusal> {
        self.is_not_deleted()?;
        let word = match self.protection {
            Protection::Active => return Ok(()),
            Protection::Stopped => "stopped",
            Protection::Suspended => "suspended",
        };
        let text = format!("no recovery point is taken: the item's protection is {word}");
        Err(Refusal::new(409, "UserErrorItemNotProtected", text)
            .with_fix("custody backup item resume-protection --name ITEM"))
    }

    /// Refuses to work with what was deleted until it is taken back.
    pub(crate) fn is_not_deleted(&self) -> Result<(), Refusal> {
        let Some(deletion) = &self.deletion else { return Ok(()) };
        let text = format!(
            "the item is soft-deleted; it is kept until {} and can be taken back",
            deletion.purge_at
        );
        Err(Refusal::new(409, "UserErrorItemSoftDeleted", text)
            .with_fix("custody backup deleted-item undelete --name ITEM"))
    }
}
