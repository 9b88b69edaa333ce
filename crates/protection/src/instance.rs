//! `Microsoft.DataProtection/backupVaults/backupInstances`: an item under protection.

use custody_ambient::Timestamp;
use custody_names::{ItemId, ItemName, ResourceId};
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, ProvisioningState, Refusal, Removal, Request, Stop,
    Stored, Task, World,
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ForgetRequest, RestoreRequest, TASK_BACKUP, TASK_FORGET, TASK_RESTORE};

/// Most paths in one item.
const PATHS_MAX: usize = 64;
/// Most patterns in one item.
const PATTERNS_MAX: usize = 1_000;

/// The kind of items.
pub struct BackupInstance;

/// A path on this machine: text where it is UTF-8, else its bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourcePath {
    /// UTF-8.
    Text(String),
    /// Any other bytes.
    Bytes {
        /// Standard base64 with padding.
        base64: String,
    },
}

impl SourcePath {
    /// The path of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64.encode(bytes) },
        }
    }

    /// The bytes of the path.
    pub fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Bytes { base64 } => BASE64
                .decode(base64.as_bytes())
                .map_err(|error| Refusal::bad_request(format!("a path's base64: {error}"))),
        }
    }
}

/// What is read for an item, and what is left out. By what key the source itself is encrypted is
/// of no concern to the vault (rule 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FolderSource {
    /// Absolute paths of folders or files.
    pub paths: Vec<SourcePath>,
    /// Patterns (gitignore syntax) of what is taken although excluded.
    pub include: Vec<String>,
    /// Patterns (gitignore syntax) of what is left out.
    pub exclude: Vec<String>,
    /// Whether to stay on the file systems of the paths.
    pub one_file_system: bool,
    /// Whether to leave out folders marked by a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
}

/// What a client may write of an item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceSpec {
    /// Always `BackupInstance`.
    pub object_type: String,
    /// A name for people.
    pub friendly_name: String,
    /// Kept as the client wrote it.
    pub data_source_info: Value,
    /// What is read.
    pub folder: FolderSource,
}

/// What only the server writes of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The item as the repository knows it.
    pub item_id: ItemId,
    /// `ProtectionConfigured`, ARM's word.
    pub current_protection_state: String,
    /// When its newest recovery point was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point_time: Option<Timestamp>,
}

impl Kind for BackupInstance {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/backupInstances";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const ACTIONS: &'static [Action] = &[
        Action { name: "backup", permission: "backup/action" },
        Action { name: "scan", permission: "backup/action" },
        Action { name: "restore", permission: "restore/action" },
        Action { name: "browse", permission: "restore/action" },
        Action { name: "content", permission: "restore/action" },
        Action { name: "forget", permission: "forget/action" },
    ];

    type Spec = InstanceSpec;
    type Status = InstanceStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ItemName>()
            .map_err(|error| Refusal::new(400, "InvalidItemName", error.to_string()))?;
        let mut spec = change.spec.clone();
        check_folder(&spec.folder)?;
        "BackupInstance".clone_into(&mut spec.object_type);
        if spec.friendly_name.is_empty() {
            name.clone_into(&mut spec.friendly_name);
        }
        let status = match change.before {
            Some(stored) => stored.status.clone(),
            None => InstanceStatus {
                item_id: ItemId::mint(change.request.entropy)
                    .map_err(|error| Refusal::bug(error.to_string()))?,
                current_protection_state: "ProtectionConfigured".to_owned(),
                newest_point_time: None,
            },
        };
        Ok(Plan::done(spec, status))
    }

    /// Deleting an item gives up all its recovery points; that needs no key (DESIGN §5).
    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        let task = Task { name: TASK_FORGET.into(), input: json!({ "deleteItem": true }) };
        Ok(Removal { task: Some(task), writes: Vec::new() })
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        let vault = current.record.id.parent().unwrap_or_else(ResourceId::root);
        let ready = world.record(&vault)?.is_some_and(|vault| {
            vault.status.get("keyring").is_some() && vault.state != ProvisioningState::Deleting
        });
        if !ready {
            let text = format!("the vault {vault} has no working encryption yet");
            return Err(Refusal::new(409, "VaultNotReady", text)
                .with_fix("custody backup vault show --vault-name VAULT says why")
                .into());
        }
        let task = match action {
            "backup" => Some(Task { name: TASK_BACKUP.into(), input: Value::Null }),
            "restore" => {
                let _checked: RestoreRequest = read_body(&request.body)?;
                Some(Task { name: TASK_RESTORE.into(), input: request.body.clone() })
            }
            "forget" => {
                let asked: ForgetRequest = read_body(&request.body)?;
                check_forget(&asked)?;
                (!asked.dry_run)
                    .then(|| Task { name: TASK_FORGET.into(), input: request.body.clone() })
            }
            // Looking is answered at once by whoever holds the repository open.
            _ => None,
        };
        Ok(Act { task, ..Act::default() })
    }
}

fn check_folder(folder: &FolderSource) -> Result<(), Refusal> {
    let wrong = |text: String| Refusal::new(400, "InvalidSource", text);
    if folder.paths.is_empty() || folder.paths.len() > PATHS_MAX {
        return Err(wrong(format!("an item takes 1 to {PATHS_MAX} paths")));
    }
    if folder.include.len() + folder.exclude.len() > PATTERNS_MAX {
        return Err(wrong(format!("an item takes at most {PATTERNS_MAX} patterns")));
    }
    for path in &folder.paths {
        let bytes = path.bytes()?;
        if !bytes.starts_with(b"/") || bytes.contains(&0) {
            return Err(wrong("a path must be absolute and without NUL".to_owned()));
        }
    }
    Ok(())
}

fn check_forget(asked: &ForgetRequest) -> Result<(), Refusal> {
    let empty = ForgetRequest { dry_run: asked.dry_run, ..ForgetRequest::default() };
    if *asked == empty {
        let text = "forget needs points or a rule: what is kept must be said";
        return Err(Refusal::bad_request(text).with_fix("custody forget ITEM --keep-last 7"));
    }
    Ok(())
}

fn read_body<T: for<'de> Deserialize<'de>>(body: &Value) -> Result<T, Refusal> {
    T::deserialize(body).map_err(|error| Refusal::bad_request(error.to_string()))
}
