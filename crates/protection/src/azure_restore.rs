//! Restore requests in the shapes of Azure's clients.

use custody_resources::Refusal;
use serde::Deserialize;
use serde_json::Value;

use crate::{OverwritePolicy, OwnerPolicy, RestoreRequest, SourcePath};

/// `AzureBackupRestoreRequest`, as far as it says something of a folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureRestore {
    #[serde(default)]
    recovery_point_id: Option<String>,
    #[serde(default)]
    recovery_point_time: Option<String>,
    restore_target_info: TargetInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    object_type: String,
    #[serde(default)]
    target_details: Option<TargetDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetDetails {
    #[serde(default)]
    file_prefix: String,
    url: String,
}

/// The only target that a folder can be restored to.
const FILES: &str = "RestoreFilesTargetInfo";
/// How a folder may be written as a URL.
const FILE_SCHEME: &str = "file://";

impl RestoreRequest {
    /// Reads a body in custody's own shape, or in that of Azure's clients, which names what it is.
    pub fn read(body: &Value) -> Result<Self, Refusal> {
        let wrong = |error: serde_json::Error| Refusal::bad_request(error.to_string());
        if body.get("objectType").is_none() {
            return Self::deserialize(body).map_err(wrong);
        }
        let asked = AzureRestore::deserialize(body).map_err(wrong)?;
        let target = asked.restore_target_info;
        let details = target.target_details.filter(|_| target.object_type == FILES);
        let details = details.ok_or_else(|| {
            let text = format!("a folder is restored to restoreTargetInfo of type {FILES}");
            Refusal::new(400, "RestoreTargetNotSupported", text)
        })?;
        let folder = details.url.strip_prefix(FILE_SCHEME).unwrap_or(&details.url);
        let folder = match details.file_prefix.trim_matches('/') {
            "" => folder.to_owned(),
            prefix => format!("{}/{prefix}", folder.trim_end_matches('/')),
        };
        let point = asked.recovery_point_id.or(asked.recovery_point_time);
        Ok(Self {
            point: point.unwrap_or_else(|| "latest".to_owned()),
            target: SourcePath::Text(folder),
            path: None,
            overwrite: OverwritePolicy::Never,
            owner: OwnerPolicy::Numeric,
            verify_existing: false,
            device: false,
            sync: false,
        })
    }
}
