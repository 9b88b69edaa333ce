//! The walk itself: depth first, without recursion, one open folder at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use custody_entries::{
    ChangedBlocks, Entry, EntryKind, EntryName, Flow, Metadata, Sink, Warning, Xattr,
};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, readlinkat};
use rustix::io::{self, Errno};

use crate::accounts::Accounts;
use crate::ahead::{Ahead, Asked, Looked, Wanted};
use crate::content::FileContent;
use crate::device::DeviceContent;
use crate::error::{entry_warning, reason, source_code};
use crate::folder::Folder;
use crate::folder_source::{Rules, TopRefused};
use crate::listing::Listing;
use crate::marker::{Marker, cache_tag};
use crate::proc_path;
use crate::status::Status;
use crate::summary::{LeftOutReason, WalkSummary};
use crate::xattrs::XattrReader;

/// How many folders in the one at hand are looked at before the walk comes to them …
const AHEAD_IN_FOLDER: usize = 4;
/// … and in all the folders that it is in. Each is open.
const AHEAD_MAX: usize = 64;

/// A walk under way.
pub(crate) struct Walk<'a> {
    rules: &'a Rules,
    sink: &'a mut dyn Sink,
    /// Who looks at what comes next, if anybody does.
    ahead: Option<&'a Ahead>,
    /// Folders that were asked for and not reached yet, in all frames.
    asked: usize,
    summary: WalkSummary,
    accounts: Accounts,
    xattrs: Option<XattrReader>,
    cache_tag: Option<Marker>,
    /// The device of the path being walked.
    device: u64,
    /// The path below the top of what is being looked at.
    path: Vec<u8>,
    frames: Vec<Frame>,
    /// What is known of the next file, if that is the one image that is walked.
    hints: Option<ChangedBlocks>,
}

/// A folder whose entries are being told.
struct Frame {
    folder: Arc<Folder>,
    listing: Listing,
    next: usize,
    /// What somebody saw of the first of the names.
    statuses: std::vec::IntoIter<io::Result<Status>>,
    /// The folders in it that were asked for, by the places of their names.
    asked: VecDeque<(usize, Arc<Asked>)>,
    /// Where to look for the next one to be asked for.
    passed: usize,
    /// How long `Walk::path` is without the names in this folder.
    path_length: usize,
    /// Whether the sink was told of it as a folder, which the top of the source is not.
    is_entry: bool,
}

/// What to do with a folder that was opened.
enum Verdict {
    Take(Listing),
    LeaveOut,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(rules: &'a Rules, sink: &'a mut dyn Sink, ahead: Option<&'a Ahead>) -> Self {
        Self {
            rules,
            sink,
            ahead,
            asked: 0,
            summary: WalkSummary::default(),
            accounts: Accounts::of_this_machine(),
            xattrs: Some(XattrReader::new()),
            cache_tag: rules.options.exclude_caches.then(cache_tag),
            device: 0,
            path: Vec::new(),
            frames: Vec::new(),
            hints: None,
        }
    }

    pub(crate) fn into_summary(self) -> WalkSummary {
        self.summary
    }

    /// Walks a folder that the operator named: the top itself, or the entry `name` in it.
    pub(crate) fn top(
        &mut self,
        folder: Arc<Folder>,
        name: Option<EntryName>,
    ) -> Result<Flow, TopRefused> {
        let descriptor = folder.descriptor().map_err(TopRefused::System)?;
        let status = Status::of_open(&*descriptor).map_err(TopRefused::System)?;
        self.begin(&descriptor, status.identity.device);
        self.path.extend(name.iter().flat_map(EntryName::as_bytes));
        if self.rules.is_own(&status) {
            return Err(TopRefused::Own);
        }
        let (listing, outcome) = Listing::read(&*descriptor);
        outcome.map_err(TopRefused::System)?;
        let Verdict::Take(listing) = self.judge(&descriptor, listing) else {
            return Err(TopRefused::Own);
        };
        let metadata = self.metadata(&descriptor, b".", &status).map_err(TopRefused::System)?;
        let is_entry = name.is_some();
        let flow = match name {
            None => self.sink.root(metadata),
            Some(name) => self.tell_folder(Entry { name, kind: EntryKind::Folder, metadata }),
        };
        self.enter(folder, listing, Vec::new(), is_entry);
        Ok(if flow == Flow::Continue { self.run() } else { Flow::Stop })
    }

    /// What somebody knows of the one image that is walked.
    pub(crate) fn changed(&self) -> Option<&ChangedBlocks> {
        self.rules.options.changed.as_ref()
    }

    /// Tells of a block device that the operator named, as a file of its bytes.
    pub(crate) fn device(
        &mut self,
        folder: &Arc<Folder>,
        name: EntryName,
        device: DeviceContent,
        is_in_use: bool,
    ) -> Flow {
        self.path.clear();
        self.path.extend_from_slice(name.as_bytes());
        if is_in_use {
            let message = "the device is mounted or in use, so what is read may mix states: back up a \
                           snapshot of it";
            self.warn(source_code::DEVICE_IN_USE, message.to_owned());
        }
        let metadata = folder.descriptor().and_then(|descriptor| {
            let status = Status::of(&*descriptor, name.as_bytes())?;
            self.metadata(&descriptor, name.as_bytes(), &status)
        });
        let size = device.size_bytes();
        match metadata {
            Ok(metadata) => {
                self.summary.files += 1;
                self.summary.bytes += size;
                // What restores it as a file is not to make it executable, or a program.
                let metadata = Metadata { mode: metadata.mode & 0o666, ..metadata };
                self.sink.file(
                    Entry { name, kind: EntryKind::File { size }, metadata },
                    Box::new(device),
                )
            }
            Err(errno) => self.warn_entry(errno),
        }
    }

    /// Tells of one entry that the operator named and that is no folder.
    pub(crate) fn single(&mut self, folder: &Arc<Folder>, name: &EntryName) -> Flow {
        match folder.descriptor() {
            Ok(descriptor) => self.begin(&descriptor, 0),
            Err(errno) => return self.warn_entry(errno),
        }
        self.path.extend_from_slice(name.as_bytes());
        self.hints = self.changed().cloned();
        self.visit(folder, name.clone(), None, None)
    }

    fn begin(&mut self, descriptor: &OwnedFd, device: u64) {
        self.device = device;
        self.path.clear();
        if self.xattrs.is_some() && !proc_path::works(descriptor) {
            self.xattrs = None;
            let message = "extended attributes and ACLs are not taken: /proc is not mounted";
            self.warn(source_code::XATTR_UNREADABLE, message.to_owned());
        }
    }

    fn run(&mut self) -> Flow {
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path_length);
            let Some(name) = frame.listing.name(frame.next) else {
                if self.leave() == Flow::Stop {
                    return Flow::Stop;
                }
                continue;
            };
            let place = frame.next;
            frame.next += 1;
            let seen = frame.statuses.next();
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            let folder = Arc::clone(&frame.folder);
            let name = EntryName::new(name);
            let asked = self.asked_at(place);
            let flow = match name {
                Ok(name) => self.visit(&folder, name, seen, asked),
                Err(_) => self.warn_entry(Errno::ILSEQ),
            };
            if flow == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    }

    fn enter(
        &mut self,
        folder: Arc<Folder>,
        listing: Listing,
        statuses: Vec<io::Result<Status>>,
        is_entry: bool,
    ) {
        self.frames.push(Frame {
            folder,
            listing,
            next: 0,
            statuses: statuses.into_iter(),
            asked: VecDeque::new(),
            passed: 0,
            path_length: self.path.len(),
            is_entry,
        });
        self.look_ahead();
    }

    /// Asks for the folders that come next in the one at hand.
    fn look_ahead(&mut self) {
        let (Some(ahead), Some(frame)) = (self.ahead, self.frames.last_mut()) else { return };
        let mut path = Vec::new();
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        while frame.asked.len() + places.len() < AHEAD_IN_FOLDER
            && self.asked + places.len() < AHEAD_MAX
            && let Some(is_folder) = frame.listing.is_folder(frame.passed)
        {
            let place = frame.passed;
            frame.passed += 1;
            let name = frame.listing.name(place).filter(|_| is_folder);
            let Some(Ok(name)) = name.map(EntryName::new) else { continue };
            path.clear();
            path.extend_from_slice(self.path.get(..frame.path_length).unwrap_or_default());
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            if !self.rules.patterns.exclude(&path, true) {
                let (parent, device) = (Arc::clone(&frame.folder), self.device);
                places.push(place);
                wanted.push(Wanted { parent, name, device });
            }
        }
        if !wanted.is_empty() {
            self.asked += wanted.len();
            frame.asked.extend(places.into_iter().zip(ahead.ask(wanted)));
        }
    }

    /// What was asked for at this place in the folder at hand; if something was, the next is asked for.
    fn asked_at(&mut self, place: usize) -> Option<Arc<Asked>> {
        let asked = &mut self.frames.last_mut()?.asked;
        let (_, found) = asked.pop_front_if(|(at, _)| *at == place)?;
        self.asked -= 1;
        self.look_ahead();
        Some(found)
    }

    fn leave(&mut self) -> Flow {
        let Some(frame) = self.frames.pop() else { return Flow::Stop };
        frame.folder.reopen_parent();
        if frame.is_entry { self.sink.leave() } else { Flow::Continue }
    }

    fn visit(
        &mut self,
        folder: &Arc<Folder>,
        name: EntryName,
        seen: Option<io::Result<Status>>,
        asked: Option<Arc<Asked>>,
    ) -> Flow {
        let looked_at = self.look_at(folder, name, seen, asked.as_deref());
        if let Some(asked) = asked {
            asked.give_up();
        }
        looked_at.unwrap_or_else(|errno| self.warn_entry(errno))
    }

    fn look_at(
        &mut self,
        folder: &Arc<Folder>,
        name: EntryName,
        seen: Option<io::Result<Status>>,
        asked: Option<&Asked>,
    ) -> io::Result<Flow> {
        let descriptor = folder.descriptor()?;
        let status = match seen {
            Some(seen) => seen?,
            None => Status::of(&*descriptor, name.as_bytes())?,
        };
        if self.rules.is_own(&status) {
            self.summary.leave_out(&self.path, LeftOutReason::Own);
            return Ok(Flow::Continue);
        }
        if self.rules.patterns.exclude(&self.path, status.kind.is_dir()) {
            self.summary.excluded_by_pattern += 1;
            return Ok(Flow::Continue);
        }
        if status.kind.is_dir() {
            let looked = match asked.and_then(Asked::take) {
                Some(looked) => looked,
                None => Looked::into(&descriptor, &name, self.device, self.rules)?,
            };
            return self.open_folder(folder, name, looked);
        }
        let kind = kind_of(&descriptor, &name, &status)?;
        let mut entry = Entry { name, kind, metadata: self.plain_metadata(&status) };
        if status.kind.is_file() {
            entry.metadata.xattrs = match self.sink.known_xattrs(&entry) {
                Some(known) => known,
                None => self.xattrs(&descriptor, entry.name.as_bytes())?,
            };
            self.summary.files += 1;
            self.summary.bytes += status.size_bytes;
            let content = FileContent::new(folder, entry.name.clone(), status);
            let content = content.with_changed(self.hints.take());
            return Ok(self.sink.file(entry, Box::new(content)));
        }
        entry.metadata.xattrs = self.xattrs(&descriptor, entry.name.as_bytes())?;
        self.summary.other += 1;
        Ok(self.sink.other(entry))
    }

    /// Goes into a folder, judging by what was opened, not by what was seen before.
    fn open_folder(
        &mut self,
        parent: &Arc<Folder>,
        name: EntryName,
        looked: Looked,
    ) -> io::Result<Flow> {
        let Looked { descriptor, status, listing, outcome, statuses } = looked;
        if self.rules.is_own(&status) {
            self.summary.leave_out(&self.path, LeftOutReason::Own);
            return Ok(Flow::Continue);
        }
        let metadata = self.metadata(&descriptor, b".", &status)?;
        let entry = Entry { name: name.clone(), kind: EntryKind::Folder, metadata };
        if self.rules.is_elsewhere(self.device, &status) {
            self.summary.leave_out(&self.path, LeftOutReason::OtherFileSystem);
            let flow = self.tell_folder(entry);
            return Ok(if flow == Flow::Continue { self.sink.leave() } else { Flow::Stop });
        }
        if let Err(errno) = outcome {
            let message = format!("some of its entries are missing: {}", reason(errno));
            self.warn(source_code::ENTRY_UNREADABLE, message);
        }
        let names = listing.len();
        let Verdict::Take(listing) = self.judge(&descriptor, listing) else {
            self.summary.leave_out(&self.path, LeftOutReason::Own);
            return Ok(Flow::Continue);
        };
        let folder = parent.child(name, descriptor, status.place());
        let flow = self.tell_folder(entry);
        // Of a cache only the tag is left: what was seen is of other names.
        let statuses = if listing.len() == names { statuses } else { Vec::new() };
        self.enter(folder, listing, statuses, true);
        Ok(flow)
    }

    /// What the names in a folder say about it.
    fn judge(&mut self, descriptor: &OwnedFd, mut listing: Listing) -> Verdict {
        let says = |marker: &Marker| {
            listing.holds(marker.file_name.as_bytes()) && marker.marks(descriptor)
        };
        if self.rules.options.own_markers.iter().any(says) {
            return Verdict::LeaveOut;
        }
        if let Some(tag) = self.cache_tag.as_ref().filter(|tag| says(tag)) {
            listing.keep_only(tag.file_name.as_bytes());
            self.summary.leave_out(&self.path, LeftOutReason::Cache);
        }
        Verdict::Take(listing)
    }

    fn tell_folder(&mut self, entry: Entry) -> Flow {
        self.summary.folders += 1;
        self.sink.folder(entry)
    }

    /// The metadata of `name` in a folder, of the folder itself if it is `.`.
    fn metadata(&mut self, at: &OwnedFd, name: &[u8], status: &Status) -> io::Result<Metadata> {
        let xattrs = self.xattrs(at, name)?;
        Ok(Metadata { xattrs, ..self.plain_metadata(status) })
    }

    /// The extended attributes of `name` in a folder.
    fn xattrs(&mut self, at: &OwnedFd, name: &[u8]) -> io::Result<Vec<Xattr>> {
        let mut refused = Vec::new();
        let xattrs = match &mut self.xattrs {
            Some(reader) => reader.read(at, name, |name, errno| {
                refused.push((String::from_utf8_lossy(name).into_owned(), errno));
            })?,
            None => Vec::new(),
        };
        for (name, errno) in refused {
            let message = format!("attribute {name:?} was not taken: {}", reason(errno));
            self.warn(source_code::XATTR_UNREADABLE, message);
        }
        Ok(xattrs)
    }

    /// All metadata but the extended attributes.
    fn plain_metadata(&mut self, status: &Status) -> Metadata {
        Metadata {
            mode: status.mode,
            uid: status.uid,
            gid: status.gid,
            user: self.accounts.users.name(status.uid),
            group: self.accounts.groups.name(status.gid),
            modified: status.modified,
            xattrs: Vec::new(),
            identity: status.identity,
        }
    }

    fn warn_entry(&mut self, errno: Errno) -> Flow {
        self.summary.warnings += 1;
        self.sink.warn(entry_warning(&self.path, errno));
        Flow::Continue
    }

    fn warn(&mut self, code: &'static str, message: String) {
        self.summary.warnings += 1;
        self.sink.warn(Warning { code, path: self.path.clone(), message });
    }
}

/// What an entry other than a folder is. Nothing is opened.
fn kind_of(at: &OwnedFd, name: &EntryName, status: &Status) -> io::Result<EntryKind> {
    Ok(match status.kind {
        FileType::RegularFile => EntryKind::File { size: status.size_bytes },
        FileType::Symlink => {
            let target = readlinkat(at, name.as_bytes(), Vec::new())?;
            EntryKind::Symlink { target: target.into_bytes() }
        }
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::BlockDevice => EntryKind::BlockDevice(status.device_number),
        FileType::CharacterDevice => EntryKind::CharDevice(status.device_number),
        FileType::Directory | FileType::Unknown => return Err(Errno::STALE),
    })
}
