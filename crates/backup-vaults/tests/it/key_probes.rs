//! What probes of keys mean for a vault, and what is kept of them.

use std::time::Duration;

use custody_backup_vaults::{
    Failover, KeyProbe, PROBES_KEPT_MAX, ProbeHistory, ProbeResult, what_stops,
};
use custody_names::KeyUri;
use jiff::Timestamp;

const HOUR: Duration = Duration::from_hours(1);

/// A probe of a version of the key in key vault `holder`.
fn probe(holder: &str, version: u32, result: ProbeResult) -> KeyProbe {
    let key = format!("https://{holder}.vault.custody.localhost/keys/k/{version:032}");
    let key: KeyUri = key.parse().unwrap();
    KeyProbe {
        time: Timestamp::UNIX_EPOCH,
        key_version: key.versionless().at(key.version.unwrap()),
        latency_ms: 1,
        result,
        code: None,
        message: None,
        fix: None,
    }
}

/// DESIGN §5, row by row: what the primary and the standby answered, and what stops the vault.
#[test]
fn what_stops_a_vault_with_two_keys() {
    use ProbeResult::{Failed, Refused, Succeeded, Unreachable};
    let check = |primary, standby, stop: Option<ProbeResult>, any: Option<ProbeResult>| {
        let probes = [probe("kv1", 1, primary), probe("kv2", 1, standby)];
        let found = |rule| what_stops(&probes, rule).map(|probe| probe.result);
        assert_eq!(found(Failover::Stop), stop, "Stop {primary:?} {standby:?}");
        assert_eq!(found(Failover::Any), any, "Any {primary:?} {standby:?}");
    };
    check(Succeeded, Succeeded, None, None);
    check(Succeeded, Unreachable, None, None);
    check(Unreachable, Succeeded, None, None);
    check(Unreachable, Unreachable, Some(Unreachable), Some(Unreachable));
    check(Succeeded, Refused, Some(Refused), None);
    check(Refused, Succeeded, Some(Refused), None);
    check(Refused, Unreachable, Some(Refused), Some(Refused));
    check(Unreachable, Refused, Some(Refused), Some(Refused));
    check(Refused, Refused, Some(Refused), Some(Refused));
    check(Succeeded, Failed, Some(Failed), Some(Failed));
}

/// Every version of one key that wraps something is needed; no probe says nothing.
#[test]
fn what_stops_a_vault_with_one_key() {
    use ProbeResult::{Refused, Succeeded, Unreachable};
    let check = |results: &[ProbeResult], expected| {
        let versions = (1..).zip(results).map(|(version, result)| probe("kv1", version, *result));
        let probes: Vec<KeyProbe> = versions.collect();
        for rule in [Failover::Stop, Failover::Any] {
            let found = what_stops(&probes, rule).map(|probe| probe.result);
            assert_eq!(found, expected, "{rule:?} {results:?}");
        }
    };
    check(&[], None);
    check(&[Succeeded], None);
    check(&[Unreachable], Some(Unreachable));
    check(&[Succeeded, Refused], Some(Refused));
}

#[test]
fn a_history_is_bounded_and_says_when_the_next_is_due() {
    let mut history = ProbeHistory::default();
    let start: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
    assert!(history.is_due(HOUR, start), "never probed");
    history.add(
        &[probe("kv1", 1, ProbeResult::Succeeded), probe("kv2", 1, ProbeResult::Refused)],
        start,
    );
    let at = |minutes: i64| start + jiff::SignedDuration::from_mins(minutes);
    for (minutes, due) in [(0, false), (59, false), (60, true), (600, true), (-1, true)] {
        assert_eq!(history.is_due(HOUR, at(minutes)), due, "{minutes}");
    }
    assert_eq!(history.last_round().count(), 2);
    assert_eq!(history.proven.len(), 1, "what was refused is not proven");
    for minutes in 0..100 {
        history.add(&[probe("kv1", 2, ProbeResult::Unreachable)], at(minutes));
    }
    assert_eq!((history.results.len(), history.last_round().count()), (PROBES_KEPT_MAX, 1));
    // Proven once is proven then, until the key is asked no more.
    assert_eq!(history.proven.values().collect::<Vec<_>>(), [&Timestamp::UNIX_EPOCH]);
    history.add(&[probe("kv2", 1, ProbeResult::Succeeded)], at(100));
    let proven: Vec<String> = history.proven.keys().map(ToString::to_string).collect();
    assert_eq!(proven, ["https://kv2.vault.custody.localhost/keys/k"]);
}
