//! Requests to the control plane: vaults read, written and listed, while many roles are assigned and
//! operations run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::serve::figures::Figures;
use crate::bench::serve::load::{self, Load};
use crate::bench::serve::measures::{MAKING_TIME, Subject, rate, warm};
use crate::bench::serve::scripts::{Each, Pages, Same};
use crate::bench::serve::set_up::Arm;
use crate::failure::{Failure, Trying};

/// Role assignments of the caller.
const ASSIGNMENTS: u32 = 100;
/// Operations in flight.
const OPERATIONS: u32 = 10;
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const VAULTS_API: &str = "2025-02-01";
/// How often it is looked whether an operation has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Subject<'_> {
    /// GET and PUT of a vault, and the list of many in pages.
    pub(crate) fn vaults(&self, folder: &Path, figures: &mut Figures) -> Result<(), Failure> {
        let arm = self.world.arm()?;
        let vaults = Vaults { subject: self, arm: &arm };
        let count = self.settings.keys;
        vaults.make(count, figures)?;
        for number in 0..ASSIGNMENTS.min(count) {
            let scope = vaults.id(&format!("listed-{number:05}"));
            arm.grant(&scope, READER, &self.world.officer, 1)?;
        }
        let source = folder.join("source");
        fs::create_dir_all(&source).trying(source.display())?;
        fs::write(source.join("letter"), "the only copy").trying(source.display())?;
        for number in 0..OPERATIONS {
            vaults.protect(&format!("busy-{number}"), &source)?;
        }
        vaults.measure("", figures)?;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let busy: Vec<_> = (0..OPERATIONS)
                .map(|number| {
                    scope.spawn({
                        let (vaults, done) = (&vaults, &done);
                        move || vaults.keep_busy(&format!("busy-{number}"), done)
                    })
                })
                .collect();
            let measured = vaults.measure(&format!(", {OPERATIONS} backups in flight"), figures);
            done.store(true, Ordering::Relaxed);
            for thread in busy {
                thread.join().map_err(|_| Failure::new("the backups broke off"))??;
            }
            measured
        })?;
        vaults.list(count, figures)
    }
}

struct Vaults<'a> {
    subject: &'a Subject<'a>,
    arm: &'a Arm<'a>,
}

impl Vaults<'_> {
    fn id(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.DataProtection/backupVaults/{name}", self.arm.group)
    }

    fn load(&self) -> Load<'_> {
        Load { host: &self.subject.world.main_host, ..self.subject.timed() }
    }

    /// Makes vaults under a key vault that does not know them: records, and nothing on the disk.
    fn make(&self, count: u32, figures: &mut Figures) -> Result<(), Failure> {
        let identity = self.arm.identity("unknown")?;
        let settings = json!({
            "state": "Enabled",
            "keyVaultProperties": {
                "keyUri": "https://bench-keys.vault.custody.localhost/keys/absent",
            },
            "kekIdentity": { "identityType": "UserAssigned", "identityId": identity },
        });
        let body = json!({
            "location": "local",
            "identity": { "type": "UserAssigned", "userAssignedIdentities": { identity: {} } },
            "properties": { "securitySettings": { "encryptionSettings": settings } },
        });
        let make = |number: u32| {
            let target =
                format!("{}?api-version={VAULTS_API}", self.id(&format!("listed-{number:05}")));
            self.arm.request("PUT", &target, Some(&body)).to_vec()
        };
        let given = AtomicU32::new(0);
        let load = Load { time: MAKING_TIME, is_patient: true, ..self.load() };
        let cpu = || self.subject.server.watched.cpu();
        let outcome = load::closed(&load, || Each::new(&given, count, make), &cpu)?;
        if outcome.done < u64::from(count) {
            figures.problem(format!("only {} of {count} vaults were made", outcome.done));
        }
        rate("a vault that is made, and whose key is refused", outcome, &load, figures);
        Ok(())
    }

    /// Makes a vault under the platform's key with a folder in it.
    fn protect(&self, name: &str, source: &Path) -> Result<(), Failure> {
        let vault = self.id(name);
        let target = format!("{vault}?api-version={VAULTS_API}");
        self.arm.ask("PUT", &target, &json!({ "location": "local", "properties": {} }))?;
        self.wait(&target, "/properties/provisioningState", &["Succeeded"])?;
        let properties = json!({
            "objectType": "BackupInstance", "friendlyName": "docs",
            "dataSourceInfo": {
                "objectType": "Datasource", "datasourceType": "Custody.Sources/folders",
                "resourceName": "docs",
            },
            "folder": { "paths": [source] },
        });
        let target = format!("{vault}/backupInstances/docs?api-version={VAULTS_API}");
        self.arm.ask("PUT", &target, &json!({ "properties": properties })).map(drop)
    }

    /// Takes one recovery point after the other.
    fn keep_busy(&self, name: &str, done: &AtomicBool) -> Result<(), Failure> {
        let vault = self.id(name);
        let jobs = format!("{vault}/backupJobs?api-version={VAULTS_API}");
        while !done.load(Ordering::Relaxed) {
            let target = format!("{vault}/backupInstances/docs/backup?api-version={VAULTS_API}");
            self.arm.ask("POST", &target, &json!({}))?;
            self.wait(&jobs, "/value/0/properties/status", &["Completed"])?;
        }
        Ok(())
    }

    fn wait(&self, target: &str, place: &str, wanted: &[&str]) -> Result<(), Failure> {
        loop {
            let seen = self.arm.get(target)?;
            match seen.pointer(place).and_then(Value::as_str).unwrap_or_default() {
                state if wanted.contains(&state) => return Ok(()),
                "Failed" => return Err(Failure::new(format!("{target}: {seen}"))),
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    fn measure(&self, meanwhile: &str, figures: &mut Figures) -> Result<(), Failure> {
        let target = format!("{}?api-version={VAULTS_API}", self.id("busy-0"));
        let get: Arc<[u8]> = self.arm.request("GET", &target, None);
        let load = self.load();
        let watched = &self.subject.server.watched;
        let outcome = warm(load, watched, || Same(Arc::clone(&get)))?;
        let roles = format!("{ASSIGNMENTS} role assignments");
        rate(&format!("GET vault, {roles}{meanwhile}"), outcome, &load, figures);
        let given = AtomicU32::new(0);
        let make = |number: u32| {
            // Each thread of the load has its own: two writers of one record take turns anyway.
            let target = format!(
                "{}?api-version={VAULTS_API}",
                self.id(&format!("busy-{}", number % OPERATIONS))
            );
            let tags = json!({ "number": number.to_string() });
            let body = json!({ "location": "local", "tags": tags, "properties": {} });
            self.arm.request("PUT", &target, Some(&body)).to_vec()
        };
        let script = || Each::new(&given, u32::MAX, make);
        let outcome = load::closed(&load, script, &|| watched.cpu())?;
        rate(&format!("PUT vault, {roles}{meanwhile}"), outcome, &load, figures);
        Ok(())
    }

    fn list(&self, count: u32, figures: &mut Figures) -> Result<(), Failure> {
        let walked = AtomicU32::new(0);
        let kind = self.id("");
        let first = format!("{}?api-version={VAULTS_API}", kind.trim_end_matches('/'));
        let make = |target: &str| self.arm.request("GET", target, None).to_vec();
        let load = self.load();
        let script = || Pages::new(&first, make, &walked);
        let outcome = warm(load, &self.subject.server.watched, script)?;
        rate(&format!("a page of 1,000 of a list of {count} vaults"), outcome, &load, figures);
        if walked.into_inner() < count {
            figures.problem("the list was not walked to its end: --seconds more");
        }
        Ok(())
    }
}
