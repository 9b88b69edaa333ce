//! Keys in the control plane: what ARM shows of them, and the keys that it makes.
//!
//! The caller's right is that of the control plane, decided on the records; the keys lie in another
//! store. So a key is made between two transactions: its `Started` event stands before, and how it
//! ended after it. A process that dies between them leaves a start without an end.

use custody_directory::principal_of;
use custody_key_vault::{
    KeyAnswer, KeyOperation, KeyVaultKind, KeyVaultRef, ManagedHsmKind, RequestContext,
    key_vault_ref, managed_hsm_ref,
};
use custody_names::{CorrelationId, ResourceId};
use custody_resources::{
    ActivityEvent, ActivityStatus, Caller, Hosts, Kind as _, Refusal, Stop, World, Write,
};

use crate::{Platform, fault};

/// A request of the control plane about the keys of one key vault or managed HSM.
#[derive(Clone, Copy)]
pub struct KeyManagement<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Ties together what it sets off.
    pub correlation: CorrelationId,
    /// What the client says it is.
    pub client_info: Option<&'a str>,
    /// The api-version that it asks for.
    pub api_version: &'a str,
    /// The domains that it reaches the data planes by.
    pub hosts: &'a Hosts,
    /// The key vault or managed HSM.
    pub holder: &'a ResourceId,
    /// What the permission is asked on: the key, or the holder itself.
    pub scope: &'a ResourceId,
    /// The permission of the control plane that it takes.
    pub permission: &'a str,
}

impl Platform {
    /// The key vault or managed HSM, if the caller has the permission.
    pub fn managed_keys(&self, asking: KeyManagement<'_>) -> Result<KeyVaultRef, Refusal> {
        self.look(|world| self.permitted(asking, world))
    }

    /// Asks about keys; the answer is on the ledger when this returns.
    pub fn ask_of_keys(
        &self,
        asking: KeyManagement<'_>,
        vault: &KeyVaultRef,
        operation: &KeyOperation<'_>,
    ) -> Result<KeyAnswer, Refusal> {
        let context = RequestContext {
            client_address: asking.caller.address,
            client_info: asking.client_info.map(str::to_owned),
            api_version: Some(asking.api_version.to_owned()),
            hosts: asking.hosts.clone(),
            ..RequestContext::begun(self.clock.as_ref(), asking.correlation)
        };
        let caller = principal_of(asking.caller);
        let answer = self.key_vaults.perform_managed(&caller, vault, operation, &context);
        answer.map_err(|error| fault::of_key_vault(&error))
    }

    /// Changes keys, with the events of a write in the activity log; `change` asks for
    /// it, on the key vault.
    pub fn change_keys(
        &self,
        asking: KeyManagement<'_>,
        change: impl FnOnce(&KeyVaultRef) -> Result<KeyAnswer, Refusal>,
    ) -> Result<KeyAnswer, Refusal> {
        let caller = asking.caller.name.as_str();
        let (permission, correlation) = (asking.permission, asking.correlation);
        let now = self.clock.now();
        let begun =
            ActivityEvent::started(now, caller, permission, asking.scope.clone(), correlation);
        let mut found = None;
        let applied = self.records.apply(&mut |world| {
            let vault = self.permitted(asking, world).map_err(|stop| noted(stop, &begun))?;
            found = Some(vault);
            Ok(vec![Write::Activity(begun.clone())])
        });
        applied.map_err(fault::of_apply)?;
        let vault = found.ok_or_else(|| Refusal::bug("a key vault was permitted but not seen"))?;
        let outcome = change(&vault);
        let ended = match &outcome {
            Ok(_) => begun.then(ActivityStatus::Succeeded, 200),
            Err(refusal) => begun.failed(refusal),
        };
        let ended = ActivityEvent { time: self.clock.now(), ..ended };
        // What happened to the key has happened: it is on the ledger, and the answer says it.
        let _ = self.records.apply(&mut |_| Ok(vec![Write::Activity(ended.clone())]));
        outcome
    }

    fn permitted(&self, asking: KeyManagement<'_>, world: &World) -> Result<KeyVaultRef, Stop> {
        self.engine.permit(asking.caller, asking.permission, asking.scope, world)?;
        let kind = asking.holder.resource_type();
        let vault = if kind.as_str().eq_ignore_ascii_case(ManagedHsmKind::TYPE) {
            managed_hsm_ref(&world.expect::<ManagedHsmKind>(asking.holder)?)?
        } else {
            key_vault_ref(&world.expect::<KeyVaultKind>(asking.holder)?)?
        };
        Ok(self.placed(vault))
    }
}

/// A refusal of somebody who may not, with its event.
fn noted(stop: Stop, begun: &ActivityEvent) -> Stop {
    let Stop::Refused(mut refusal) = stop else { return stop };
    if refusal.status == 403 {
        let failed = begun.failed(&refusal);
        refusal.writes.push(Write::Activity(failed));
    }
    Stop::Refused(refusal)
}
