//! Finding items and recovery points by the names people use.

use custody_names::ResourceId;
use serde_json::Value;

use crate::answers::id_of;
use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::vaults::{self, VaultKind};
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

/// Whether protected items are meant or those that were deleted and can be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that are there.
    Protected,
    /// Those that were deleted.
    Deleted,
}

/// The items of a vault.
pub(crate) fn items_of(context: &Context<'_>, vault: &ResourceId) -> Result<Vec<Item>, CliError> {
    list(context, vault, Which::Protected)
}

/// The items of all vaults that the option stands for.
pub(crate) fn all_items(
    context: &Context<'_>,
    option: &VaultOption,
    which: Which,
) -> Result<Vec<Item>, CliError> {
    let mut all = Vec::new();
    for vault in vaults::all(context, option)? {
        all.extend(list(context, &vault, which)?);
    }
    Ok(all)
}

/// The item of this name or resource id, in the vaults that the option stands for.
pub(crate) fn find_item(
    context: &Context<'_>,
    option: &VaultOption,
    name: &str,
) -> Result<Item, CliError> {
    find(context, option, name, Which::Protected)
}

/// The same of protected items or of deleted ones.
pub(crate) fn find(
    context: &Context<'_>,
    option: &VaultOption,
    name: &str,
    which: Which,
) -> Result<Item, CliError> {
    let mut found = Vec::new();
    if name.starts_with('/') {
        let id: ResourceId = name.parse()?;
        let vault = id.lineage().find(|place| VaultKind::of(place).is_some());
        if let (Some(vault), Some(resource)) = (vault, context.client()?.find(id.as_str())?) {
            found.push(Item::new(&vault, resource)?);
        }
    } else {
        for vault in vaults::all(context, option)? {
            found.extend(find_in(context, &vault, name, which)?);
        }
    }
    found.retain(|item| item.is(which));
    let name = terminal::line(name);
    match (found.pop(), found.len()) {
        (Some(item), 0) => Ok(item),
        (Some(_), _) => Err(CliError::Usage(format!(
            "several vaults have an item {name}: say --vault NAME, or name the item by its \
             resource id"
        ))),
        (None, _) => Err(CliError::NotFound {
            message: match which {
                Which::Protected => format!("there is no item {name}"),
                Which::Deleted => format!("there is no deleted item {name}"),
            },
            fix: match which {
                Which::Protected => "custody backup item list".to_owned(),
                Which::Deleted => "custody backup deleted-item list".to_owned(),
            },
        }),
    }
}

/// The items of this name in one vault. Items of Recovery Services vaults lie in containers and
/// have a longer name: that and what they are called by people are both theirs.
fn find_in(
    context: &Context<'_>,
    vault: &ResourceId,
    name: &str,
    which: Which,
) -> Result<Vec<Item>, CliError> {
    if VaultKind::of(vault) == Some(VaultKind::RecoveryServices) {
        let mut all = list(context, vault, which)?;
        all.retain(|item| item.is_called(name));
        return Ok(all);
    }
    let id = vault.child(collection(vault, which), &name.parse()?);
    let found = context.client()?.find(id.as_str())?;
    found.into_iter().map(|resource| Item::new(vault, resource)).collect()
}

/// The items of one vault.
pub(crate) fn list(
    context: &Context<'_>,
    vault: &ResourceId,
    which: Which,
) -> Result<Vec<Item>, CliError> {
    let listed = context.client()?.list(&format!("{vault}/{}", collection(vault, which)))?;
    let mut items = Vec::new();
    for resource in listed {
        items.push(Item::new(vault, resource)?);
    }
    items.retain(|item| item.is(which));
    Ok(items)
}

/// Where a vault shows its items. Deleted items of a Recovery Services vault stay among the others.
fn collection(vault: &ResourceId, which: Which) -> &'static str {
    match (VaultKind::of(vault), which) {
        (Some(VaultKind::RecoveryServices), _) => "backupProtectedItems",
        (_, Which::Protected) => "backupInstances",
        (_, Which::Deleted) => "deletedBackupInstances",
    }
}

/// The only item there is, for a repository that is opened by itself.
pub(crate) fn only_item(context: &Context<'_>, option: &VaultOption) -> Result<Item, CliError> {
    let mut all = all_items(context, option, Which::Protected)?;
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

/// The item that has these recovery points: the named one, the only one there is, or the one that
/// has a point whose id begins so.
pub(crate) fn item_of_points(
    context: &Context<'_>,
    option: &VaultOption,
    item: Option<&str>,
    points: &[String],
) -> Result<Item, CliError> {
    if let Some(name) = item {
        return find_item(context, option, name);
    }
    let mut items = all_items(context, option, Which::Protected)?;
    if items.len() > 1 {
        let mut having = Vec::new();
        for item in items {
            if has_one_of(context, &item, points)? {
                having.push(item);
            }
        }
        items = having;
    }
    match (items.pop(), items.len()) {
        (Some(item), 0) => Ok(item),
        (Some(_), _) => Err(CliError::Usage(
            "several items have such recovery points: say --item NAME".to_owned(),
        )),
        (None, _) => Err(CliError::NotFound {
            message: format!(
                "no item has a recovery point {}; a time or latest needs --item NAME",
                terminal::line(&points.join(" or "))
            ),
            fix: "custody points".to_owned(),
        }),
    }
}

/// Whether the id of a point of the item begins with one of these texts.
fn has_one_of(context: &Context<'_>, item: &Item, texts: &[String]) -> Result<bool, CliError> {
    let listed = context.client()?.list(&format!("{}/recoveryPoints", item.id))?;
    let ids = listed.iter().filter_map(|point| point.get("name").and_then(Value::as_str));
    let is_meant = |id: &str| {
        let begins = |text: &String| !text.is_empty() && id.starts_with(&text.to_ascii_lowercase());
        texts.iter().any(begins)
    };
    Ok(ids.into_iter().any(is_meant))
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

    /// A property of its resource.
    pub(crate) fn property(&self, name: &str) -> Option<&Value> {
        self.resource.get("properties").and_then(|all| all.get(name))
    }

    fn is(&self, which: Which) -> bool {
        let of_deleted = self.id.resource_type().as_str().ends_with("/deletedBackupInstances");
        let deferred = self.property("isScheduledForDeferredDelete") == Some(&Value::Bool(true));
        (of_deleted || deferred) == (which == Which::Deleted)
    }

    /// Whether this is its name, or what people call it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let friendly = self.property("friendlyName").and_then(Value::as_str);
        [Some(self.name.as_str()), friendly]
            .into_iter()
            .flatten()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}
