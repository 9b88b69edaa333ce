//! Opening a repository without the records, and setting up from a recovery kit.
