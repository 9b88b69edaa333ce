//! The help of every command, and the documents made of it.

use std::path::Path;

use crate::world::{World, golden};

/// A generated page of `docs/`; `CUSTODY_GOLDEN=1` writes it anew.
fn page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("CUSTODY_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "docs/{name} differs; CUSTODY_GOLDEN=1 writes it anew");
}

#[test]
fn the_pages_are_what_the_command_says() {
    page("cli.md", &World::new().run("help-markdown").stdout);
    page("exit-codes.md", &World::new().run("help-markdown --exit-codes").stdout);
}

#[test]
fn help() {
    let check = |line: &str, name: &str| {
        let ran = World::new().run(line);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{line}");
        golden(name, &ran.stdout);
    };
    check("--help", "help.txt");
    check("protect --help", "help-protect.txt");
    check("keyvault key set-attributes --help", "help-key-set-attributes.txt");
}

#[test]
fn every_command_has_examples_and_exit_codes() {
    let text = World::new().run("help-markdown").stdout;
    for section in text.split("\n#").skip(2) {
        let title = section.lines().next().unwrap().trim_start_matches(['#', ' ']);
        if section.contains("\nCommands:\n") {
            continue; // a noun: its verbs have them
        }
        for part in ["Examples:\n", "Exit codes:"] {
            assert!(section.contains(part), "{title} has no {part}");
        }
    }
}

#[test]
fn usage_errors_go_to_stderr() {
    let check = |line: &str| {
        let ran = World::new().run(line);
        assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{line}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{line}");
    };
    check("");
    check("protect");
    check("restore documents");
    check("points --output html");
    check("keyvault create -n kv --retention-days 6");
    check("keyvault key set-attributes --enabled maybe -n k");
    check("restore documents --to d --fingerprint ab");
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = World::new().run(&format!("completions {shell}"));
        assert_eq!(ran.exit, 0, "{shell}");
        assert!(ran.stdout.contains("protect"), "{shell}");
    }
}
