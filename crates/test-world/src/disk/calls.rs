//! What a simulated disk does when it is called.

use std::sync::PoisonError;

use custody_blob_store::disk::{Errno, Files, Found, FoundKind, Place};

use super::fault::Call;
use super::{Inode, OpenFile, OpenFolder, SimulatedDisk, State, Step};

impl Files for SimulatedDisk {
    type Folder = OpenFolder;
    type File = OpenFile;
    type Names = std::vec::IntoIter<Result<String, Errno>>;

    fn reopen(&self, folder: &OpenFolder) -> Result<OpenFolder, Errno> {
        self.state().call(Call::Open)?;
        Ok(OpenFolder(folder.0))
    }

    fn open_folder(&self, parent: &OpenFolder, leaf: &str) -> Result<OpenFolder, Errno> {
        let mut state = self.state();
        state.call(Call::Open)?;
        let inode = state.inode(parent.0, leaf)?;
        match state.found(inode)?.kind {
            FoundKind::Folder => Ok(OpenFolder(inode)),
            FoundKind::File | FoundKind::Other => Err(Errno::NOTDIR),
        }
    }

    fn open_file(&self, parent: &OpenFolder, leaf: &str) -> Result<OpenFile, Errno> {
        let mut state = self.state();
        state.call(Call::Open)?;
        let inode = state.inode(parent.0, leaf)?;
        drop(state);
        Ok(self.open(inode))
    }

    fn create_file(&self, parent: &OpenFolder, leaf: &str) -> Result<OpenFile, Errno> {
        let mut state = self.state();
        state.call(Call::Create)?;
        if state.inode(parent.0, leaf).is_ok() {
            return Err(Errno::EXIST);
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::file(Vec::new()));
        state.take_down(Step::File(inode));
        state.name(parent.0, leaf, Some(inode));
        drop(state);
        Ok(self.open(inode))
    }

    fn make_folder(&self, parent: &OpenFolder, leaf: &str) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Create)?;
        if state.inode(parent.0, leaf).is_ok() {
            return Err(Errno::EXIST);
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::folder());
        state.take_down(Step::Folder(inode));
        state.name(parent.0, leaf, Some(inode));
        Ok(())
    }

    fn look(&self, parent: &OpenFolder, leaf: &str) -> Result<Found, Errno> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let inode = state.inode(parent.0, leaf)?;
        state.found(inode)
    }

    fn look_at(&self, file: &OpenFile) -> Result<Found, Errno> {
        let mut state = self.state();
        state.call(Call::Look)?;
        state.found(file.inode)
    }

    fn read(&self, file: &OpenFile, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut state = self.state();
        let is_short = state.call(Call::Read)?;
        let bytes = state.inodes.get(file.inode).and_then(|inode| inode.bytes.as_deref());
        let start = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let rest = bytes.ok_or(Errno::ISDIR)?.get(start..).unwrap_or_default();
        let wanted = if is_short { buffer.len().div_ceil(2) } else { buffer.len() };
        let part = rest.get(..wanted.min(rest.len())).unwrap_or_default();
        for (to, from) in buffer.iter_mut().zip(part) {
            *to = *from;
        }
        Ok(part.len())
    }

    fn write(&self, file: &OpenFile, bytes: &[u8]) -> Result<usize, Errno> {
        let mut state = self.state();
        let is_short = state.call(Call::Write)?;
        let wanted = if is_short { bytes.len().div_ceil(2) } else { bytes.len() };
        let written = bytes.get(..state.room(wanted)).unwrap_or_default().to_vec();
        if written.is_empty() && !bytes.is_empty() {
            return Err(Errno::NOSPC);
        }
        let held = state.inodes.get_mut(file.inode).and_then(|inode| inode.bytes.as_mut());
        held.ok_or(Errno::ISDIR)?.extend_from_slice(&written);
        let length = written.len();
        state.take_down(Step::Write { file: file.inode, bytes: written });
        Ok(length)
    }

    fn reserve(&self, file: &OpenFile, length: u64) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Write)?;
        let wanted = usize::try_from(length).map_err(|_| Errno::FBIG)?;
        if state.room(wanted) < wanted {
            return Err(Errno::NOSPC);
        }
        state.inodes.get_mut(file.inode).ok_or(Errno::STALE)?.reserved = length;
        Ok(())
    }

    fn sync_file(&self, file: &OpenFile) -> Result<(), Errno> {
        let mut state = self.state();
        state.sync(file.inode, Step::SyncFile(file.inode))
    }

    fn sync_folder(&self, folder: &OpenFolder) -> Result<(), Errno> {
        let mut state = self.state();
        state.sync(folder.0, Step::SyncFolder(folder.0))
    }

    fn rename_new(
        &self,
        from: Place<'_, OpenFolder>,
        to: Place<'_, OpenFolder>,
    ) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Name)?;
        if state.inode(to.folder.0, to.leaf).is_ok() {
            return Err(Errno::EXIST);
        }
        state.rename(from, to)
    }

    fn rename_over(
        &self,
        from: Place<'_, OpenFolder>,
        to: Place<'_, OpenFolder>,
    ) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Name)?;
        state.rename(from, to)
    }

    fn link(&self, from: Place<'_, OpenFolder>, to: Place<'_, OpenFolder>) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Name)?;
        let inode = state.inode(from.folder.0, from.leaf)?;
        if state.inode(to.folder.0, to.leaf).is_ok() {
            return Err(Errno::EXIST);
        }
        state.name(to.folder.0, to.leaf, Some(inode));
        if let Some(inode) = state.inodes.get_mut(inode) {
            inode.links += 1;
        }
        Ok(())
    }

    fn unlink(&self, parent: &OpenFolder, leaf: &str) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Unlink)?;
        let inode = state.inode(parent.0, leaf)?;
        if state.found(inode)?.kind == FoundKind::Folder {
            return Err(Errno::ISDIR);
        }
        state.name(parent.0, leaf, None);
        Ok(())
    }

    fn lock(&self, file: &OpenFile) -> Result<(), Errno> {
        let mut state = self.state();
        state.call(Call::Look)?;
        let inode = state.inodes.get_mut(file.inode).ok_or(Errno::STALE)?;
        if inode.is_locked {
            return Err(Errno::WOULDBLOCK);
        }
        inode.is_locked = true;
        drop(state);
        *file.holds_lock.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    fn names(&self, folder: &OpenFolder) -> Result<Self::Names, Errno> {
        let mut state = self.state();
        state.call(Call::Open)?;
        let names = state.inodes.get(folder.0).map(|inode| inode.names.keys().cloned());
        let names: Vec<_> = names.ok_or(Errno::STALE)?.map(Ok).collect();
        Ok(names.into_iter())
    }
}

impl State {
    fn sync(&mut self, inode: usize, done: Step) -> Result<(), Errno> {
        let called = self.call(Call::Sync).map(drop);
        self.take_down(if called.is_ok() { done } else { Step::Lost(inode) });
        called
    }

    fn rename(
        &mut self,
        from: Place<'_, OpenFolder>,
        to: Place<'_, OpenFolder>,
    ) -> Result<(), Errno> {
        let inode = self.inode(from.folder.0, from.leaf)?;
        self.name(to.folder.0, to.leaf, Some(inode));
        self.name(from.folder.0, from.leaf, None);
        // It has lost one name and won another.
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.links += 1;
        }
        Ok(())
    }
}
