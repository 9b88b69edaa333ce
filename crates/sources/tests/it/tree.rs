//! An exact picture of a tree, taken by other means than the crate's own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

/// Everything about one entry that a restore must give back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    device_number: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The content, or where a link points.
    content: Vec<u8>,
    /// Where the content has data, as the file system says.
    data: Vec<(u64, u64)>,
    links: u64,
    /// The first path of the same file, for hard links.
    first: Vec<u8>,
}

/// Every entry below `top`, and the top itself under the empty path.
pub(crate) fn picture(top: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut nodes = BTreeMap::new();
    let mut firsts = BTreeMap::new();
    add(top, top, &mut firsts, &mut nodes);
    nodes
}

/// Fails with the first difference between two trees.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, mut other) = (picture(one), picture(other));
    for (path, node) in one {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let twin = other.remove(&path).unwrap_or_else(|| panic!("{shown:?} is missing"));
        assert!(node == twin, "{shown:?} differs:\n{}\n{}", brief(&node), brief(&twin));
    }
    assert!(other.is_empty(), "too much: {:?}", other.keys().next());
}

fn brief(node: &Node) -> String {
    let mut text = format!("{node:?}");
    text.truncate(600);
    text
}

fn add(
    top: &Path,
    path: &Path,
    firsts: &mut BTreeMap<(u64, u64), Vec<u8>>,
    nodes: &mut BTreeMap<Vec<u8>, Node>,
) {
    let status = fs::symlink_metadata(path).unwrap();
    let relative = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
    let kind = status.file_type();
    let first = firsts.entry((status.dev(), status.ino())).or_insert_with(|| relative.clone());
    let mut node = Node {
        kind: "other",
        mode: status.mode(),
        owner: (status.uid(), status.gid()),
        modified: (status.mtime(), status.mtime_nsec()),
        device_number: status.rdev(),
        xattrs: BTreeMap::new(),
        content: Vec::new(),
        data: Vec::new(),
        links: if kind.is_dir() { 0 } else { status.nlink() },
        first: first.clone(),
    };
    for name in xattr::list(path).into_iter().flatten() {
        let value = xattr::get(path, &name).unwrap().unwrap();
        node.xattrs.insert(name.as_bytes().to_vec(), value);
    }
    if kind.is_file() {
        node.kind = "file";
        node.content = fs::read(path).unwrap();
        node.data = data_of(path);
    } else if kind.is_symlink() {
        node.kind = "link";
        node.content = fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec();
    } else if kind.is_dir() {
        node.kind = "folder";
        for entry in fs::read_dir(path).unwrap() {
            add(top, &entry.unwrap().path(), firsts, nodes);
        }
    } else if kind.is_fifo() || kind.is_socket() {
        node.kind = if kind.is_fifo() { "pipe" } else { "socket" };
    }
    nodes.insert(relative, node);
}

fn data_of(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        extents.push((start, at));
    }
    extents
}
