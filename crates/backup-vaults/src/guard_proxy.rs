//! `backupResourceGuardProxies` of a vault: which guard it is under, and what of it is unlocked.

use std::marker::PhantomData;

use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Answers, Change, Identity, Kind, Place, Plan, Record, Reference, Refusal, Removal,
    Request, Stop, Stored, Target, World, Write,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::backup_vault::BackupVault;
use crate::recovery_services_vault::RecoveryServicesVault;
use crate::resource_guard::{
    CRITICAL_OPERATIONS, CriticalOperation, DESCRIPTION, ResourceGuard, ResourceGuardSpec,
};
use crate::vault::Vault;

/// For how long what was unlocked may be deleted, in minutes.
pub const UNLOCKED_MINUTES: u32 = 10;
/// Most unlocks that one vault keeps.
const UNLOCKS_MAX: usize = 100;
/// Most requests in one unlock.
const REQUESTS_MAX: usize = 20;
/// The permission to name a guard.
const READ_GUARD: &str = "Microsoft.DataProtection/resourceGuards/read";

/// A kind of vaults that can be guarded.
pub trait GuardedVault: Kind {
    /// The type of what says so.
    const PROXY: &'static str;
}

impl GuardedVault for RecoveryServicesVault {
    const PROXY: &'static str = "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies";
}

impl GuardedVault for BackupVault {
    const PROXY: &'static str = "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies";
}

/// The types of what says that a vault is guarded.
pub(crate) const PROXY_TYPES: [&str; 2] = [RecoveryServicesVault::PROXY, BackupVault::PROXY];

/// That a vault is under a guard.
pub struct GuardProxy<K>(PhantomData<K>);

/// What a client may write of it; what it reads besides comes back and is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardProxySpec {
    /// The guard.
    pub resource_guard_resource_id: Option<ResourceId>,
}

/// What only the server writes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardProxyStatus {
    /// The names of the operations that are guarded.
    pub guarded: Vec<String>,
    /// Since when it is so.
    pub last_updated_time: Option<Timestamp>,
    /// What may be deleted for a while.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlocked: Vec<Unlocked>,
}

/// That something may be deleted for a while, by whoever may delete it without a guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unlocked {
    /// The name of the operation.
    pub operation: String,
    /// What may be deleted; none is whatever the operation is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// Until when.
    pub until: Timestamp,
}

/// The body of `unlockDelete`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnlockDelete {
    resource_guard_operation_requests: Vec<String>,
    #[serde(default)]
    resource_to_be_deleted: Option<ResourceId>,
}

impl<K: GuardedVault> Kind for GuardProxy<K> {
    const TYPE: &'static str = K::PROXY;
    const PLACE: Place = Place::Below(K::TYPE);
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };
    const ACTIONS: &'static [Action] =
        &[Action { name: "unlockDelete", permission: "unlockDelete/action" }];

    type Spec = GuardProxySpec;
    type Status = GuardProxyStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let wrong = |text: String| Refusal::new(400, "InvalidRestApiParameter", text);
        let guard = change.spec.resource_guard_resource_id.clone();
        let guard =
            guard.ok_or_else(|| wrong("properties.resourceGuardResourceId names none".into()))?;
        let found = world.record(&guard)?.filter(|record| {
            record.id.resource_type().as_str().eq_ignore_ascii_case(ResourceGuard::TYPE)
        });
        let found = found.ok_or_else(|| wrong(format!("there is no resource guard {guard}")))?;
        let found = Stored::<ResourceGuard>::read(found)?;
        let status = GuardProxyStatus {
            guarded: names(&found.spec),
            last_updated_time: Some(change.now()),
            unlocked: Vec::new(),
        };
        let mut plan = Plan::done(change.spec, status);
        plan.linked.push((READ_GUARD.to_owned(), guard));
        plan.writes.extend(shown_guarded(&change.request.id, true, world)?);
        Ok(plan)
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let own = &current.record.id;
        let vault = own.parent().ok_or_else(|| Refusal::bug(format!("{own} lies nowhere")))?;
        let others = world.children(&vault, K::PROXY)?.iter().any(|proxy| proxy.id != *own);
        let writes = shown_guarded(own, others, world)?.into_iter().collect();
        Ok(Removal { task: None, writes })
    }

    /// Unlocks deletions for a while: whoever does so needs the right to them on the guard.
    fn act(
        _action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        let body = UnlockDelete::deserialize(&request.body)
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let guard = guard_of(&current.spec)?;
        let asked = &body.resource_guard_operation_requests;
        if asked.is_empty() || asked.len() > REQUESTS_MAX {
            let text = format!("resourceGuardOperationRequests holds 1 to {REQUESTS_MAX} requests");
            return Err(Refusal::bad_request(text).into());
        }
        let until = request.now + jiff::SignedDuration::from_mins(i64::from(UNLOCKED_MINUTES));
        let mut changed = current.clone();
        changed.status.unlocked.retain(|unlocked| unlocked.until > request.now);
        let mut linked = Vec::new();
        for text in asked {
            let operation = requested::<K>(text, guard)?;
            linked.push((operation.permission(), guard.clone()));
            changed.status.unlocked.push(Unlocked {
                operation: operation.name.to_owned(),
                resource: body.resource_to_be_deleted.clone(),
                until,
            });
        }
        if changed.status.unlocked.len() > UNLOCKS_MAX {
            let text = format!("at most {UNLOCKS_MAX} deletions are unlocked at a time");
            return Err(Refusal::new(409, "TooManyUnlocks", text).into());
        }
        let body = json!({ "unlockDeleteExpiryTime": until });
        let writes = vec![changed.into_write()?];
        Ok(Act { status: 200, body: Some(body), writes, linked, ..Act::default() })
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let guard = guard_of(&stored.spec)?;
        let guarded = CRITICAL_OPERATIONS
            .iter()
            .filter(|operation| stored.status.guarded.iter().any(|name| name == operation.name));
        let details = guarded.map(|operation| {
            json!({
                "vaultCriticalOperation": operation.name,
                "defaultResourceRequest": operation.request_of(guard),
            })
        });
        Ok(json!({
            "resourceGuardResourceId": guard,
            "resourceGuardOperationDetails": details.collect::<Vec<_>>(),
            "lastUpdatedTime": stored.status.last_updated_time,
            "description": DESCRIPTION,
        }))
    }

    fn references(
        spec: &GuardProxySpec,
        _status: &GuardProxyStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let guard = spec.resource_guard_resource_id.as_ref();
        guard.map(|id| Reference::new("guardedBy", Target::resource(id))).into_iter().collect()
    }
}

/// The write by which the vault of a proxy shows whether a guard protects it; none if it does so.
fn shown_guarded(
    proxy: &ResourceId,
    is_guarded: bool,
    world: &World,
) -> Result<Option<Write>, Stop> {
    let Some(id) = Vault::around(proxy) else { return Ok(None) };
    let mut vault = Vault::expect(&id, world)?;
    if vault.status.is_guarded == is_guarded {
        return Ok(None);
    }
    vault.status.is_guarded = is_guarded;
    Ok(Some(vault.into_write()?))
}

/// The guard that a proxy names.
pub(crate) fn guard_of(spec: &GuardProxySpec) -> Result<&ResourceId, Refusal> {
    let guard = spec.resource_guard_resource_id.as_ref();
    guard.ok_or_else(|| Refusal::bug("what says that a vault is guarded names no guard"))
}

/// The write by which a vault shows what its guard guards now.
pub(crate) fn refreshed(
    proxy: &Record,
    guard: &ResourceGuardSpec,
) -> Result<Option<Write>, Refusal> {
    let kind = proxy.id.resource_type();
    let is = |wanted: &str| kind.as_str().eq_ignore_ascii_case(wanted);
    if is(RecoveryServicesVault::PROXY) {
        return with::<RecoveryServicesVault>(proxy, guard).map(Some);
    }
    if is(BackupVault::PROXY) {
        return with::<BackupVault>(proxy, guard).map(Some);
    }
    Ok(None)
}

fn with<K: GuardedVault>(proxy: &Record, guard: &ResourceGuardSpec) -> Result<Write, Refusal> {
    let mut stored = Stored::<GuardProxy<K>>::read(proxy)?;
    stored.status.guarded = names(guard);
    stored.into_write()
}

fn names(guard: &ResourceGuardSpec) -> Vec<String> {
    guard.guarded().map(|operation| operation.name.to_owned()).collect()
}

/// The operation that a request names, by the identifier that the proxy shows or by its name.
fn requested<K: GuardedVault>(
    text: &str,
    guard: &ResourceId,
) -> Result<CriticalOperation, Refusal> {
    let of_this_kind = |operation: &&CriticalOperation| operation.name.starts_with(K::TYPE);
    let found = CRITICAL_OPERATIONS.iter().filter(of_this_kind).find(|operation| {
        text.eq_ignore_ascii_case(&operation.request_of(guard))
            || text.eq_ignore_ascii_case(operation.name)
    });
    found.copied().ok_or_else(|| {
        let text = format!("{text:?} is no request of the resource guard {guard}");
        Refusal::new(400, "InvalidRestApiParameter", text)
    })
}
