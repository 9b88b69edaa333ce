//! Comparing two trees as the issue asks: by the system's own tools.

use std::path::Path;
use std::process::Command;

/// Content, names and link targets; attributes; ACLs; times, modes, owners and link counts; room
/// on disk of sparse files.
pub(crate) fn assert_equal(one: &Path, two: &Path) {
    let mut diff = Command::new("diff");
    // diff reports any two pipes or device nodes as different; `find` and `stat` compare those.
    let special = ["-x", "fifo", "-x", "null"];
    let diff = diff.args(["-r", "--no-dereference"]).args(special).arg(one).arg(two);
    let diff = diff.output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    for command in [
        "getfattr -h -d -m - -R . | sort",
        "getfacl -p -R --physical .",
        "find . -type d -printf '%P %m %U %G %n %T@\\n' | sort",
        "find . ! -type d -printf '%P %y %m %U %G %n %T@ %s %l\\n' | sort",
        "find . -type c -exec stat -c '%n %t %T' {} + | sort",
    ] {
        let (left, right) = (printed(command, one), printed(command, two));
        assert_eq!(left, right, "{command}");
    }
}

fn printed(command: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-c", command]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
