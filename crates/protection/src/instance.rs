//! `Microsoft.DataProtection/backupVaults/backupInstances`: an item under protection.

use custody_ambient::Timestamp;
use custody_names::{ItemId, ItemName, ResourceId};
use custody_resources::{
    Act, Action, Change, Identity, Kind, Place, Plan, ProvisioningState, Reference, Refusal,
    Removal, Request, Stop, Stored, Target, Task, World,
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    DataProtectionPolicy, ForgetRequest, RestoreRequest, TASK_BACKUP, TASK_FORGET, TASK_RESTORE,
};

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
    /// The policy that it is under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_info: Option<PolicyInfo>,
    /// What is read.
    pub folder: FolderSource,
}

/// The policy that an item is under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo {
    /// The policy, one of the same vault.
    pub policy_id: ResourceId,
    /// Kept as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_parameters: Option<Value>,
}

/// The states of protection, in ARM's words.
const CONFIGURED: &str = "ProtectionConfigured";
const STOPPED: &str = "ProtectionStopped";
const SUSPENDED: &str = "BackupsSuspended";

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
        Action { name: "validateRestore", permission: "validateRestore/action" },
        Action { name: "stopProtection", permission: "stopProtection/action" },
        Action { name: "resumeProtection", permission: "resumeProtection/action" },
        Action { name: "suspendBackups", permission: "suspendBackups/action" },
        Action { name: "resumeBackups", permission: "resumeBackups/action" },
    ];

    type Spec = InstanceSpec;
    type Status = InstanceStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ItemName>()
            .map_err(|error| Refusal::new(400, "InvalidItemName", error.to_string()))?;
        let mut spec = change.spec.clone();
        check_folder(&spec.folder)?;
        check_policy(&change.request.id, spec.policy_info.as_ref(), world)?;
        "BackupInstance".clone_into(&mut spec.object_type);
        if spec.friendly_name.is_empty() {
            name.clone_into(&mut spec.friendly_name);
        }
        let status = match change.before {
            Some(stored) => stored.status.clone(),
            None => InstanceStatus {
                item_id: ItemId::mint(change.request.entropy)
                    .map_err(|error| Refusal::bug(error.to_string()))?,
                current_protection_state: CONFIGURED.to_owned(),
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
        if let Some(state) = state_after(action) {
            return become_one(current, state);
        }
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
            "backup" => {
                is_protected(current)?;
                Some(Task { name: TASK_BACKUP.into(), input: Value::Null })
            }
            "restore" => {
                let asked = RestoreRequest::read(&request.body)?;
                Some(Task { name: TASK_RESTORE.into(), input: json!(asked) })
            }
            "validateRestore" => {
                let asked = request.body.get("restoreRequestObject").unwrap_or(&request.body);
                let _fits = RestoreRequest::read(asked)?;
                None
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

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let shown = serde_json::to_value(&stored.spec);
        let mut shown = shown.map_err(|error| Refusal::bug(error.to_string()))?;
        let status = &stored.status;
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("itemId".into(), json!(status.item_id));
            fields.insert("currentProtectionState".into(), json!(status.current_protection_state));
            fields.insert(
                "protectionStatus".into(),
                json!({ "status": status.current_protection_state }),
            );
            if let Some(time) = status.newest_point_time {
                fields.insert("newestPointTime".into(), json!(time));
            }
        }
        Ok(shown)
    }

    fn references(
        spec: &InstanceSpec,
        _status: &InstanceStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let policy = spec.policy_info.iter();
        policy
            .map(|info| Reference::new("underPolicy", Target::resource(&info.policy_id)))
            .collect()
    }
}

/// The state that a verb leads to, for those that change nothing else.
fn state_after(action: &str) -> Option<&'static str> {
    match action {
        "stopProtection" => Some(STOPPED),
        "suspendBackups" => Some(SUSPENDED),
        "resumeProtection" | "resumeBackups" => Some(CONFIGURED),
        _ => None,
    }
}

fn become_one(current: &Stored<BackupInstance>, state: &str) -> Result<Act, Stop> {
    let mut after = current.clone();
    state.clone_into(&mut after.status.current_protection_state);
    Ok(Act { writes: vec![after.into_write()?], ..Act::default() })
}

fn is_protected(item: &Stored<BackupInstance>) -> Result<(), Refusal> {
    let state = item.status.current_protection_state.as_str();
    if state == CONFIGURED {
        return Ok(());
    }
    let text = format!("no recovery point is taken of {}: {state}", item.record.id);
    Err(Refusal::new(409, "UserErrorBackupInstanceNotProtected", text)
        .with_fix("az dataprotection backup-instance resume-protection"))
}

/// A policy that is named must be one of the item's own vault.
fn check_policy(item: &ResourceId, named: Option<&PolicyInfo>, world: &World) -> Result<(), Stop> {
    let Some(PolicyInfo { policy_id, .. }) = named else { return Ok(()) };
    let is_own = policy_id.parent() == item.parent();
    if is_own && world.stored::<DataProtectionPolicy>(policy_id)?.is_some() {
        return Ok(());
    }
    let text = format!("{policy_id} is no policy of the item's vault");
    Err(Refusal::new(400, "PolicyNotFound", text).into())
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
