//! Two listings of one folder: what belongs together in them, and in what it differs.

use std::cmp::Ordering;
use std::collections::HashMap;

use custody_entries::{EntryKind, Metadata};

use super::Aspect;
use crate::listing::{Body, Node};

/// What the two points have under one name; under two, if it was renamed.
pub(super) struct Pair {
    pub(super) old: Option<Node>,
    pub(super) new: Option<Node>,
}

/// What is not the same in two listings, by name; renamed entries stand under their new one.
pub(super) fn pair_up(old: Vec<Node>, new: Vec<Node>) -> Vec<Pair> {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.entry.name.cmp(&new.entry.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return match_renamed(pairs),
        };
        let pair = Pair {
            old: if order.is_le() { old.next() } else { None },
            new: if order.is_ge() { new.next() } else { None },
        };
        if pair.old != pair.new {
            pairs.push(Some(pair));
        }
    }
}

/// Makes one pair of what went and what came, where it is one file or folder with one content.
fn match_renamed(mut pairs: Vec<Option<Pair>>) -> Vec<Pair> {
    let mut came: HashMap<(u64, u64), usize> = HashMap::new();
    for (at, pair) in pairs.iter().enumerate() {
        if let Some(Pair { old: None, new: Some(new) }) = pair {
            came.extend(identity(new).map(|identity| (identity, at)));
        }
    }
    for gone in 0..pairs.len() {
        let Some(Some(Pair { old: Some(old), new: None })) = pairs.get(gone) else { continue };
        let Some(at) = identity(old).and_then(|identity| came.remove(&identity)) else { continue };
        match pairs.get(at) {
            Some(Some(Pair { new: Some(new), .. })) if is_the_same(old, new) => {}
            _ => continue,
        }
        let old = pairs.get_mut(gone).and_then(Option::take).and_then(|pair| pair.old);
        if let Some(Some(pair)) = pairs.get_mut(at) {
            pair.old = old;
        }
    }
    pairs.into_iter().flatten().collect()
}

/// Device and inode, of an entry that has them.
fn identity(node: &Node) -> Option<(u64, u64)> {
    let identity = &node.entry.metadata.identity;
    (identity.inode != 0).then_some((identity.device, identity.inode))
}

/// Whether two entries hold the same. Inode numbers are used again: they alone prove nothing.
fn is_the_same(old: &Node, new: &Node) -> bool {
    match (&old.body, &new.body) {
        (Body::File { content: old, .. }, Body::File { content: new, .. }) => old == new,
        (Body::None, Body::None) => old.entry.kind == new.entry.kind,
        (old, new) => old == new,
    }
}

/// In what two entries differ that a restore would show.
pub(super) fn compare(old: &Node, new: &Node) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    match (&old.entry.kind, &new.entry.kind) {
        (EntryKind::File { .. }, EntryKind::File { .. }) if is_the_same(old, new) => {}
        (EntryKind::File { .. }, EntryKind::File { .. }) => aspects.push(Aspect::Content),
        (EntryKind::Symlink { target: left }, EntryKind::Symlink { target: right }) => {
            aspects.extend((left != right).then_some(Aspect::Target));
        }
        (left, right) if std::mem::discriminant(left) != std::mem::discriminant(right) => {
            aspects.push(Aspect::Kind);
        }
        (left, right) => aspects.extend((left != right).then_some(Aspect::Device)),
    }
    aspects.extend(compare_metadata(&old.entry.metadata, &new.entry.metadata));
    if let (Body::Folder(old), Body::Folder(new)) = (&old.body, &new.body) {
        aspects.retain(|aspect| *aspect != Aspect::Modified || old == new);
    }
    let is_file = |node: &Node| matches!(node.entry.kind, EntryKind::File { .. });
    let links = |node: &Node| node.entry.metadata.identity.links;
    if is_file(old) && is_file(new) && links(old) != links(new) {
        aspects.push(Aspect::Links);
    }
    aspects
}

pub(super) fn compare_metadata(old: &Metadata, new: &Metadata) -> Vec<Aspect> {
    let owner = |all: &Metadata| (all.uid, all.gid, all.user.clone(), all.group.clone());
    [
        (old.mode != new.mode, Aspect::Mode),
        (owner(old) != owner(new), Aspect::Owner),
        (old.modified != new.modified, Aspect::Modified),
        (old.xattrs != new.xattrs, Aspect::Attributes),
    ]
    .into_iter()
    .filter_map(|(differs, aspect)| differs.then_some(aspect))
    .collect()
}
