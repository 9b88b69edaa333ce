//! Items that were deleted with their data: kept for a time, taken back, or gone.

use serde_json::{Value, json};

use crate::protection::{KINDS, Kind, Protected};

fn soft_delete(kind: Kind, state: &str, days: u32) -> Value {
    let settings = match kind {
        Kind::RecoveryServices => {
            json!({ "softDeleteState": state, "softDeleteRetentionPeriodInDays": days })
        }
        Kind::Backup => json!({ "state": state, "retentionDurationInDays": f64::from(days) }),
    };
    json!({ "securitySettings": { "softDeleteSettings": settings } })
}

fn deleted(protected: &Protected) -> String {
    protected.item().replace("backupInstances", "deletedBackupInstances")
}

fn is_soft_deleted(protected: &Protected) -> bool {
    let shown = protected.world.get(&deleted(protected)).body;
    let properties = &shown["properties"];
    match protected.kind {
        Kind::RecoveryServices => properties["isScheduledForDeferredDelete"] == true,
        Kind::Backup => properties["deletionInfo"].is_object(),
    }
}

fn delete(protected: &Protected) {
    let status = protected.world.delete(&protected.item()).status;
    assert!([200, 202].contains(&status), "{status}");
    protected.world.settle();
}

fn undelete(protected: &Protected) -> u16 {
    let status = match protected.kind {
        Kind::RecoveryServices => {
            let properties = json!({
                "protectedItemType": "AzureVmWorkloadSQLDatabase",
                "protectionState": "ProtectionStopped",
                "policyId": "",
                "isRehydrate": true,
            });
            protected.world.put(&protected.item(), json!({ "properties": properties })).status
        }
        Kind::Backup => {
            protected.world.post(&format!("{}/undelete", deleted(protected)), json!({})).status
        }
    };
    protected.world.settle();
    status
}

/// A vault that says nothing keeps for 14 days.
#[test]
fn what_is_deleted_is_kept_for_the_vaults_days_and_then_forgotten() {
    let cases = KINDS.into_iter().flat_map(|kind| {
        let on = if kind == Kind::Backup { "On" } else { "Enabled" };
        [
            (kind, json!({}), 14),
            (kind, soft_delete(kind, on, 30), 30),
            (kind, soft_delete(kind, "AlwaysOn", 14), 14),
            (kind, soft_delete(kind, on, 180), 180),
        ]
    });
    for (kind, settings, days) in cases {
        let protected = Protected::new(kind, settings.clone());
        assert_eq!(protected.backup().status, 202);
        delete(&protected);
        assert!(is_soft_deleted(&protected), "{kind:?} {settings}");
        let held = protected.world.delete(&protected.vault());
        assert_eq!(held.error(), (409, "VaultHoldsItems"));
        assert!(held.body.to_string().contains("existing resources within the vault"));
        protected.days(days - 1);
        assert!(is_soft_deleted(&protected), "{kind:?} {settings}");
        protected.days(1);
        assert!(!is_soft_deleted(&protected), "{kind:?} {settings}");
        assert_eq!(protected.world.get(&protected.item()).status, 404);
        assert_eq!(protected.world.delete(&protected.vault()).status, 202);
        protected.world.settle();
        assert_eq!(protected.world.get(&protected.vault()).status, 404);
    }
}

/// It comes back without protection, with every point, and restores.
#[test]
fn what_was_deleted_is_taken_back() {
    for kind in KINDS {
        let protected = Protected::new(kind, json!({}));
        assert_eq!(protected.backup().status, 202);
        assert_eq!(protected.backup().status, 202);
        let points = protected.points();
        delete(&protected);
        protected.days(13);
        if kind == Kind::RecoveryServices {
            let shown = protected.world.get(&protected.item()).body;
            let properties = &shown["properties"];
            assert_eq!(properties["deferredDeleteTimeInUTC"], "2026-03-01T12:00:00Z", "{shown}");
            assert_eq!(properties["deferredDeleteTimeRemaining"], "1.00:00:00", "{shown}");
            assert_eq!(properties["protectionState"], "ProtectionStopped", "{shown}");
            let code = "UserErrorItemSoftDeleted";
            assert_eq!(protected.backup().error(), (409, code));
            assert_eq!(protected.restores(), Err(code.to_owned()));
            assert_eq!(protected.protect(&json!({})).error(), (409, code));
            assert_eq!(protected.world.delete(&protected.item()).error(), (409, code));
            let container = protected.world.delete(&protected.container());
            assert_eq!(container.error(), (409, "ContainerHoldsItems"));
        } else {
            let list = format!("{}/deletedBackupInstances", protected.vault());
            assert_eq!(protected.world.names(&list), ["documents"]);
            let kept = protected.world.names(&format!("{}/recoveryPoints", deleted(&protected)));
            assert_eq!(kept, points);
            assert_eq!(protected.world.get(&protected.item()).status, 404);
            let taken = protected.protect(&json!({}));
            assert_eq!(taken.error(), (409, "UserErrorItemSoftDeleted"), "the name is kept");
        }
        let back = undelete(&protected);
        assert_eq!(back, if kind == Kind::Backup { 200 } else { 202 });
        assert!(!is_soft_deleted(&protected));
        assert_eq!(protected.state(), "ProtectionStopped", "{kind:?}");
        assert_eq!(protected.points(), points, "{kind:?}");
        assert_eq!(protected.restores(), Ok(()), "{kind:?}");
        protected.days(400);
        assert_eq!(protected.points(), points, "{kind:?}: what came back stays");
    }
}

#[test]
fn without_soft_delete_or_data_an_item_is_gone_at_once() {
    for kind in KINDS {
        let off = if kind == Kind::Backup { "Off" } else { "Disabled" };
        for (settings, backs_up) in [(soft_delete(kind, off, 14), true), (json!({}), false)] {
            let protected = Protected::new(kind, settings);
            if backs_up {
                assert_eq!(protected.backup().status, 202);
            }
            delete(&protected);
            assert_eq!(protected.world.get(&protected.item()).status, 404, "{kind:?}");
            assert_eq!(protected.world.get(&deleted(&protected)).status, 404, "{kind:?}");
        }
    }
}

/// A vault on the platform's key takes its soft-deleted items along when it moves.
#[test]
fn soft_deleted_items_move_with_their_vault() {
    let protected = Protected::new(Kind::Backup, json!({}));
    assert_eq!(protected.backup().status, 202);
    delete(&protected);
    let world = &protected.world;
    let there = world.make("S/resourceGroups/other", json!({ "location": "local" }))["id"].take();
    let vault = world.get(&protected.vault()).body["id"].take();
    let body = json!({ "resources": [vault], "targetResourceGroup": there });
    assert_eq!(world.post("S/resourceGroups/custody/moveResources", body).status, 204);
    let moved = deleted(&protected).replace("/custody/", "/other/");
    assert_eq!(world.post(&format!("{moved}/undelete"), json!({})).status, 200);
    let item = moved.replace("deletedBackupInstances", "backupInstances");
    assert_eq!(world.names(&format!("{item}/recoveryPoints")).len(), 1);
}
