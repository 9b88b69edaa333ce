//! What the engine does with what stands in a target already: through the port, without a disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use custody_entries::{
    Entry, EntryKind, FilePlace, FileWriter, Judge, Landing, PlacedFiles, StandingFile, Target,
    TargetError, Warning,
};
use custody_repository::{
    PointId, Progress, Repository, RepositoryError, RestoreReport, Status, Unwatched,
};

use crate::bad_sectors::BadSector;
use crate::tree::{Run, Tree, noise};
use crate::world::{THREADS, World, backup};

/// Files by path, as they stand.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A target in memory that is told what stands in it and what an earlier restore left half written.
#[derive(Clone, Default)]
struct Shelf {
    files: Files,
    half: Files,
    /// Whether files that stand there are compared, else taken over unread.
    compares: bool,
    replaces: bool,
    /// Whether files can be read back, and how often that was done.
    reads_back: Option<Arc<AtomicU64>>,
    /// Bytes that may still be written before the disk is full.
    room: Arc<AtomicU64>,
    stack: Vec<String>,
}

impl Shelf {
    fn new() -> Self {
        Self { replaces: true, room: Arc::new(AtomicU64::new(u64::MAX)), ..Self::default() }
    }

    fn stands(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    fn writer(&self, path: &str, size: u64) -> Box<dyn FileWriter> {
        let half = self.half.lock().unwrap().remove(path);
        let size = usize::try_from(size).unwrap();
        let is_resumed = half.is_some();
        let mut bytes = half.unwrap_or_default();
        bytes.resize(size, 0);
        let shelf = self.clone();
        Box::new(Slot { shelf, path: path.to_owned(), bytes, is_resumed })
    }
}

impl Target for Shelf {
    fn folder(&mut self, folder: &Entry) -> Result<Landing, TargetError> {
        self.stack.push(String::from_utf8(folder.name.as_bytes().to_vec()).unwrap());
        Ok(Landing::Made)
    }

    fn leave(&mut self) -> Result<(), TargetError> {
        self.stack.pop().unwrap();
        Ok(())
    }

    fn file(&mut self, file: &Entry) -> Result<FilePlace, TargetError> {
        let EntryKind::File { size } = file.kind else { panic!("no file") };
        let name = String::from_utf8(file.name.as_bytes().to_vec()).unwrap();
        let path = [&self.stack[..], &[name]].concat().join("/");
        let standing = self.files.lock().unwrap().get(&path).map(Vec::len);
        Ok(match standing {
            Some(length) if length as u64 == size && self.compares => {
                FilePlace::Standing(Box::new(Found { shelf: self.clone(), path, size }))
            }
            Some(length) if length as u64 == size => FilePlace::TakenOver,
            Some(_) if !self.replaces => FilePlace::Kept,
            Some(_) => FilePlace::Replaced(self.writer(&path, size)),
            None => FilePlace::Free(self.writer(&path, size)),
        })
    }

    fn hard_link(&mut self, entry: &Entry, earlier: &[u8]) -> Result<Landing, TargetError> {
        let name = String::from_utf8(entry.name.as_bytes().to_vec()).unwrap();
        let path = [&self.stack[..], &[name]].concat().join("/");
        let bytes = self.files.lock().unwrap()[str::from_utf8(earlier).unwrap()].clone();
        self.stands(&path, bytes);
        Ok(Landing::Made)
    }

    fn other(&mut self, _: &Entry) -> Result<Landing, TargetError> {
        Ok(Landing::Made)
    }

    fn placed_files(&self) -> Option<Arc<dyn PlacedFiles>> {
        self.reads_back.is_some().then(|| Arc::new(self.clone()) as Arc<dyn PlacedFiles>)
    }

    fn take_warnings(&mut self) -> Vec<Warning> {
        Vec::new()
    }
}

impl PlacedFiles for Shelf {
    /// Somebody has changed every file called `spoilt`.
    fn read(&self, path: &[u8], offset: u64, room: &mut [u8]) -> bool {
        self.reads_back.as_ref().unwrap().fetch_add(1, Relaxed);
        let path = str::from_utf8(path).unwrap();
        let offset = usize::try_from(offset).unwrap();
        room.copy_from_slice(&self.files.lock().unwrap()[path][offset..offset + room.len()]);
        room[0] ^= u8::from(path.ends_with("spoilt"));
        true
    }
}

struct Slot {
    shelf: Shelf,
    path: String,
    bytes: Vec<u8>,
    is_resumed: bool,
}

impl FileWriter for Slot {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let length = bytes.len() as u64;
        let room = &self.shelf.room;
        if room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(length)).is_err() {
            return Err(TargetError { code: "TargetFull", message: "no room".to_owned() });
        }
        let offset = usize::try_from(offset).unwrap();
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn take_over(
        &mut self,
        offset: u64,
        length: usize,
        is_right: &mut Judge<'_>,
    ) -> Result<bool, TargetError> {
        let offset = usize::try_from(offset).unwrap();
        Ok(self.is_resumed && is_right(&self.bytes[offset..offset + length]))
    }

    fn hole(&mut self, offset: u64, length: u64) -> Result<(), TargetError> {
        let [offset, length] = [offset, length].map(|it| usize::try_from(it).unwrap());
        self.bytes[offset..offset + length].fill(0);
        Ok(())
    }

    fn suspend(self: Box<Self>) {
        self.shelf.half.lock().unwrap().insert(self.path.clone(), self.bytes.clone());
    }

    fn finish(self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        self.shelf.stands(&self.path, self.bytes.clone());
        Ok(Vec::new())
    }
}

struct Found {
    shelf: Shelf,
    path: String,
    size: u64,
}

impl Found {
    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        let [offset, length] = [offset, length].map(|it| usize::try_from(it).unwrap());
        self.shelf.files.lock().unwrap()[&self.path][offset..offset + length].to_vec()
    }
}

impl StandingFile for Found {
    fn holds(&mut self, offset: u64, length: usize, is_right: &mut Judge<'_>) -> bool {
        is_right(&self.bytes(offset, length as u64))
    }

    fn is_hollow(&mut self, offset: u64, length: u64) -> bool {
        self.bytes(offset, length).iter().all(|byte| *byte == 0)
    }

    fn keep(self: Box<Self>) -> Result<Vec<Warning>, TargetError> {
        Ok(Vec::new())
    }

    fn replace(self: Box<Self>) -> Result<Option<Box<dyn FileWriter>>, TargetError> {
        if !self.shelf.replaces {
            return Ok(None);
        }
        Ok(Some(self.shelf.writer(&self.path, self.size)))
    }
}

fn sample() -> Tree {
    let mut tree = Tree::default();
    tree.file("a/large", noise(1, 2_000_000));
    tree.file("a/small", "small");
    tree.runs("b/sparse", vec![Run::Hole(500_000), Run::Data(noise(2, 300_000)), Run::Hole(7)]);
    tree.file("c/twin", noise(3, 50_000));
    tree.link("c/twin", "c/twin-link");
    tree
}

fn world() -> (Repository, PointId, Tree) {
    let repository = World::new().create();
    let tree = sample();
    let point = backup(&repository, &tree, None).unwrap().id;
    (repository, point, tree)
}

fn restore(
    repository: &Repository,
    point: PointId,
    shelf: &mut Shelf,
    progress: &dyn Progress,
) -> Result<RestoreReport, RepositoryError> {
    shelf.stack.clear();
    repository.restore(point, b"", shelf, THREADS, progress)
}

/// Cancels after so many reports.
struct Patience(AtomicU64);

impl Progress for Patience {
    fn report(&self, _status: &Status) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

#[test]
fn what_stands_there_is_taken_over_compared_or_written_anew() {
    let (repository, point, tree) = world();
    let check = |prepare: &dyn Fn(&mut Shelf), expected: [u64; 5]| {
        let mut shelf = Shelf::new();
        prepare(&mut shelf);
        let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
        let found = [
            report.files,
            report.replaced_files,
            report.taken_over_files,
            report.compared_files,
            report.kept_files,
        ];
        assert_eq!(found, expected);
        assert_eq!(
            report.bytes + report.taken_over_bytes,
            match report.kept_files {
                0 => 2_000_000 + 5 + 800_007 + 50_000,
                _ => 2_000_000 + 800_007 + 50_000,
            }
        );
        shelf.files.lock().unwrap().clone()
    };
    let all = |shelf: &mut Shelf| {
        for (path, bytes) in tree.contents() {
            shelf.stands(&path, bytes);
        }
    };
    assert_eq!(check(&|_| (), [4, 0, 0, 0, 0]), tree.contents());
    assert_eq!(check(&all, [0, 0, 4, 0, 0]), tree.contents());
    let compared = |shelf: &mut Shelf| {
        all(shelf);
        shelf.compares = true;
    };
    assert_eq!(check(&compared, [0, 0, 4, 4, 0]), tree.contents());
    // One byte, in data or in a hole, and the file is written anew; the others stay.
    for (path, at) in [("a/large", 1_999_999), ("b/sparse", 3), ("b/sparse", 800_006)] {
        let spoilt = |shelf: &mut Shelf| {
            compared(shelf);
            shelf.files.lock().unwrap().get_mut(path).unwrap()[at] ^= 1;
        };
        assert_eq!(check(&spoilt, [1, 1, 3, 3, 0]), tree.contents(), "{path}");
    }
    // A file of another length, under a policy that keeps it.
    let foreign = |shelf: &mut Shelf| {
        shelf.stands("a/small", "something else");
        shelf.replaces = false;
    };
    let files = check(&foreign, [3, 0, 0, 0, 1]);
    assert_eq!(files["a/small"], b"something else");
}

/// A link to a file whose content is wrong, and which is kept, would be wrong too.
#[test]
fn nothing_is_linked_to_a_wrong_file_that_is_kept() {
    let (repository, point, tree) = world();
    let mut shelf = Shelf { compares: true, replaces: false, ..Shelf::new() };
    shelf.stands("c/twin", vec![0; 50_000]);
    let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
    assert_eq!((report.files, report.kept_files), (4, 1));
    let files = shelf.files.lock().unwrap();
    assert_eq!(files["c/twin-link"], tree.contents()["c/twin"]);
    assert_eq!(files["c/twin"], vec![0; 50_000]);
}

/// Whatever the moment: the same restore again gives everything, and what was written is not
/// written again.
#[test]
fn a_restore_that_stops_at_any_step_is_gone_on_with() {
    let (repository, point, tree) = world();
    let whole: u64 = 2_000_000 + 5 + 300_000 + 50_000;
    let (mut stops, mut saved) = (0, 0);
    for steps in 1..400 {
        let mut shelf = Shelf::new();
        let watched = Patience(AtomicU64::new(steps));
        match restore(&repository, point, &mut shelf, &watched) {
            Ok(_) => break,
            Err(RepositoryError::Cancelled) => stops += 1,
            Err(error) => panic!("{error}"),
        }
        let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
        saved += report.reused_bytes + report.taken_over_bytes;
        assert_eq!(*shelf.files.lock().unwrap(), tree.contents(), "{steps}");
    }
    assert!(stops > 2 && saved > 0, "{stops} stops saved {saved} bytes");

    for room in (0..whole).step_by(100_000) {
        let mut shelf = Shelf { room: Arc::new(AtomicU64::new(room)), ..Shelf::new() };
        let full = restore(&repository, point, &mut shelf, &Unwatched).unwrap_err();
        assert!(full.to_string().contains("no room"), "{full}");
        let left = shelf.room.swap(u64::MAX, Relaxed);
        let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
        assert_eq!(*shelf.files.lock().unwrap(), tree.contents(), "{room}");
        let written = u64::MAX - shelf.room.load(Relaxed);
        let again = (room - left + written).saturating_sub(whole);
        // Only what a full disk cut off in the middle of a chunk is written twice.
        assert!(again <= 2 * 262_144, "{again} bytes twice, {report:?}");
    }
}

/// What was left half written is looked at part by part: what is wrong of it is written.
#[test]
fn half_written_files_are_not_believed() {
    let (repository, point, tree) = world();
    let right = tree.contents()["a/large"].clone();
    let check = |half: Vec<u8>, reused: &dyn Fn(u64) -> bool| {
        let mut shelf = Shelf::new();
        shelf.half.lock().unwrap().insert("a/large".to_owned(), half);
        let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
        assert_eq!(*shelf.files.lock().unwrap(), tree.contents());
        assert!(reused(report.reused_bytes), "{report:?}");
    };
    check(Vec::new(), &|reused| reused == 0);
    check(noise(9, 2_000_000), &|reused| reused == 0);
    check(right.clone(), &|reused| reused == 2_000_000);
    check(right[..1_000_000].to_vec(), &|reused| (700_000..1_000_000).contains(&reused));
    let mut spoilt = right;
    spoilt[1_000_000] ^= 1;
    check(spoilt, &|reused| (1_700_000..2_000_000).contains(&reused));
}

/// Copies that lie far apart, of more than is kept in memory, come from what was restored before; what
/// is wrong there comes from the repository.
#[test]
fn copies_are_read_back_from_where_they_were_restored() {
    let repository = World::new().create();
    let mut tree = Tree::default();
    for number in 0..40 {
        let name = if number % 2 == 0 { "right" } else { "spoilt" };
        for folder in ["a", "z"] {
            tree.file(&format!("{folder}/{number:02}-{name}"), noise(number, 400_000));
        }
    }
    let point = backup(&repository, &tree, None).unwrap().id;
    let reads = Arc::new(AtomicU64::new(0));
    let mut shelf = Shelf { reads_back: Some(Arc::clone(&reads)), ..Shelf::new() };
    let report = restore(&repository, point, &mut shelf, &Unwatched).unwrap();
    assert_eq!((report.files, report.warnings), (80, Vec::new()));
    assert!(*shelf.files.lock().unwrap() == tree.contents());
    let reads = reads.load(Relaxed);
    assert!(reads > 20, "{reads}");
}

/// A file in so many parts that their list lies in groups of its own. Whichever group cannot be read, a
/// file that stands there stays as it is, one that does not is left out, and the report says so.
#[test]
fn a_file_whose_list_of_parts_is_lost_is_named_and_nothing_is_overwritten() {
    let world = World::new();
    let store = Arc::new(BadSector::new(world.store.clone()));
    world.create();
    let repository = world.open_over(store.clone()).unwrap();
    let mut tree = Tree::default();
    let piece = |number: u32| [Run::Data(number.to_le_bytes()[..2].to_vec()), Run::Hole(3)];
    tree.runs("parts", (0..7_000).flat_map(piece).collect());
    tree.link("parts", "parts-link");
    let point = backup(&repository, &tree, None).unwrap().id;
    let bytes = tree.contents()["parts"].clone();
    let packs = world.objects().into_iter().filter(|(name, _)| name.as_str().starts_with("packs/"));
    let mut named = [0, 0];
    for (pack, whole) in packs {
        for at in (0..whole.len() as u64).step_by(8_192) {
            store.break_at(&pack, at);
            for (stands, named) in [true, false].into_iter().zip(&mut named) {
                let mut shelf = Shelf { compares: true, ..Shelf::new() };
                if stands {
                    shelf.stands("parts", bytes.clone());
                }
                let report = match restore(&repository, point, &mut shelf, &Unwatched) {
                    Ok(report) => report,
                    // The list of what lies at the top is lost too.
                    Err(error) => {
                        assert!(error.to_string().contains("Input/output error"), "{error}");
                        assert_eq!(shelf.files.lock().unwrap().len(), usize::from(stands));
                        continue;
                    }
                };
                let lost = report.warnings.iter().filter(|it| it.code == "RestoreFileDamaged");
                let lost: Vec<&[u8]> = lost.map(|it| it.path.as_slice()).collect();
                let files = shelf.files.lock().unwrap();
                for (path, found) in files.iter() {
                    assert!(*found == bytes, "{path}");
                    assert!(stands || !lost.contains(&path.as_bytes()), "{path}");
                }
                if !lost.is_empty() {
                    assert_eq!(lost, [b"parts".as_slice(), b"parts-link"]);
                    assert_eq!(files.contains_key("parts"), stands);
                    *named += 1;
                }
            }
        }
    }
    assert!(named[0] > 0 && named[1] > named[0], "{named:?}");
}
