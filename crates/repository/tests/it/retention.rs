use std::time::Duration;

use custody_repository::log::ObjectId;
use custody_repository::retention::{Candidate, RetentionPolicy};
use jiff::tz::TimeZone;

const NOW: &str = "2026-11-22T12:00:00Z";

/// Each point with its expected reasons, newest first; none: it is forgotten.
fn check_in(zone: &TimeZone, policy: &RetentionPolicy, points: &[(&str, &[&str])]) {
    let mut candidates: Vec<_> = (0..)
        .zip(points)
        .map(|(number, (received, _))| Candidate {
            point: ObjectId::from_bytes([number; 32]),
            received: received.parse().unwrap(),
        })
        .collect();
    candidates.reverse(); // the order given must not matter
    let got: Vec<(String, Vec<String>)> = policy
        .select(&candidates, NOW.parse().unwrap(), zone)
        .into_iter()
        .map(|decision| {
            let reasons = decision.kept_because.iter().map(ToString::to_string).collect();
            (decision.received.to_string(), reasons)
        })
        .collect();
    let expected: Vec<(String, Vec<String>)> = points
        .iter()
        .map(|(received, reasons)| {
            ((*received).to_owned(), reasons.iter().map(|reason| (*reason).to_owned()).collect())
        })
        .collect();
    assert_eq!(got, expected, "{policy:?}");
}

fn check(policy: &RetentionPolicy, points: &[(&str, &[&str])]) {
    check_in(&TimeZone::UTC, policy, points);
}

fn policy() -> RetentionPolicy {
    RetentionPolicy::default()
}

#[test]
fn keeps_by_count_and_calendar() {
    check(&policy(), &[]);
    check(&policy(), &[("2026-11-22T06:00:00Z", &["no rule"])]);
    check(
        &RetentionPolicy { last: 2, ..policy() },
        &[
            ("2026-11-22T06:00:00Z", &["last 1"]),
            ("2026-11-22T05:00:00Z", &["last 2"]),
            ("2026-11-22T04:00:00Z", &[]),
        ],
    );
    check(
        &RetentionPolicy { hourly: 2, ..policy() },
        &[
            ("2026-11-22T06:59:00Z", &["hourly 2026-11-22T06+00:00"]),
            ("2026-11-22T06:00:00Z", &[]),
            ("2026-11-21T06:00:00Z", &["hourly 2026-11-21T06+00:00"]),
            ("2026-11-20T06:00:00Z", &[]),
        ],
    );
    check(
        &RetentionPolicy { last: 1, daily: 2, weekly: 2, monthly: 3, yearly: 9, ..policy() },
        &[
            (
                "2026-11-22T06:00:00Z", // a Sunday
                &[
                    "last 1",
                    "daily 2026-11-22",
                    "weekly 2026-W47",
                    "monthly 2026-11",
                    "yearly 2026",
                ],
            ),
            ("2026-11-22T05:00:00Z", &[]),
            ("2026-11-20T23:00:00Z", &["daily 2026-11-20"]),
            ("2026-11-16T00:00:00Z", &[]),
            ("2026-11-15T23:59:59Z", &["weekly 2026-W46"]),
            ("2026-10-31T00:00:00Z", &["monthly 2026-10"]),
            ("2026-08-02T00:00:00Z", &["monthly 2026-08"]),
            ("2026-07-02T00:00:00Z", &[]),
            ("2024-12-31T00:00:00Z", &["yearly 2024"]),
            ("2024-12-30T00:00:00Z", &[]),
        ],
    );
}

#[test]
fn keeps_within_a_time_of_the_newest() {
    check(
        &RetentionPolicy { within: Some(Duration::from_hours(1)), ..policy() },
        &[
            ("2026-11-01T06:00:00Z", &["within 3600s"]),
            ("2026-11-01T05:00:00Z", &["within 3600s"]),
            ("2026-11-01T04:59:59Z", &[]),
        ],
    );
}

#[test]
fn points_from_the_future_push_nothing_out() {
    check(
        &RetentionPolicy { last: 1, daily: 1, ..policy() },
        &[
            ("2036-11-22T06:00:00Z", &["receipt time lies in the future"]),
            ("2026-11-22T12:05:01Z", &["receipt time lies in the future"]),
            ("2026-11-22T12:05:00Z", &["last 1", "daily 2026-11-22"]),
            ("2026-11-22T11:00:00Z", &[]),
        ],
    );
}

#[test]
fn days_are_those_of_the_zone() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    check_in(
        &zone,
        &RetentionPolicy { daily: 9, ..policy() },
        &[
            ("2026-11-21T22:00:00Z", &["daily 2026-11-22"]),
            ("2026-11-21T21:59:59Z", &["daily 2026-11-21"]),
        ],
    );
}

#[test]
fn points_of_one_moment_are_told_apart() {
    let same = "2026-11-22T06:00:00Z".parse().unwrap();
    let twins: Vec<_> = [1, 2]
        .map(|number| Candidate { point: ObjectId::from_bytes([number; 32]), received: same })
        .to_vec();
    let decisions = RetentionPolicy { last: 1, ..policy() }.select(
        &twins,
        NOW.parse().unwrap(),
        &TimeZone::UTC,
    );
    let kept: Vec<_> = decisions.iter().filter(|made| !made.kept_because.is_empty()).collect();
    assert_eq!(kept.len(), 1);
}

#[test]
fn days_are_told_as_days() {
    let day = Duration::from_hours(24);
    for (within, expected) in [(day, "within a day"), (14 * day, "within 14 days")] {
        check(
            &RetentionPolicy { within: Some(within), ..policy() },
            &[("2026-11-22T06:00:00Z", &[expected]), ("2026-10-22T06:00:00Z", &[])],
        );
    }
}
