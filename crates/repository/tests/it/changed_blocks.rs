//! Images of which somebody lists what has changed (docs/formats/changed-blocks.md).

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use custody_entries::ChangedBlocks;
use custody_repository::{CommittedPoint, PointId, Repository};

use crate::tree::{Run, Tree, noise};
use crate::world::{World, backup, restore};

const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 256;

/// An image: noise, a hole of a quarter, noise.
fn runs(first: Vec<u8>, rest: Vec<u8>) -> Vec<Run> {
    vec![Run::Data(first), Run::Hole((BLOCKS / 4 * BLOCK) as u64), Run::Data(rest)]
}

fn list(since: PointId, size: u64, ranges: &[(usize, usize)]) -> ChangedBlocks {
    let mut text = format!("custody changed blocks 1\nsince {since}\nsize {size}\n");
    for (offset, length) in ranges {
        writeln!(text, "{offset} {length}").unwrap();
    }
    ChangedBlocks::parse(&(text + "end\n")).unwrap()
}

struct Image {
    repository: Repository,
    tree: Tree,
    first: Vec<u8>,
    rest: Vec<u8>,
    size: u64,
    point: PointId,
}

impl Image {
    fn new() -> Self {
        let repository = World::new().create();
        let mut tree = Tree::default();
        let (first, rest) = (noise(1, BLOCKS / 4 * BLOCK), noise(2, BLOCKS / 2 * BLOCK + 5));
        let size = (BLOCKS * BLOCK + 5) as u64;
        tree.runs("disk.img", runs(first.clone(), rest.clone()));
        let point = backup(&repository, &tree, None).unwrap().id;
        Self { repository, tree, first, rest, size, point }
    }

    /// Backs up what the image holds now by a list; how many bytes were read.
    fn back_up(&mut self, changed: ChangedBlocks) -> (CommittedPoint, u64) {
        let runs = runs(self.first.clone(), self.rest.clone());
        self.back_up_runs(runs, changed)
    }

    fn back_up_runs(&mut self, runs: Vec<Run>, changed: ChangedBlocks) -> (CommittedPoint, u64) {
        self.tree.runs("disk.img", runs).changed = Some(changed);
        self.tree.read.store(0, Relaxed);
        let point = backup(&self.repository, &self.tree, Some(self.point)).unwrap();
        (point, self.tree.read.load(Relaxed))
    }

    fn assert_holds(&self, point: &CommittedPoint) {
        let made = restore(&self.repository, point.id, "").unwrap().1;
        assert!(made.files == self.tree.contents(), "not the same bytes");
    }
}

fn codes(point: &CommittedPoint) -> Vec<&str> {
    point.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

#[test]
fn what_is_listed_is_read_and_the_rest_taken_over() {
    let mut image = Image::new();
    // A byte, the end of a block and the beginning of the next, the short last block.
    let edits = [(5 * BLOCK + 17, 1), (9 * BLOCK - 1, 2)];
    for (offset, length) in edits {
        image.first[offset..offset + length].fill(0xaa);
    }
    let last = image.rest.len() - 3;
    image.rest[last] ^= 1;
    let end = usize::try_from(image.size).unwrap() - 3;
    let ranges = [edits[0], edits[1], (end, 1)];
    let (point, read) = image.back_up(list(image.point, image.size, &ranges));
    assert_eq!(codes(&point), [""; 0]);
    image.assert_holds(&point);
    assert!(point.counts.new_bytes < 4 * BLOCK as u64, "{}", point.counts.new_bytes);
    let sampled = (BLOCKS / 32 + 3) * BLOCK;
    assert!(read <= (sampled + 4 * BLOCK) as u64, "{read} bytes of {}", image.size);
    assert!(read >= 3 * BLOCK as u64);
    // The next one goes on from there.
    image.point = point.id;
    let (point, _) = image.back_up(list(image.point, image.size, &[]));
    assert_eq!(codes(&point), [""; 0]);
    assert!(point.counts.new_bytes < 1_024, "nothing but the listing: {:?}", point.counts);
    image.assert_holds(&point);
}

#[test]
fn data_in_a_hole_and_a_hole_in_data_are_listed_as_well() {
    let mut image = Image::new();
    let quarter = BLOCKS / 4 * BLOCK;
    // The second quarter gets three bytes in its middle, and the first loses four blocks.
    let runs = vec![
        Run::Data(image.first[..8 * BLOCK].to_vec()),
        Run::Hole(4 * BLOCK as u64),
        Run::Data(image.first[12 * BLOCK..].to_vec()),
        Run::Hole((10 * BLOCK + 100) as u64),
        Run::Data(b"new".to_vec()),
        Run::Hole((quarter - 10 * BLOCK - 103) as u64),
        Run::Data(image.rest.clone()),
    ];
    let ranges = [(8 * BLOCK, 4 * BLOCK), (quarter + 10 * BLOCK + 100, 3)];
    let (point, read) = image.back_up_runs(runs, list(image.point, image.size, &ranges));
    assert_eq!(codes(&point), [""; 0]);
    image.assert_holds(&point);
    assert!(read < image.size / 8, "{read} bytes");
}

#[test]
fn a_list_that_does_not_fit_is_not_used_and_everything_is_read() {
    let check = |make: &dyn Fn(&mut Image) -> ChangedBlocks| {
        let mut image = Image::new();
        let changed = make(&mut image);
        let (point, read) = image.back_up(changed);
        assert_eq!(codes(&point), ["SourceHintsUnused"]);
        assert!(read >= image.size * 3 / 4, "{read}");
        image.assert_holds(&point);
    };
    // Since a point of another day.
    check(&|image| {
        let earlier = image.point;
        image.rest[7] ^= 1;
        let tree = image.tree.clone();
        image.point = backup(&image.repository, &tree, None).unwrap().id;
        list(earlier, image.size, &[])
    });
    // It grew meanwhile.
    check(&|image| {
        image.rest.extend(vec![1; BLOCK]);
        let size = image.size + BLOCK as u64;
        list(image.point, size, &[(usize::try_from(image.size).unwrap(), BLOCK)])
    });
    // The parent holds no such file.
    check(&|image| {
        let tree = Tree::default();
        image.point = backup(&image.repository, &tree, None).unwrap().id;
        list(image.point, image.size, &[])
    });
}

/// A list that names too little is found out by the blocks that are read all the same.
#[test]
fn a_list_that_names_too_little_is_found_out() {
    let mut image = Image::new();
    for at in (0..image.rest.len()).step_by(2 * BLOCK) {
        image.rest[at] ^= 1;
    }
    // 64 of 192 blocks changed unsaid, of 6 that are read; a seed that finds none is as rare as one in 11.
    let mut found = 0;
    for _ in 0..12 {
        let (point, _) = image.back_up(list(image.point, image.size, &[]));
        if codes(&point) == ["SourceHintsWrong"] {
            image.assert_holds(&point);
            found += 1;
        }
    }
    assert!(found >= 6, "{found} of 12");
}

/// What the hole holds now is looked at in one of its blocks.
#[test]
fn a_hole_that_is_none_any_more_is_found_out() {
    let mut image = Image::new();
    let runs = vec![
        Run::Data(image.first.clone()),
        Run::Data(vec![1; BLOCKS / 4 * BLOCK]),
        Run::Data(image.rest.clone()),
    ];
    let (point, _) = image.back_up_runs(runs, list(image.point, image.size, &[]));
    assert_eq!(codes(&point), ["SourceHintsWrong"]);
    image.assert_holds(&point);
}

/// Nothing outside tells whether a device has changed; it is always cut in blocks.
#[test]
fn a_device_is_read_whole_without_a_list_and_cut_in_blocks() {
    let repository = World::new().create();
    let mut tree = Tree::default();
    tree.file("sdx", noise(3, 200_000)).is_device = true;
    let first = backup(&repository, &tree, None).unwrap();
    tree.read.store(0, Relaxed);
    let second = backup(&repository, &tree, Some(first.id)).unwrap();
    assert_eq!(second.counts.unchanged_files, 0);
    assert!(second.counts.new_bytes < 1_024, "{:?}", second.counts);
    assert_eq!(tree.read.load(Relaxed), 200_000);
    // It is no list of changed blocks without blocks: a small image would be cut otherwise.
    let changed = list(second.id, 200_000, &[]);
    tree.items.get_mut("sdx").unwrap().changed = Some(changed);
    tree.read.store(0, Relaxed);
    let third = backup(&repository, &tree, Some(second.id)).unwrap();
    assert_eq!(codes(&third), [""; 0]);
    assert!(tree.read.load(Relaxed) <= BLOCK as u64);
}
