//! A subscription passes to another tenant (rule 41).

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, CRYPTO_OFFICER, Desk, ENCRYPTION_USER, LOST, end};
use crate::site::{Answer, MAIN, VAULTS};

/// A tenant of this installation and its administrator.
struct Tenant {
    id: String,
    subscription: String,
    client: String,
    object: String,
    secret: String,
}

impl Desk {
    fn tenant(&self, name: &str) -> Tenant {
        let made = self.site.ask("POST", "/custody/tenants", None, json!({ "displayName": name }));
        let text = |path: &str| made.body.pointer(path).unwrap().as_str().unwrap().to_owned();
        Tenant {
            id: text("/tenantId"),
            subscription: text("/subscriptionId"),
            client: text("/administrator/clientId"),
            object: text("/administrator/objectId"),
            secret: text("/administrator/clientSecret"),
        }
    }

    /// Asks as the administrator of a tenant, and waits for what is begun.
    fn ask_as(&self, who: &Tenant, method: &str, path: &str, body: Value) -> Answer {
        let resource = if path.contains(".vault.") { VAULTS } else { MAIN };
        let token = self.site.bearer_of(&who.id, &who.client, &who.secret, resource);
        let version = if resource == VAULTS { "7.6" } else { "2025-02-01" };
        let path = format!("{path}?api-version={version}");
        let answer = self.site.ask(method, &path, Some(&token), body);
        self.site.server.finish();
        answer
    }

    fn done(&self, who: &Tenant, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask_as(who, method, path, body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.body
    }

    fn transfer(&self, subscription: &str, to: &str, dry_run: bool) -> Answer {
        let path = format!("/custody/subscriptions/{subscription}/transfer");
        self.site.ask("POST", &path, None, json!({ "tenantId": to, "dryRun": dry_run }))
    }
}

/// A group with a key vault, a key in it and a vault under that, all of one tenant.
struct Estate<'d> {
    desk: &'d Desk,
    group: String,
    vault: String,
    key: String,
}

impl<'d> Estate<'d> {
    fn new(desk: &'d Desk, of: &Tenant) -> Self {
        let group = format!("/subscriptions/{}/resourceGroups/g", of.subscription);
        desk.done(of, "PUT", &group, json!({ "location": "local" }));
        let kv = format!("{group}/providers/Microsoft.KeyVault/vaults/kv-estate");
        let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
        desk.done(of, "PUT", &kv, json!({ "location": "local", "properties": properties }));
        let vault = format!("{group}/providers/{BACKUP}/estate");
        let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
        desk.done(of, "PUT", &vault, body);
        let key = "https://kv-estate.vault.custody.localhost/keys/k".to_owned();
        let estate = Self { desk, group, vault, key };
        estate.grant(of, CRYPTO_OFFICER, &of.object, 1);
        let body = json!({ "kty": "RSA", "key_size": 2048 });
        desk.done(of, "POST", &format!("{}/create", estate.key), body);
        estate
    }

    fn grant(&self, by: &Tenant, role: &str, principal: &str, number: u32) {
        let id = format!(
            "{}/providers/Microsoft.KeyVault/vaults/kv-estate/providers/Microsoft.Authorization/\
             roleAssignments/00000000-0000-0000-0000-{number:012}",
            self.group
        );
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": principal });
        self.desk.done(by, "PUT", &id, json!({ "properties": properties }));
    }

    /// Gives the vault an identity of its own, that identity its grant, and the vault its key.
    fn encrypt(&self, by: &Tenant, number: u32) {
        let identity = json!({ "identity": { "type": "SystemAssigned" } });
        let vault = self.desk.done(by, "PATCH", &self.vault, identity);
        let principal = vault["identity"]["principalId"].as_str().unwrap().to_owned();
        self.grant(by, ENCRYPTION_USER, &principal, number);
        let settings = json!({
            "state": "Enabled",
            "keyVaultProperties": { "keyUri": self.key },
            "kekIdentity": { "identityType": "SystemAssigned" },
        });
        let body =
            json!({ "properties": { "securitySettings": { "encryptionSettings": settings } } });
        self.desk.done(by, "PATCH", &self.vault, body);
        let shown = self.desk.done(by, "GET", &self.vault, Value::Null);
        assert_eq!(shown["properties"]["encryptionError"], Value::Null, "{shown}");
    }

    /// Runs a job of the item to its end.
    fn job(&self, by: &Tenant, verb: &str, body: Value) -> Value {
        let item = format!("{}/backupInstances/docs", self.vault);
        self.desk.done(by, "POST", &format!("{item}/{verb}"), body);
        let jobs = self.desk.done(by, "GET", &format!("{}/backupJobs", self.vault), Value::Null);
        jobs["value"][0].clone()
    }

    fn restore(&self, by: &Tenant) -> Value {
        let into = tempfile::tempdir().unwrap();
        let job = self.job(by, "restore", json!({ "point": "latest", "target": into.path() }));
        assert_eq!(
            end(&job) == COMPLETED,
            std::fs::read_dir(into.path()).unwrap().next().is_some(),
            "{job}"
        );
        job
    }
}

/// Until identity and encryption are set anew in the new tenant, backup and restore fail under the
/// document's code; then everything restores, the points of before too.
#[test]
fn a_transferred_subscription_needs_its_identities_anew() {
    let desk = Desk::new();
    let (old, new) = (desk.tenant("old"), desk.tenant("new"));
    let estate = Estate::new(&desk, &old);
    estate.encrypt(&old, 2);
    let item = format!("{}/backupInstances/docs", estate.vault);
    let folder = json!({ "properties": { "folder": { "paths": [desk.source.path()] } } });
    desk.done(&old, "PUT", &item, folder);
    assert_eq!(end(&estate.job(&old, "backup", json!({}))), COMPLETED);
    let uai =
        format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one", estate.group);
    let before = desk.done(&old, "PUT", &uai, json!({ "location": "local" }));

    // What it would mean is said before, and nothing is changed by asking.
    let plan = desk.transfer(&old.subscription, &new.id, true).body;
    assert_eq!((&plan["from"], &plan["to"]), (&json!(old.id), &json!(new.id)), "{plan}");
    assert_eq!(plan["transferred"], false);
    assert_eq!(plan["roleAssignments"], 3, "the owner's, the officer's and the vault's: {plan}");
    assert_eq!(plan["vaults"], json!([{ "id": estate.vault, "keys": [estate.key] }]));
    assert_eq!(plan["identities"], json!([uai]));
    assert_eq!(plan["owners"], json!([new.object]));
    assert_eq!(plan["blockers"], json!([]));
    assert_eq!(end(&estate.restore(&old)), COMPLETED);

    let done = desk.transfer(&old.subscription, &new.id, false);
    assert_eq!((done.status, &done.body["transferred"]), (200, &json!(true)), "{done:?}");
    assert_eq!(desk.ask_as(&old, "GET", &estate.vault, Value::Null).status, 404);
    assert_eq!(desk.ask_as(&old, "GET", &estate.key, Value::Null).status, 401);
    let shown = desk.done(&new, "GET", &estate.vault, Value::Null);
    assert_eq!(shown["identity"], Value::Null, "{shown}");
    for (verb, body) in
        [("backup", json!({})), ("restore", json!({ "point": "latest", "target": "/nowhere" }))]
    {
        assert_eq!(end(&estate.job(&new, verb, body)), LOST, "{verb}");
    }
    // A user-assigned identity is another principal now: nobody acts as one of the old tenant.
    let identity = desk.done(&new, "GET", &uai, Value::Null)["properties"].clone();
    assert_eq!(identity["tenantId"], new.id, "{identity}");
    assert_ne!(identity["principalId"], before["properties"]["principalId"]);

    // Identity, grant and key anew; the key itself came along.
    estate.grant(&new, CRYPTO_OFFICER, &new.object, 1);
    desk.done(&new, "GET", &estate.key, Value::Null);
    estate.encrypt(&new, 3);
    assert_eq!(end(&estate.restore(&new)), COMPLETED);
    assert_eq!(end(&estate.job(&new, "backup", json!({}))), COMPLETED);
    desk.done(&new, "POST", &format!("{}/create", estate.key), json!({ "kty": "RSA" }));
    assert_eq!(desk.site.server.follow_keys().vaults, 1);
    assert_eq!(end(&estate.restore(&new)), COMPLETED);
    // Repeating it changes nothing.
    assert_eq!(desk.transfer(&old.subscription, &new.id, false).status, 200);
    assert_eq!(end(&estate.restore(&new)), COMPLETED);
    // What falls due is done there too.
    let keep = |state: &str| {
        let settings = json!({ "softDeleteSettings": { "state": state } });
        let body = json!({ "properties": { "securitySettings": settings } });
        desk.done(&new, "PATCH", &estate.vault, body);
    };
    keep("Off");
    desk.done(&new, "DELETE", &item, Value::Null);
    keep("On");
    desk.done(&new, "DELETE", &estate.vault, Value::Null);
    desk.site.clock.advance(Duration::from_hours(24 * 14));
    let round = desk.site.server.housekeep();
    assert_eq!((round.purged_vaults, round.problems.len()), (1, 0), "{round:?}");
}

/// What would lose data, or is nobody's to ask for, is refused and nothing is changed.
#[test]
fn a_transfer_that_would_lose_something_is_refused() {
    let desk = Desk::new();
    let (old, new) = (desk.tenant("old"), desk.tenant("new"));
    let estate = Estate::new(&desk, &old);
    let code = |answer: &Answer| {
        (answer.status, answer.body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let subscription = &old.subscription;
    let nowhere = "00000000-0000-0000-0000-00000000dead";
    let blocked = (409, "SubscriptionCannotBeTransferred".to_owned());
    let absent = desk.transfer(subscription, nowhere, false);
    assert_eq!(code(&absent), (404, "TenantNotFound".to_owned()));
    let absent = desk.transfer(nowhere, &new.id, false);
    assert_eq!(code(&absent), (404, "SubscriptionNotFound".to_owned()));
    assert_eq!(code(&desk.transfer("x", &new.id, false)).0, 400);
    let path = format!("/custody/subscriptions/{subscription}/transfer");
    let body = json!({ "tenantId": new.id });
    let token = desk.site.bearer_of(&old.id, &old.client, &old.secret, MAIN);
    let refused = desk.site.ask("POST", &path, Some(&token), body);
    assert_eq!(code(&refused), (403, "AuthorizationFailed".to_owned()));
    let own = desk.group.split('/').nth(2).unwrap();
    assert_eq!(code(&desk.transfer(own, &new.id, false)), blocked);

    // A vault under a key of a subscription that stays.
    let other = desk.tenant("other");
    let second = format!("/subscriptions/{}/resourceGroups/g", other.subscription);
    assert_eq!(desk.transfer(&other.subscription, &old.id, false).status, 200);
    desk.done(&old, "PUT", &second, json!({ "location": "local" }));
    let stray = format!("{second}/providers/{BACKUP}/stray");
    let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
    desk.done(&old, "PUT", &stray, body);
    let far = Estate {
        desk: &desk,
        vault: stray.clone(),
        group: estate.group.clone(),
        key: estate.key.clone(),
    };
    far.encrypt(&old, 5);
    for moved in [subscription, &other.subscription] {
        let plan = desk.transfer(moved, &new.id, true).body;
        assert_eq!(plan["blockers"][0]["id"], stray, "{plan}");
        assert_eq!(code(&desk.transfer(moved, &new.id, false)), blocked);
    }
    desk.done(&old, "GET", &estate.vault, Value::Null);
    // A guard of a subscription that stays.
    let guard = format!("{second}/providers/Microsoft.DataProtection/resourceGuards/guard");
    let body = json!({ "location": "local", "properties": {} });
    desk.done(&old, "PUT", &guard, body);
    let proxy = format!("{}/backupResourceGuardProxies/VaultProxy", estate.vault);
    let body = json!({ "properties": { "resourceGuardResourceId": guard } });
    desk.done(&old, "PUT", &proxy, body);
    let plan = desk.transfer(subscription, &new.id, true).body;
    assert!(plan["blockers"].to_string().contains("VaultProxy"), "{plan}");
    // The hardware stays where it is.
    let hsm = format!("{}/providers/Microsoft.KeyVault/managedHSMs/hsm-estate", estate.group);
    let body = json!({
        "location": "local", "sku": { "family": "B", "name": "Standard_B1" },
        "properties": { "initialAdminObjectIds": [old.object] },
    });
    desk.done(&old, "PUT", &hsm, body);
    let plan = desk.transfer(subscription, &new.id, true).body;
    assert!(plan["blockers"].to_string().contains("hsm-estate"), "{plan}");
}
