//! The admission of critical operations: what a resource guard guards takes the right to it on the
//! guard, beside the right to it on the vault.

use custody_names::ResourceId;
use custody_resources::{Admission, Authorize, Record, Refusal, Request, Stop, Verb, World};
use serde_json::Value;

use crate::guard_proxy::{GuardProxySpec, GuardProxyStatus, PROXY_TYPES, guard_of};
use crate::resource_guard::{
    BV_DELETE_ITEM, BV_DELETE_PROXY, BV_ENCRYPTION, BV_POLICY, BV_SOFT_DELETE, BV_STOP, BV_SUSPEND,
    BV_UPDATE_ITEM, CriticalOperation, RSV_DELETE_ITEM, RSV_DELETE_PROXY, RSV_ENCRYPTION,
    RSV_POLICY, RSV_SOFT_DELETE, RSV_UPDATE_ITEM, ResourceGuard,
};
use crate::vault::Vault;

/// Asks the guards of vaults.
pub struct ResourceGuards;

impl Admission for ResourceGuards {
    fn admit(
        &self,
        request: &Request<'_>,
        before: Option<&Record>,
        authorize: &dyn Authorize,
        world: &World,
    ) -> Result<(), Stop> {
        let Some(vault) = Vault::around(&request.id) else { return Ok(()) };
        // What is not there yet has nothing to lose.
        let Some(before) = before else { return Ok(()) };
        for operation in critical(request, before)? {
            for kind in PROXY_TYPES {
                for proxy in world.children(&vault, kind)? {
                    unlocked(operation, proxy, request, authorize, world)?;
                }
            }
        }
        Ok(())
    }
}

/// Refuses unless the guard lets the operation pass.
fn unlocked(
    operation: CriticalOperation,
    proxy: &Record,
    request: &Request<'_>,
    authorize: &dyn Authorize,
    world: &World,
) -> Result<(), Stop> {
    let broken = |error: serde_json::Error| Refusal::bug(format!("{}: {error}", proxy.id));
    let spec: GuardProxySpec = serde_json::from_value(proxy.spec.clone()).map_err(broken)?;
    let status: GuardProxyStatus = serde_json::from_value(proxy.status.clone()).map_err(broken)?;
    let guard = guard_of(&spec)?;
    // A guard that is gone guards all the same: whoever took it away is not to gain by it.
    let settings = world.stored::<ResourceGuard>(guard)?.map(|stored| stored.spec);
    if settings.is_some_and(|settings| !settings.guards(operation)) {
        return Ok(());
    }
    let is_meant = |resource: &Option<ResourceId>| {
        resource.as_ref().is_none_or(|resource| *resource == request.id)
    };
    let opened = status.unlocked.iter().any(|unlocked| {
        unlocked.operation == operation.name
            && unlocked.until > request.now
            && is_meant(&unlocked.resource)
    });
    if opened {
        return Ok(());
    }
    let permission = operation.permission();
    match authorize.check(&request.caller, &permission, guard, world) {
        Err(Stop::Refused(_)) => Err(locked(operation, guard, &permission).into()),
        other => other,
    }
}

fn locked(operation: CriticalOperation, guard: &ResourceId, permission: &str) -> Refusal {
    let text = format!(
        "The operation {} is guarded by the resource guard {guard}: it takes {permission} there.",
        operation.name
    );
    Refusal::new(403, "UserErrorResourceGuardNotUnlocked", text).with_fix(format!(
        "ask whoever owns the guard: custody role assignment create --assignee YOU --role \"Backup \
         MUA Operator\" --scope {guard}"
    ))
}

/// What of a request is critical.
fn critical(request: &Request<'_>, before: &Record) -> Result<Vec<CriticalOperation>, Refusal> {
    let kind = request.id.resource_type();
    // The namespace, the type of the vault, and what stands below it.
    let mut parts = kind.as_str().splitn(3, '/');
    let namespace = parts.next().unwrap_or_default();
    let rest = parts.nth(1).unwrap_or_default();
    let of_backup_vault = namespace.eq_ignore_ascii_case("Microsoft.DataProtection");
    let pick = |backup, recovery| if of_backup_vault { backup } else { recovery };
    let item = rest.eq_ignore_ascii_case("backupInstances")
        || rest.eq_ignore_ascii_case("backupFabrics/protectionContainers/protectedItems");
    let policy = rest.eq_ignore_ascii_case("backupPolicies");
    let proxy = rest.eq_ignore_ascii_case("backupResourceGuardProxies");
    Ok(match &request.verb {
        Verb::Delete if item => vec![pick(BV_DELETE_ITEM, RSV_DELETE_ITEM)],
        Verb::Delete if proxy => vec![pick(BV_DELETE_PROXY, RSV_DELETE_PROXY)],
        Verb::Put | Verb::Patch if proxy && names_another_guard(request, before) => {
            vec![pick(BV_DELETE_PROXY, RSV_DELETE_PROXY)]
        }
        Verb::Put | Verb::Patch if rest.is_empty() => {
            let (weakens, rekeys) = vault_changes(request, before)?;
            let soft_delete = weakens.then(|| pick(BV_SOFT_DELETE, RSV_SOFT_DELETE));
            let encryption = rekeys.then(|| pick(BV_ENCRYPTION, RSV_ENCRYPTION));
            soft_delete.into_iter().chain(encryption).collect()
        }
        Verb::Put | Verb::Patch if item && changes_protection(request, before) => {
            vec![pick(BV_UPDATE_ITEM, RSV_UPDATE_ITEM)]
        }
        Verb::Put | Verb::Patch if policy && changes_policy(request, before) => {
            vec![pick(BV_POLICY, RSV_POLICY)]
        }
        // Points that are forgotten are gone as those of an item that is deleted.
        Verb::Action(name) if item && is_forget(name, &request.body) => {
            vec![pick(BV_DELETE_ITEM, RSV_DELETE_ITEM)]
        }
        Verb::Action(name) if item && name.eq_ignore_ascii_case("stopProtection") => vec![BV_STOP],
        Verb::Action(name) if item && name.eq_ignore_ascii_case("suspendBackups") => {
            vec![BV_SUSPEND]
        }
        _ => Vec::new(),
    })
}

fn is_forget(name: &str, body: &Value) -> bool {
    let only_asks = body.get("dryRun").and_then(Value::as_bool).unwrap_or(false);
    name.eq_ignore_ascii_case("forget") && !only_asks
}

/// Whether an item comes under another policy, or its backups end or pause. What a request does not
/// name stays.
fn changes_protection(request: &Request<'_>, before: &Record) -> bool {
    let state = request.body.pointer("/properties/protectionState").and_then(Value::as_str);
    let ends = state.is_some_and(|state| {
        ["ProtectionStopped", "BackupsSuspended"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(state))
    });
    let other_policy = ["/policyInfo/policyId", "/policyId"].iter().any(|place| {
        let asked = resource(request.body.pointer(&format!("/properties{place}")));
        asked.is_some() && asked != resource(before.spec.pointer(place))
    });
    ends || other_policy
}

/// Whether a policy would be another one. The same again is none.
fn changes_policy(request: &Request<'_>, before: &Record) -> bool {
    request.body.get("properties").is_some_and(|properties| *properties != before.spec)
}

fn resource(text: Option<&Value>) -> Option<ResourceId> {
    text.and_then(Value::as_str).and_then(|text| text.parse().ok())
}

fn names_another_guard(request: &Request<'_>, before: &Record) -> bool {
    let asked = resource(request.body.pointer("/properties/resourceGuardResourceId"));
    asked != resource(before.spec.get("resourceGuardResourceId"))
}

/// Whether a change of a vault weakens its soft delete, and whether it changes key or identity.
/// What cannot be understood is refused by the vault itself.
fn vault_changes(request: &Request<'_>, before: &Record) -> Result<(bool, bool), Refusal> {
    let vault = Vault::read(before)?;
    let stored = vault.soft_delete_settings();
    let asked = vault.soft_delete_asked(request).unwrap_or(stored);
    let weakens = asked.state < stored.state || asked.days < stored.days;
    Ok((weakens, vault.changes_encryption(request)))
}
