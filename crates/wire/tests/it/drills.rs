//! Live drills: a key is really disabled, and everything is as before afterwards.

use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, Desk, KEY, RECOVERY, Speaker, end};

const ARM: &str = "https://management.azure.com";

impl Desk {
    /// Asks for a drill as the administrator's application, who may change keys: status and code of a
    /// refusal, or the sealed report.
    pub(crate) fn drill(
        &self,
        vault: &str,
        body: Value,
        token: Option<&str>,
    ) -> Result<Value, (u16, String)> {
        let path = format!("{vault}/drillRevoke?api-version=2025-02-01");
        let answer = self.site.ask("POST", &path, token, body);
        if answer.status != 202 {
            let code = answer.body["error"]["code"].as_str().unwrap_or_default();
            return Err((answer.status, code.to_owned()));
        }
        self.site.server.finish();
        Ok(self.jobs(vault)[0]["properties"]["result"].clone())
    }

    pub(crate) fn mark(&self, vault: &str) {
        let marked = self.patch(vault, json!({ "tags": { "custody-drill": "allowed" } }));
        assert!(marked.status < 300, "{marked:?}");
    }

    pub(crate) fn enabled(&self, version: &str) -> Value {
        let path = version.trim_start_matches("https://");
        self.keys("GET", path, Value::Null)["attributes"]["enabled"].clone()
    }

    fn verify(&self, sealed: &Value) -> Value {
        let body = json!({ "head": sealed["ledger"]["head"], "drill": sealed });
        self.site.ask("POST", "/custody/ledger/verify", None, body).body
    }
}

/// The steps of a report with how they ended.
fn steps(sealed: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = sealed["report"]["steps"].as_array().unwrap();
    all.iter().map(|step| (text(&step["step"]), text(&step["code"]))).collect()
}

#[test]
fn a_live_drill_takes_the_key_away_and_gives_it_back() {
    let desk = Desk::new();
    desk.admit("kv1");
    let officer = desk.site.bearer(ARM);
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "drilled");
        let body = json!({ "live": true });
        let drill = || desk.drill(&vault, body.clone(), Some(&officer));
        let refused = |code: &str| Err((409, code.to_owned()));
        assert_eq!(drill(), refused("DrillNeedsCustomerKey"));
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        assert_eq!(drill(), refused("VaultNotMarkedForDrills"));
        let key = desk.wraps(&vault).pop().unwrap();
        let dry = desk.drill(&vault, json!({}), None).unwrap();
        assert_eq!(
            (&dry["report"]["passed"], &dry["report"]["live"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(steps(&dry).len(), 2, "{dry}");
        desk.mark(&vault);
        if kind == BACKUP {
            let item = desk.item(&vault);
            assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
        }
        let sealed = drill().unwrap();
        let report = &sealed["report"];
        assert_eq!(report["passed"], true, "{report:#}");
        assert_eq!((&report["vault"], &report["key"]), (&json!(vault), &json!(key)));
        assert_eq!(report["by"]["principalId"], desk.site.object);
        let disabled = json!("UserErrorCMKKeyDisabled");
        let measured = &report["measured"];
        assert_eq!(measured["newOperations"]["code"], disabled);
        assert_eq!(measured["newOperations"]["reads"], 0);
        assert!(measured["runningJob"]["reads"].as_u64().unwrap() > 0);
        assert!(measured["runningJob"]["stoppedMs"].is_u64(), "{measured}");
        assert_eq!(desk.enabled(&key), true);
        let restored = report["restored"].as_array().unwrap();
        assert_eq!(restored.len(), usize::from(kind == BACKUP));
        for item in restored {
            assert_eq!((&item["item"], &item["result"]), (&json!("docs"), &json!("Passed")));
            assert_eq!((&item["files"], &item["bytes"]), (&json!(1), &json!(13)));
        }
        // It can be proven, and not changed.
        let proven = desk.verify(&sealed);
        assert_eq!(
            (&proven["ok"], &proven["drill"]["ok"]),
            (&json!(true), &json!(true)),
            "{proven}"
        );
        let reordered: Value = serde_json::from_str(&sealed.to_string()).unwrap();
        assert_eq!(desk.verify(&reordered)["ok"], true);
        for place in ["/report/passed", "/ledger/record/sequence", "/report/steps/0/time"] {
            let mut forged = sealed.clone();
            *forged.pointer_mut(place).unwrap() = json!(1);
            assert_eq!(desk.verify(&forged)["ok"], false, "{place}");
        }
    }
    let ledger = desk.site.ask("GET", "/custody/ledger?top=1000", None, Value::Null).body;
    let all = ledger["value"].as_array().unwrap().iter().map(|line| &line["record"]);
    let changes = all.filter(|record| record["operationName"] == "KeyUpdate");
    let purposes: Vec<&Value> = changes.map(|record| &record["properties"]["purpose"]).collect();
    assert_eq!(purposes, [&json!("drill"); 4], "disabled and enabled, each as a drill");
}

/// What stands in the way is a failed step of the report, and the key is as it was.
#[test]
fn a_drill_that_cannot_go_on_changes_nothing() {
    let desk = Desk::new();
    desk.admit("kv1");
    let officer = desk.site.bearer(ARM);
    let vault = desk.vault(BACKUP, "marked");
    let other = desk.vault(BACKUP, "unmarked");
    for vault in [&vault, &other] {
        assert_eq!(desk.encrypt(vault, KEY, Speaker::User), None);
    }
    desk.mark(&vault);
    let key = desk.wraps(&vault).pop().unwrap();
    let live = |token: Option<&str>| {
        let sealed = desk.drill(&vault, json!({ "live": true }), token).unwrap();
        assert_eq!(sealed["report"]["passed"], false, "{sealed:#}");
        assert_eq!(desk.verify(&sealed)["ok"], true, "a report of what failed is one, too");
        assert_eq!(desk.enabled(&key), true);
        let failed = steps(&sealed).into_iter().filter(|(_, code)| !code.is_empty());
        failed.map(|(_, code)| code).collect::<Vec<_>>()
    };
    assert_eq!(live(Some(&officer)), ["VaultNotMarkedForDrills"], "another vault is under the key");
    desk.mark(&other);
    // Who owns the vault and not the key takes nothing away.
    assert_eq!(live(None), ["ForbiddenByRbac"]);
    let id = format!("{}/providers/Microsoft.KeyVault/vaults/kv1", desk.group);
    let guarded = json!({ "tags": { "custody-guard-dependants": "true" } });
    let path = format!("{id}?api-version=2026-02-01");
    assert_eq!(desk.site.ask("PATCH", &path, None, guarded).status, 200);
    assert_eq!(live(Some(&officer)), ["KeyHasDependants"]);
    let unguarded = json!({ "tags": {} });
    assert_eq!(desk.site.ask("PATCH", &path, None, unguarded).status, 200);
    let sealed = desk.drill(&vault, json!({ "live": true }), Some(&officer)).unwrap();
    assert_eq!(sealed["report"]["passed"], true, "{sealed:#}");
    let wrong = desk.drill(&vault, json!({ "alive": true }), Some(&officer));
    assert_eq!(wrong.map_err(|(status, _)| status), Err(400));
}

/// A report on a key names every version and what hangs on it, and is bound to the ledger as well.
#[test]
fn a_report_on_a_key_can_be_proven() {
    let desk = Desk::new();
    desk.admit("kv1");
    let own = desk.site.ask("GET", "/custody/installation", None, Value::Null).body;
    let administrator = own["administrator"]["principalId"].as_str().unwrap().to_owned();
    desk.grant("kv1", crate::desk::CRYPTO_OFFICER, &administrator, 7);
    let vault = desk.vault(BACKUP, "named");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let body = json!({ "keyVault": "kv1", "key": "k" });
    let sealed = desk.site.ask("POST", "/custody/drills", None, body).body;
    let report = &sealed["report"];
    assert_eq!((&report["passed"], &report["key"]), (&json!(true), &json!(KEY)), "{sealed}");
    assert_eq!(report["dependants"]["versions"][0]["vaults"][0]["name"], "named");
    assert_eq!(desk.verify(&sealed)["ok"], true);
    let cut = json!({ "head": sealed["ledger"]["head"], "drill": { "report": report } });
    let answer = desk.site.ask("POST", "/custody/ledger/verify", None, cut).body;
    assert_eq!(answer["drill"]["problem"], "it names no record of the ledger");
}
