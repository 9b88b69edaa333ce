//! From an item's settings to a source, and from a restore's to a target.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use custody_entries::{ChangedBlocks, SourceError, display_path};
use custody_protection::{self as protection, RestoreRequest, SourcePath};
use custody_resources::Refusal;
use custody_sources::{
    DeviceTarget, FolderOptions, FolderSource, FolderTarget, Marker, Overwrite, OwnerPolicy,
    TargetOptions, source_code,
};

use crate::{Platform, streams};

/// What every repository begins with (docs/formats/repository.md, "Marker").
const REPOSITORY_MARKER: (&str, &[u8]) = ("custody-repository", b"custody repository\n");
/// Longest list of changed blocks, in bytes.
const CHANGED_BYTES_MAX: u64 = 128 << 20;
/// What marks a data folder.
const DATA_FOLDER_MARKER: &str = "installation.json";

/// The folders of an item, with everything of custody's own left out.
pub(crate) fn source(
    platform: &Platform,
    folder: &protection::FolderSource,
    changed: Option<ChangedBlocks>,
) -> Result<FolderSource, Refusal> {
    if let Some(name) = &folder.stream {
        return Err(streams::missing(name));
    }
    let paths: Result<Vec<PathBuf>, Refusal> = folder.paths.iter().map(to_path).collect();
    let options = FolderOptions {
        exclude: folder.exclude.clone(),
        include: folder.include.clone(),
        one_file_system: folder.one_file_system,
        exclude_caches: folder.exclude_caches,
        changed,
        always_excluded: own_places(platform),
        own_markers: vec![
            Marker {
                file_name: REPOSITORY_MARKER.0.to_owned(),
                signature: REPOSITORY_MARKER.1.to_vec(),
            },
            Marker {
                file_name: DATA_FOLDER_MARKER.to_owned(),
                signature: b"{\n  \"format\":".to_vec(),
            },
        ],
    };
    FolderSource::new(&paths?, options).map_err(|error| source_fault(&error))
}

/// Reads a list of changed blocks.
pub(crate) fn changed_blocks(path: &SourcePath) -> Result<ChangedBlocks, Refusal> {
    let invalid = |why: String| {
        let shown = display_path(&path.bytes().unwrap_or_default());
        Refusal::new(400, source_code::HINTS_INVALID, format!("{shown}: {why}"))
            .with_fix("leave the list out: all of the image is read then")
    };
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let place = to_path(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        File::open(place)?.take(CHANGED_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| invalid(error.to_string()))?;
    ChangedBlocks::parse(&text).map_err(invalid)
}

/// The block device that a restore goes to.
pub(crate) fn device(request: &RestoreRequest) -> Result<DeviceTarget, Refusal> {
    let opened = DeviceTarget::open(&to_path(&request.target)?);
    opened.map_err(|error| Refusal::new(409, error.code, error.message))
}

/// The folder that a restore goes to.
pub(crate) fn target(request: &RestoreRequest) -> Result<FolderTarget, Refusal> {
    let options = TargetOptions {
        overwrite: match request.overwrite {
            protection::OverwritePolicy::Never => Overwrite::Never,
            protection::OverwritePolicy::Older => Overwrite::Older,
            protection::OverwritePolicy::Always => Overwrite::Always,
        },
        owner: match request.owner {
            protection::OwnerPolicy::Numeric => OwnerPolicy::Numeric,
            protection::OwnerPolicy::Name => OwnerPolicy::Name,
            protection::OwnerPolicy::None => OwnerPolicy::None,
        },
        compare: request.verify_existing,
    };
    let path = to_path(&request.target)?;
    FolderTarget::open(&path, options).map_err(|error| {
        Refusal::new(409, error.code, error.message)
            .with_fix("custody restore ITEM --to ANOTHER_DIR")
    })
}

/// A source that cannot be read as a whole.
pub(crate) fn source_fault(error: &SourceError) -> Refusal {
    let status = if error.code == "SourceNotFound" { 404 } else { 409 };
    Refusal::new(status, error.code, error.message.clone())
}

/// The path of these bytes on this machine.
pub(crate) fn to_path(path: &SourcePath) -> Result<PathBuf, Refusal> {
    Ok(PathBuf::from(OsString::from_vec(path.bytes()?)))
}

/// Device and inode of custody's own places, wherever links may lead to them from. A repository says
/// itself that it is one, wherever it lies: it is known by its marker.
fn own_places(platform: &Platform) -> Vec<(u64, u64)> {
    [platform.folder.root(), &platform.seal_place].into_iter().filter_map(identity).collect()
}

fn identity(place: &Path) -> Option<(u64, u64)> {
    let status = fs::metadata(place).ok()?;
    Some((status.dev(), status.ino()))
}
