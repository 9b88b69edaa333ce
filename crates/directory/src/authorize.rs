//! The decision on every control-plane request.

use custody_access::{
    Decision, KEY_VAULT_DATA_ACCESS_ADMINISTRATOR, Question, Wanted, built_in_roles, decide,
};
use custody_names::ResourceId;
use custody_resources::{Authorize, Caller, Refusal, Stop, World};

use crate::{grants_for, principal_of, subscription_tenant};

/// Decides by role assignments.
pub struct RoleAuthorizer;

impl Authorize for RoleAuthorizer {
    fn check(
        &self,
        caller: &Caller,
        permission: &str,
        scope: &ResourceId,
        world: &World,
    ) -> Result<(), Stop> {
        check_tenant(caller, scope, world)?;
        let principal = principal_of(caller);
        let wanted = Wanted::Action(permission);
        let question = Question { principal: &principal, wanted, scope };
        match decide(&question, &grants_for(world, scope)?) {
            Decision::Allowed { .. } => Ok(()),
            Decision::Denied { .. } => Err(denied(caller, permission, scope).into()),
        }
    }
}

/// Another tenant's resources are not there, whoever asks; nor is what would lie in a subscription
/// that does not exist. Both get the same answer, before any role is looked at, so that nobody
/// learns which subscriptions there are.
///
/// # Errors
/// `SubscriptionNotFound` (404).
pub fn check_tenant(caller: &Caller, scope: &ResourceId, world: &World) -> Result<(), Stop> {
    let Some(subscription) = scope.subscription_id() else { return Ok(()) };
    let id = ResourceId::subscription(subscription);
    let tenant = world.record(&id)?.and_then(subscription_tenant);
    if tenant == Some(caller.tenant) {
        return Ok(());
    }
    Err(custody_resources::not_found(&id).into())
}

fn denied(caller: &Caller, permission: &str, scope: &ResourceId) -> Refusal {
    let text = format!(
        "The client '{}' with object id '{}' does not have authorization to perform action \
         '{permission}' over scope '{scope}'.",
        caller.name, caller.principal
    );
    let fix = format!(
        "custody role assignment create --assignee {} --role \"{}\" --scope {}",
        caller.principal,
        role_for(permission),
        quoted(scope.as_str())
    );
    Refusal::new(403, "AuthorizationFailed", text).with_fix(fix)
}

/// A built-in role that grants the action: to look, Reader; else the last one in the table, which
/// goes from the general to the particular.
fn role_for(permission: &str) -> &'static str {
    let reads = permission.to_ascii_lowercase().ends_with("/read");
    let mut granting = built_in_roles()
        .iter()
        // What that one may grant depends on more than the permission.
        .filter(|role| role.id != KEY_VAULT_DATA_ACCESS_ADMINISTRATOR)
        .filter(|role| role.grants_action(permission));
    let role =
        if reads { granting.find(|role| role.role_name == "Reader") } else { granting.next_back() };
    role.map_or("Owner", |role| role.role_name.as_str())
}

/// The text as one word of a shell: names may hold what a shell would act on.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
