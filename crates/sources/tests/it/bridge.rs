//! What the tests put between a source and a target.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use custody_entries::{
    Content, Entry, EntryKind, FilePlace, FileWriter, Flow, Landing, Metadata, Segment, Settlement,
    Sink, Source, Target, Warning,
};
use custody_sources::{FolderOptions, FolderSource, FolderTarget, TargetOptions};

/// Changes a tree while it is walked; is told each path.
pub(crate) type Interference = Box<dyn FnMut(&str)>;

/// A sink that keeps everything it is told.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) root: Option<Metadata>,
    pub(crate) entries: Vec<(String, Entry)>,
    pub(crate) contents: HashMap<String, Box<dyn Content>>,
    pub(crate) warnings: Vec<Warning>,
    /// Called with each path before the sink returns: the moment to change the tree.
    pub(crate) meanwhile: Option<Interference>,
    within: Vec<String>,
}

impl Collected {
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|(path, _)| path.as_str()).collect()
    }

    pub(crate) fn entry(&self, path: &str) -> &Entry {
        &self.entries.iter().find(|(at, _)| at == path).unwrap().1
    }

    /// Code and path of each warning.
    pub(crate) fn warned(&self) -> Vec<(&'static str, String)> {
        shown(&self.warnings)
    }

    fn note(&mut self, entry: Entry) -> String {
        let name = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
        let path = self.within.iter().chain([&name]).cloned().collect::<Vec<_>>().join("/");
        self.entries.push((path.clone(), entry));
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile(&path);
        }
        path
    }
}

impl Sink for Collected {
    fn root(&mut self, metadata: Metadata) -> Flow {
        self.root = Some(metadata);
        Flow::Continue
    }

    fn folder(&mut self, folder: Entry) -> Flow {
        let name = String::from_utf8_lossy(folder.name.as_bytes()).into_owned();
        self.note(folder);
        self.within.push(name);
        Flow::Continue
    }

    fn leave(&mut self) -> Flow {
        self.within.pop().expect("leave without folder");
        Flow::Continue
    }

    fn file(&mut self, file: Entry, content: Box<dyn Content>) -> Flow {
        let path = self.note(file);
        self.contents.insert(path, content);
        Flow::Continue
    }

    fn other(&mut self, entry: Entry) -> Flow {
        self.note(entry);
        Flow::Continue
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// Walks `paths` and collects what is told.
pub(crate) fn collect(paths: &[&Path], options: FolderOptions) -> (Collected, FolderSource) {
    collect_while(paths, options, None)
}

/// Walks `paths` while `meanwhile` interferes.
pub(crate) fn collect_while(
    paths: &[&Path],
    options: FolderOptions,
    meanwhile: Option<Interference>,
) -> (Collected, FolderSource) {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let mut source = FolderSource::new(&paths, options).unwrap();
    let mut sink = Collected { meanwhile, ..Collected::default() };
    source.walk(&mut sink).unwrap();
    assert!(sink.within.is_empty(), "a folder was not left");
    (sink, source)
}

/// Reads a whole content: the bytes, the holes as (offset, length), and whether it stood still.
pub(crate) fn read(content: &dyn Content) -> (Vec<u8>, Vec<(u64, u64)>, Settlement) {
    let mut reader = content.open().unwrap();
    let (mut bytes, mut holes) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 100_000];
    loop {
        match reader.next(&mut buffer).unwrap() {
            Segment::Data(length) => bytes.extend_from_slice(&buffer[..length]),
            Segment::Hole(length) => {
                holes.push((bytes.len() as u64, length));
                bytes.resize(bytes.len() + usize::try_from(length).unwrap(), 0);
            }
            Segment::End => break,
        }
    }
    (bytes, holes, reader.settle().unwrap())
}

/// Feeds what a source tells straight into a target.
pub(crate) struct Bridge<'a> {
    pub(crate) target: &'a mut dyn Target,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) landings: Vec<Landing>,
    links: HashMap<(u64, u64), Vec<u8>>,
    within: Vec<Vec<u8>>,
    /// How many folders deep inside one that was skipped.
    skipped: usize,
}

impl<'a> Bridge<'a> {
    pub(crate) fn new(target: &'a mut dyn Target) -> Self {
        Self {
            target,
            warnings: Vec::new(),
            landings: Vec::new(),
            links: HashMap::new(),
            within: Vec::new(),
            skipped: 0,
        }
    }

    /// Makes a hard link if the entry was restored before under another name.
    fn linked(&mut self, entry: &Entry) -> bool {
        let identity = entry.metadata.identity;
        if identity.links < 2 {
            return false;
        }
        let mut path = self.within.clone();
        path.push(entry.name.as_bytes().to_vec());
        let path = path.join(&b'/');
        match self.links.insert((identity.device, identity.inode), path) {
            None => false,
            Some(earlier) => {
                let landing = self.target.hard_link(entry, &earlier).unwrap();
                self.landings.push(landing);
                true
            }
        }
    }
}

impl Sink for Bridge<'_> {
    fn root(&mut self, metadata: Metadata) -> Flow {
        self.target.root(&metadata).unwrap();
        Flow::Continue
    }

    fn folder(&mut self, folder: Entry) -> Flow {
        if self.skipped > 0 {
            self.skipped += 1;
            return Flow::Continue;
        }
        let landing = self.target.folder(&folder).unwrap();
        self.landings.push(landing);
        if landing == Landing::Skipped {
            self.skipped = 1;
        } else {
            self.within.push(folder.name.as_bytes().to_vec());
        }
        Flow::Continue
    }

    fn leave(&mut self) -> Flow {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.within.pop();
            self.target.leave().unwrap();
        }
        Flow::Continue
    }

    fn file(&mut self, file: Entry, content: Box<dyn Content>) -> Flow {
        if self.skipped > 0 || self.linked(&file) {
            return Flow::Continue;
        }
        let (FilePlace::Free(mut writer) | FilePlace::Replaced(mut writer)) =
            self.target.file(&file).unwrap()
        else {
            self.landings.push(Landing::Kept);
            return Flow::Continue;
        };
        let mut reader = content.open().unwrap();
        let mut buffer = vec![0; 70_000];
        let mut offset = 0;
        loop {
            match reader.next(&mut buffer).unwrap() {
                Segment::Data(length) => {
                    writer.write_at(offset, &buffer[..length]).unwrap();
                    offset += length as u64;
                }
                Segment::Hole(length) => offset += length,
                Segment::End => break,
            }
        }
        assert_eq!(reader.settle().unwrap(), Settlement::Steady);
        assert_eq!(file.kind, EntryKind::File { size: offset });
        self.warnings.extend(writer.finish().unwrap());
        self.landings.push(Landing::Made);
        Flow::Continue
    }

    fn other(&mut self, entry: Entry) -> Flow {
        if self.skipped == 0 && !self.linked(&entry) {
            let landing = self.target.other(&entry).unwrap();
            self.landings.push(landing);
        }
        Flow::Continue
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// What writes a file that nothing stands in the way of.
pub(crate) fn writer(place: FilePlace) -> Box<dyn FileWriter> {
    match place {
        FilePlace::Free(writer) | FilePlace::Replaced(writer) => writer,
        _ => panic!("the file is not written"),
    }
}

/// Restores `source` into `target` and returns all warnings as code and path.
pub(crate) fn restore(
    source: &Path,
    target: &Path,
    options: TargetOptions,
) -> Vec<(&'static str, String)> {
    let mut source = FolderSource::new(&[source.into()], FolderOptions::default()).unwrap();
    let mut target = FolderTarget::open(target, options).unwrap();
    let mut bridge = Bridge::new(&mut target);
    source.walk(&mut bridge).unwrap();
    let mut warnings = std::mem::take(&mut bridge.warnings);
    warnings.extend(target.complete());
    shown(&warnings)
}

/// Code and path of each warning, sorted.
pub(crate) fn shown(warnings: &[Warning]) -> Vec<(&'static str, String)> {
    let mut shown: Vec<_> = warnings
        .iter()
        .map(|warning| (warning.code, String::from_utf8_lossy(&warning.path).into_owned()))
        .collect();
    shown.sort();
    shown
}

/// Whether the tests run as root; what only root can do is checked only then.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
