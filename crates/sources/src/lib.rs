//! What can be read and restored: folders, and block devices and streams as files of their own.
//!
//! [`FolderSource`] walks one or several paths and tells a [`custody_entries::Sink`] what it
//! finds; [`FolderTarget`] gives it back. Both treat the tree as hostile: someone else may swap
//! folders for links, files for pipes and names for others at any moment. So every step is taken
//! from an open folder by a single name and without following links; a path is only ever put
//! together to be shown (DESIGN §6, "Restores"; reference/quality-bar.md B3, rows 48–54).

mod accounts;
mod ahead;
mod content;
mod device;
mod device_target;
mod dress;
mod entering;
mod error;
mod file_writer;
mod folder;
mod folder_source;
mod folder_target;
mod handle;
mod linking;
mod listing;
mod marker;
mod patterns;
mod placed;
mod policy;
mod proc_path;
mod reading;
mod restoration;
mod site;
mod special;
mod standing;
mod status;
mod stream;
mod summary;
mod tally;
mod temporary;
mod unfinished;
mod walk;
mod xattrs;

pub use device_target::DeviceTarget;
pub use error::{source_code, target_code};
pub use folder_source::{FolderOptions, FolderSource};
pub use folder_target::{FolderTarget, TargetOptions};
pub use marker::Marker;
pub use patterns::PathPattern;
pub use policy::{Overwrite, OwnerPolicy};
pub use stream::{FRAME_BYTES_MAX, StreamFault, StreamSource};
pub use summary::{LeftOut, LeftOutReason, WalkSummary};
