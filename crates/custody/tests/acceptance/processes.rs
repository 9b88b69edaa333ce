//! Several processes on one data folder at once.

use crate::site::{Ran, Site};

#[test]
fn backups_restores_and_a_rotation_at_once_all_finish() {
    let site = Site::protected();
    let vault = site.key_vault();
    for number in 0..200 {
        let text = format!("file {number} ").repeat(500);
        site.write(&format!("many/{number}"), text.as_bytes());
    }
    let source = site.source();
    let (one, two) = (site.path("one"), site.path("two"));
    let commands: Vec<Vec<&str>> = vec![
        vec!["protect", site.text(&source), "--item", "docs"],
        vec!["restore", "docs", "--to", site.text(&one)],
        vec!["protect", site.text(&source), "--item", "docs"],
        vec!["keyvault", "key", "rotate", "--vault-name", &vault, "--name", "backup"],
        vec!["restore", "docs", "--to", site.text(&two)],
        vec!["verify"],
    ];
    let children: Vec<_> = commands.iter().map(|command| site.start(command)).collect();
    for (command, child) in commands.iter().zip(children) {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
    }
    site.ok(&["verify", "--read-data"]);
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 3);
    site.assert_restores("back");
    site.ok(&["ledger", "verify"]);
}

#[test]
fn two_first_starts_at_once_make_one_installation() {
    let site = Site::new();
    let children: Vec<_> = (0..4).map(|_| site.start(&["init"])).collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    site.ok(&["status"]);
}

#[test]
fn a_killed_backup_leaves_earlier_points_and_no_manual_step() {
    let site = Site::protected();
    for number in 0..50 {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|at| (at ^ number).to_le_bytes()).collect();
        site.write(&format!("big/{number}"), &text);
    }
    let source = site.source();
    let arguments = ["protect", site.text(&source), "--item", "docs", "--progress", "json"];
    let mut child = site.start(&arguments);
    // The first line of progress tells that the job has begun.
    let mut first = [0_u8; 1];
    std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(site.json(&["points", "docs"]).as_array().unwrap().len(), 1);
    assert_eq!(site.ok(&["cat", "docs", "letter.txt"]), b"the only copy");
    site.ok(&["protect", site.text(&source), "--item", "docs"]);
    site.ok(&["verify", "--read-data"]);
    site.assert_restores("back");
}
