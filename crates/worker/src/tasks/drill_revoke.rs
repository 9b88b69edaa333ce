//! Tries what happens if a vault's key is taken away. Dry, it says so; live, it disables the key
//! version, measures until the last read fails, enables it again and restores everything.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, available_parallelism};
use std::time::Duration;

use custody_backup_vaults::{DrillRevoke, Failover, Vault, require_marked_for_drills};
use custody_key_vault::Purpose;
use custody_names::KeyVersionUri;
use custody_protection::Item;
use custody_repository::{PointId, Repository};
use custody_resources::{Refusal, Target};
use serde::Deserialize as _;
use serde_json::{Value, json};

use self::discard::Discard;
use crate::drill_report::{ENABLED_AGAIN, Protocol, Subject, head, milliseconds, seal};
use crate::error::{DRILL_FAILED, TaskError};
use crate::job::Job;
use crate::key_access::Cause;
use crate::look::resolve;
use crate::runner::Outcome;
use crate::vault_session::VaultSession;
use crate::{fault, overview};

mod discard;

/// How long it is between two looks whether something can still be read.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// So many looks are made at most: five seconds of them, five times the bound of a revocation.
const LOOKS_MAX: usize = 1_000;
/// How long it is between two new operations, and how many are begun at most.
const BEGIN_EVERY: Duration = Duration::from_millis(50);
const BEGUN_MAX: usize = 100;
/// So many new operations must be refused in a row.
const REFUSALS_WANTED: usize = 3;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let asked = DrillRevoke::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let vault = job.vault()?;
    let key = key_in_force(&vault)?;
    let (begun, before) = (job.platform.clock.now(), head(job.platform)?);
    let drill = Drill { job, vault: &vault, key: &key, asked };
    let mut protocol = Protocol::new(&job.platform.clock);
    let mut found = json!({ "vault": vault.record.id });
    drill.carry_out(&mut protocol, &mut found)?;
    let passed = protocol.passed();
    let verdict = match protocol.failure() {
        Some(why) => format!("the drill failed: {why}"),
        None if asked.live => "without its key nothing was read; with it everything is".to_owned(),
        None => "nothing was changed".to_owned(),
    };
    if !passed {
        job.warn(DRILL_FAILED, b"", &verdict);
    }
    if let Some(fields) = found.as_object_mut() {
        fields.insert("steps".into(), protocol.to_json());
        fields.insert("passed".into(), passed.into());
        fields.insert("verdict".into(), verdict.into());
    }
    let subject = Subject {
        caller: &job.operation.caller,
        operation: Some(job.id()),
        key: key.to_string(),
        live: asked.live,
        begun,
        before,
    };
    Ok(Outcome::only(seal(job.platform, &subject, found)?))
}

/// The version of the vault's first key that wraps its newest data key.
fn key_in_force(vault: &Vault) -> Result<KeyVersionUri, Refusal> {
    let key = vault.status.applied.as_ref().and_then(|applied| applied.key());
    let newest = vault.status.keyring.as_ref().and_then(|ring| ring.generations.last());
    let mut wraps = newest.iter().flat_map(|newest| &newest.wraps);
    let wrap = wraps.find(|wrap| key.is_some_and(|key| key.versionless() == wrap.versionless()));
    wrap.cloned().ok_or_else(|| Refusal::bug("no version of the vault's key wraps its data key"))
}

struct Drill<'a> {
    job: &'a Job<'a>,
    vault: &'a Vault,
    key: &'a KeyVersionUri,
    asked: DrillRevoke,
}

/// A vault open for reading, as a job holds it.
struct Open {
    session: VaultSession,
    repository: Repository,
    point: Option<PointId>,
}

/// How reads went on after the key was disabled, in milliseconds since.
#[derive(Default)]
struct Reads {
    count: usize,
    last_at: Option<Duration>,
    stopped: Option<(Duration, Refusal)>,
}

impl Drill<'_> {
    fn carry_out(&self, protocol: &mut Protocol, found: &mut Value) -> Result<(), TaskError> {
        let mut put = |name: &str, value: Value| {
            if let Some(fields) = found.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        self.job.phase("check")?;
        protocol.step("what hangs on the key version is listed", || {
            let all = self.dependants()?;
            let summary = all.get("summary").cloned().unwrap_or_default();
            put("dependants", all);
            Ok(((), summary))
        });
        let marked = !self.asked.live
            || protocol
                .step("every vault under the key version is marked for drills", || {
                    self.all_marked()
                })
                .is_some();
        if !marked {
            return Ok(());
        }
        let opened = protocol.step("the vault opens and is read", || {
            let open = self.open()?;
            read(&open)?;
            Ok((open, Value::Null))
        });
        let Some(open) = opened.filter(|_| self.asked.live) else { return Ok(()) };
        self.job.phase("revoke")?;
        let measured = self.revoke(&open, protocol);
        drop(open);
        put("measured", measured);
        self.job.phase("restore")?;
        put("restored", self.restore_all(protocol).into());
        Ok(())
    }

    fn dependants(&self) -> Result<Value, Refusal> {
        let (platform, key) = (self.job.platform, self.key.pinned());
        let holder = platform.holder_of(self.key)?;
        let facts = platform.key_vaults.key_facts(&holder.vault, &key.key);
        let versions = facts.map_err(|error| fault::of_key_vault(&error))?;
        overview::dependants_of(
            platform,
            &key,
            versions.map(|own| own.versions).unwrap_or_default(),
        )
    }

    fn cause(&self) -> Cause {
        Cause { purpose: Some(Purpose::Drill), ..self.job.cause() }
    }

    /// Disabling a key version stops every vault under it.
    fn all_marked(&self) -> Result<((), Value), Refusal> {
        let key = self.key.versionless();
        let vaults = self
            .job
            .platform
            .look(|world| Ok(Vault::among(world.referrers(Target::key(&key))?)?))?;
        let under_it = |vault: &&Vault| vault.status.wraps().any(|wrap| wrap == self.key);
        let under_it: Vec<&Vault> = vaults.iter().filter(under_it).collect();
        for vault in &under_it {
            require_marked_for_drills(&vault.record)?;
        }
        Ok(((), json!({ "vaults": under_it.len() })))
    }

    fn open(&self) -> Result<Open, Refusal> {
        let platform = self.job.platform;
        let session = VaultSession::open(platform, self.vault, self.cause())?;
        let repository = session.repository(platform, self.vault)?;
        let history = repository.history().map_err(|error| fault::of_repository(&error))?;
        let newest = history.points().iter().max_by_key(|(_, point)| point.number);
        let point = newest.map(|(name, _)| PointId(*name));
        Ok(Open { session, repository, point })
    }

    /// Disables the key, measures, and enables it again whatever was found.
    fn revoke(&self, open: &Open, protocol: &mut Protocol) -> Value {
        let platform = self.job.platform;
        let stop = AtomicBool::new(false);
        let mut disabled_at = Duration::ZERO;
        let (running, new, disabled) = thread::scope(|scope| {
            let reader = scope.spawn(|| self.read_on(open, &stop));
            let disabled = protocol.step("the key version is disabled", || {
                let caller = &self.job.operation.caller;
                platform.disable_for_drill(self.key, caller, self.cause())?;
                disabled_at = platform.clock.since_boot();
                Ok(((), Value::Null))
            });
            let new = match disabled {
                Some(()) => self.try_anew(),
                None => Reads::default(),
            };
            stop.store(disabled.is_none(), Ordering::Release);
            (reader.join().unwrap_or_default(), new, disabled.is_some())
        });
        if disabled {
            protocol.step("a running job is stopped", || self.stopped(&running));
            protocol.step("new operations are refused", || self.stopped(&new));
        }
        protocol.step(ENABLED_AGAIN, || {
            let done = platform.enable_after_drill(self.job.id())?;
            if disabled && !done {
                let text = "somebody else changed the key meanwhile: it was left as it is";
                return Err(Refusal::new(409, "DrillKeyChangedMeanwhile", text));
            }
            Ok(((), Value::Null))
        });
        let last = running.last_at.into_iter().chain(new.last_at).max();
        json!({
            "runningJob": shown(&running, disabled_at),
            "newOperations": shown(&new, disabled_at),
            "lastReadMs": last.map(|last| milliseconds(last.saturating_sub(disabled_at))),
        })
    }

    /// Reads as a running job does until it is stopped.
    fn read_on(&self, open: &Open, stop: &AtomicBool) -> Reads {
        let mut reads = Reads::default();
        for _ in 0..LOOKS_MAX {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let outcome = read(open);
            let at = self.job.platform.clock.since_boot();
            match outcome {
                Ok(()) => {
                    reads.count += 1;
                    reads.last_at = Some(at);
                }
                Err(refusal) => {
                    reads.stopped = Some((at, refusal));
                    break;
                }
            }
            thread::park_timeout(LOOK_EVERY);
        }
        reads
    }

    /// Begins operations until some in a row were refused.
    fn try_anew(&self) -> Reads {
        let mut reads = Reads::default();
        let mut refused = 0;
        for _ in 0..BEGUN_MAX {
            let outcome = self.open().and_then(|open| read(&open));
            let at = self.job.platform.clock.since_boot();
            match outcome {
                Ok(()) => {
                    reads.count += 1;
                    reads.last_at = Some(at);
                    reads.stopped = None;
                    refused = 0;
                }
                Err(refusal) => {
                    reads.stopped.get_or_insert((at, refusal));
                    refused += 1;
                }
            }
            if refused >= REFUSALS_WANTED {
                break;
            }
            thread::park_timeout(BEGIN_EVERY);
        }
        reads
    }

    fn stopped(&self, reads: &Reads) -> Result<((), Value), Refusal> {
        if let Some((_, refusal)) = &reads.stopped {
            return Ok(((), json!({ "code": refusal.code })));
        }
        let applied = self.vault.status.applied.as_ref();
        let any = applied.filter(|applied| applied.failover == Failover::Any);
        let text = match any.and_then(|applied| applied.standby()) {
            Some(standby) => format!(
                "disabling this key alone does not revoke: {standby} opens the vault as well \
                 (failover Any)"
            ),
            None => "what is protected could still be read".to_owned(),
        };
        Err(Refusal::new(409, "DrillNotRevoked", text))
    }

    /// Restores the newest point of each item to nowhere: every byte is read, opened and checked.
    fn restore_all(&self, protocol: &mut Protocol) -> Vec<Value> {
        let mut restored = Vec::new();
        let opened = protocol.step("the vault opens again", || Ok((self.open()?, Value::Null)));
        let Some(open) = opened else { return restored };
        protocol.step("the newest recovery points restore", || {
            let id = &self.vault.record.id;
            let mut items = self.job.platform.look(|world| Item::below(id, world))?;
            items.retain(|item| item.status.newest_point_time.is_some());
            let all = items.len();
            items.truncate(self.asked.items_max.unwrap_or(all));
            let mut first = None;
            for item in &items {
                let (shown, refusal) = self.restore(&open.repository, item);
                restored.push(shown);
                first = first.or(refusal);
            }
            first.map_or(Ok(((), json!({ "items": all, "restored": items.len() }))), Err)
        });
        restored
    }

    fn restore(&self, repository: &Repository, item: &Item) -> (Value, Option<Refusal>) {
        let name = item.record.id.name().unwrap_or_default();
        let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let outcome = resolve(repository, item, "latest").and_then(|point| {
            let report = repository.restore(point, b"", &mut Discard, threads, self.job);
            let report = report.map_err(|error| fault::of_repository(&error))?;
            match report.warnings.first() {
                None => Ok((point, report)),
                Some(warning) => {
                    let text = format!("{name} is damaged: {}", warning.message);
                    Err(Refusal::new(409, "RestoreIncomplete", text)
                        .with_fix("custody verify --read-data"))
                }
            }
        });
        match outcome {
            Ok((point, report)) => {
                let shown = json!({
                    "item": name,
                    "recoveryPoint": point.to_string(),
                    "files": report.files,
                    "bytes": report.bytes,
                    "result": "Passed",
                });
                (shown, None)
            }
            Err(refusal) => {
                let shown = json!({ "item": name, "result": "Failed", "code": refusal.code });
                (shown, Some(refusal))
            }
        }
    }
}

/// Reads and opens something that is sealed with the vault's keys.
fn read(open: &Open) -> Result<(), Refusal> {
    let opened = match open.point {
        Some(point) => open.repository.point(point).map(drop),
        None => open.session.keys.lease().check().map_err(Into::into),
    };
    opened.map_err(|error| fault::of_repository(&error))
}

fn shown(reads: &Reads, since: Duration) -> Value {
    let after = |at: Duration| milliseconds(at.saturating_sub(since));
    json!({
        "reads": reads.count,
        "lastReadMs": reads.last_at.map(after),
        "stoppedMs": reads.stopped.as_ref().map(|(at, _)| after(*at)),
        "code": reads.stopped.as_ref().map(|(_, refusal)| &refusal.code),
    })
}
