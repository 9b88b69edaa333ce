//! Requests that look and change nothing: answered at once, without a job.

use std::io::Read;
use std::sync::Arc;

use custody_entries::{Content, Entry, EntryKind, Flow, Sink, Source as _, Warning, display_path};
use custody_protection::{FolderSource, ForgetRequest, Item, SourcePath};
use custody_repository::{PointId, PointSelector, Repository, RepositoryError};
use custody_resources::{Refusal, Request};
use custody_sources::{LeftOutReason, WalkSummary};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::key_access::Cause;
use crate::vault_repository::{item_guid, keyless_log};
use crate::vault_session::VaultSession;
use crate::{Platform, fault, folders, pipe, tasks};

/// Entries listed by a scan; all are counted.
const SCAN_LISTED_MAX: usize = 10_000;

/// `POST …/browse`: the entries of a folder in a point.
pub fn browse(platform: &Arc<Platform>, request: &Request<'_>) -> Result<Value, Refusal> {
    let (item, session, repository) = open(platform, request)?;
    let point = resolve(&repository, &item, text(&request.body, "point").unwrap_or("latest"))?;
    let path = path(&request.body)?.unwrap_or_default();
    let entries = repository.list(point, &path).map_err(|error| fault::of_repository(&error))?;
    drop(session);
    Ok(json!({
        "recoveryPointId": point.to_string(),
        "value": entries.iter().map(render).collect::<Vec<_>>(),
    }))
}

/// `POST …/content`: one file of a point, as a stream. The rest of the point is not read.
pub fn content(
    platform: &Arc<Platform>,
    request: &Request<'_>,
) -> Result<Box<dyn Read + Send>, Refusal> {
    let (item, session, repository) = open(platform, request)?;
    let point = resolve(&repository, &item, text(&request.body, "point").unwrap_or("latest"))?;
    let wanted =
        path(&request.body)?.ok_or_else(|| Refusal::bad_request("the body names no path"))?;
    // Whether the file is there is answered with a status, not with a broken stream.
    let found = repository.list(point, &wanted).map_err(|error| fault::of_repository(&error))?;
    let is_file =
        matches!(found.as_slice(), [entry] if matches!(entry.kind, EntryKind::File { .. }));
    if !is_file {
        let text = format!("{} is no file in this recovery point", display_path(&wanted));
        return Err(Refusal::new(400, "NotAFile", text).with_fix("custody ls ITEM PATH"));
    }
    pipe::stream(move |output| {
        let read = repository.read_file(point, &wanted, output);
        drop(session);
        read.map(drop)
    })
}

/// `POST …/scan`: what a backup would take, without reading any content.
pub fn scan(platform: &Arc<Platform>, request: &Request<'_>) -> Result<Value, Refusal> {
    let item = platform.item_of(&request.id)?;
    scan_folder(platform, &item.folder)
}

/// `POST D/validateForBackup`: whether the folders of an item that is to be protected can be read.
pub fn validate_backup(platform: &Platform, request: &Request<'_>) -> Result<Value, Refusal> {
    let folder = request.body.pointer("/backupInstance/folder").unwrap_or(&Value::Null);
    let folder = FolderSource::deserialize(folder)
        .map_err(|error| Refusal::bad_request(format!("backupInstance.folder: {error}")))?;
    folders::source(platform, &folder, None)?;
    Ok(json!({ "objectType": "OperationJobExtendedInfo" }))
}

/// What a backup of these folders would take; nothing need be registered for that.
pub fn scan_folder(platform: &Platform, folder: &FolderSource) -> Result<Value, Refusal> {
    let mut source = folders::source(platform, folder, None)?;
    let mut listing = Listing::default();
    source.walk(&mut listing).map_err(|error| folders::source_fault(&error))?;
    Ok(listing.render(source.summary()))
}

/// `POST …/forget` with `dryRun`: what would be kept and what forgotten, and why.
pub fn preview_forget(platform: &Arc<Platform>, request: &Request<'_>) -> Result<Value, Refusal> {
    let asked = ForgetRequest::deserialize(&request.body)
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let item = platform.item_of(&request.id)?;
    let vault = platform.vault_of(&request.id)?;
    let history = keyless_log(platform, &vault)?.history();
    let own = item_guid(item.status.item_id);
    Ok(tasks::choose(&history, own, &asked, platform.clock.now())?.render())
}

/// The point that `text` means: `latest`, a time, or the beginning of an id.
pub(crate) fn resolve(
    repository: &Repository,
    item: &Item,
    text: &str,
) -> Result<PointId, Refusal> {
    let selector = if text.eq_ignore_ascii_case("latest") {
        PointSelector::Latest
    } else if let Ok(time) = text.parse() {
        PointSelector::At(time)
    } else {
        PointSelector::Prefix(text.to_ascii_lowercase())
    };
    let own = item_guid(item.status.item_id);
    let found = repository.resolve(Some(own), &selector);
    found.map_err(|error| match (error, repository.read_only_because()) {
        // The log that would name it is damaged, or another's.
        (RepositoryError::PointNotFound(_), Some(why)) => fault::of_repository(&why.clone().into()),
        (error, _) => fault::of_repository(&error),
    })
}

/// The repository that holds the points of an item; the session keeps its keys.
pub(crate) fn open(
    platform: &Arc<Platform>,
    request: &Request<'_>,
) -> Result<(Item, VaultSession, Repository), Refusal> {
    let item = platform.item_of(&request.id)?;
    let vault = platform.vault_of(&request.id)?;
    let session = VaultSession::open(platform, &vault, Cause::of(request.correlation))?;
    let repository = session.repository(platform, &vault)?;
    Ok((item, session, repository))
}

/// A field of a body that holds text.
pub(crate) fn text<'b>(body: &'b Value, name: &str) -> Option<&'b str> {
    body.get(name).and_then(Value::as_str)
}

/// The path that a body names.
pub(crate) fn path(body: &Value) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(value) = body.get("path").filter(|value| !value.is_null()) else { return Ok(None) };
    let path = SourcePath::deserialize(value)
        .map_err(|error| Refusal::bad_request(format!("path: {error}")))?;
    Ok(Some(path.bytes()?))
}

/// An entry as the surface shows it.
pub(crate) fn render(entry: &Entry) -> Value {
    let metadata = &entry.metadata;
    let mut all = Map::new();
    all.insert("name".into(), json!(SourcePath::new(entry.name.as_bytes())));
    match &entry.kind {
        EntryKind::File { size } => drop(all.insert("size".into(), (*size).into())),
        EntryKind::Symlink { target } => {
            all.insert("target".into(), json!(SourcePath::new(target)));
        }
        _ => {}
    }
    all.insert("kind".into(), kind(&entry.kind).into());
    all.insert("mode".into(), metadata.mode.into());
    all.insert("uid".into(), metadata.uid.into());
    all.insert("gid".into(), metadata.gid.into());
    for (name, value) in [("user", &metadata.user), ("group", &metadata.group)] {
        if let Some(value) = value {
            all.insert(name.into(), String::from_utf8_lossy(value).into());
        }
    }
    let modified = &metadata.modified;
    let nanoseconds = i32::try_from(modified.nanoseconds).unwrap_or(0);
    if let Ok(time) = jiff::Timestamp::new(modified.seconds, nanoseconds) {
        all.insert("modified".into(), json!(time));
    }
    Value::Object(all)
}

/// A kind of entry as the surface names it.
pub(crate) fn kind(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File { .. } => "file",
        EntryKind::Folder => "folder",
        EntryKind::Symlink { .. } => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::BlockDevice(_) => "blockDevice",
        EntryKind::CharDevice(_) => "charDevice",
    }
}

/// Lists what a walk finds.
#[derive(Default)]
struct Listing {
    folders: Vec<Vec<u8>>,
    entries: Vec<Value>,
    warnings: Vec<Value>,
}

impl Listing {
    fn add(&mut self, entry: &Entry) {
        if self.entries.len() >= SCAN_LISTED_MAX {
            return;
        }
        let mut path = self.folders.join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.name.as_bytes());
        let mut shown = render(entry);
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("path".into(), json!(SourcePath::new(&path)));
        }
        self.entries.push(shown);
    }

    fn render(self, summary: &WalkSummary) -> Value {
        let left_out = summary.left_out.iter().map(|left| {
            let reason = match left.reason {
                LeftOutReason::Own => "own",
                LeftOutReason::Cache => "cache",
                LeftOutReason::OtherFileSystem => "otherFileSystem",
            };
            json!({ "path": SourcePath::new(&left.path), "reason": reason })
        });
        json!({
            "value": self.entries,
            "files": summary.files,
            "folders": summary.folders,
            "others": summary.other,
            "bytes": summary.bytes,
            "excludedByPattern": summary.excluded_by_pattern,
            "leftOut": left_out.collect::<Vec<_>>(),
            "leftOutCount": summary.left_out_count,
            "warnings": self.warnings,
        })
    }
}

impl Sink for Listing {
    fn folder(&mut self, folder: Entry) -> Flow {
        self.add(&folder);
        self.folders.push(folder.name.as_bytes().to_vec());
        Flow::Continue
    }

    fn leave(&mut self) -> Flow {
        self.folders.pop();
        Flow::Continue
    }

    fn file(&mut self, file: Entry, _content: Box<dyn Content>) -> Flow {
        self.add(&file);
        Flow::Continue
    }

    fn other(&mut self, entry: Entry) -> Flow {
        self.add(&entry);
        Flow::Continue
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(json!({
            "code": warning.code,
            "path": display_path(&warning.path),
            "message": warning.message,
        }));
    }
}
