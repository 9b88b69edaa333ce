//! What differs between recovery points, and which of them hold a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::served::Served;
use crate::site::Site;

/// Three points of item `docs`: a letter that changes and goes, and a file renamed, one that only
/// changes its mode, and a new one.
fn site() -> (Site, Vec<String>) {
    let site = Site::protected();
    site.write("still/untouched.txt", b"as ever");
    let take = || site.ok(&["protect", site.text(&site.source()), "--item", "docs"]);
    take();
    site.write("letter.txt", b"a second version");
    site.write("sub/new.txt", b"new");
    fs::rename(site.source().join("still/untouched.txt"), site.source().join("still/renamed.txt"))
        .unwrap();
    let notes = site.source().join("sub/notes.txt");
    fs::set_permissions(notes, fs::Permissions::from_mode(0o600)).unwrap();
    take();
    let points = site.json(&["points", "docs"]);
    let ids = points.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().into());
    let ids = ids.collect();
    (site, ids)
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn two_points_are_compared() {
    let (site, ids) = site();
    let told = site.ok(&["diff", &ids[1], &ids[2]]);
    let told = str::from_utf8(&told).unwrap();
    let expected = "M letter.txt  content, modified  13 B -> 16 B\n\
                    R still/untouched.txt -> still/renamed.txt  7 B\n\
                    + sub/new.txt  3 B\n\
                    U sub/notes.txt  mode\n\
                    1 entry added (3 B), 1 entry changed (16 B), 1 entry renamed (7 B), 1 entry \
                    changed in metadata alone (10.7 KiB)\n";
    assert_eq!(told, expected);

    // Where nothing differs, and with the short forms that people use.
    let prefix = ids[1].get(..8).unwrap();
    assert_eq!(site.ok(&["diff", prefix, &ids[1]]), b"nothing differs\n");
    let below = site.ok(&["diff", &ids[0], "latest", "sub", "--item", "docs"]);
    assert!(str::from_utf8(&below).unwrap().starts_with("+ sub/new.txt  3 B\nU sub/notes.txt"));

    let json = lines(&site.ok(&["diff", &ids[2], &ids[1], "--json"]));
    let changes: Vec<_> = json.iter().map(|line| line["change"].as_str()).collect();
    let kinds = [Some("changed"), Some("renamed"), Some("removed"), Some("metadata"), None];
    assert_eq!(changes, kinds);
    assert_eq!(json[0]["new"]["size"], 13);
    assert_eq!(json[4]["summary"]["removed"]["bytes"], 3);

    let data = site.json(&["diff", &ids[1], &ids[2]]);
    assert_eq!(data.as_array().unwrap().len(), 4, "{data}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let (site, ids) = site();
    site.fails(&["diff", &ids[0], &ids[1], "nowhere"], 5, "PointPathNotFound");
    site.fails(&["diff", &ids[0], "ffffffff"], 5, "PointNotFound");
    site.fails(&["diff", &ids[0], &ids[1], "--item", "pictures"], 5, "there is no item");
    site.fails(&["diff", &ids[0]], 2, "POINT");
    // With a second item, a time no longer says which.
    let other = site.path("other");
    fs::create_dir(&other).unwrap();
    site.ok(&["protect", site.text(&other)]);
    site.ok(&["diff", &ids[0], "latest"]);
    site.fails(&["diff", "2026-01-01", "latest"], 5, "--item");
}

#[test]
fn files_are_found_in_the_points_that_hold_them() {
    let (site, ids) = site();
    let found = lines(&site.ok(&["find", "letter.txt", "--json"]));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!((found[0]["size"].as_u64(), found[1]["size"].as_u64()), (Some(16), Some(13)));
    assert_eq!(found[0]["spans"][0]["newest"]["recoveryPointId"], ids[2].as_str());
    let first = &found[1]["spans"];
    assert_eq!(first.as_array().unwrap().len(), 1);
    assert_eq!(first[0]["points"], 2);
    assert_eq!(first[0]["oldest"]["recoveryPointId"], ids[0].as_str());
    assert_eq!(first[0]["newest"]["recoveryPointId"], ids[1].as_str());
    assert_eq!(found[2]["summary"]["points"], 3);

    let paths = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["find"];
        all.extend(arguments);
        all.push("--json");
        let found = lines(&site.ok(&all));
        found.iter().filter_map(|line| line["path"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(paths(&["letter.txt", "--newest"]), ["letter.txt"]);
    assert_eq!(paths(&["letter.txt", "--all"]), ["letter.txt", "letter.txt"]);
    assert_eq!(paths(&["sub/*.txt", "--item", "docs", "--point", &ids[1]]), ["sub/notes.txt"]);
    assert_eq!(paths(&["s*", "--type", "d", "--newest"]), ["still", "sub"]);
    assert_eq!(paths(&["*", "--type", "l"]), Vec::<String>::new());
    assert_eq!(paths(&["nothing.txt"]), Vec::<String>::new());

    let told = site.ok(&["find", "letter.txt", "--newest"]);
    let told = str::from_utf8(&told).unwrap();
    assert!(told.starts_with("docs: letter.txt  16 B, 20"), "{told}");
    assert!(told.ends_with("1 path in 1 version in 3 recovery points\n"), "{told}");
    site.fails(&["find", "a["], 2, "SourcePatternInvalid");
    site.fails(&["find", "x", "--item", "pictures"], 5, "there is no item");
    site.fails(&["find", "x", "--newest", "--all"], 2, "--all");
}

#[test]
fn a_server_tells_the_same() {
    let (site, ids) = site();
    let commands = [vec!["diff", ids[1].as_str(), &ids[2]], vec!["find", "*.txt"]];
    let alone: Vec<_> = commands.iter().map(|command| site.ok(command)).collect();
    let _served = Served::start(&site, &[]);
    let served: Vec<_> = commands.iter().map(|command| site.ok(command)).collect();
    assert_eq!(alone, served);
}
