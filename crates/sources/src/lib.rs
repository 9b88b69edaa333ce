//! What can be read and restored: folders.
