//! A Backup vault is brought back by a PUT of it with a header that names the deleted one, as
//! azure-mgmt-dataprotection does it.

use std::sync::Arc;

use custody_backup_vaults::{BackupVault, DeletableVault as _, DeletedVaultView};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Verb};
use custody_worker::{Platform, fault};
use http::Response;
use serde_json::json;

use crate::call::Call;
use crate::reply::{self, Body};
use crate::{address, arm};

/// The header, with the identifier of the deleted vault.
pub(crate) const HEADER: &str = "x-ms-deleted-vault-id";

/// Answers if the request brings a Backup vault back. What else its body says is passed over: the
/// vault comes back as it was.
pub(crate) fn answer(
    platform: &Arc<Platform>,
    call: &Call<'_>,
    vault: &ResourceId,
    verb: &Verb,
) -> Result<Option<Response<Body>>, Refusal> {
    let (Some(named), Verb::Put) = (&call.deleted_vault, verb) else { return Ok(None) };
    if !vault.resource_type().as_str().eq_ignore_ascii_case(BackupVault::TYPE) {
        return Ok(None);
    }
    let deleted = address::spelled(&parse(named)?, platform.engine.registry());
    let group = vault.parent().unwrap_or_else(ResourceId::root);
    let undelete = Verb::Action("undelete".to_owned());
    let mut request = arm::request(platform, call, deleted, None, undelete)?;
    request.body = json!({ "properties": { "recoveryResourceGroupId": group } });
    let looked = platform.records.view(&mut |world| {
        let permission = format!("{}/read", BackupVault::DELETED);
        platform.engine.permit(&call.caller, &permission, &request.id, world)?;
        let was = DeletedVaultView::expect(&request.id, world)?.vault.record.id;
        if was.name() == vault.name() {
            return Ok(());
        }
        let text = format!("{HEADER}: {} was {was} and cannot become {vault}", request.id);
        Err(Refusal::new(400, "InvalidRestApiParameter", text).into())
    });
    looked.map_err(fault::of_apply)?;
    let answer = platform.decide(&request)?;
    if let Some(operation) = answer.operation {
        platform.begin(operation);
    }
    let body = json!({
        "id": vault,
        "name": vault.name(),
        "type": BackupVault::TYPE,
        "properties": { "provisioningState": "Provisioning" },
    });
    let links = reply::operation_links(&call.base, vault, platform);
    let response = reply::json(201, Some(&body));
    Ok(Some(reply::with_operation(response, answer.operation.map(|id| (id, &links)))))
}

fn parse(text: &str) -> Result<ResourceId, Refusal> {
    let wrong = || {
        let text = format!("{HEADER}: {text:?} is no deleted Backup vault");
        Refusal::new(400, "InvalidRestApiParameter", text)
    };
    let id: ResourceId = text.parse().map_err(|_| wrong())?;
    let is_one = id.resource_type().as_str().eq_ignore_ascii_case(BackupVault::DELETED);
    if is_one { Ok(id) } else { Err(wrong()) }
}
