//! The item that stands for the paths: found again, made, or brought up to date.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use custody_client::{Addresses, SourcePath};
use custody_names::{ItemName, ResourceId};
use serde_json::{Map, Value, json};

use super::{Compression, Options};
use crate::context::Context;
use crate::error::CliError;
use crate::items::{self, Item};
use crate::terminal;
use crate::vaults::VaultKind;

/// What is given to names that nothing valid is left of.
const NAME_WITHOUT_LETTERS: &str = "root";
/// Longest name made from a path; leaves room for a suffix within an item name's 120.
const NAME_CHARS_MAX: usize = 100;

/// What an item's compression is if it names none.
const COMPRESSION_DEFAULT: &str = "auto";

/// The container for folders that this command protects in a Recovery Services vault.
const CONTAINER: &str = "custody";
/// The type of items in it.
const ITEM_TYPE: &str = "GenericProtectedItem";

/// What the command line says of the item.
pub(super) struct Registration<'a> {
    pub(super) options: &'a Options,
    /// The paths; none for a stream.
    pub(super) paths: &'a [PathBuf],
}

impl Registration<'_> {
    /// Makes the item, or finds it and brings its patterns up to date.
    pub(super) fn ensure(
        &self,
        context: &Context<'_>,
        vault: &ResourceId,
    ) -> Result<Item, CliError> {
        let items = items::items_of(context, vault)?;
        let Some(item) = self.find(items.as_slice())? else {
            let name = self.name(&items)?;
            return self.put(context, vault, name.as_str(), &self.folder(None));
        };
        let kept = item.resource.pointer("/properties/folder");
        let folder = self.folder(kept);
        if kept.is_some_and(|kept| patterns(kept) == patterns(&folder)) {
            return Item::new(vault, item.resource.clone());
        }
        context.say(&format!(
            "the patterns and options of {} are now: {}",
            item.name,
            in_words(&folder)
        ));
        self.put(context, vault, &item.name, &folder)
    }

    /// The folder part of the item, as `kept` with what this command line adds or replaces.
    pub(super) fn folder(&self, kept: Option<&Value>) -> Value {
        let kept = kept.filter(|_| !self.options.reset_patterns);
        let mut folder = self.source(kept);
        let given = self.options.compression.map(Compression::word);
        let compression = given.or_else(|| kept.map(effort));
        let compression = compression.filter(|effort| *effort != COMPRESSION_DEFAULT);
        if let (Some(effort), Value::Object(folder)) = (compression, &mut folder) {
            folder.insert("compression".to_owned(), effort.into());
        }
        folder
    }

    /// What is read and what is left out.
    fn source(&self, kept: Option<&Value>) -> Value {
        if let Some(name) = &self.options.stdin {
            return json!({ "paths": [], "stream": name });
        }
        let list = |name: &str, given: &[String]| match kept.and_then(|kept| kept.get(name)) {
            Some(kept) if given.is_empty() => kept.clone(),
            _ => json!(given),
        };
        let flag = |name: &str, given: bool| {
            let kept = kept.and_then(|kept| kept.get(name)).and_then(Value::as_bool);
            given || kept.unwrap_or_default()
        };
        json!({
            "paths": self.json_paths(),
            "include": list("include", &self.options.include),
            "exclude": list("exclude", &self.options.exclude),
            "oneFileSystem": flag("oneFileSystem", self.options.one_file_system),
            "excludeCaches": flag("excludeCaches", self.options.exclude_caches),
        })
    }

    /// The item that has the name asked for, or else these very paths.
    pub(super) fn find<'i>(&self, items: &'i [Item]) -> Result<Option<&'i Item>, CliError> {
        let stream = self.options.stdin.as_deref();
        let has_paths = |item: &&Item| {
            let known = |part: &str| item.resource.pointer(&format!("/properties/folder/{part}"));
            known("paths") == Some(&self.json_paths())
                && known("stream").and_then(Value::as_str) == stream
        };
        let Some(name) = &self.options.item else {
            return Ok(items.iter().find(has_paths));
        };
        let named = items.iter().find(|item| item.is_called(name));
        if let Some(item) = named.filter(|item| !has_paths(item)) {
            return Err(CliError::Conflict {
                code: "ItemHasOtherPaths",
                message: format!("the item {} protects something else", item.name),
                fix: "choose another --item, or leave it out".to_owned(),
            });
        }
        Ok(named)
    }

    /// The name asked for, or one made from the first path; one that is taken gets a suffix.
    fn name(&self, items: &[Item]) -> Result<ItemName, CliError> {
        if let Some(name) = &self.options.item {
            return Ok(name.parse()?);
        }
        let stream = self.options.stdin.as_deref().map(OsStr::new);
        let first = stream.or_else(|| self.paths.first().and_then(|path| path.file_name()));
        let mut name = valid_name(&first.unwrap_or_default().to_string_lossy());
        if items.iter().any(|item| item.is_called(&name)) {
            // Only has to tell paths apart: the item is found again by its paths.
            let mut hasher = DefaultHasher::new();
            (self.paths, stream).hash(&mut hasher);
            name = format!("{name}-{:08x}", hasher.finish() >> 32);
        }
        Ok(name.parse()?)
    }

    fn put(
        &self,
        context: &Context<'_>,
        vault: &ResourceId,
        name: &str,
        folder: &Value,
    ) -> Result<Item, CliError> {
        if VaultKind::of(vault) == Some(VaultKind::RecoveryServices) {
            return Self::put_into_container(context, vault, name, folder);
        }
        let id = Addresses::item(vault, name)?;
        let stream = self.options.stdin.as_deref().map(str::as_bytes);
        let first = self.paths.first().map(|path| path.as_os_str().as_encoded_bytes()).or(stream);
        let kind = if stream.is_some() { "streams" } else { "folders" };
        let body = json!({ "properties": {
            "objectType": "BackupInstance",
            "friendlyName": name,
            "dataSourceInfo": {
                "objectType": "Datasource",
                "datasourceType": format!("Custody.Sources/{kind}"),
                "resourceName": terminal::path(first.unwrap_or_default()),
            },
            "folder": folder,
        } });
        let resource = context.client()?.put(id.as_str(), &body)?;
        Item::new(vault, resource)
    }

    /// Items of Recovery Services vaults lie in containers: those that this command makes in one of
    /// its own, others where they are.
    fn put_into_container(
        context: &Context<'_>,
        vault: &ResourceId,
        name: &str,
        folder: &Value,
    ) -> Result<Item, CliError> {
        let client = context.client()?;
        let known = items::items_of(context, vault)?.into_iter().find(|item| item.name == name);
        let (id, kind) = if let Some(item) = known {
            let kind = item.property("protectedItemType").cloned();
            (item.id, kind.unwrap_or_else(|| ITEM_TYPE.into()))
        } else {
            let container = Addresses::container(vault, CONTAINER)?;
            if client.find(container.as_str())?.is_none() {
                let body = json!({ "properties": {
                    "containerType": "GenericContainer",
                    "backupManagementType": "AzureWorkload",
                    "friendlyName": CONTAINER,
                } });
                client.put(container.as_str(), &body)?;
            }
            (container.child("protectedItems", &name.parse()?), ITEM_TYPE.into())
        };
        let body = json!({ "properties": {
            "protectedItemType": kind,
            "backupManagementType": "AzureWorkload",
            "folder": folder,
        } });
        Item::new(vault, client.put(id.as_str(), &body)?)
    }

    fn json_paths(&self) -> Value {
        self.paths.iter().map(|path| SourcePath::from(path.as_path()).to_json()).collect()
    }
}

/// The characters of a file name that an item name may have; the others become hyphens.
fn valid_name(name: &str) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() || "-_.()".contains(c) { c } else { '-' };
    let name: String = name.chars().map(valid).take(NAME_CHARS_MAX).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { NAME_WITHOUT_LETTERS.to_owned() } else { name.to_owned() }
}

/// Everything of a folder part but the paths, with what is absent as it would be written.
fn patterns(folder: &Value) -> Map<String, Value> {
    let list = |name: &str| folder.get(name).cloned().unwrap_or_else(|| json!([]));
    let flag = |name: &str| folder.get(name).cloned().unwrap_or_else(|| json!(false));
    Map::from_iter([
        ("include".to_owned(), list("include")),
        ("exclude".to_owned(), list("exclude")),
        ("oneFileSystem".to_owned(), flag("oneFileSystem")),
        ("excludeCaches".to_owned(), flag("excludeCaches")),
        ("compression".to_owned(), json!(effort(folder))),
    ])
}

/// How much time compressing the item may take.
fn effort(folder: &Value) -> &str {
    folder.get("compression").and_then(Value::as_str).unwrap_or(COMPRESSION_DEFAULT)
}

fn in_words(folder: &Value) -> String {
    let mut words = Vec::new();
    for (name, label) in [("exclude", "exclude"), ("include", "include")] {
        let listed = folder.get(name).and_then(Value::as_array);
        for pattern in listed.into_iter().flatten().filter_map(Value::as_str) {
            words.push(format!("{label} {}", terminal::line(pattern)));
        }
    }
    for (name, label) in
        [("oneFileSystem", "one file system"), ("excludeCaches", "no marked caches")]
    {
        if folder.get(name).and_then(Value::as_bool).unwrap_or_default() {
            words.push(label.to_owned());
        }
    }
    if effort(folder) != COMPRESSION_DEFAULT {
        words.push(format!("compression {}", terminal::line(effort(folder))));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::valid_name;

    #[test]
    fn names_from_paths() {
        let check = |name: &str, expected: &str| {
            assert_eq!(valid_name(name), expected);
            assert!(expected.parse::<custody_names::ItemName>().is_ok(), "{expected}");
        };
        check("documents", "documents");
        check("My Photos (2026)", "My-Photos-(2026)");
        check(".config", "config");
        check("..", "root");
        check("", "root");
        check("Zoë\n\u{1b}[2J", "Zo----2J");
        check(&"x".repeat(255), &"x".repeat(100));
    }
}
