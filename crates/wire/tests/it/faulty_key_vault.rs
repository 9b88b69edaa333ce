//! A key vault that throttles, fails, is slow or loses the permission at any moment of an operation
//! on a vault's keyring: no data key is ever without a working recorded wrap, the settings say which
//! key is in force, and the same request brings the vault where it was to go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_key_vault::{KeyAnswer, KeyOperation, KeyVaultError};
use custody_wire::{KeyVaultLink, Server};
use serde_json::{Value, json};

use crate::desk::{AUTH_FAILURE, BACKUP, COMPLETED, Desk, KEY, MISSING, Speaker, end};
use crate::site::ask;

const OTHER_KEY: &str = "https://kv2.vault.custody.localhost/keys/k";
/// Longer than the lease of a vault's keys.
const SLOW: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// This answer takes longer than a lease lasts.
    Slow,
    /// This request and all later ones get 429.
    Throttled,
    /// This request alone gets 500.
    FailsOnce,
    /// The permission on both keys goes before this request.
    Denies,
    /// Another process over the same data folder follows the key before this request.
    Overtaken,
}

impl Fault {
    /// What an operation may meet whoever else is at work.
    const ALL: [Self; 4] = [Self::Slow, Self::Throttled, Self::FailsOnce, Self::Denies];

    /// Whether an operation may end so that meets it.
    fn explains(self, code: Option<&str>) -> bool {
        match (self, code) {
            (Self::FailsOnce | Self::Overtaken, code) => code.is_none(),
            (Self::Throttled, code) => code == Some(AUTH_FAILURE),
            // Between its requests an operation may need the keys no more.
            (Self::Slow, code) => code.is_none_or(|code| code == "KeyLeaseExpired"),
            (Self::Denies, code) => code.is_none_or(|code| code == MISSING),
        }
    }
}

/// What happens to the requests of an operation.
#[derive(Default)]
struct Plan {
    /// Requests so far.
    seen: usize,
    /// The fault, and before which request it comes.
    fault: Option<(usize, Fault)>,
    /// Vaults that another process rewrapped meanwhile.
    overtaken_by: usize,
}

struct FaultyLink {
    plan: Mutex<Plan>,
    clock: Arc<custody_test_world::FixedClock>,
    /// Another process over the same data folder, and the grants that it takes away.
    other: Server,
    grants: [String; 2],
}

impl FaultyLink {
    fn begin(&self, fault: Option<(usize, Fault)>) {
        *self.plan.lock().unwrap() = Plan { fault, ..Plan::default() };
    }

    fn seen(&self) -> usize {
        self.plan.lock().unwrap().seen
    }

    /// The fault that this request meets.
    fn meets(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let number = plan.seen;
        plan.seen += 1;
        let (at, fault) = plan.fault?;
        let lasts = fault == Fault::Throttled;
        (number == at || (lasts && number > at)).then_some(fault)
    }
}

impl KeyVaultLink for FaultyLink {
    fn carry(
        &self,
        _operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        match self.meets() {
            None => {}
            Some(Fault::Slow) => self.clock.advance(SLOW),
            Some(Fault::Throttled) => return Err(KeyVaultError::Throttled),
            Some(Fault::FailsOnce) => {
                let (place, reason) = ("kv1".to_owned(), "status 500".to_owned());
                return Err(KeyVaultError::Storage { place, reason });
            }
            Some(Fault::Overtaken) => {
                let followed = self.other.follow_keys().vaults;
                self.plan.lock().unwrap().overtaken_by += followed;
            }
            Some(Fault::Denies) => {
                for grant in &self.grants {
                    assert_eq!(ask(&self.other, "DELETE", grant, None, Value::Null).status, 200);
                }
            }
        }
        deliver()
    }
}

/// Two key vaults with a key each, both granted, and the faulty way to them.
fn prepared() -> (Desk, Arc<FaultyLink>) {
    let desk = Desk::new();
    desk.key_vault("kv2", &json!({}));
    desk.key("kv2", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
    let link = Arc::new(FaultyLink {
        plan: Mutex::default(),
        clock: Arc::clone(&desk.site.clock),
        other: desk.site.again(),
        grants: [desk.admit("kv1"), desk.admit("kv2")],
    });
    desk.site.server.link_key_vaults(Arc::clone(&link) as _);
    (desk, link)
}

/// A vault with a recovery point, under the platform's key.
fn protected(desk: &Desk, name: &str) -> (String, String) {
    let vault = desk.vault(BACKUP, name);
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    (vault, item)
}

/// The key in force as the vault's settings say; none is the platform's.
fn key_in_force(desk: &Desk, vault: &str) -> Option<String> {
    let settings = desk.get(vault)["properties"]["securitySettings"]["encryptionSettings"].clone();
    settings["keyVaultProperties"]["keyUri"].as_str().map(str::to_owned)
}

/// What the vault says of its customer key.
fn state(desk: &Desk, vault: &str) -> Option<String> {
    let settings = desk.get(vault)["properties"]["securitySettings"]["encryptionSettings"].clone();
    settings["state"].as_str().map(str::to_owned)
}

/// The vault opens, and its settings and its keyring name the same key and no other.
fn agrees(desk: &Desk, (vault, item): (&str, &str), context: &str) {
    let seen = desk.get(vault);
    assert_eq!(seen["properties"]["provisioningState"], "Succeeded", "{context}: {seen}");
    let key = key_in_force(desk, vault);
    let host = key.as_deref().map(|key| key.trim_end_matches("/keys/k")).unwrap_or_default();
    let wraps = desk.wraps(vault);
    assert!(!wraps.is_empty(), "{context}: {seen}");
    let newest = wraps.last().unwrap();
    assert!(newest.starts_with(host) || key.is_none(), "{context}: {key:?} {wraps:?}");
    let into = tempfile::tempdir().unwrap();
    assert_eq!(end(&desk.restore(item, &into)), COMPLETED, "{context}");
    let letter = into.path().join(desk.source.path().strip_prefix("/").unwrap());
    let found = std::fs::read_to_string(letter.join("letter.txt"))
        .or_else(|_| std::fs::read_to_string(into.path().join("letter.txt")));
    assert_eq!(found.unwrap(), "the only copy", "{context}");
}

/// Lets `act` meet every fault before every one of its requests. It says what broke it, and must,
/// undisturbed, bring the vault to the key `wanted`. Returns how often another key was in force
/// although the act failed.
fn meets_every_fault(
    mut vault: impl FnMut(&Desk, usize) -> (String, String),
    mut prepare: impl FnMut(&Desk, &str) -> String,
    act: impl Fn(&Desk, &str, &str) -> Option<String>,
) -> usize {
    let (desk, link) = prepared();
    let (first, item) = vault(&desk, 0);
    let wanted = prepare(&desk, &first);
    link.begin(None);
    assert_eq!(act(&desk, &first, &wanted), None);
    let requests = link.seen();
    assert!(requests > 4, "reading, wrapping and proving are requests: {requests}");
    agrees(&desk, (&first, &item), "undisturbed");
    let (mut round, mut finished_later) = (0, 0);
    for at in 0..requests {
        for fault in Fault::ALL {
            round += 1;
            let context = format!("{fault:?} before request {at} of {requests}");
            let (vault, item) = vault(&desk, round);
            let wanted = prepare(&desk, &vault);
            let before = key_in_force(&desk, &vault);
            link.begin(Some((at, fault)));
            let said = act(&desk, &vault, &wanted);
            let met = link.seen() > at;
            link.begin(None);
            desk.admit("kv1");
            desk.admit("kv2");
            assert!(met, "{context}: it was not met");
            assert!(fault.explains(said.as_deref()), "{context}: {said:?}");
            let after = key_in_force(&desk, &vault);
            // What failed when the new key was in force already is finished by itself.
            let changed = after.as_ref() == Some(&wanted);
            assert!(changed || said.is_some() && after == before, "{context}: {after:?}");
            if changed && said.is_some() && after != before {
                assert_eq!(state(&desk, &vault).as_deref(), Some("Inconsistent"), "{context}");
                finished_later += 1;
            }
            agrees(&desk, (&vault, &item), &context);
            desk.site.server.follow_keys();
            let (state, changed_keys) = (state(&desk, &vault), key_in_force(&desk, &vault));
            assert_eq!(
                (state.as_deref(), &changed_keys),
                (after.is_some().then_some("Enabled"), &after)
            );
            assert_eq!(act(&desk, &vault, &wanted), None, "{context}, once more");
            assert_eq!(key_in_force(&desk, &vault).as_ref(), Some(&wanted), "{context}");
        }
    }
    agrees(&desk, (&first, &item), "after all that");
    finished_later
}

#[test]
fn enabling_a_customer_key_meets_every_fault() {
    let finished_later = meets_every_fault(
        |desk, round| protected(desk, &format!("enables-{round}")),
        |_, _| KEY.to_owned(),
        |desk, vault, wanted| desk.encrypt(vault, wanted, Speaker::User),
    );
    assert!(finished_later > 0, "the keys are asked for once more when the new one is in force");
}

#[test]
fn changing_to_another_key_meets_every_fault() {
    let mut made: Option<(String, String)> = None;
    meets_every_fault(
        move |desk, _| {
            let made = made.get_or_insert_with(|| {
                let (vault, item) = protected(desk, "changes");
                assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
                (vault, item)
            });
            made.clone()
        },
        |desk, vault| match key_in_force(desk, vault).as_deref() {
            Some(KEY) => OTHER_KEY.to_owned(),
            _ => KEY.to_owned(),
        },
        |desk, vault, wanted| desk.encrypt(vault, wanted, Speaker::User),
    );
}

#[test]
fn following_a_rotation_meets_every_fault() {
    let mut made: Option<(String, String)> = None;
    meets_every_fault(
        move |desk, _| {
            let made = made.get_or_insert_with(|| {
                let (vault, item) = protected(desk, "follows");
                assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
                (vault, item)
            });
            made.clone()
        },
        |desk, _| {
            desk.key("kv1", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
            KEY.to_owned()
        },
        |desk, vault, _| {
            // What could not follow is tried again after a while.
            desk.site.clock.advance(Duration::from_mins(11));
            desk.site.server.follow_keys();
            let job = desk.jobs(vault)[0].clone();
            let (status, code) = end(&job);
            (status == "Failed").then(|| code.to_owned())
        },
    );
}

/// Two processes rewrap the same vault at once: a job that follows a rotation before it begins, and
/// another server. Neither fails, and no data key loses its wrap.
#[test]
fn a_job_is_overtaken_before_every_request() {
    let (desk, link) = prepared();
    let (vault, item) = protected(&desk, "shared");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let rotate = || desk.key("kv1", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
    rotate();
    link.begin(None);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let requests = link.seen();
    assert!(requests > 4, "{requests}");
    let mut overtaken = 0;
    for at in 0..requests {
        let newest = rotate();
        link.begin(Some((at, Fault::Overtaken)));
        let job = desk.job(&item, "backup", json!({}));
        assert_eq!(end(&job), COMPLETED, "before request {at} of {requests}: {job}");
        overtaken += link.plan.lock().unwrap().overtaken_by;
        link.begin(None);
        assert!(desk.wraps(&vault).iter().all(|wrap| *wrap == newest), "{at}: {newest}");
        assert_eq!(state(&desk, &vault).as_deref(), Some("Enabled"), "{at}");
    }
    agrees(&desk, (&vault, &item), "after all that");
    assert!(overtaken > 3, "{overtaken} of {requests}");
}
