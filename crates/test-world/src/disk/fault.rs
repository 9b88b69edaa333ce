//! Calls that fail.

use custody_blob_store::disk::Errno;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Opens or lists.
    Open,
    /// Makes a file or a folder.
    Create,
    /// Asks for a type, a length, a lock.
    Look,
    /// Reads bytes.
    Read,
    /// Writes bytes.
    Write,
    /// Syncs a file or a folder.
    Sync,
    /// Renames or links.
    Name,
    /// Takes a name away.
    Unlink,
}

/// What may be wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EIO: any call.
    Device,
    /// ENOSPC: calls that need room.
    Full,
    /// EROFS: calls that change something.
    ReadOnly,
    /// EMFILE: calls that open.
    Descriptors,
    /// EINTR: any call.
    Interrupted,
    /// Half of what was asked for: reads and writes.
    Short,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Device,
        Self::Full,
        Self::ReadOnly,
        Self::Descriptors,
        Self::Interrupted,
        Self::Short,
    ];

    /// Whether such a call can have this trouble.
    pub fn befalls(self, call: Call) -> bool {
        match self {
            Self::Device | Self::Interrupted => true,
            Self::Full => matches!(call, Call::Create | Call::Write | Call::Sync | Call::Name),
            Self::ReadOnly => {
                matches!(call, Call::Create | Call::Write | Call::Name | Call::Unlink)
            }
            Self::Descriptors => matches!(call, Call::Open | Call::Create),
            Self::Short => matches!(call, Call::Read | Call::Write),
        }
    }

    /// Whether a program can be expected to get over it at once.
    pub fn is_harmless(self, call: Call) -> bool {
        match self {
            Self::Interrupted => call != Call::Sync,
            Self::Short => true,
            Self::Device | Self::Full | Self::ReadOnly | Self::Descriptors => false,
        }
    }
}

/// A planned fault.
#[derive(Clone, Copy, Debug)]
pub struct DiskFault {
    /// The call that fails, counted from 0.
    pub call: usize,
    /// How.
    pub trouble: Trouble,
    /// Whether every later call that can have this trouble has it too.
    pub lasting: bool,
}

impl DiskFault {
    /// Whether the call is to be short; or its error.
    pub(super) fn strike(&self, number: usize, call: Call) -> Result<bool, Errno> {
        let strikes = number == self.call || self.lasting && number > self.call;
        if !strikes || !self.trouble.befalls(call) {
            return Ok(false);
        }
        match self.trouble {
            Trouble::Device => Err(Errno::IO),
            Trouble::Full => Err(Errno::NOSPC),
            Trouble::ReadOnly => Err(Errno::ROFS),
            Trouble::Descriptors => Err(Errno::MFILE),
            Trouble::Interrupted => Err(Errno::INTR),
            Trouble::Short => Ok(true),
        }
    }
}
