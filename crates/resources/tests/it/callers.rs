//! Callers as they are stored with operations.

use custody_names::{PrincipalId, TenantId};
use custody_resources::{Caller, CallerKind};
use serde_json::json;

#[test]
fn a_caller_stored_before_kinds_is_the_administrator() {
    let id = "01010101-0101-0101-0101-010101010101";
    let stored = json!({ "principal": id, "tenant": id, "name": "root" });
    let caller: Caller = serde_json::from_value(stored).unwrap();
    assert_eq!(caller.kind, CallerKind::Bootstrap);
    let (principal, tenant) = (PrincipalId::from_bytes([1; 16]), TenantId::from_bytes([1; 16]));
    assert_eq!(caller, Caller::bootstrap(principal, tenant, "root".to_owned()));
}
