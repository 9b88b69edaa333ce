//! A wall clock that jumped gives nothing up (DESIGN §7).

use std::time::Duration;

use custody_ambient::{Clock as _, Timestamp};
use jiff::SignedDuration;
use serde_json::Value;

use crate::desk::{BACKUP, Desk, KEY, Speaker};

const YEARS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// An installation with a deleted vault that is kept for fourteen days.
fn with_deleted_vault() -> Desk {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "kept");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    desk.site.server.housekeep();
    let deleted =
        desk.site.ask("DELETE", &format!("{vault}?api-version=2025-02-01"), None, Value::Null);
    assert_eq!(deleted.status, 202, "{deleted:?}");
    desk.site.server.finish();
    desk
}

/// How many vaults a round of housekeeping removes, and what it complains of.
fn round(desk: &Desk) -> (usize, Vec<String>) {
    let done = desk.site.server.housekeep();
    (
        done.purged_vaults,
        done.problems.into_iter().map(|problem| problem.code.into_owned()).collect(),
    )
}

fn warns(desk: &Desk) -> bool {
    let status = desk.site.ask("GET", "/custody/status", None, Value::Null).body;
    status["warnings"].to_string().contains("ClockJumped")
}

fn later(desk: &Desk) -> Timestamp {
    desk.site.clock.now().checked_add(YEARS).unwrap()
}

#[test]
fn what_is_kept_outlives_a_clock_that_jumps_and_is_put_right() {
    let desk = with_deleted_vault();
    let right = desk.site.clock.now();
    assert_eq!(round(&desk), (0, vec![]));
    desk.site.clock.set_wall(later(&desk));
    assert_eq!(round(&desk), (0, vec!["ClockJumped".to_owned()]));
    assert!(warns(&desk));
    desk.site.clock.advance(Duration::from_hours(1));
    assert_eq!(round(&desk), (0, vec![]), "it is said once");
    desk.site.clock.set_wall(right);
    assert_eq!(round(&desk), (0, vec![]));
    assert!(!warns(&desk));
    // Time that passes is no jump, however much of it.
    desk.site.clock.advance(Duration::from_hours(15 * 24));
    assert_eq!(round(&desk), (1, vec![]));
}

#[test]
fn a_time_that_stays_is_believed_after_a_day() {
    let desk = with_deleted_vault();
    desk.site.clock.set_wall(later(&desk));
    assert_eq!(round(&desk).0, 0);
    desk.site.clock.advance(Duration::from_hours(23));
    assert_eq!(round(&desk).0, 0);
    desk.site.clock.advance(Duration::from_hours(1));
    assert_eq!(round(&desk).0, 1);
    assert!(!warns(&desk));
}
