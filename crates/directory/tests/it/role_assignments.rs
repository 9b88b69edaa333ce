use custody_test_world::control_plane::{RecordStore as _, SUBSCRIPTION};
use serde_json::{Value, json};

use crate::{assignment, grant, group, identity, plane};

const SOMEBODY: &str = "00000000-0000-0000-0000-0000000000aa";
const SOMEBODY_ELSE: &str = "00000000-0000-0000-0000-0000000000bb";

#[test]
fn an_assignment_is_made_shown_listed_and_deleted() {
    let plane = plane();
    let path = assignment(&group(), 1);
    let before = plane.store.revocation_counter().unwrap();
    let mut body = grant("Key Vault Crypto Officer", SOMEBODY);
    body["properties"]["principalType"] = "ServicePrincipal".into();
    let created = plane.put(&path, body.clone()).unwrap();
    assert_eq!(created.status, 201);
    let properties = created.body.unwrap()["properties"].clone();
    assert_eq!(properties["scope"], group());
    assert_eq!(properties["principalType"], "ServicePrincipal");
    assert_eq!(
        properties["roleDefinitionId"],
        "/providers/Microsoft.Authorization/roleDefinitions/14b46e9e-c2b7-41b4-b07b-48a6ebf60603"
    );
    let raised = plane.store.revocation_counter().unwrap();
    assert!(raised > before);
    let kind = "Microsoft.Authorization/roleAssignments";
    assert_eq!(plane.list(&group(), kind).unwrap().len(), 1);
    assert_eq!(plane.list("/", kind).unwrap().len(), 2, "with the administrator's own");
    assert_eq!(plane.put(&path, body).unwrap().status, 200, "the same again changes nothing");
    assert_eq!(plane.delete(&path).unwrap().status, 200);
    assert!(plane.store.revocation_counter().unwrap() > raised);
}

#[test]
fn what_cannot_be_assigned_is_refused() {
    let plane = plane();
    plane.put(&assignment(&group(), 1), grant("Reader", SOMEBODY)).unwrap();
    let check = |path: String, body: Value, status: u16, code: &str| {
        let refusal = plane.put(&path, body).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (status, code), "{refusal}");
    };
    let properties = |role: &str, principal: &str| json!({ "properties": { "roleDefinitionId": role, "principalId": principal } });
    let unknown =
        "/providers/Microsoft.Authorization/roleDefinitions/00000000-0000-0000-0000-00000000dead";
    let named = format!("{}/providers/Microsoft.Authorization/roleAssignments/name", group());
    check(named, grant("Reader", SOMEBODY), 400, "InvalidRoleAssignmentId");
    check(
        assignment(&group(), 2),
        properties(unknown, SOMEBODY),
        400,
        "RoleDefinitionDoesNotExist",
    );
    check(assignment(&group(), 2), properties("Reader", SOMEBODY), 400, "InvalidRoleDefinitionId");
    check(assignment(&group(), 2), properties(unknown, "me"), 400, "InvalidRequestContent");
    check(assignment(&group(), 2), json!({}), 400, "InvalidRequestContent");
    check(assignment(&group(), 2), grant("Reader", SOMEBODY), 409, "RoleAssignmentExists");
    check(
        assignment(&group(), 1),
        grant("Owner", SOMEBODY),
        400,
        "RoleAssignmentUpdateNotPermitted",
    );
    check(
        assignment(&group(), 1),
        grant("Reader", SOMEBODY_ELSE),
        400,
        "RoleAssignmentUpdateNotPermitted",
    );
    check(assignment(&identity("absent"), 2), grant("Reader", SOMEBODY), 404, "ResourceNotFound");
}

#[test]
fn a_principal_is_known_or_said_to_be_one() {
    let plane = plane();
    let created = plane.put(&identity("one"), json!({ "location": "local" })).unwrap();
    let known = created.body.unwrap()["properties"]["principalId"].clone();
    let check =
        |number: u8, principal: &Value, said: Option<&str>, expected: Result<&str, &str>| {
            let mut body = grant("Reader", principal.as_str().unwrap());
            body["properties"]["principalType"] = said.into();
            let outcome = plane.put(&assignment(&group(), number), body);
            let outcome = outcome
                .map(|answer| answer.body.unwrap()["properties"]["principalType"].clone())
                .map_err(|refusal| refusal.code.into_owned());
            assert_eq!(outcome, expected.map(Value::from).map_err(str::to_owned), "{principal}");
        };
    check(1, &json!(SOMEBODY), None, Err("PrincipalNotFound"));
    check(2, &json!(SOMEBODY), Some("Group"), Ok("Group"));
    check(3, &known, None, Ok("ServicePrincipal"));
}

#[test]
fn the_same_role_elsewhere_is_another_assignment() {
    let plane = plane();
    for (scope, role, principal) in [
        (group(), "Reader", SOMEBODY),
        (group(), "Reader", SOMEBODY_ELSE),
        (group(), "Owner", SOMEBODY),
        (SUBSCRIPTION.to_owned(), "Reader", SOMEBODY),
        ("/".to_owned(), "Reader", SOMEBODY),
    ] {
        let number =
            u8::try_from(plane.list("/", "Microsoft.Authorization/roleAssignments").unwrap().len())
                .unwrap();
        let created = plane.put(&assignment(&scope, number), grant(role, principal)).unwrap();
        assert_eq!(created.status, 201, "{scope} {role} {principal}");
    }
}

#[test]
fn a_role_may_be_named_by_any_path_that_ends_with_its_guid() {
    let plane = plane();
    let guid = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
    for (number, text) in [
        (1, guid.to_owned()),
        (2, format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{guid}")),
    ] {
        let body = json!({ "properties": { "roleDefinitionId": text, "principalType": "User", "principalId": format!("00000000-0000-0000-0000-0000000000{number:02}") } });
        let created = plane.put(&assignment(&group(), number), body).unwrap().body.unwrap();
        assert_eq!(
            created["properties"]["roleDefinitionId"],
            format!("/providers/Microsoft.Authorization/roleDefinitions/{guid}")
        );
    }
}
