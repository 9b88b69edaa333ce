//! The local roles of a managed HSM, on its own host: `[/keys[/NAME]]/providers/
//! Microsoft.Authorization/{roleDefinitions,roleAssignments}`.

use custody_access::{Decision, Question, RoleDefinition, Wanted, decide, managed_hsm_roles};
use custody_key_vault::{
    LocalRoleKind, LocalRoleSpec, LocalScope, ManagedHsmKind, assign_local_role, key_vault_claim,
    local_grants,
};
use custody_names::{KeyVaultName, ResourceId, RoleDefinitionId};
use custody_resources::{
    ActivityEvent, Kind as _, Record, Refusal, Stop, Stored, SystemData, World, Write,
};
use custody_worker::{Platform, fault, principal_of};
use http::{Method, Response};
use serde_json::{Value, json};

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
    let ask = Ask { platform, call, hsm, scope: LocalScope::parse(scope)? };
    let lower: Vec<String> = rest.iter().map(|part| part.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    let (status, body) = match (call.method, words.as_slice()) {
        (&Method::GET, ["roledefinitions"]) => (200, ask.definitions()?),
        (&Method::GET, ["roledefinitions", name]) => (200, ask.definition(name)?),
        (&Method::GET, ["roleassignments"]) => (200, ask.assignments()?),
        (&Method::GET, ["roleassignments", name]) => (200, ask.assignment(name)?),
        (&Method::PUT, ["roleassignments", name]) => (201, ask.assign(name)?),
        (&Method::DELETE, ["roleassignments", name]) => (200, ask.unassign(name)?),
        _ => {
            let text = format!("{} {} is not served", call.method, call.path);
            return Err(Refusal::new(405, "MethodNotAllowed", text));
        }
    };
    Ok(reply::json(status, Some(&body)))
}

impl Ask<'_> {
    fn definitions(&self) -> Result<Value, Refusal> {
        self.look("roleDefinitions/read/action", |_, _| Ok(()))?;
        links::page(self.call, managed_hsm_roles().iter().map(render_role).collect())
    }

    fn definition(&self, name: &str) -> Result<Value, Refusal> {
        self.look("roleDefinitions/read/action", |_, _| Ok(()))?;
        let role = managed_hsm_roles().iter().find(|role| role.id.to_string() == name);
        role.map(render_role).ok_or_else(|| unknown_role(name))
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
            let own = self.scope.place(&hsm.id)?;
            let mut shown = Vec::new();
            for record in world.children(&hsm.id, LocalRoleKind::TYPE)? {
                let Stored { record, spec, .. } = Stored::<LocalRoleKind>::read(record)?;
                let place = spec.scope.place(&hsm.id)?;
                let near = place.contains(&own) || (!at_scope && own.contains(&place));
                let wanted = principal.as_ref();
                if near && wanted.is_none_or(|wanted| spec.principal_id.to_string() == *wanted) {
                    shown.push(render(&record, &spec));
                }
            }
            Ok(shown)
        })?;
        links::page(self.call, shown)
    }

    fn assignment(&self, name: &str) -> Result<Value, Refusal> {
        self.look("roleAssignments/read/action", |hsm, world| {
            let stored = found(hsm, name, world)?;
            Ok(render(&stored.record, &stored.spec))
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
        let role = text("roleDefinitionId")?.rsplit('/').next().unwrap_or_default().to_owned();
        let role = role.parse().ok().filter(|role: &RoleDefinitionId| {
            managed_hsm_roles().iter().any(|known| known.id == *role)
        });
        let role =
            role.ok_or_else(|| unknown_role(text("roleDefinitionId").unwrap_or_default()))?;
        let principal_id = text("principalId")?.parse();
        let principal_id = principal_id.map_err(|_| bad("properties.principalId is no GUID"))?;
        let spec = LocalRoleSpec { role, principal_id, scope: self.scope.clone() };
        let (caller, now) = (&self.call.caller.name, self.platform.clock.now());
        let system = SystemData::new(caller, now);
        self.change("roleAssignments/write/action", |hsm, world| {
            for record in world.children(&hsm.id, LocalRoleKind::TYPE)? {
                let other = Stored::<LocalRoleKind>::read(record)?;
                let same_name = other.record.id.name() == Some(name);
                if same_name || other.spec == spec {
                    let text = "The role assignment already exists.";
                    return Err(Refusal::new(409, "RoleAssignmentExists", text).into());
                }
            }
            Ok(vec![assign_local_role(&hsm.id, name, spec.clone(), system.clone())?])
        })?;
        self.assignment(name)
    }

    fn unassign(&self, name: &str) -> Result<Value, Refusal> {
        let mut shown = Value::Null;
        self.change("roleAssignments/delete/action", |hsm, world| {
            let stored = found(hsm, name, world)?;
            let all = local_grants(&hsm.id, world)?;
            let same = all.iter().filter(|one| one.role == stored.spec.role && one.scope == hsm.id);
            let administers = stored.spec.role == custody_access::MANAGED_HSM_ADMINISTRATOR;
            if administers && same.count() == 1 {
                let text = "The last administrator of a managed HSM cannot be removed: nobody could \
                            administer it any more.";
                return Err(Refusal::new(409, "LastAdministrator", text).into());
            }
            shown = render(&stored.record, &stored.spec);
            Ok(vec![Write::Remove(stored.record.id)])
        })?;
        Ok(shown)
    }

    fn look<T>(
        &self,
        action: &str,
        mut look: impl FnMut(&Record, &World) -> Result<T, Stop>,
    ) -> Result<T, Refusal> {
        let mut seen = None;
        let looked = self.platform.records.view(&mut |world| {
            let hsm = self.permitted(action, world)?;
            seen = Some(look(hsm, world)?);
            Ok(())
        });
        looked.map_err(fault::of_apply)?;
        seen.ok_or_else(|| Refusal::bug("a look saw nothing"))
    }

    /// Applies what is planned, with an event of it, and wakes holders of key leases.
    fn change(
        &self,
        action: &str,
        mut plan: impl FnMut(&Record, &World) -> Result<Vec<Write>, Stop>,
    ) -> Result<(), Refusal> {
        let applied = self.platform.records.apply(&mut |world| {
            let hsm = self.permitted(action, world)?;
            let mut writes = plan(hsm, world)?;
            writes.push(Write::RaiseRevocation);
            writes.push(Write::Activity(ActivityEvent {
                time: self.platform.clock.now(),
                caller: self.call.caller.name.clone(),
                operation_name: format!("{ACTIONS}/{action}"),
                resource: hsm.id.clone(),
                status: "Succeeded".to_owned(),
                code: None,
                correlation: self.call.correlation,
            }));
            Ok(writes)
        });
        applied.map_err(fault::of_apply)
    }

    /// The managed HSM, if the caller has a local role that allows the action at the scope.
    fn permitted<'w>(&self, action: &str, world: &'w World) -> Result<&'w Record, Stop> {
        let absent = || {
            let text = format!("there is no managed HSM {}", self.hsm);
            Refusal::new(404, "ResourceNotFound", text)
        };
        let holder = world.claimant(&key_vault_claim(&self.hsm))?.filter(|record| {
            record.id.resource_type().as_str().eq_ignore_ascii_case(ManagedHsmKind::TYPE)
        });
        let hsm = holder.ok_or_else(absent)?;
        let grants = custody_access::Grants {
            assignments: local_grants(&hsm.id, world)?,
            ..custody_access::Grants::default()
        };
        let principal = principal_of(&self.call.caller);
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
}

fn found(hsm: &Record, name: &str, world: &World) -> Result<Stored<LocalRoleKind>, Stop> {
    let absent = || {
        let text = format!("there is no role assignment {name}");
        Refusal::new(404, "RoleAssignmentNotFound", text)
    };
    let name = name.parse().map_err(|_| absent())?;
    let stored = world.stored::<LocalRoleKind>(&hsm.id.child("roleAssignments", &name))?;
    Ok(stored.ok_or_else(absent)?)
}

fn unknown_role(name: &str) -> Refusal {
    let shown: String = name.chars().take(200).collect();
    Refusal::new(404, "RoleDefinitionNotFound", format!("there is no local role {shown}"))
}

fn render(record: &Record, spec: &LocalRoleSpec) -> Value {
    let scope = spec.scope.as_str();
    let name = record.id.name();
    let place = scope.trim_end_matches('/');
    let path = "providers/Microsoft.Authorization/roleAssignments";
    json!({
        "id": format!("{place}/{path}/{}", name.unwrap_or_default()),
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "scope": scope,
            "roleDefinitionId": format!("{DEFINITIONS}/{}", spec.role),
            "principalId": spec.principal_id,
        },
    })
}

fn render_role(role: &RoleDefinition) -> Value {
    json!({
        "id": format!("{DEFINITIONS}/{}", role.id),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.role_name,
            "type": "AKVBuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": [],
                "notActions": [],
                "dataActions": role.data_actions,
                "notDataActions": role.not_data_actions,
            }],
        },
    })
}
