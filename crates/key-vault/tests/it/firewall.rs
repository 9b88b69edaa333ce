//! From where a key vault's keys may be used.

use custody_key_vault::{Barrier, KeyVaultSpec, NetworkRules};
use serde_json::{Value, json};

#[test]
fn addresses_and_trusted_services_pass_as_the_rules_say() {
    let check = |vault: &Value, address: &str, trusted: bool, expected: Result<(), Barrier>| {
        let spec: KeyVaultSpec = serde_json::from_value(vault.clone()).unwrap();
        let address = address.parse().ok();
        let rules = NetworkRules::new(spec.network_acls.as_ref(), spec.public_network_access);
        assert_eq!(rules.admit(address, trusted), expected, "{vault} {address:?} {trusted}");
    };
    let outside = Err(Barrier::AddressNotAllowed);
    let closed = Err(Barrier::PublicAccessDisabled);
    check(&json!({}), "192.0.2.1", false, Ok(()));
    check(&json!({}), "none", false, Ok(()));
    check(&json!({ "networkAcls": { "defaultAction": "allow" } }), "192.0.2.1", false, Ok(()));
    let rules = json!({ "networkAcls": { "defaultAction": "Deny", "ipRules": [
        { "value": "198.51.100.7" }, { "value": "203.0.113.64/26" }, { "value": "2001:db8::/32" },
    ] } });
    check(&rules, "198.51.100.7", false, Ok(()));
    check(&rules, "::ffff:198.51.100.7", false, Ok(()));
    check(&rules, "198.51.100.8", false, outside);
    check(&rules, "203.0.113.63", false, outside);
    check(&rules, "203.0.113.64", false, Ok(()));
    check(&rules, "203.0.113.127", false, Ok(()));
    check(&rules, "203.0.113.128", false, outside);
    check(&rules, "2001:db8:ffff::1", false, Ok(()));
    check(&rules, "2001:db9::1", false, outside);
    check(&rules, "127.0.0.1", false, outside);
    check(&rules, "none", false, outside);
    check(&rules, "none", true, Ok(()));
    check(&rules, "192.0.2.1", true, Ok(()));
    let all = json!({ "networkAcls": { "defaultAction": "Deny", "ipRules": [{ "value": "0.0.0.0/0" }] } });
    check(&all, "192.0.2.1", false, Ok(()));
    check(&all, "2001:db8::1", false, outside);
    let no_bypass = json!({ "networkAcls": { "defaultAction": "Deny", "bypass": "None" } });
    check(&no_bypass, "none", true, outside);
    let private = json!({ "publicNetworkAccess": "Disabled" });
    check(&private, "192.0.2.1", false, closed);
    check(&private, "none", true, Ok(()));
    let shut = json!({ "publicNetworkAccess": "Disabled", "networkAcls": { "bypass": "None" } });
    check(&shut, "none", true, closed);
}
