//! Folders to back up, and what can be said of a folder: so that a restored one can be compared.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

/// The beginning of what is written into an image, in bytes: before it lies a hole.
const IMAGE_DATA_AT: u64 = 4 << 20;

/// What `st_blocks` counts in, in bytes.
const BLOCK_UNIT: u64 = 512;

/// A folder with one of everything. `large` is the length of the large file, in bytes.
pub(crate) fn fill(folder: &Path, large: usize) {
    let inner = folder.join("inner/deep");
    fs::create_dir_all(&inner).unwrap();
    fs::create_dir(folder.join("empty folder")).unwrap();
    write(&folder.join("empty"), b"");
    write(&folder.join("large"), &noise(1, large));
    write(&folder.join("text"), &b"what compresses well\n".repeat(3_000));
    write(&folder.join("linked"), &noise(2, 3_000));
    fs::hard_link(folder.join("linked"), inner.join("also linked")).unwrap();
    symlink("../text", inner.join("link")).unwrap();
    symlink("/nowhere/\u{fc}", folder.join("dangling")).unwrap();
    write(&folder.join(std::ffi::OsString::from_vec(b"no utf-8 \xff\n".to_vec())), b"name");
    let fifo = folder.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    for number in 0..60_u8 {
        let small = format!("small file {number}, ").repeat(usize::from(number) * 7);
        write(&inner.join(format!("{number}.txt")), small.as_bytes());
    }
    set_note(&folder.join("text"), b"\x00kept\xff");
    set_mode(&folder.join("text"), 0o2751);
    set_mode(&inner.join("0.txt"), 0o400);
    set_mode(&folder.join("empty folder"), 0o1777);
    image(&folder.join("disk.img"), large.min(70_000));
    set_note(&folder.join("disk.img"), b"never changed");
    let times =
        FileTimes::new().set_modified(SystemTime::UNIX_EPOCH - Duration::from_millis(1_500));
    File::options().write(true).open(folder.join("linked")).unwrap().set_times(times).unwrap();
}

/// A sparse image with two runs of data, each of `run` bytes, that ends in a hole.
fn image(path: &Path, run: usize) {
    let mut file = File::create(path).unwrap();
    file.set_len(3 * IMAGE_DATA_AT).unwrap();
    for (number, at) in [IMAGE_DATA_AT, IMAGE_DATA_AT + (1 << 20)].into_iter().enumerate() {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&noise(number as u64 + 10, run)).unwrap();
    }
}

/// Sets an extended attribute.
fn set_note(path: &Path, value: &[u8]) {
    setxattr(path, "user.note", value, XattrFlags::empty()).unwrap();
}

/// Another state of the same folder: inserted, overwritten, removed, moved and added.
pub(crate) fn edit(folder: &Path, generation: u64) {
    let mut large = fs::read(folder.join("large")).unwrap();
    let middle = large.len() / 2;
    large.splice(middle..middle, noise(100 + generation, 5_000));
    write(&folder.join("large"), &large);
    let inner = folder.join("inner/deep");
    fs::remove_file(inner.join(format!("{}.txt", generation + 1))).unwrap();
    let moved = folder.join(format!("moved {generation}"));
    fs::rename(inner.join(format!("{}.txt", generation + 30)), moved).unwrap();
    // Nothing but its attribute changes.
    set_note(&folder.join("text"), format!("generation {generation}").as_bytes());
    write(&folder.join(format!("added {generation}")), &noise(200 + generation, 18_000));
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut number = 0_u64;
    while bytes.len() < length {
        let block = [seed.to_le_bytes(), number.to_le_bytes()].concat();
        bytes.extend_from_slice(digest(&SHA256, &block).as_ref());
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

/// All that a restore should bring back, by path; without owners, which only root can give.
pub(crate) fn describe(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let seconds = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
        let mut said = vec![format!("{:o}", metadata.mode()), seconds];
        let inner = path.strip_prefix(folder).unwrap();
        if kind.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            waiting.sort();
        } else if kind.is_symlink() {
            said.push(format!("-> {}", escaped(&fs::read_link(&path).unwrap())));
        } else if kind.is_file() {
            let hash = digest(&SHA256, &fs::read(&path).unwrap());
            said.extend([metadata.len().to_string(), HEXLOWER.encode(hash.as_ref())]);
            if metadata.blocks() * BLOCK_UNIT < metadata.len() / 2 {
                said.push("sparse".to_owned());
            }
            said.extend(note(&path).map(|note| format!("user.note {note}")));
            let identity = (metadata.dev(), metadata.ino());
            if metadata.nlink() > 1 {
                let first = names.entry(identity).or_insert_with(|| escaped(inner));
                said.push(format!("one of {} with {first}", metadata.nlink()));
            }
        }
        found.insert(escaped(inner), said.join(" "));
    }
    found
}

fn escaped(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

/// The extended attribute that a test sets, if the file has it.
fn note(path: &Path) -> Option<String> {
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, "user.note", &mut value).ok()?;
    Some(value.get(..length)?.escape_ascii().to_string())
}
