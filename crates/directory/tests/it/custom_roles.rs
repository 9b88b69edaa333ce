use custody_resources::{Caller, Refusal, Verb};
use custody_test_world::control_plane::{ControlPlane, SUBSCRIPTION};
use serde_json::{Value, json};

use crate::{assignment, grant, group, plane};

const GUID: &str = "11111111-1111-1111-1111-111111111111";
const SOMEBODY: &str = "00000000-0000-0000-0000-0000000000aa";

fn role(name: &str) -> String {
    format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{name}")
}

fn body(name: &str, actions: &Value) -> Value {
    json!({ "properties": {
        "roleName": name,
        "description": "looks after groups",
        "assignableScopes": [group()],
        "permissions": [{ "actions": actions, "notActions": [] }],
    } })
}

fn as_somebody(plane: &ControlPlane, verb: Verb, path: &str, body: Value) -> Result<u16, Refusal> {
    let mut request = plane.request(verb, path, body);
    request.caller =
        Caller { principal: SOMEBODY.parse().unwrap(), name: "somebody".into(), ..request.caller };
    plane.send(&request).map(|answer| answer.status)
}

#[test]
fn a_custom_role_grants_what_it_says_where_it_is_assigned() {
    let plane = plane();
    let actions = json!(["*/read", "Microsoft.ManagedIdentity/userAssignedIdentities/write"]);
    let created = plane.put(&role(GUID), body("Keeper", &actions)).unwrap();
    assert_eq!(created.status, 201);
    let shown = created.body.unwrap();
    assert_eq!(shown["id"], role(GUID));
    assert_eq!(shown["properties"]["type"], "CustomRole");
    assert_eq!(shown["properties"]["permissions"][0]["dataActions"], json!([]));
    assert_eq!(shown["properties"]["createdOn"], "2026-01-01T00:00:00Z");
    let mut assigned = grant("Reader", SOMEBODY);
    assigned["properties"]["roleDefinitionId"] = role(GUID).into();
    let elsewhere = plane.put(&assignment(SUBSCRIPTION, 7), assigned.clone()).unwrap_err();
    assert_eq!(elsewhere.code, "RoleAssignmentScopeNotAssignableToRoleDefinition");
    let answer = plane.put(&assignment(&group(), 7), assigned).unwrap();
    assert_eq!(answer.body.unwrap()["properties"]["roleDefinitionId"], role(GUID));
    let identity = crate::identity("one");
    let location = json!({ "location": "local" });
    assert_eq!(as_somebody(&plane, Verb::Put, &identity, location.clone()).unwrap(), 201);
    let denied = as_somebody(&plane, Verb::Delete, &identity, Value::Null).unwrap_err();
    assert_eq!((denied.status, denied.code.as_ref()), (403, "AuthorizationFailed"));
    plane.put(&role(GUID), body("Keeper", &json!(["*/read"]))).unwrap();
    assert_eq!(as_somebody(&plane, Verb::Put, &identity, location).unwrap_err().status, 403);
    let used = plane.delete(&role(GUID)).unwrap_err();
    assert_eq!((used.status, used.code.as_ref()), (400, "RoleDefinitionHasAssignments"));
    let gone = plane.delete(&assignment(&group(), 7)).unwrap();
    assert_eq!(gone.body.unwrap()["properties"]["principalId"], SOMEBODY, "it is shown once more");
    assert_eq!(plane.delete(&role(GUID)).unwrap().status, 200);
    assert_eq!(plane.delete(&role(GUID)).unwrap().status, 204);
}

#[test]
fn roles_that_make_no_sense_are_refused() {
    let plane = plane();
    plane.put(&role(GUID), body("Keeper", &json!(["*/read"]))).unwrap();
    let check = |name: &str, body: Value, status: u16, code: &str| {
        let refusal = plane.put(&role(name), body).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (status, code), "{refusal}");
    };
    let other = "22222222-2222-2222-2222-222222222222";
    let reads = json!(["*/read"]);
    check("keeper", body("Other", &reads), 400, "InvalidRoleDefinitionId");
    check(
        "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        body("Owner", &reads),
        403,
        "BuiltInRoleCannotBeChanged",
    );
    check(other, body("keeper", &reads), 409, "RoleDefinitionWithSameNameExists");
    check(other, body("reader", &reads), 409, "RoleDefinitionWithSameNameExists");
    check(other, body(" ", &reads), 400, "InvalidRoleDefinitionName");
    for action in ["read", "Microsoft KeyVault/read", "a//b", ""] {
        check(other, body("Other", &json!([action])), 400, "InvalidActionOrNotAction");
    }
    for scopes in [json!([]), json!(["/"]), json!(["G"]), json!(["/subscriptions/x"])] {
        let mut wrong = body("Other", &reads);
        wrong["properties"]["assignableScopes"] = scopes;
        check(other, wrong, 400, "InvalidAssignableScopes");
    }
    let mut wrong = body("Other", &reads);
    wrong["properties"]["permissions"] = json!([]);
    check(other, wrong, 400, "InvalidRoleDefinitionPermissions");
    assert_eq!(plane.put(&role(GUID), body("Keeper", &reads)).unwrap().status, 201);
}

#[test]
fn a_role_is_one_whatever_scope_names_it() {
    let plane = plane();
    plane.put(&role(GUID), body("Keeper", &json!(["*/read"]))).unwrap();
    let below = format!("{}/providers/Microsoft.Authorization/roleDefinitions/{GUID}", group());
    assert!(plane.put(&below, body("Other", &json!(["*/read"]))).is_err());
}
