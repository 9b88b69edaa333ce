//! Names of users and groups, from the machine's own files.
//!
//! Ids are always stored; names only help a restore on another machine. So `/etc/passwd` and
//! `/etc/group` are read directly: asking the C library would load name-service plugins into a
//! process that holds keys.

use std::collections::HashMap;
use std::path::Path;

/// Where users and groups are listed (passwd(5), group(5)).
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Users and groups of this machine.
#[derive(Default)]
pub(crate) struct Accounts {
    pub(crate) users: Names,
    pub(crate) groups: Names,
}

impl Accounts {
    /// Reads this machine's. A missing file is an empty one.
    pub(crate) fn of_this_machine() -> Self {
        let read = |path| Names::parse(&std::fs::read(Path::new(path)).unwrap_or_default());
        Self { users: read(PASSWD), groups: read(GROUP) }
    }
}

/// Names and their ids, in both directions.
#[derive(Default)]
pub(crate) struct Names {
    names: HashMap<u32, Vec<u8>>,
    ids: HashMap<Vec<u8>, u32>,
}

impl Names {
    /// Parses lines of `name:password:id:…`; of several entries the first counts, as in the C
    /// library.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut parsed = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (Some(name), Some(id)) = (fields.next(), fields.nth(1)) else { continue };
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            let Some(id) = id.filter(|_| !name.is_empty() && !name.starts_with(b"#")) else {
                continue;
            };
            parsed.names.entry(id).or_insert_with(|| name.to_vec());
            parsed.ids.entry(name.to_vec()).or_insert(id);
        }
        parsed
    }

    pub(crate) fn name(&self, id: u32) -> Option<Vec<u8>> {
        self.names.get(&id).cloned()
    }

    pub(crate) fn id(&self, name: &[u8]) -> Option<u32> {
        self.ids.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_found_in_both_directions() {
        let names = Names::parse(
            b"root:x:0:0:root:/root:/bin/sh\n\
              ada:x:1000:1000::/home/ada:/bin/sh\n\
              toor:x:0:0::/:/bin/sh\nada:x:7:7::/:/bin/sh\n\
              # comment:x:3:\n+::::::\nbroken\nalso:broken\nword:x:many:\n:x:5:\n\xff:x:6:\n",
        );
        let check_name =
            |id, expected: Option<&[u8]>| assert_eq!(names.name(id).as_deref(), expected);
        check_name(0, Some(b"root"));
        check_name(1000, Some(b"ada"));
        check_name(6, Some(b"\xff"));
        check_name(3, None);
        check_name(5, None);
        let check_id = |name: &[u8], expected| assert_eq!(names.id(name), expected);
        check_id(b"toor", Some(0));
        check_id(b"ada", Some(1000));
        check_id(b"word", None);
    }
}
