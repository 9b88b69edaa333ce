use custody_directory::grants_for;
use custody_names::{PrincipalId, ResourceId};
use custody_resources::{Caller, Verb};
use custody_test_world::control_plane::{ControlPlane, RecordStore as _, SUBSCRIPTION};
use serde_json::json;

use crate::{assignment, grant, group, identity, plane};

fn somebody() -> Caller {
    Caller {
        principal: PrincipalId::from_bytes([0xaa; 16]),
        name: "o'brien".to_owned(),
        ..ControlPlane::administrator()
    }
}

/// What `somebody` with this role at this scope is answered.
fn check(granted: Option<(&str, &str)>, verb: Verb, path: &str, expected: Result<u16, &str>) {
    let plane = plane();
    plane.put(&identity("main"), json!({ "location": "local" })).unwrap();
    if let Some((role, scope)) = granted {
        let body = grant(role, &somebody().principal.to_string());
        plane.put(&assignment(scope, 1), body).unwrap();
    }
    let mut request = plane.request(verb.clone(), path, json!({ "location": "local" }));
    request.caller = somebody();
    let outcome = plane.send(&request);
    let outcome = outcome.map(|answer| answer.status).map_err(|refusal| refusal.code.to_string());
    assert_eq!(
        outcome.as_ref().map_err(String::as_str),
        expected.as_ref().map_err(|code| *code),
        "{granted:?} {verb:?} {path}"
    );
}

#[test]
fn a_data_access_administrator_grants_roles_on_key_vaults_alone() {
    let plane = plane();
    let somebody = "00000000-0000-0000-0000-0000000000aa";
    let role = "Key Vault Data Access Administrator";
    plane.put(&assignment(&group(), 1), grant(role, somebody)).unwrap();
    plane.put(&assignment(&group(), 2), grant("Reader", somebody)).unwrap();
    let send = |verb: Verb, number: u8, role: &str| {
        let other = "00000000-0000-0000-0000-0000000000bb";
        let mut request = plane.request(verb, &assignment(&group(), number), grant(role, other));
        request.caller.principal = somebody.parse().unwrap();
        plane.send(&request).map(|answer| answer.status).map_err(|refusal| refusal.status)
    };

    assert_eq!(send(Verb::Put, 3, "Key Vault Crypto User"), Ok(201));
    assert_eq!(send(Verb::Put, 4, "Owner"), Err(403));
    assert_eq!(send(Verb::Put, 4, "Contributor"), Err(403));
    assert_eq!(send(Verb::Put, 4, role), Err(403));
    assert_eq!(send(Verb::Delete, 2, "Reader"), Err(403));
    assert_eq!(send(Verb::Delete, 3, "Key Vault Crypto User"), Ok(200));
    plane.put(&assignment(&group(), 5), grant("Owner", somebody)).unwrap();
    assert_eq!(send(Verb::Put, 4, "Contributor"), Ok(201), "another role has no such limit");
}

#[test]
fn roles_reach_down_and_not_up_or_sideways() {
    let denied = Err("AuthorizationFailed");
    let main = identity("main");
    let other = format!("{SUBSCRIPTION}/resourceGroups/other");
    check(None, Verb::Read, &main, denied);
    check(Some(("Reader", "/")), Verb::Read, &main, Ok(200));
    check(Some(("Reader", SUBSCRIPTION)), Verb::Read, &main, Ok(200));
    check(Some(("Reader", &group())), Verb::Read, &main, Ok(200));
    check(Some(("Reader", &main)), Verb::Read, &main, Ok(200));
    check(Some(("Reader", &main)), Verb::Read, &group(), denied);
    check(Some(("Reader", &group())), Verb::Put, &main, denied);
    check(Some(("Reader", &group())), Verb::Delete, &main, denied);
    check(Some(("Contributor", &group())), Verb::Put, &main, Ok(200));
    check(Some(("Contributor", &group())), Verb::Put, &other, denied);
    check(Some(("Contributor", SUBSCRIPTION)), Verb::Put, &other, Ok(201));
    check(Some(("Contributor", SUBSCRIPTION)), Verb::Delete, &main, Ok(200));
    // Contributors give nobody a role; whoever may not look learns nothing of what is there.
    check(Some(("Contributor", &group())), Verb::Put, &assignment(&group(), 2), denied);
    check(None, Verb::Read, &identity("absent"), denied);
    check(Some(("Reader", &group())), Verb::Read, &identity("absent"), Err("ResourceNotFound"));
}

#[test]
fn a_denial_says_who_what_where_and_what_mends_it() {
    let plane = plane();
    let path = identity("a'$(b)");
    let mut request = plane.request(Verb::Delete, &path, json!({}));
    request.caller = somebody();
    let refusal = plane.send(&request).unwrap_err();
    assert_eq!(refusal.status, 403);
    assert_eq!(
        refusal.message,
        format!(
            "The client 'o'brien' with object id 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa' does not have \
             authorization to perform action \
             'Microsoft.ManagedIdentity/userAssignedIdentities/delete' over scope '{path}'."
        )
    );
    assert_eq!(
        refusal.fix.unwrap(),
        format!(
            "custody role assignment create --assignee aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa --role \
             \"Managed Identity Contributor\" --scope '{}'",
            path.replace('\'', r"'\''")
        )
    );
    let check = |verb: Verb, path: &str, role: &str| {
        let mut request = plane.request(verb, path, json!({}));
        request.caller = somebody();
        let fix = plane.send(&request).unwrap_err().fix.unwrap();
        assert!(fix.contains(&format!("--role \"{role}\" --scope {path}")), "{fix}");
    };
    check(Verb::Read, &identity("main"), "Reader");
    check(Verb::Put, &group(), "Contributor");
    check(Verb::Put, &assignment("/", 1), "User Access Administrator");
}

#[test]
fn the_end_of_an_assignment_ends_the_access() {
    let plane = plane();
    let path = assignment(&group(), 1);
    plane.put(&path, grant("Reader", &somebody().principal.to_string())).unwrap();
    let read = || {
        let mut request = plane.request(Verb::Read, &group(), json!({}));
        request.caller = somebody();
        plane.send(&request).map(|answer| answer.status).map_err(|refusal| refusal.status)
    };
    assert_eq!(read(), Ok(200));
    plane.delete(&path).unwrap();
    assert_eq!(read(), Err(403));
}

#[test]
fn grants_are_those_at_the_scope_and_above() {
    let plane = plane();
    let other = format!("{SUBSCRIPTION}/resourceGroups/other");
    plane.put(&other, json!({ "location": "local" })).unwrap();
    let principal = somebody().principal.to_string();
    for (number, scope) in [(1, "/"), (2, SUBSCRIPTION), (3, &group()), (4, &other)] {
        plane.put(&assignment(scope, number), grant("Reader", &principal)).unwrap();
    }
    let key: ResourceId =
        format!("{}/providers/Microsoft.KeyVault/vaults/kv/keys/k", group()).parse().unwrap();
    let mut scopes = Vec::new();
    plane
        .store
        .view(&mut |world| {
            let grants = grants_for(world, &key)?;
            scopes = grants
                .assignments
                .iter()
                .filter(|assignment| assignment.principal == somebody().principal)
                .map(|assignment| assignment.scope.to_string())
                .collect();
            Ok(())
        })
        .unwrap();
    assert_eq!(scopes, [group(), SUBSCRIPTION.to_owned(), "/".to_owned()]);
}
