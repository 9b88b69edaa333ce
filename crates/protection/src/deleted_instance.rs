//! `Microsoft.DataProtection/backupVaults/deletedBackupInstances`: items that were deleted in a vault
//! that keeps what is deleted, and their recovery points. Items of Recovery Services vaults stay
//! where they are and say so.

use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Change, Identity, Kind, Place, Plan, Record, Reference, Refusal, Removal, Request,
    Stop, Stored, World, Write,
};
use serde_json::Value;

use crate::instance::{self, BackupInstance, InstanceSpec};
use crate::item_status::{ItemStatus, Protection, SoftDeletion};
use crate::point::{PointStatus, RecoveryPoint};

/// The kind of soft-deleted items.
pub struct DeletedBackupInstance;

impl Kind for DeletedBackupInstance {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/deletedBackupInstances";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const WRITABLE: bool = false;
    const ACTIONS: &'static [Action] =
        &[Action { name: "undelete", permission: "undelete/action" }];

    type Spec = InstanceSpec;
    type Status = ItemStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("deleted items are written by their deletion").into())
    }

    /// The item comes back without protection: whoever takes it back says when that goes on.
    fn act(
        _action: &str,
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        let Stored { record, spec, status } = current.clone();
        let id = beside(&record.id, "backupInstances")?;
        let status = ItemStatus { protection: Protection::Stopped, deletion: None, ..status };
        let mut writes = vec![Write::Remove(record.id.clone())];
        writes.extend(points_to(&record.id, DeletedPoint::TYPE, &id, world)?);
        let record = Record { id, revision: 0, ..record };
        writes.push(Stored::<BackupInstance> { record, spec, status }.into_write()?);
        Ok(Act { writes, ..Act::default() })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        instance::properties(&stored.spec, &stored.status)
    }

    fn references(
        spec: &InstanceSpec,
        status: &ItemStatus,
        identity: Option<&Identity>,
    ) -> Vec<Reference> {
        BackupInstance::references(spec, status, identity)
    }
}

/// The kind of a soft-deleted item's recovery points.
pub struct DeletedPoint;

impl Kind for DeletedPoint {
    const TYPE: &'static str =
        "Microsoft.DataProtection/backupVaults/deletedBackupInstances/recoveryPoints";
    const PLACE: Place =
        Place::Below("Microsoft.DataProtection/backupVaults/deletedBackupInstances");
    const WRITABLE: bool = false;

    type Spec = Value;
    type Status = PointStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("recovery points are written by the worker").into())
    }
}

/// Where a soft-deleted item of this name stands.
pub(crate) fn deleted_place(item: &ResourceId) -> Result<ResourceId, Refusal> {
    beside(item, "deletedBackupInstances")
}

/// Soft-deletes an item: it goes from its place, whole, to where deleted ones are shown. Needs no
/// key and no worker.
pub(crate) fn soft_delete(
    current: &Stored<BackupInstance>,
    deletion: SoftDeletion,
    world: &World,
) -> Result<Removal, Stop> {
    let Stored { record, spec, mut status } = current.clone();
    let id = deleted_place(&record.id)?;
    let mut writes = points_to(&record.id, RecoveryPoint::TYPE, &id, world)?;
    status.deletion = Some(deletion);
    let record = Record { id, revision: 0, ..record };
    writes.push(Stored::<DeletedBackupInstance> { record, spec, status }.into_write()?);
    Ok(Removal { task: None, writes })
}

fn beside(item: &ResourceId, collection: &str) -> Result<ResourceId, Refusal> {
    let name = item.name().unwrap_or_default().parse();
    let name = name.map_err(|_| Refusal::bug("an item's name is a resource name"))?;
    Ok(item.parent().unwrap_or_else(ResourceId::root).child(collection, &name))
}

/// The writes that put an item's points below another place.
fn points_to(
    from: &ResourceId,
    kind: &str,
    to: &ResourceId,
    world: &World,
) -> Result<Vec<Write>, Stop> {
    let mut writes = Vec::new();
    for record in world.children(from, kind)? {
        let name = record.id.name().unwrap_or_default().parse();
        let name = name.map_err(|_| Refusal::bug("a point's id is a resource name"))?;
        let id = to.child("recoveryPoints", &name);
        writes.push(Write::Put(Box::new(Record { id, revision: 1, ..record.clone() })));
    }
    Ok(writes)
}
