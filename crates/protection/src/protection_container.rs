//! `…/vaults/backupFabrics/protectionContainers`: what is registered with a Recovery Services vault
//! and holds what can be protected.

use std::collections::BTreeMap;

use custody_resources::{
    Answers, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::FolderSource;
use crate::attempt::{self, WORKLOAD};
use crate::item::shown_with;
use crate::protected_item::ProtectedItem;

/// Containers of workloads.
const TYPES: [&str; 3] = ["VMAppContainer", "AzureWorkloadContainer", "GenericContainer"];
/// Most folders that one container names.
const FOLDERS_MAX: usize = 1_000;

/// The kind of containers.
pub struct ProtectionContainer;

/// What a client may write of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// The discriminator; `containerType`.
    pub container_type: String,
    /// `AzureWorkload`.
    pub backup_management_type: String,
    /// A name for people.
    pub friendly_name: String,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload_type: String,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_resource_id: String,
    /// custody's own: folders by the names of the items that they can become.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, FolderSource>,
}

impl Kind for ProtectionContainer {
    const TYPE: &'static str =
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers";
    const PLACE: Place = Place::Within(
        "Microsoft.RecoveryServices/vaults/backupFabrics",
        "Microsoft.RecoveryServices/vaults",
    );
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = ContainerSpec;
    type Status = Value;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        let mut spec = change.spec;
        if let Some(stored) = change.before
            && change.request.body.pointer("/properties/folders").is_none()
        {
            // Registering again, as az does it, names no folders.
            spec.folders.clone_from(&stored.spec.folders);
        }
        attempt::is_well_formed(id, &spec.container_type, "containerType")?;
        if spec.folders.len() > FOLDERS_MAX {
            let text = format!("a container names at most {FOLDERS_MAX} folders");
            return Err(Refusal::new(400, "InvalidSource", text).into());
        }
        spec.folders.values().try_for_each(FolderSource::check)?;
        attempt::attempt(id, world, || {
            attempt::is_supported(&spec.container_type, &spec.backup_management_type, &TYPES)?;
            WORKLOAD.clone_into(&mut spec.backup_management_type);
            if spec.friendly_name.is_empty() {
                let name = id.name().unwrap_or_default();
                name.rsplit(';').next().unwrap_or(name).clone_into(&mut spec.friendly_name);
            }
            Ok(Plan::done(spec, Value::Null))
        })
    }

    fn plan_delete(
        current: &Stored<Self>,
        _request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let id = &current.record.id;
        let items = world.children(id, ProtectedItem::TYPE)?;
        let Some(first) = items.first() else { return Ok(Removal::default()) };
        let text = format!(
            "{id} still holds {} protected item(s), the first is {}",
            items.len(),
            first.id.name().unwrap_or_default()
        );
        Err(Refusal::new(409, "ContainerHoldsItems", text)
            .with_fix("stop protecting each of them with its data first")
            .into())
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let known = json!({ "registrationStatus": "Registered", "healthStatus": "Healthy" });
        shown_with(&stored.spec, known)
    }
}
