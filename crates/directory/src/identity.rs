//! User-assigned managed identities.

use custody_names::{ClientId, PrincipalId, TenantId};
use custody_resources::{
    Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World, Write,
};
use serde::{Deserialize, Serialize};

use crate::resource_group::NoProperties;

/// Longest and shortest name, in characters (Azure's rule).
const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=128;

/// `Microsoft.ManagedIdentity/userAssignedIdentities`.
pub struct UserAssignedIdentity;

/// Who the identity is. Minted when it is created, and the same for as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Who it is to access decisions.
    pub principal_id: PrincipalId,
    /// Its application id.
    pub client_id: ClientId,
    /// Its tenant.
    pub tenant_id: TenantId,
}

impl Kind for UserAssignedIdentity {
    const TYPE: &'static str = "Microsoft.ManagedIdentity/userAssignedIdentities";
    const PLACE: Place = Place::Below("Microsoft.Resources/subscriptions/resourceGroups");
    const TRACKED: bool = true;

    type Spec = NoProperties;
    type Status = IdentityStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        if let Some(stored) = change.before {
            return Ok(Plan::done(change.spec, stored.status.clone()));
        }
        check_name(change.request.id.name().unwrap_or_default())?;
        let status = mint(change.request)?;
        Ok(Plan::done(change.spec, status))
    }

    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        Ok(Removal { task: None, writes: vec![Write::RaiseRevocation] })
    }
}

fn mint(request: &Request<'_>) -> Result<IdentityStatus, Refusal> {
    let broken = |error: custody_ambient::EntropyUnavailable| Refusal::bug(error.to_string());
    Ok(IdentityStatus {
        principal_id: PrincipalId::mint(request.entropy).map_err(broken)?,
        client_id: ClientId::mint(request.entropy).map_err(broken)?,
        tenant_id: request.caller.tenant,
    })
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if NAME_CHARACTERS.contains(&name.len()) && begins_well && name.chars().all(plain) {
        return Ok(());
    }
    let text = format!(
        "'{name}' cannot name an identity: 3 to 128 letters, digits, hyphens and underscores, \
         beginning with a letter or digit"
    );
    Err(Refusal::new(400, "InvalidResourceName", text))
}
