//! Every byte of every object of a small repository flipped once; every object cut at four places,
//! lengthened, removed, put in the place of every other and exchanged with it: always noticed and
//! named, never a wrong byte restored, and whatever else there is comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use custody_blob_store::{BlobName, BlobStore, MemoryStore};
use custody_repository::log::HeadPin;
use custody_repository::{Assurance, CheckLevel, PointId, Repository, RepositoryError, Unwatched};

use crate::tree::{Made, Run, Tree, noise};
use crate::world::{THREADS, World, backup, restore};

/// Threads that share the cases out, each over a copy of its own.
const WORKERS: usize = 2;

/// A case damages these objects: what stands in their place, if anything does.
type Damage = Vec<(BlobName, Option<Vec<u8>>)>;

/// A repository of three sessions, each with a folder of its own in a pack of its own.
struct Small {
    world: World,
    objects: Vec<(BlobName, Vec<u8>)>,
    sessions: Vec<Session>,
    /// The newest head, as a vault's record keeps it: without it nobody can miss the last entry.
    pin: HeadPin,
}

struct Session {
    point: PointId,
    /// All that its point holds.
    files: BTreeMap<String, Vec<u8>>,
    /// The folder that it was the first to store.
    folder: &'static str,
    /// Objects that it stored.
    objects: BTreeSet<BlobName>,
    /// The log entry that committed it.
    committed: u64,
}

impl Small {
    fn new() -> Self {
        let world = World::new();
        let repository = world.create();
        let mut tree = Tree::default();
        let mut sessions: Vec<Session> = Vec::new();
        for (seed, folder) in (1..).zip(["one", "two", "three"]) {
            tree.file(&format!("{folder}/noise"), noise(seed, 300));
            tree.file(&format!("{folder}/text"), format!("text of {folder}, ").repeat(60));
            let runs = vec![Run::Hole(1 << 16), Run::Data(noise(seed + 10, 50))];
            tree.runs(&format!("{folder}/sparse"), runs);
            let before: BTreeSet<_> = world.objects().into_iter().map(|(name, _)| name).collect();
            let parent = sessions.last().map(|session| session.point);
            let committed = backup(&repository, &tree, parent).unwrap();
            let after: BTreeSet<_> = world.objects().into_iter().map(|(name, _)| name).collect();
            sessions.push(Session {
                point: committed.id,
                files: tree.contents(),
                folder,
                objects: after.difference(&before).cloned().collect(),
                committed: committed.head.number,
            });
        }
        let pin = repository.history().unwrap().head().unwrap();
        let objects = world.objects();
        Self { world, objects, sessions, pin }
    }

    /// All cases, each with words for it.
    fn cases(&self) -> Vec<(String, Damage)> {
        let mut cases = Vec::new();
        for (number, (name, bytes)) in self.objects.iter().enumerate() {
            let mut put = |what: String, bytes: Option<Vec<u8>>| {
                cases.push((format!("{name} {what}"), vec![(name.clone(), bytes)]));
            };
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                put(format!("flipped at {at}"), Some(flipped));
            }
            for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                put(format!("cut to {cut}"), Some(bytes[..cut].to_vec()));
            }
            let sector = bytes.len() / 2..bytes.len().min(bytes.len() / 2 + 512);
            let mut zeros = bytes.clone();
            zeros[sector].fill(0);
            put("zeros in the middle".to_owned(), Some(zeros));
            put("longer".to_owned(), Some([bytes.as_slice(), b"more"].concat()));
            put("missing".to_owned(), None);
            let others = || self.objects.iter().filter(|(_, other)| other != bytes);
            for (other, its) in others() {
                put(format!("holds {other}"), Some(its.clone()));
            }
            for (other, its) in self.objects.iter().skip(number + 1).filter(|one| one.1 != *bytes) {
                let exchanged =
                    vec![(name.clone(), Some(its.clone())), (other.clone(), Some(bytes.clone()))];
                cases.push((format!("{name} exchanged with {other}"), exchanged));
            }
        }
        cases
    }
}

/// A copy of the repository, to damage and mend.
struct Copy<'s> {
    small: &'s Small,
    store: Arc<MemoryStore>,
}

impl<'s> Copy<'s> {
    fn of(small: &'s Small) -> Self {
        let copy = Self { small, store: Arc::new(MemoryStore::new()) };
        for (name, bytes) in &small.objects {
            copy.put(name, Some(bytes));
        }
        copy
    }

    fn open(&self) -> Result<Repository, RepositoryError> {
        let parts = self.small.world.parts(self.store.clone());
        Repository::open(parts, Some(self.small.pin))
    }

    fn put(&self, name: &BlobName, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.store.replace(name, bytes).unwrap(),
            None => self.store.delete(name).unwrap(),
        }
    }

    /// Does the damage, expects it to be noticed, and undoes it.
    fn try_case(&self, what: &str, damage: &Damage) {
        for (name, bytes) in damage {
            self.put(name, bytes.as_deref());
        }
        let damaged: Vec<&BlobName> = damage.iter().map(|(name, _)| name).collect();
        self.expect_noticed(what, &damaged);
        for (name, genuine) in self.small.objects.iter().filter(|(name, _)| damaged.contains(&name))
        {
            self.put(name, Some(genuine));
        }
        let mut marks = Vec::new();
        self.store.list("bad/", &mut |name, _| marks.push(name)).unwrap();
        for mark in &marks {
            self.put(mark, None);
        }
    }

    fn expect_noticed(&self, what: &str, damaged: &[&BlobName]) {
        let repository = match self.open() {
            Ok(repository) => repository,
            // Only the marker keeps a repository from opening at all.
            Err(error) => {
                let is_marker = damaged.iter().any(|name| name.as_str() == "custody-repository");
                assert!(is_marker, "{what}: {error}");
                return;
            }
        };
        let report = repository.check(CheckLevel::Data, THREADS, &Unwatched).unwrap();
        assert_eq!(report.assurance, Assurance::Authenticated);
        let is_named = |name: &&BlobName| {
            report.problems.iter().any(|problem| problem.object == name.as_str())
        };
        // What no readable entry names is not missed: then it is the entry that is named.
        let is_entry = |name: &&BlobName| name.as_str().starts_with("log/");
        let (entries, others): (Vec<_>, Vec<_>) = damaged.iter().copied().partition(is_entry);
        let noticed =
            entries.iter().all(is_named) && (!entries.is_empty() || others.iter().all(is_named));
        assert!(noticed, "{what}: {:?}", report.problems);
        for session in &self.small.sessions {
            match restore(&repository, session.point, "") {
                Ok((report, made)) => {
                    self.expect_right(what, damaged, session, &made);
                    let whole = made.files.len() == session.files.len();
                    assert!(whole || !report.warnings.is_empty(), "{what}: lost in silence");
                }
                Err(error) => {
                    assert!(session.is_lost_with(damaged), "{what}: {}: {error}", session.point);
                }
            }
        }
    }

    /// What came back is right, and what did not lay in a damaged object.
    fn expect_right(&self, what: &str, damaged: &[&BlobName], session: &Session, made: &Made) {
        for (path, bytes) in &made.files {
            assert!(session.files.get(path) == Some(bytes), "{what}: {path} came back wrong");
        }
        for path in session.files.keys().filter(|path| !made.files.contains_key(*path)) {
            let first =
                self.small.sessions.iter().find(|first| path.starts_with(first.folder)).unwrap();
            assert!(first.has_lost("packs/", damaged), "{what}: {path} is lost");
        }
    }
}

impl Session {
    fn has_lost(&self, family: &str, damaged: &[&BlobName]) -> bool {
        damaged.iter().any(|name| name.as_str().starts_with(family) && self.objects.contains(*name))
    }

    /// Whether its entry in the log, or one that this builds on, is damaged.
    fn has_lost_its_entry(&self, damaged: &[&BlobName]) -> bool {
        damaged.iter().any(|name| {
            let number = name.as_str().strip_prefix("log/").and_then(|number| number.parse().ok());
            number.is_some_and(|number: u64| number <= self.committed)
        })
    }

    /// Whether its point may be lost altogether, for its root folder is in its pack.
    fn is_lost_with(&self, damaged: &[&BlobName]) -> bool {
        let is_lost = |family| self.has_lost(family, damaged);
        is_lost("points/") || is_lost("packs/") || self.has_lost_its_entry(damaged)
    }
}

#[test]
fn every_byte_of_every_object_may_be_damaged() {
    let small = Small::new();
    let cases = small.cases();
    let bytes: usize = small.objects.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(small.objects.len() > 20 && cases.len() > bytes, "{}", cases.len());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (small, cases) = (&small, &cases);
            scope.spawn(move || {
                let copy = Copy::of(small);
                for (what, damage) in cases.iter().skip(worker).step_by(WORKERS) {
                    copy.try_case(what, damage);
                }
                let report = copy.open().unwrap().check(CheckLevel::Data, THREADS, &Unwatched);
                assert_eq!(report.unwrap().problems, []);
            });
        }
    });
}
