//! Where a vault and its key may lie: in whatever region, and in whatever subscription of the tenant.

use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, Desk, KEY, RECOVERY, Speaker, end};

/// Rule 10: there is no region in which a Backup vault takes no customer key.
#[test]
fn backup_vaults_of_every_region_take_a_customers_key() {
    let desk = Desk::new();
    desk.admit("kv1");
    let subscription = desk.group.split("/resourceGroups").next().unwrap().to_owned();
    let locations = desk.get(&format!("{subscription}/locations"))["value"].clone();
    let regions: Vec<String> = locations
        .as_array()
        .unwrap()
        .iter()
        .map(|region| region["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(regions.len() > 40 && regions.contains(&"local".to_owned()), "{regions:?}");
    // A few of them, and the installation's own: each takes a second.
    let own = regions.iter().filter(|region| *region == "local");
    for region in regions.iter().step_by(9).chain(own) {
        let vault = format!("{}/providers/{BACKUP}/in-{region}", desk.group);
        let identity = json!({
            "type": "UserAssigned", "userAssignedIdentities": { desk.identity.0.clone(): {} },
        });
        let body = json!({ "location": region, "identity": identity, "properties": {} });
        desk.site.put(&vault, "2025-02-01", &body);
        desk.site.server.finish();
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None, "{region}");
        assert!(desk.wraps(&vault).iter().any(|wrap| wrap.starts_with(KEY)), "{region}");
    }
}

/// Rule 27: the key's address says where it lies, whichever subscription that is. As in Azure the
/// configuration of a Recovery Services vault shows an empty `subscriptionId`.
#[test]
fn a_key_may_lie_in_another_subscription() {
    let mut desk = Desk::new();
    let made = desk.site.ask("POST", "/custody/tenants", None, json!({ "displayName": "B" })).body;
    let subscription = made["subscriptionId"].as_str().unwrap();
    let path = format!("/custody/subscriptions/{subscription}/transfer");
    let moved = desk.site.ask("POST", &path, None, json!({ "tenantId": desk.site.tenant }));
    assert!(moved.status < 300, "{moved:?}");
    let own = std::mem::replace(
        &mut desk.group,
        format!("/subscriptions/{subscription}/resourceGroups/keys"),
    );
    assert!(!own.contains(subscription), "{own}");
    desk.site.put(&desk.group, "2024-11-01", &json!({ "location": "local" }));
    desk.key_vault("kv-far", &json!({}));
    desk.key("kv-far", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
    desk.admit("kv-far");
    desk.group = own;
    let key = "https://kv-far.vault.custody.localhost/keys/k";
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "near");
        assert_eq!(desk.encrypt(&vault, key, Speaker::User), None, "{kind}");
        assert!(desk.wraps(&vault).iter().any(|wrap| wrap.starts_with(key)), "{kind}");
        assert_eq!(end(&desk.job(&vault, "verify", json!({}))), COMPLETED, "{kind}");
    }
    let config = format!(
        "{}/providers/{RECOVERY}/near/backupEncryptionConfigs/backupResourceEncryptionConfig",
        desk.group
    );
    let shown = desk.get(&config)["properties"].clone();
    assert_eq!((&shown["keyUri"], &shown["subscriptionId"]), (&json!(key), &Value::from("")));
}
