//! Which records of a resource are sent where (`az monitor diagnostic-settings`).

use std::collections::BTreeSet;

use custody_names::ResourceId;
use custody_resources::{
    Answers, Change, Identity, Kind, Place, Plan, Reference, Refusal, Stop, Stored, Target, World,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit_destination::{AuditDestination, NoStatus};

/// The category of a key vault's records.
pub const AUDIT_EVENT: &str = "AuditEvent";

/// Groups of categories that hold [`AUDIT_EVENT`].
pub const AUDIT_GROUPS: [&str; 2] = ["audit", "allLogs"];

/// Most settings of one resource (Azure's limit).
const SETTINGS_MAX: usize = 5;

/// `Microsoft.Insights/diagnosticSettings`, below any resource.
pub struct DiagnosticSetting;

/// What is sent where. The three ids name destinations; which of the three words a client uses for
/// a destination of custody makes no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiagnosticSettingSpec {
    /// The categories of records.
    pub logs: Vec<LogSetting>,
    /// The categories of metrics: kept as the client wrote them. Metrics are scraped at `/metrics`.
    pub metrics: Vec<Value>,
    /// A destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account_id: Option<ResourceId>,
    /// A destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<ResourceId>,
    /// A destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_hub_authorization_rule_id: Option<ResourceId>,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_hub_name: Option<String>,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_analytics_destination_type: Option<String>,
}

/// One category or group of categories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogSetting {
    /// `AuditEvent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// `audit` or `allLogs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category_group: Option<String>,
    /// Whether these are sent.
    pub enabled: bool,
    /// Kept as the client wrote it: how long a destination keeps records is its own affair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<Value>,
}

impl LogSetting {
    /// There is one category, and there are the groups that hold it: what is asked for under
    /// another name would never be sent.
    fn check(&self) -> Result<(), Refusal> {
        let known = |name: &Option<String>, known: &[&str]| {
            name.as_deref().map(|name| known.iter().any(|one| name.eq_ignore_ascii_case(one)))
        };
        let (category, group) =
            (known(&self.category, &[AUDIT_EVENT]), known(&self.category_group, &AUDIT_GROUPS));
        let shown = |name: &Option<String>| -> String {
            name.iter().flat_map(|name| name.chars()).take(100).collect()
        };
        let text = match (category, group) {
            (Some(true), None) | (None, Some(true)) => return Ok(()),
            (Some(false), _) => {
                format!("Category '{}' is not supported.", shown(&self.category))
            }
            (_, Some(false)) => {
                format!("Category group '{}' is not supported.", shown(&self.category_group))
            }
            _ => "each entry of logs names a category or a categoryGroup".to_owned(),
        };
        Err(Refusal::new(400, "BadRequest", text)
            .with_fix(format!("use the category {AUDIT_EVENT} or the group allLogs")))
    }

    fn holds(&self, category: &str) -> bool {
        let named = self.category.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(category));
        let grouped = self
            .category_group
            .as_deref()
            .is_some_and(|own| AUDIT_GROUPS.iter().any(|group| own.eq_ignore_ascii_case(group)));
        self.enabled && (named || grouped)
    }
}

impl DiagnosticSettingSpec {
    fn destinations(&self) -> impl Iterator<Item = &ResourceId> {
        let each =
            [&self.storage_account_id, &self.workspace_id, &self.event_hub_authorization_rule_id];
        each.into_iter().flatten()
    }
}

impl Kind for DiagnosticSetting {
    const TYPE: &'static str = "Microsoft.Insights/diagnosticSettings";
    const PLACE: Place = Place::AnyScope;
    const ANSWERS: Answers = Answers { created: 200, ..Answers::USUAL };

    type Spec = DiagnosticSettingSpec;
    type Status = NoStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        if change.spec.destinations().next().is_none() {
            let text = "at least one destination is needed: storageAccountId, workspaceId or \
                eventHubAuthorizationRuleId";
            return Err(Refusal::new(400, "BadRequest", text).into());
        }
        change.spec.logs.iter().try_for_each(LogSetting::check)?;
        for destination in change.spec.destinations() {
            if world.stored::<AuditDestination>(destination)?.is_none() {
                let text = format!("there is no audit destination '{destination}'");
                return Err(Refusal::new(400, "AuditDestinationNotFound", text)
                    .with_fix("custody audit destination create --name NAME --type file")
                    .into());
            }
        }
        let scope = change.request.id.parent().unwrap_or_else(ResourceId::root);
        if change.before.is_none() && world.children(&scope, Self::TYPE)?.len() >= SETTINGS_MAX {
            let text = format!("a resource has {SETTINGS_MAX} diagnostic settings at most");
            return Err(Refusal::new(409, "Conflict", text).into());
        }
        Ok(Plan::done(change.spec, NoStatus {}))
    }

    fn references(
        spec: &Self::Spec,
        _status: &Self::Status,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        spec.destinations().map(|id| Reference::new("sendsTo", Target::resource(id))).collect()
    }
}

/// The resources whose records of `category` are sent to `destination`, as canonical identifiers.
pub fn senders_to(
    destination: &ResourceId,
    category: &str,
    world: &World,
) -> Result<BTreeSet<String>, Stop> {
    let mut found = BTreeSet::new();
    for record in world.referrers(Target::resource(destination))? {
        if !record.id.resource_type().as_str().eq_ignore_ascii_case(DiagnosticSetting::TYPE) {
            continue;
        }
        let setting = Stored::<DiagnosticSetting>::read(record)?;
        if setting.spec.logs.iter().any(|log| log.holds(category)) {
            found.extend(record.id.parent().map(|sender| sender.canonical()));
        }
    }
    Ok(found)
}
