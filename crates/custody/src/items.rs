//! Finding vaults, items and recovery points by the names people use.

use custody_client::{Addresses, kinds};
use custody_names::ResourceId;
use serde_json::Value;

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::{human, terminal};

/// An item and the vault it is in.
pub(crate) struct Item {
    /// The vault.
    pub vault: ResourceId,
    /// The item.
    pub id: ResourceId,
    /// The item's name.
    pub name: String,
    /// The item's resource.
    pub resource: Value,
}

/// The vault that an option names: by itself, by the configuration, or the installation's.
pub(crate) fn vault_id(
    context: &Context<'_>,
    option: &VaultOption,
) -> Result<ResourceId, CliError> {
    let group = context.group(option.group.resource_group.as_deref())?;
    let configured = option.vault.as_deref().or(context.config.vault.as_deref());
    let name = match configured {
        Some(name) => name,
        None => &context.installation()?.defaults.backup_vault,
    };
    Ok(context.addresses()?.resource(&group, kinds::BACKUP_VAULT, name)?)
}

/// The vaults that an option stands for: the named one, or all.
pub(crate) fn vaults(
    context: &Context<'_>,
    option: &VaultOption,
) -> Result<Vec<ResourceId>, CliError> {
    if option.vault.is_some() || context.config.vault.is_some() {
        return Ok(vec![vault_id(context, option)?]);
    }
    let scope = match &option.group.resource_group {
        Some(group) => context.addresses()?.group(&group.parse()?),
        None => context.addresses()?.subscription(),
    };
    let listed = context.client()?.list(&Addresses::collection(&scope, kinds::BACKUP_VAULT))?;
    listed.iter().map(id_of).collect()
}

/// The items of a vault.
pub(crate) fn items_of(context: &Context<'_>, vault: &ResourceId) -> Result<Vec<Item>, CliError> {
    let listed = context.client()?.list(&format!("{vault}/backupInstances"))?;
    listed.into_iter().map(|resource| Item::new(vault, resource)).collect()
}

/// The items of all vaults that the option stands for.
pub(crate) fn all_items(
    context: &Context<'_>,
    option: &VaultOption,
) -> Result<Vec<Item>, CliError> {
    let mut all = Vec::new();
    for vault in vaults(context, option)? {
        all.extend(items_of(context, &vault)?);
    }
    Ok(all)
}

/// The item of this name, in the vaults that the option stands for.
pub(crate) fn find_item(
    context: &Context<'_>,
    option: &VaultOption,
    name: &str,
) -> Result<Item, CliError> {
    let mut found = Vec::new();
    for vault in vaults(context, option)? {
        let id = Addresses::item(&vault, name)?;
        if let Some(resource) = context.client()?.find(id.as_str())? {
            found.push(Item::new(&vault, resource)?);
        }
    }
    let name = terminal::line(name);
    match (found.pop(), found.len()) {
        (Some(item), 0) => Ok(item),
        (Some(_), _) => {
            Err(CliError::Usage(format!("several vaults have an item {name}: say --vault NAME")))
        }
        (None, _) => Err(CliError::NotFound {
            message: format!("there is no item {name}"),
            fix: "custody points".to_owned(),
        }),
    }
}

/// The only item there is, for a repository that is opened by itself.
pub(crate) fn only_item(context: &Context<'_>, option: &VaultOption) -> Result<Item, CliError> {
    let mut all = all_items(context, option)?;
    let names: Vec<String> = all.iter().map(|item| terminal::line(&item.name)).collect();
    match (all.pop(), all.len()) {
        (Some(item), 0) => Ok(item),
        (Some(_), _) => Err(CliError::Usage(format!(
            "several items are there: name one of {}",
            names.join(", ")
        ))),
        (None, _) => Err(CliError::NotFound {
            message: "the repository holds no item".to_owned(),
            fix: "check that --repository names the right folder".to_owned(),
        }),
    }
}

/// A recovery point as the server takes it: times that people write become RFC 3339.
pub(crate) fn point(context: &Context<'_>, text: &str) -> String {
    human::parse_time(text, &context.world.time_zone)
        .map_or_else(|| text.to_owned(), |time| time.to_string())
}

impl Item {
    /// The item of this resource.
    pub(crate) fn new(vault: &ResourceId, resource: Value) -> Result<Self, CliError> {
        let id = id_of(&resource)?;
        let name = id.name().unwrap_or_default().to_owned();
        Ok(Self { vault: vault.clone(), id, name, resource })
    }
}

fn id_of(resource: &Value) -> Result<ResourceId, CliError> {
    let id = resource.get("id").and_then(Value::as_str).unwrap_or_default();
    Ok(id.parse()?)
}
