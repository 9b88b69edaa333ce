//! A job whose key vault is away for longer than a lease pauses, says so, and goes on when it is back;
//! a definite no, a cancellation, the end of the server and the longest wait end it (DESIGN §5).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_ambient::Clock as _;
use custody_key_vault::{KeyAnswer, KeyOperation, KeyVaultError};
use custody_wire::{KeyVaultLink, Server};
use serde_json::{Value, json};

use crate::desk::{AUTH_FAILURE, BACKUP, COMPLETED, Desk, KEY, MISSING, Speaker, end};
use crate::site::ask;

/// Longer than the lease of a vault's keys.
const TOO_LONG: Duration = Duration::from_secs(61);
/// How long a job pauses at most.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// What becomes of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// It ends after so many requests.
    Ends(usize),
    /// After so many requests the key vault answers again, and its answer is no.
    Refuses(usize),
    /// It does not end.
    Lasts,
    /// It does not end, and the job is cancelled at this request.
    Cancelled(usize),
    /// It does not end, and the server stops at this request.
    Stopped(usize),
}

/// What is to happen to the next job.
#[derive(Default)]
struct Plan {
    /// The outage, and at which look at the clock, counted from when the job has its keys, the lease
    /// runs out.
    outage: Option<(usize, Outage)>,
    /// Unwraps until the job has its keys.
    unwraps: usize,
    /// Requests in the outage.
    asked: usize,
    /// The job and the vault at the second of them.
    seen: Option<(Value, Value)>,
}

struct AwayLink {
    plan: Mutex<Plan>,
    clock: Arc<custody_test_world::FixedClock>,
    /// Another process over the same data folder.
    other: Server,
    vault: String,
    grant: String,
    /// Says that the job pauses, and waits until the server was told to stop.
    stop: (SyncSender<()>, Mutex<Receiver<()>>),
}

impl AwayLink {
    fn get(&self, path: &str) -> Value {
        let path = format!("{path}?api-version=2025-02-01");
        let answer = ask(&self.other, "GET", &path, None, Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    fn newest_job(&self) -> Value {
        self.get(&format!("{}/backupJobs", self.vault))["value"][0].clone()
    }

    fn act(&self, outage: Outage, asked: usize) -> Result<(), KeyVaultError> {
        match outage {
            Outage::Ends(after) if asked > after => return Ok(()),
            Outage::Refuses(after) if asked > after => {
                let gone = ask(&self.other, "DELETE", &self.grant, None, Value::Null);
                assert!([200, 204].contains(&gone.status), "{gone:?}");
                return Ok(());
            }
            Outage::Cancelled(at) if asked == at => {
                let job = self.newest_job()["id"].as_str().unwrap().to_owned();
                let path = format!("{job}/cancel?api-version=2025-02-01");
                assert_eq!(ask(&self.other, "POST", &path, None, Value::Null).status, 200);
            }
            Outage::Stopped(at) if asked == at => {
                self.stop.0.send(()).unwrap();
                self.stop.1.lock().unwrap().recv_timeout(TOO_LONG).unwrap();
            }
            _ => {}
        }
        Err(KeyVaultError::Throttled)
    }
}

impl KeyVaultLink for AwayLink {
    fn carry(
        &self,
        operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        let (outage, asked) = {
            let mut plan = self.plan.lock().unwrap();
            let is_unwrap = matches!(operation, KeyOperation::Unwrap { .. });
            let Some((at, outage)) = plan.outage else {
                plan.unwraps += usize::from(is_unwrap);
                return deliver();
            };
            if plan.unwraps > 0 {
                plan.unwraps -= usize::from(is_unwrap);
                if plan.unwraps == 0 {
                    self.clock.jump_after(at, TOO_LONG);
                }
                return deliver();
            }
            plan.asked += 1;
            (outage, plan.asked)
        };
        if asked == 5 {
            // One try is three requests: the job has said by now that it waits.
            let seen = (self.newest_job(), self.get(&self.vault));
            self.plan.lock().unwrap().seen = Some(seen);
        }
        self.act(outage, asked)?;
        deliver()
    }
}

/// A vault under a customer key with an item, and the way to its key vault.
struct Scene {
    desk: Desk,
    link: Arc<AwayLink>,
    /// The ends of the link's channels.
    stop: (Receiver<()>, SyncSender<()>),
    vault: String,
    item: String,
    /// Unwraps of a job that begins.
    unwraps: usize,
}

impl Scene {
    fn new() -> Self {
        let desk = Desk::new();
        let grant = desk.admit("kv1");
        let vault = desk.vault(BACKUP, "pauses");
        let item = desk.item(&vault);
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        let ((paused, is_paused), (go, may_go)) = (sync_channel(1), sync_channel(1));
        let link = Arc::new(AwayLink {
            plan: Mutex::default(),
            clock: Arc::clone(&desk.site.clock),
            other: desk.site.again(),
            vault: vault.clone(),
            grant,
            stop: (paused, Mutex::new(may_go)),
        });
        desk.site.server.link_key_vaults(Arc::clone(&link) as _);
        let mut scene = Self { desk, link, stop: (is_paused, go), vault, item, unwraps: 0 };
        assert_eq!(end(&scene.backup("before")), COMPLETED);
        scene.unwraps = scene.link.plan.lock().unwrap().unwraps;
        scene
    }

    /// Lets the next job's lease run out at this look at the clock.
    fn plan(&self, at: usize, outage: Outage) {
        let (outage, unwraps) = (Some((at, outage)), self.unwraps);
        *self.link.plan.lock().unwrap() = Plan { outage, unwraps, ..Plan::default() };
    }

    /// How many requests the outage saw, and what was seen of the job and the vault meanwhile.
    fn is_over(&self) -> (usize, Option<(Value, Value)>) {
        let plan = std::mem::take(&mut *self.link.plan.lock().unwrap());
        // A jump that nobody met is none.
        self.desk.site.clock.jump_after(usize::MAX / 2, Duration::ZERO);
        (plan.asked, plan.seen)
    }

    fn backup(&self, content: &str) -> Value {
        std::fs::write(self.desk.source.path().join("letter.txt"), content).unwrap();
        self.desk.job(&self.item, "backup", json!({}))
    }

    fn restored(&self) -> String {
        let into = tempfile::tempdir().unwrap();
        assert_eq!(end(&self.desk.restore(&self.item, &into)), COMPLETED);
        std::fs::read_to_string(into.path().join("letter.txt")).unwrap()
    }

    fn alerts(&self) -> Vec<Value> {
        let seen = self.desk.get(&self.vault);
        seen["properties"]["keyAlerts"].as_array().cloned().unwrap_or_default()
    }
}

/// The job says since when it waits and why, and the vault has one alert, as another process sees it.
fn says_that_it_waits((job, vault): &(Value, Value), context: &str) {
    let waiting = &job["properties"]["progress"]["waiting"];
    assert_eq!(job["properties"]["status"], "InProgress", "{context}: {job}");
    assert_eq!(waiting["code"], AUTH_FAILURE, "{context}: {job}");
    assert!(waiting["since"].as_str().unwrap().starts_with("2027-01-15T"), "{context}: {job}");
    assert!(waiting["message"].as_str().unwrap().contains("kv1"), "{context}: {job}");
    let alerts = vault["properties"]["keyAlerts"].as_array().unwrap();
    let open: Vec<&Value> =
        alerts.iter().filter(|alert| alert.get("resolvedAt").is_none()).collect();
    assert_eq!(open.len(), 1, "{context}: {vault}");
    assert_eq!(open[0]["code"], AUTH_FAILURE, "{context}: {vault}");
    assert_eq!(open[0]["unreachable"], true, "{context}: {vault}");
}

#[test]
fn a_backup_a_restore_and_a_check_pause_and_go_on() {
    let scene = Scene::new();
    let mut paused = 0;
    for at in [3, 4, 5, 6, 8, 10, 13, 16, 20] {
        let content = format!("letter number {at}");
        for verb in ["backup", "restore", "verify"] {
            let context = format!("{verb}, at look {at}");
            scene.plan(at, Outage::Ends(9));
            let into = tempfile::tempdir().unwrap();
            let job = match verb {
                "backup" => scene.backup(&content),
                "restore" => scene.desk.restore(&scene.item, &into),
                _ => scene.desk.job(&scene.vault, "verify", json!({ "readData": true })),
            };
            let (asked, seen) = scene.is_over();
            assert_eq!(end(&job), COMPLETED, "{context}: {job}");
            assert_eq!(job["properties"]["progress"].get("waiting"), None, "{context}: {job}");
            if asked > 0 {
                paused += 1;
                says_that_it_waits(&seen.unwrap(), &context);
                let log = job["properties"]["log"].to_string();
                assert!(log.contains("waits for its key vault"), "{context}: {log}");
                assert!(log.contains("the key vault answers again"), "{context}: {log}");
            }
            let open = |alert: &Value| alert.get("resolvedAt").is_none();
            assert!(!scene.alerts().iter().any(open), "{context}: {:?}", scene.alerts());
            if verb == "restore" {
                let letter = into.path().join("letter.txt");
                assert_eq!(std::fs::read_to_string(letter).unwrap(), content, "{context}");
            } else if verb == "verify" {
                assert_eq!(job["properties"]["result"]["ok"], true, "{context}: {job}");
            }
        }
    }
    assert!(paused >= 20, "{paused} of 27 paused");
}

#[test]
fn what_ends_a_pause_ends_the_job_with_its_reason() {
    for (outage, expected, code) in [
        (Outage::Refuses(9), "Failed", MISSING),
        (Outage::Cancelled(9), "Cancelled", ""),
        (Outage::Lasts, "Failed", AUTH_FAILURE),
    ] {
        let scene = Scene::new();
        let begun = scene.desk.site.clock.since_boot();
        scene.plan(3, outage);
        let job = scene.backup("never stored");
        let (asked, seen) = scene.is_over();
        assert!(asked >= 9, "{outage:?}: {asked}");
        says_that_it_waits(&seen.unwrap(), &format!("{outage:?}"));
        assert_eq!(end(&job), (expected, code), "{outage:?}: {job}");
        assert_eq!(job["properties"]["progress"].get("waiting"), None, "{outage:?}: {job}");
        let took = scene.desk.site.clock.since_boot().saturating_sub(begun);
        if outage == Outage::Lasts {
            assert!(took >= PAUSE_MAX && took < PAUSE_MAX + Duration::from_mins(3), "{took:?}");
            let message = job["properties"]["errorDetails"][0]["message"].as_str().unwrap();
            assert!(message.contains("paused for 60 minutes"), "{message}");
            let alerts = scene.alerts();
            assert_eq!(alerts.len(), 1, "one alert a cause: {alerts:?}");
            assert_eq!((&alerts[0]["pauses"], &alerts[0]["jobs"]), (&json!(1), &json!(1)));
        } else {
            // The lease, three tries and the waits between them.
            assert!(took < TOO_LONG + Duration::from_secs(15), "{outage:?}: {took:?}");
        }
        scene.desk.admit("kv1");
        assert_eq!(scene.restored(), "before", "{outage:?}");
        assert_eq!(end(&scene.backup("after")), COMPLETED, "{outage:?}");
        assert_eq!(scene.restored(), "after", "{outage:?}");
    }
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_job_that_pauses() {
    let scene = Scene::new();
    scene.plan(3, Outage::Stopped(9));
    let path = format!("{}/backup?api-version=2025-02-01", scene.item);
    let answer = scene.desk.site.ask("POST", &path, None, json!({}));
    assert!(answer.status < 300, "{answer:?}");
    scene.stop.0.recv_timeout(TOO_LONG).unwrap();
    scene.desk.site.server.stop_waiting();
    scene.stop.1.send(()).unwrap();
    scene.desk.site.server.finish();
    let job = scene.desk.jobs(&scene.vault)[0].clone();
    assert_eq!(end(&job), ("Failed", "JobInterrupted"), "{job}");
    scene.is_over();
    assert_eq!(scene.restored(), "before");
}
