//! The built-in role definitions as ARM shows them; they are no records.

use custody_access::{ActionPattern, RoleDefinition, built_in_roles};
use custody_names::RoleDefinitionId;
use serde_json::{Value, json};

const TYPE: &str = "Microsoft.Authorization/roleDefinitions";

/// The identifier of a role definition, the same at every scope.
pub fn role_definition_id(role: RoleDefinitionId) -> String {
    format!("/providers/{TYPE}/{role}")
}

/// One role definition.
pub fn role_definition(role: RoleDefinitionId) -> Option<Value> {
    built_in_roles().iter().find(|known| known.id == role).map(render)
}

/// All role definitions as the body of a list, or those of a name, case aside.
pub fn role_definitions(role_name: Option<&str>) -> Value {
    let wanted = |role: &&RoleDefinition| {
        role_name.is_none_or(|name| role.role_name.eq_ignore_ascii_case(name))
    };
    json!({ "value": built_in_roles().iter().filter(wanted).map(render).collect::<Vec<_>>() })
}

fn render(role: &RoleDefinition) -> Value {
    json!({
        "id": role_definition_id(role.id),
        "type": TYPE,
        "name": role.id,
        "properties": {
            "roleName": role.role_name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": texts(&role.actions),
                "notActions": texts(&role.not_actions),
                "dataActions": texts(&role.data_actions),
                "notDataActions": texts(&role.not_data_actions),
            }],
        },
    })
}

fn texts(patterns: &[ActionPattern]) -> Vec<&str> {
    patterns.iter().map(ActionPattern::as_str).collect()
}
