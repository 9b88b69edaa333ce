//! The decision, asked as the surfaces ask it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use KeyPermission as K;
use custody_access::{
    AccessPolicy, ActionPattern, Decision, Denial, Grant, Grants, KeyPermission, PermissionModel,
    Principal, PrincipalKind, Question, RoleAssignment, RoleDefinition, Wanted, built_in_role,
    built_in_roles, decide,
};
use custody_names::{PrincipalId, ResourceId, RoleDefinitionId, TenantId};

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g";
const TENANT: TenantId = TenantId::from_bytes([1; 16]);
const OTHER_TENANT: TenantId = TenantId::from_bytes([2; 16]);
const ALICE: PrincipalId = PrincipalId::from_bytes([10; 16]);
const BOB: PrincipalId = PrincipalId::from_bytes([11; 16]);

fn at(text: &str) -> ResourceId {
    text.replace("{g}", GROUP)
        .replace("{v}", &format!("{GROUP}/providers/Microsoft.KeyVault/vaults/v"))
        .parse()
        .unwrap()
}

fn user(id: PrincipalId) -> Principal {
    Principal { id, tenant: TENANT, kind: PrincipalKind::User }
}

fn assigned(role: RoleDefinitionId, scope: &str) -> RoleAssignment {
    RoleAssignment {
        id: at("/providers/Microsoft.Authorization/roleAssignments/r"),
        principal: ALICE,
        role,
        scope: at(scope),
    }
}

fn allows(grants: &Grants, who: PrincipalId, wanted: Wanted<'_>, scope: &str) -> bool {
    let (principal, scope) = (user(who), at(scope));
    let question = Question { principal: &principal, wanted, scope: &scope };
    matches!(decide(&question, grants), Decision::Allowed { .. })
}

#[test]
fn roles_grant_actions() {
    fn check(role: &str, wanted: Wanted<'_>, expected: bool) {
        let grants = Grants {
            assignments: vec![assigned(built_in_role(role).unwrap().id, "{g}")],
            ..Grants::default()
        };
        assert_eq!(allows(&grants, ALICE, wanted, "{v}"), expected, "{role}: {wanted:?}");
        assert!(!allows(&grants, BOB, wanted, "{v}"), "{role} is Alice's alone");
    }
    fn action(name: &str) -> Wanted<'_> {
        Wanted::Action(name)
    }
    let key = Wanted::Key;
    check("Owner", action("Microsoft.KeyVault/vaults/delete"), true);
    check("Owner", action("Microsoft.Authorization/roleAssignments/write"), true);
    check("Owner", key(K::Get), false);
    check("Owner", key(K::UnwrapKey), false);
    check("Contributor", action("Microsoft.DataProtection/backupVaults/write"), true);
    check("Contributor", action("Microsoft.Authorization/roleAssignments/write"), false);
    check("Contributor", action("Microsoft.Authorization/roleAssignments/read"), true);
    check("Contributor", key(K::UnwrapKey), false);
    check("reader", action("microsoft.keyvault/vaults/READ"), true);
    check("Reader", action("Microsoft.KeyVault/vaults/write"), false);
    check("User Access Administrator", action("Microsoft.KeyVault/vaults/write"), false);
    check(
        "User Access Administrator",
        action("Microsoft.Authorization/roleAssignments/delete"),
        true,
    );
    let instance = "Microsoft.DataProtection/backupVaults/backupInstances";
    check("Backup Contributor", action(&format!("{instance}/delete")), true);
    check("Backup Contributor", action("Microsoft.DataProtection/backupVaults/delete"), false);
    check("Backup Operator", action(&format!("{instance}/backup/action")), true);
    check("Backup Operator", action(&format!("{instance}/delete")), false);
    check("Backup Operator", action("Microsoft.DataProtection/backupVaults/write"), false);
    check("Backup Reader", action(&format!("{instance}/read")), true);
    check("Backup Reader", action(&format!("{instance}/restore/action")), false);
    let identity = "Microsoft.ManagedIdentity/userAssignedIdentities";
    check("Managed Identity Operator", action(&format!("{identity}/assign/action")), true);
    check("Managed Identity Operator", action(&format!("{identity}/write")), false);
    check("Managed Identity Contributor", action(&format!("{identity}/write")), true);
    check("Managed Identity Contributor", action(&format!("{identity}/assign/action")), false);
    check("Key Vault Contributor", action("Microsoft.KeyVault/vaults/write"), true);
    check("Key Vault Contributor", key(K::Get), false);
    check(
        "Key Vault Contributor",
        action("Microsoft.KeyVault/locations/deletedVaults/purge/action"),
        false,
    );
    for permission in K::EACH.iter().copied().filter(|permission| *permission != K::All) {
        let encryption_user = matches!(permission, K::Get | K::List | K::WrapKey | K::UnwrapKey);
        let reader = matches!(permission, K::Get | K::List | K::GetRotationPolicy);
        let user = encryption_user
            || matches!(
                permission,
                K::Update | K::Backup | K::Encrypt | K::Decrypt | K::Sign | K::Verify
            );
        check("Key Vault Administrator", key(permission), true);
        check("Key Vault Crypto Officer", key(permission), true);
        check("Key Vault Crypto User", key(permission), user);
        check("Key Vault Crypto Service Encryption User", key(permission), encryption_user);
        check("Key Vault Reader", key(permission), reader);
    }
    check("Key Vault Crypto Officer", action("Microsoft.KeyVault/vaults/write"), false);
}

#[test]
fn scopes_reach_downwards() {
    let check = |assigned_at: &str, asked_at: &str, expected: bool| {
        let role = built_in_role("Key Vault Crypto User").unwrap().id;
        let grants = Grants { assignments: vec![assigned(role, assigned_at)], ..Grants::default() };
        let wanted = Wanted::Key(KeyPermission::WrapKey);
        assert_eq!(allows(&grants, ALICE, wanted, asked_at), expected, "{assigned_at} {asked_at}");
    };
    check("/", "{v}/keys/k", true);
    check("{g}", "{v}/keys/k", true);
    check("{v}", "{v}/keys/k", true);
    check("{v}/keys/k", "{v}/keys/K", true);
    check("{v}/keys/k", "{v}/keys/kk", false);
    check("{v}/keys/k", "{v}", false);
    check("{g}x", "{v}", false);
}

#[test]
fn a_key_vault_has_one_permission_model() {
    let policy = |principal, tenant, keys: &[KeyPermission]| AccessPolicy {
        tenant,
        principal,
        keys: keys.iter().copied().collect(),
    };
    let rbac = Grants {
        assignments: vec![assigned(built_in_role("Key Vault Crypto User").unwrap().id, "{v}")],
        ..Grants::default()
    };
    let check = |model: PermissionModel, wanted: KeyPermission, expected: bool| {
        let grants = Grants { permission_model: model.clone(), ..rbac.clone() };
        assert_eq!(
            allows(&grants, ALICE, Wanted::Key(wanted), "{v}/keys/k"),
            expected,
            "{model:?}"
        );
    };
    let policies = PermissionModel::AccessPolicies;
    check(PermissionModel::Rbac, K::WrapKey, true);
    check(PermissionModel::Rbac, K::Delete, false);
    check(policies(vec![]), K::WrapKey, false); // the role is ignored
    check(policies(vec![policy(ALICE, TENANT, &[K::Delete])]), K::Delete, true);
    check(policies(vec![policy(ALICE, TENANT, &[K::Delete])]), K::WrapKey, false);
    check(policies(vec![policy(ALICE, TENANT, &[K::All])]), K::Purge, true);
    check(policies(vec![policy(ALICE, TENANT, &[K::List])]), K::Get, false);
    check(policies(vec![policy(BOB, TENANT, &[K::All])]), K::Get, false);
    check(policies(vec![policy(ALICE, OTHER_TENANT, &[K::All])]), K::Get, false);
}

#[test]
fn answers_name_what_decided() {
    let principal = user(ALICE);
    let scope = at("{v}/keys/k");
    let question = Question {
        principal: &principal,
        wanted: Wanted::Key(KeyPermission::Purge),
        scope: &scope,
    };
    let officer = assigned(built_in_role("Key Vault Crypto Officer").unwrap().id, "{v}");
    let grants = Grants { assignments: vec![officer.clone()], ..Grants::default() };
    let allowed = Decision::Allowed { by: Grant::RoleAssignment(officer.id) };
    assert_eq!(decide(&question, &grants), allowed);
    match decide(&question, &Grants::default()) {
        Decision::Denied { reason: reason @ Denial::Role { .. } } => assert_eq!(
            reason.to_string(),
            "no role assignment grants 'Microsoft.KeyVault/vaults/keys/purge/action'"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn custom_roles_grant_and_cannot_pose_as_built_in() {
    let everything = |id| RoleDefinition {
        id,
        role_name: "Everything but purge".into(),
        description: String::new(),
        actions: vec![],
        not_actions: vec![],
        data_actions: vec![ActionPattern::new("*")],
        not_data_actions: vec![ActionPattern::new("*/purge/action")],
    };
    let check = |id: RoleDefinitionId, wanted: KeyPermission, expected: bool| {
        let grants = Grants {
            assignments: vec![assigned(id, "{v}")],
            custom_roles: vec![everything(id)],
            ..Grants::default()
        };
        assert_eq!(allows(&grants, ALICE, Wanted::Key(wanted), "{v}"), expected, "{id} {wanted}");
    };
    let own = RoleDefinitionId::from_bytes([7; 16]);
    check(own, KeyPermission::Delete, true);
    check(own, KeyPermission::Purge, false);
    check(built_in_role("Reader").unwrap().id, KeyPermission::Delete, false);
}

#[test]
fn built_in_roles_are_distinct_and_permissions_round_trip() {
    for (at, role) in built_in_roles().iter().enumerate() {
        let later = &built_in_roles()[at + 1..];
        assert!(later.iter().all(|other| other.id != role.id && other.role_name != role.role_name));
    }
    assert_eq!(
        custody_access::KEY_VAULT_CRYPTO_SERVICE_ENCRYPTION_USER.to_string(),
        "e147488a-f6f5-4113-8e2d-b22465e65bf6"
    );
    for permission in KeyPermission::EACH {
        let json = serde_json::to_string(permission).unwrap();
        assert_eq!(serde_json::from_str::<KeyPermission>(&json).unwrap(), *permission);
    }
    assert_eq!("WRAPKEY".parse(), Ok(KeyPermission::WrapKey));
    let error = "steal".parse::<KeyPermission>().unwrap_err();
    assert!(error.to_string().starts_with("\"steal\" is no permission on keys; known are: all "));
}
