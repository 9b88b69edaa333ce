//! The local roles of a managed HSM, on its own host: `[/keys[/NAME]]/providers/
//! Microsoft.Authorization/{roleDefinitions,roleAssignments}`.

mod definitions;

use custody_access::{Decision, Question, Wanted, decide};
use custody_key_vault::{
    KeyVaultRef, LocalRoleKind, LocalRoleSpec, LocalScope, ManagedHsmKind, RequestContext,
    RoleRequest, administrators, assign_local_role, key_vault_claim, local_grants_at,
    managed_hsm_ref,
};
use custody_names::{KeyVaultName, ResourceId, RoleDefinitionId};
use custody_resources::{
    ActivityEvent, Kind as _, Record, Refusal, Stop, Stored, SystemData, World, Write,
};
use custody_worker::{Platform, fault, principal_of};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::data_plane;
use crate::filter::{self, Comparison, Term};
use crate::links;
use crate::reply::{self, Body};
use crate::server::Call;

/// What the data actions of local roles begin with.
const ACTIONS: &str = "Microsoft.KeyVault/managedHsm";
/// What the identifiers of local roles begin with.
const DEFINITIONS: &str = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions";

/// One request about local roles.
struct Ask<'a> {
    platform: &'a Platform,
    call: &'a Call<'a>,
    hsm: KeyVaultName,
    scope: LocalScope,
    /// What the ledger calls it.
    name: &'static str,
}

/// Answers if the path is one of local roles.
pub(crate) fn answer(platform: &Platform, name: &str, call: &Call<'_>) -> Option<Response<Body>> {
    let segments = crate::address::segments(&call.path);
    let at = segments.windows(2).position(|pair| {
        matches!(pair, [word, namespace] if word.eq_ignore_ascii_case("providers")
            && namespace.eq_ignore_ascii_case("Microsoft.Authorization"))
    })?;
    let (scope, rest) = segments.split_at_checked(at)?;
    let answered = try_answer(platform, name, call, scope, rest.get(2..).unwrap_or_default());
    Some(answered.unwrap_or_else(|refusal| reply::refusal(&refusal)))
}

fn try_answer(
    platform: &Platform,
    name: &str,
    call: &Call<'_>,
    scope: &[&str],
    rest: &[&str],
) -> Result<Response<Body>, Refusal> {
    let hsm = name.parse().map_err(|error: custody_names::InvalidName| {
        Refusal::new(400, "BadParameter", error.to_string())
    })?;
    let lower: Vec<String> = rest.iter().map(|part| part.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    let name = named(call.method, &words).ok_or_else(|| {
        let text = format!("{} {} is not served", call.method, call.path);
        Refusal::new(405, "MethodNotAllowed", text)
    })?;
    let ask = Ask { platform, call, hsm, scope: LocalScope::parse(scope)?, name };
    let answered = ask.answer(&words);
    if let Err(refusal) = &answered {
        ask.record_refusal(refusal)?;
    }
    let (status, body) = answered?;
    Ok(reply::json(status, Some(&body)))
}

/// What the ledger calls a request.
fn named(method: &Method, words: &[&str]) -> Option<&'static str> {
    Some(match (method, words) {
        (&Method::GET, ["roledefinitions"]) => "RoleDefinitionList",
        (&Method::GET, ["roledefinitions", _]) => "RoleDefinitionGet",
        (&Method::PUT, ["roledefinitions", _]) => "RoleDefinitionSet",
        (&Method::DELETE, ["roledefinitions", _]) => "RoleDefinitionDelete",
        (&Method::GET, ["roleassignments"]) => "RoleAssignmentList",
        (&Method::GET, ["roleassignments", _]) => "RoleAssignmentGet",
        (&Method::PUT, ["roleassignments", _]) => "RoleAssignmentCreate",
        (&Method::DELETE, ["roleassignments", _]) => "RoleAssignmentDelete",
        _ => return None,
    })
}

impl Ask<'_> {
    /// Status and body.
    fn answer(&self, words: &[&str]) -> Result<(u16, Value), Refusal> {
        Ok(match (self.call.method, words) {
            (&Method::GET, ["roledefinitions"]) => (200, self.definitions()?),
            (&Method::GET, ["roledefinitions", name]) => (200, self.definition(name)?),
            (&Method::PUT, ["roledefinitions", name]) => (201, self.define(name)?),
            (_, ["roledefinitions", name]) => (200, self.remove_definition(name)?),
            (&Method::GET, ["roleassignments"]) => (200, self.assignments()?),
            (&Method::GET, ["roleassignments", name]) => (200, self.assignment(name)?),
            (&Method::PUT, ["roleassignments", name]) => (201, self.assign(name)?),
            (_, ["roleassignments", name]) => (200, self.unassign(name)?),
            _ => return Err(Refusal::bug("a request was named that has no answer")),
        })
    }

    fn assignments(&self) -> Result<Value, Refusal> {
        let terms = filter::parse(self.call.parameter("$filter"))?;
        let mut principal = None;
        let mut at_scope = false;
        for term in &terms {
            match term {
                Term::Call { name, .. } if name == "atscope" => at_scope = true,
                Term::Compare { field, with: Comparison::Equal, value }
                    if field == "principalid" =>
                {
                    principal = Some(value.to_ascii_lowercase());
                }
                _ => return Err(filter::unknown(term)),
            }
        }
        let shown = self.look("roleAssignments/read/action", |hsm, world| {
            let mut shown = Vec::new();
            for record in world.children(&hsm.id, LocalRoleKind::TYPE)? {
                let Stored { record, spec, .. } = Stored::<LocalRoleKind>::read(record)?;
                let below = !at_scope && self.scope.contains(&spec.scope);
                let near = spec.scope.contains(&self.scope) || below;
                let wanted = principal.as_ref();
                if near && wanted.is_none_or(|wanted| spec.principal_id.to_string() == *wanted) {
                    shown.push(render(record.id.name().unwrap_or_default(), &spec));
                }
            }
            Ok(shown)
        })?;
        links::page(self.call, shown)
    }

    fn assignment(&self, name: &str) -> Result<Value, Refusal> {
        self.look("roleAssignments/read/action", |hsm, world| {
            let stored = self.found(hsm, name, world)?;
            Ok(render(stored.record.id.name().unwrap_or_default(), &stored.spec))
        })
    }

    fn assign(&self, name: &str) -> Result<Value, Refusal> {
        let bad = |text: &str| Refusal::new(400, "BadParameter", text);
        name.parse::<RoleDefinitionId>().map_err(|_| bad("the name of an assignment is a GUID"))?;
        let text = |field: &str| {
            let value = self.call.body.pointer(&format!("/properties/{field}"));
            value
                .and_then(Value::as_str)
                .ok_or_else(|| bad(&format!("properties.{field} is missing")))
        };
        let asked = text("roleDefinitionId")?;
        let role = asked.rsplit('/').next().unwrap_or_default();
        let role: RoleDefinitionId = role.parse().map_err(|_| unknown_role(asked))?;
        let principal_id = text("principalId")?.parse();
        let principal_id = principal_id.map_err(|_| bad("properties.principalId is no GUID"))?;
        let spec = LocalRoleSpec { role, principal_id, scope: self.scope.clone() };
        let (caller, now) = (&self.call.caller.name, self.platform.clock.now());
        let system = SystemData::new(caller, now);
        self.change("roleAssignments/write/action", 201, |hsm, world| {
            definitions::find(&hsm.id, role, world)?.ok_or_else(|| unknown_role(asked))?;
            for record in world.children(&hsm.id, LocalRoleKind::TYPE)? {
                let other = Stored::<LocalRoleKind>::read(record)?;
                let same_name = other.record.id.name() == Some(name);
                if same_name || other.spec == spec {
                    let text = "The role assignment already exists.";
                    return Err(Refusal::new(409, "RoleAssignmentExists", text).into());
                }
            }
            let made = assign_local_role(&hsm.id, name, spec.clone(), system.clone())?;
            Ok((render(name, &spec), vec![made]))
        })
    }

    fn unassign(&self, name: &str) -> Result<Value, Refusal> {
        self.change("roleAssignments/delete/action", 200, |hsm, world| {
            let stored = self.found(hsm, name, world)?;
            if stored.spec.administers() && administrators(&hsm.id, world)?.len() == 1 {
                let text = "The last administrator of a managed HSM cannot be removed: nobody could \
                            administer it any more.";
                return Err(Refusal::new(409, "LastAdministrator", text).into());
            }
            let shown = render(stored.record.id.name().unwrap_or_default(), &stored.spec);
            Ok((shown, vec![Write::Remove(stored.record.id)]))
        })
    }

    /// Looks at the roles; what is seen is on the ledger before it is answered.
    fn look<T>(
        &self,
        action: &str,
        mut look: impl FnMut(&Record, &World) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        let mut seen = None;
        let looked = self.platform.records.view(&mut |world| {
            let hsm = self.permitted(action, world)?;
            seen = Some((look(hsm, world)?, hsm.clone()));
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        let (seen, hsm) = seen.ok_or_else(|| Refusal::bug("a look saw nothing"))?;
        self.record(&hsm, Ok(200))?;
        Ok(seen)
    }

    /// Applies what is planned, with an event of it and a record on the ledger, wakes holders of key
    /// leases, and shows what there is then.
    fn change(
        &self,
        action: &str,
        status: u16,
        mut plan: impl FnMut(&Record, &World) -> Result<(Value, Vec<Write>), Stop>,
    ) -> Result<Value, Refusal> {
        let mut shown = Value::Null;
        let applied = self.platform.records.apply(&mut |world| {
            let hsm = self.permitted(action, world)?;
            let (body, mut writes) = plan(hsm, world)?;
            writes.push(Write::RaiseRevocation);
            let (now, caller) = (self.platform.clock.now(), &self.call.caller.name);
            let (action, id) = (format!("{ACTIONS}/{action}"), hsm.id.clone());
            let begun = ActivityEvent::started(now, caller, action, id, self.call.correlation);
            writes.extend(begun.done(status));
            // All is decided: what cannot be recorded is not done.
            self.record(hsm, Ok(status))?;
            shown = body;
            Ok(writes)
        });
        applied.map_err(fault::of_apply)?;
        Ok(shown)
    }

    fn record_refusal(&self, refusal: &Refusal) -> Result<(), Refusal> {
        let mut hsm = None;
        let looked = self.platform.records.view(&mut |world| {
            hsm = self.holder(world)?.cloned();
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        hsm.map_or(Ok(()), |hsm| self.record(&hsm, Err(refusal)))
    }

    fn record(&self, hsm: &Record, outcome: Result<u16, &Refusal>) -> Result<(), Refusal> {
        let (caller, hsm) = (principal_of(&self.call.caller), hsm_ref(hsm)?);
        let (name, path) = (self.name, self.call.path.as_str());
        let request = RoleRequest { caller: &caller, hsm: &hsm, name, path };
        let keys = &self.platform.key_vaults;
        let recorded = keys.record_role_request(request, &self.context(), outcome);
        recorded.map_err(|error| fault::of_key_vault(&error))
    }

    fn context(&self) -> RequestContext {
        data_plane::context(self.platform, self.call)
    }

    fn holder<'w>(&self, world: &'w World) -> Result<Option<&'w Record>, Stop> {
        Ok(world.claimant(&key_vault_claim(&self.hsm))?.filter(|record| {
            record.id.resource_type().as_str().eq_ignore_ascii_case(ManagedHsmKind::TYPE)
        }))
    }

    /// The managed HSM, if the caller has a local role that allows the action at the scope.
    fn permitted<'w>(&self, action: &str, world: &'w World) -> Result<&'w Record, Stop> {
        let absent = || {
            let text = format!("there is no managed HSM {}", self.hsm);
            Refusal::new(404, "ResourceNotFound", text)
        };
        let hsm = self.holder(world)?.ok_or_else(absent)?;
        let grants = local_grants_at(&self.scope, &hsm.id, world)?;
        let principal = principal_of(&self.call.caller);
        let place = hsm_ref(hsm)?;
        let (name, path) = (self.name, self.call.path.as_str());
        let request = RoleRequest { caller: &principal, hsm: &place, name, path };
        request.admit(&self.context()).map_err(|error| fault::of_key_vault(&error))?;
        let action = format!("{ACTIONS}/{action}");
        let scope: ResourceId = self.scope.place(&hsm.id)?;
        let wanted = Wanted::DataAction(&action);
        match decide(&Question { principal: &principal, wanted, scope: &scope }, &grants) {
            Decision::Allowed { .. } => Ok(hsm),
            Decision::Denied { .. } => {
                let text = format!(
                    "Caller is not authorized to perform action '{action}' at scope '{}'.",
                    self.scope.as_str()
                );
                Err(Refusal::new(403, "Forbidden", text).into())
            }
        }
    }

    /// The assignment of this name at the scope of the request or below it, which is as far as the
    /// caller's own role was asked for.
    fn found(
        &self,
        hsm: &Record,
        name: &str,
        world: &World,
    ) -> Result<Stored<LocalRoleKind>, Stop> {
        let absent = || {
            let text = format!("there is no role assignment {name} at '{}'", self.scope.as_str());
            Refusal::new(404, "RoleAssignmentNotFound", text)
        };
        let name = name.parse().map_err(|_| absent())?;
        let stored = world.stored::<LocalRoleKind>(&hsm.id.child("roleAssignments", &name))?;
        let reached = stored.filter(|stored| self.scope.contains(&stored.spec.scope));
        Ok(reached.ok_or_else(absent)?)
    }
}

fn hsm_ref(hsm: &Record) -> Result<KeyVaultRef, Refusal> {
    managed_hsm_ref(&Stored::<ManagedHsmKind>::read(hsm)?)
}

fn unknown_role(name: &str) -> Refusal {
    let shown: String = name.chars().take(200).collect();
    Refusal::new(404, "RoleDefinitionNotFound", format!("there is no local role {shown}"))
}

fn render(name: &str, spec: &LocalRoleSpec) -> Value {
    let scope = spec.scope.as_str();
    let place = scope.trim_end_matches('/');
    let path = "providers/Microsoft.Authorization/roleAssignments";
    json!({
        "id": format!("{place}/{path}/{name}"),
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "scope": scope,
            "roleDefinitionId": format!("{DEFINITIONS}/{}", spec.role),
            "principalId": spec.principal_id,
        },
    })
}
