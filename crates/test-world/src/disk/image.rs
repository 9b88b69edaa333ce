//! What a disk holds at one moment.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Paths without leading slash, and what stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    nodes: BTreeMap<String, Node>,
}

/// A file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(Content),
}

/// A file's bytes, shared by the images that hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    bytes: Arc<Vec<u8>>,
    digest: u64,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self { bytes: Arc::new(bytes), digest: hasher.finish() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Image {
    /// Tells images with other names or bytes apart.
    pub fn digest(&self) -> u64 {
        self.digest_of(|_| true)
    }

    /// Like [`Image::digest`], of the paths alone for which `counts`.
    pub fn digest_of(&self, counts: impl Fn(&str) -> bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, node) in self.nodes.iter().filter(|(path, _)| counts(path)) {
            path.hash(&mut hasher);
            match node {
                Node::Folder => 0_u64.hash(&mut hasher),
                Node::File(content) => (content.bytes.len(), content.digest).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Every file with its bytes, in order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.nodes.iter().filter_map(|(path, node)| match node {
            Node::File(content) => Some((path.as_str(), content.bytes())),
            Node::Folder => None,
        })
    }

    /// Without the file at `path`.
    pub fn without(mut self, path: &str) -> Self {
        self.nodes.remove(path);
        self
    }

    pub(super) fn put(&mut self, path: String, node: Node) {
        self.nodes.insert(path, node);
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }
}
