//! Text that is safe to show on a terminal, under the names that commands use.

pub(crate) use custody_entries::{
    display_line as line, display_path as path, is_plain, shell_word,
};
