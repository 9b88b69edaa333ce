//! What a Recovery Services vault shows under paths of its own: how it is encrypted, and two of its
//! settings as older clients read and write them.

use custody_backup_vaults::{RecoveryServicesVault, encryption_config};
use custody_resources::{Kind as _, Refusal, Stored, Verb, World};
use http::{Method, Response};
use serde_json::{Map, Value, json};

use crate::arm;
use crate::reply::{self, Body};
use crate::views::View;

/// Days that deleted data is kept unless a client said otherwise.
const SOFT_DELETE_DAYS: u64 = 14;

/// `GET|PUT V/backupEncryptionConfigs/backupResourceEncryptionConfig`. The way to write it belongs
/// to an older model, which no vault here was ever under (rule 81).
pub(crate) fn encryption(view: &View<'_>) -> Result<Response<Body>, Refusal> {
    if *view.call.method == Method::GET {
        let stored = vault(view, "backupEncryptionConfigs/read")?;
        let shown = encryption_config(&stored, &view.call.base.hosts());
        return Ok(reply::json(200, Some(&shown)));
    }
    vault(view, "backupEncryptionConfigs/write")?;
    let text = "the encryption of a vault is set on the vault itself: this older way is closed \
                (rule 81)";
    Err(Refusal::new(400, "UserErrorCMKOldModelUpdateNotAllowed", text).with_fix(
        "az backup vault encryption update --encryption-key-id KEY --name VAULT --resource-group \
         GROUP",
    ))
}

/// A setting of a vault under another name: where it stands in the vault's properties, and what
/// each field is called here and there.
pub(crate) struct Projection {
    collection: &'static str,
    name: &'static str,
    place: &'static [&'static str],
    fields: &'static [(&'static str, &'static str)],
    /// Words that are spelled otherwise here (first) than there.
    words: &'static [(&'static str, &'static str)],
    defaults: fn() -> Value,
    /// What a PATCH is answered with.
    patched: u16,
}

/// `V/backupconfig/vaultconfig`: soft delete.
pub(crate) const SOFT_DELETE: Projection = Projection {
    collection: "backupconfig",
    name: "vaultconfig",
    place: &["securitySettings", "softDeleteSettings"],
    fields: &[
        ("enhancedSecurityState", "enhancedSecurityState"),
        ("softDeleteFeatureState", "softDeleteState"),
        ("softDeleteRetentionPeriodInDays", "softDeleteRetentionPeriodInDays"),
    ],
    words: &[("AlwaysON", "AlwaysOn")],
    defaults: || {
        json!({
            "enhancedSecurityState": "Enabled",
            "softDeleteFeatureState": "Enabled",
            "softDeleteRetentionPeriodInDays": SOFT_DELETE_DAYS,
            "isSoftDeleteFeatureStateEditable": true,
        })
    },
    patched: 200,
};

/// `V/backupstorageconfig/vaultstorageconfig`: redundancy. There is one copy here, wherever the
/// store keeps it; what a client asks for is kept and shown.
pub(crate) const REDUNDANCY: Projection = Projection {
    collection: "backupstorageconfig",
    name: "vaultstorageconfig",
    place: &["redundancySettings"],
    fields: &[
        ("storageModelType", "standardTierStorageRedundancy"),
        ("storageType", "standardTierStorageRedundancy"),
        ("crossRegionRestoreFlag", "crossRegionRestoreFlag"),
    ],
    words: &[],
    defaults: || {
        json!({
            "storageModelType": "LocallyRedundant",
            "storageType": "LocallyRedundant",
            "storageTypeState": "Unlocked",
            "crossRegionRestoreFlag": false,
        })
    },
    patched: 204,
};

impl Projection {
    /// Shows the setting, or changes it on the vault.
    pub(crate) fn answer(&self, view: &View<'_>) -> Result<Response<Body>, Refusal> {
        let status = match *view.call.method {
            Method::GET => return self.show(view),
            Method::PATCH => self.patched,
            _ => 200,
        };
        let mut wanted = Map::new();
        for (here, there) in self.fields {
            let asked = view.call.body.pointer(&format!("/properties/{here}"));
            if let Some(asked) = asked.filter(|asked| !asked.is_null()) {
                wanted.insert(
                    (*there).to_owned(),
                    self.respell(asked, |(here, there)| (*here, *there)),
                );
            }
        }
        let nest = |inner, name: &&str| json!({ *name: inner });
        let settings = self.place.iter().rev().fold(Value::Object(wanted), nest);
        let place = view.place.clone();
        let mut request = arm::request(view.platform, view.call, place, None, Verb::Patch)?;
        request.body = json!({ "properties": settings });
        if let Some(operation) = view.platform.decide(&request)?.operation {
            view.platform.begin(operation);
        }
        if status == 204 { Ok(reply::json(204, None)) } else { self.show(view) }
    }

    fn respell(
        &self,
        value: &Value,
        order: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
    ) -> Value {
        let known = self.words.iter().map(order).find(|(from, _)| value == from);
        known.map_or_else(|| value.clone(), |(_, to)| to.into())
    }

    fn show(&self, view: &View<'_>) -> Result<Response<Body>, Refusal> {
        let vault = vault(view, &format!("{}/read", self.collection))?;
        let mut properties = (self.defaults)();
        let (first, rest) =
            self.place.split_first().map_or(("", [].as_slice()), |all| (*all.0, all.1));
        let start = vault.spec.settings.get(first);
        let stored = start.and_then(|start| rest.iter().try_fold(start, |at, name| at.get(name)));
        for (here, there) in self.fields {
            let value = stored.and_then(|stored| stored.get(there));
            if let (Some(value), Some(shown)) = (value, properties.as_object_mut()) {
                shown.insert(
                    (*here).to_owned(),
                    self.respell(value, |(here, there)| (*there, *here)),
                );
            }
        }
        let always_on = properties.get("softDeleteFeatureState") == Some(&json!("AlwaysON"));
        if let (true, Some(shown)) = (always_on, properties.as_object_mut()) {
            shown.insert("isSoftDeleteFeatureStateEditable".to_owned(), false.into());
        }
        let Self { collection, name, .. } = self;
        let body = json!({
            "id": format!("{}/{collection}/{name}", view.place),
            "name": name,
            "type": format!("{}/{collection}", RecoveryServicesVault::TYPE),
            "properties": properties,
        });
        Ok(reply::json(200, Some(&body)))
    }
}

fn vault(view: &View<'_>, what: &str) -> Result<Stored<RecoveryServicesVault>, Refusal> {
    let permission = format!("{}/{what}", RecoveryServicesVault::TYPE);
    view.look(&permission, |world: &World| world.expect::<RecoveryServicesVault>(&view.place))
}
