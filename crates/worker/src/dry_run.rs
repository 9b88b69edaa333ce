//! What a change of a vault's encryption would meet: every check with its result, and the command
//! that mends what fails. Nothing is changed, but the key is used, and that is on the ledger.

use std::sync::Arc;

use custody_backup_vaults::{ApplyEncryption, EncryptionSettings, Vault};
use custody_envelope::{KekError, KeyEncryptionKeys as _, SecretBytes, WrapAlgorithm};
use custody_names::KeyUri;
use custody_resources::{Refusal, Request, Verb, Write};
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use crate::keks::{self, VaultKeks};
use crate::key_access::Cause;
use crate::vault_session::VaultSession;
use crate::{Platform, fault};

/// Bytes that are wrapped and unwrapped to see whether the key does both.
const PROBE_BYTES: usize = 32;

/// One check.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    /// What is checked.
    what: String,
    /// The rules of the documents that ask for it.
    rules: &'static str,
    /// `Passed`, or `Failed`, or `NotChecked` because an earlier one failed.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// The checks so far.
#[derive(Default)]
struct Checks {
    all: Vec<Check>,
    /// What they are about now, if it is not the first key.
    of: &'static str,
}

impl Checks {
    fn add<T>(
        &mut self,
        check: &'static str,
        rules: &'static str,
        outcome: Result<T, Refusal>,
    ) -> Option<T> {
        let (result, refusal, value) = match outcome {
            Ok(value) => ("Passed", None, Some(value)),
            Err(refusal) => ("Failed", Some(refusal), None),
        };
        self.all.push(Check {
            what: format!("{check}{}", self.of),
            rules,
            result,
            code: refusal.as_ref().map(|refusal| refusal.code.to_string()),
            message: refusal.as_ref().map(|refusal| refusal.message.clone()),
            fix: refusal.and_then(|refusal| refusal.fix),
        });
        value
    }

    fn of_key<T>(
        &mut self,
        check: &'static str,
        rules: &'static str,
        outcome: Result<T, KekError>,
    ) -> Option<T> {
        self.add(check, rules, outcome.map_err(|error| fault::of_key(&error)))
    }

    fn skip(&mut self, check: &'static str, rules: &'static str) {
        let (code, message, fix) = (None, None, None);
        let what = format!("{check}{}", self.of);
        self.all.push(Check { what, rules, result: "NotChecked", code, message, fix });
    }

    fn report(self) -> Value {
        let passed = self.all.iter().all(|check| check.result == "Passed");
        json!({ "passed": passed, "checks": self.all })
    }
}

/// `POST V/checkEncryption` with the body that a PATCH would have.
pub fn check_encryption(platform: &Arc<Platform>, request: &Request<'_>) -> Result<Value, Refusal> {
    let mut checks = Checks::default();
    let planned = plan(platform, request);
    let planned = checks.add("the request keeps the rules", "32–36, 51–55, 74, 75", planned);
    let Some((vault, wanted)) = planned else { return Ok(checks.report()) };
    let Some(wanted) = wanted else { return Ok(checks.report()) };
    let cause = Cause::of(request.correlation);
    let keks = VaultKeks::new(platform, &vault, Some(&wanted), cause);
    let keks = checks.add("the identity is attached to the vault", "34, 46", keks);
    if let Some(keks) = keks {
        for (key, of) in wanted.addressed_keys().zip(["", " (standby)"]) {
            checks.of = of;
            check_key(platform, &mut checks, &vault, &keks, &key.key_uri);
        }
        checks.of = "";
    }
    if vault.status.keyring.is_some() {
        let opened = VaultSession::open_to_change(platform, &vault, Some(&wanted), cause);
        checks.add("the key in force can be used to rewrap from", "58, 92", opened);
    }
    Ok(checks.report())
}

/// The vault as it would be stored, and the settings it would be given.
fn plan(
    platform: &Platform,
    request: &Request<'_>,
) -> Result<(Vault, Option<EncryptionSettings>), Refusal> {
    let patch = Request {
        id: request.id.clone(),
        listed: None,
        verb: Verb::Patch,
        body: request.body.clone(),
        api_version: request.api_version.clone(),
        if_match: request.if_match.clone(),
        caller: request.caller.clone(),
        correlation: request.correlation,
        operation: request.operation,
        owner: request.owner.clone(),
        now: request.now,
        hosts: request.hosts.clone(),
        entropy: request.entropy,
    };
    let mut writes = Vec::new();
    let looked = platform.records.view(&mut |world| {
        writes = platform.engine.answer(&patch, world)?.writes;
        Ok(())
    });
    looked.map_err(fault::of_apply)?;
    let mut vault = None;
    let mut wanted = None;
    for write in writes {
        match write {
            Write::Put(record) if record.id == request.id => vault = Some(Vault::read(&record)?),
            Write::Operation(operation) => {
                let input = ApplyEncryption::deserialize(&operation.task.input);
                wanted = input.map_err(|error| Refusal::bug(error.to_string()))?.wanted;
            }
            _ => {}
        }
    }
    let vault = vault.ok_or_else(|| Refusal::bug("a change of a vault stores no vault"))?;
    Ok((vault, wanted))
}

fn check_key(
    platform: &Platform,
    checks: &mut Checks,
    vault: &Vault,
    keks: &VaultKeks,
    key: &KeyUri,
) {
    checks.of_key(
        "the key vault has soft delete and purge protection",
        "19, 20",
        keks.require_recoverable(key),
    );
    if vault.is_recovery_services() {
        let region = keks.require_region(key, vault.record.location.as_ref());
        checks.of_key("the key vault lies in the vault's region", "23", region);
    }
    let state = keks.describe(key);
    let (active, active_rules) = ("the key is enabled and in its time window", "17, 18");
    let (usable, rules) = ("the identity can wrap and unwrap with it", "42–48");
    let Some(state) = checks.of_key("the identity can read the key", "38, 42–48", state) else {
        checks.skip(active, active_rules);
        checks.skip(usable, rules);
        return;
    };
    checks.of_key(
        "the key is RSA, of 2048, 3072 or 4096 bits",
        "12–15",
        keks::state_is_fit(&state),
    );
    checks.of_key(active, active_rules, keks::state_is_active(&state, platform.clock.now()));
    let mut probe = vec![0; PROBE_BYTES];
    let filled = platform.entropy.fill(&mut probe);
    let filled = filled.map_err(|error| Refusal::bug(error.to_string()));
    let probed = filled.and_then(|()| {
        let (version, oaep) = (&state.version, WrapAlgorithm::RsaOaep256);
        let wrapped = keks.wrap(version, oaep, &SecretBytes::new(probe));
        let opened = wrapped.and_then(|wrapped| keks.unwrap(version, oaep, &wrapped));
        opened.map(drop).map_err(|error| fault::of_key(&error))
    });
    checks.add(usable, rules, probed);
}
