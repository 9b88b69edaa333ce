//! Folders and what stands in them.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// All that stands below `top` but folders, sorted; links are not followed. Folders that `skip`
/// names are left out.
pub(crate) fn files(top: &Path, skip: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                found.push(entry.path());
            } else if !skip.contains(&entry.file_name().to_string_lossy().as_ref()) {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The length of all files below `top` together, in bytes. What vanishes meanwhile counts nothing.
pub(crate) fn size_bytes(top: &Path) -> io::Result<u64> {
    let lengths = files(top, &[])?.into_iter().filter_map(|path| path.symlink_metadata().ok());
    Ok(lengths.map(|file| file.len()).sum())
}

/// What two trees are compared by: for each file its mode, time and content.
pub(crate) type Fingerprint = BTreeMap<PathBuf, (u32, i64, u64)>;

/// The fingerprint of all files below `top`.
pub(crate) fn fingerprint(top: &Path) -> io::Result<Fingerprint> {
    let mut fingerprint = Fingerprint::new();
    for path in files(top, &[])? {
        let file = path.symlink_metadata()?;
        let mut content = DefaultHasher::new();
        if file.is_symlink() {
            fs::read_link(&path)?.hash(&mut content);
        } else {
            fs::read(&path)?.hash(&mut content);
        }
        let below = path.strip_prefix(top).unwrap_or(&path).to_owned();
        let time = file.mtime() * 1_000_000_000 + file.mtime_nsec();
        fingerprint.insert(below, (file.permissions().mode(), time, content.finish()));
    }
    Ok(fingerprint)
}

/// Where `source` was restored to beneath `target`: some tools put the whole path there.
pub(crate) fn restored_top(source: &Path, target: &Path) -> io::Result<PathBuf> {
    let wanted = names(source)?;
    let mut top = target.to_owned();
    loop {
        let found = names(&top)?;
        match found.as_slice() {
            [only] if found != wanted && top.join(only).is_dir() => top.push(only),
            _ => return Ok(top),
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}
