//! Diff and find over points of items in both kinds of vault, and items that are streams.

use std::fs;

use serde_json::{Value, json};

use crate::protection::{KINDS, Kind, Protected};

/// An item with two points: the letter changes, and an answer comes.
fn two_points(kind: Kind) -> Protected {
    let protected = Protected::new(kind, json!({}));
    let source = protected.folders.path().join("documents");
    assert_eq!(protected.backup().status, 202);
    protected.world.clock.advance(std::time::Duration::from_mins(1));
    fs::write(source.join("answer"), "dear writer").unwrap();
    fs::write(source.join("letter"), "dear reader, again").unwrap();
    assert_eq!(protected.backup().status, 202);
    protected
}

/// What the lines say under these names.
fn told(lines: &Value, names: [&str; 2]) -> Vec<[Value; 2]> {
    let lines = lines.as_array().unwrap();
    assert!(lines.last().unwrap()["summary"].is_object(), "{lines:?}");
    lines[..lines.len() - 1].iter().map(|line| names.map(|name| line[name].clone())).collect()
}

#[test]
fn points_are_compared_and_searched() {
    for kind in KINDS {
        let protected = two_points(kind);
        let item = protected.item();
        let points = protected.world.get(&format!("{item}/recoveryPoints")).body;
        let oldest = points["value"].as_array().unwrap().iter().min_by_key(|point| {
            point["properties"]["recoveryPointTime"].as_str().unwrap().to_owned()
        });
        let oldest = oldest.unwrap()["name"].as_str().unwrap();
        let body = json!({ "old": oldest, "new": "latest" });
        let differing = protected.world.post(&format!("{item}/diff"), body);
        assert_eq!(differing.status, 200, "{differing:?}");
        let expected = [[json!("answer"), json!("added")], [json!("letter"), json!("changed")]];
        assert_eq!(told(&differing.body, ["path", "change"]), expected, "{kind:?}");
        assert_eq!(differing.body[1]["aspects"][0], "content");

        let find = |body: Value| protected.world.post(&format!("{item}/find"), body);
        let found = find(json!({ "pattern": "letter" }));
        let expected = [[json!("letter"), json!(18)], [json!("letter"), json!(11)]];
        assert_eq!(told(&found.body, ["path", "size"]), expected, "{kind:?}");
        let newest = find(json!({ "pattern": "*", "newest": true, "kinds": ["file"] }));
        let expected = [[json!("answer"), json!(11)], [json!("letter"), json!(18)]];
        assert_eq!(told(&newest.body, ["path", "size"]), expected, "{kind:?}");
        let within = find(json!({ "pattern": "answer", "points": [oldest] }));
        assert_eq!(told(&within.body, ["path", "size"]), Vec::<[Value; 2]>::new());
    }
}

#[test]
fn what_cannot_be_compared_or_searched_says_so() {
    let protected = two_points(Kind::Backup);
    let check = |verb: &str, body: Value, expected: (u16, &str)| {
        let answer = protected.world.post(&format!("{}/{verb}", protected.item()), body);
        assert_eq!((answer.status, answer.error().1), expected, "{verb}");
    };
    let wrong = (400, "InvalidRequestContent");
    check("diff", json!({ "old": "latest" }), wrong);
    check("diff", json!({ "old": "latest", "new": "ffffffff" }), (404, "PointNotFound"));
    let nowhere = json!({ "old": "latest", "new": "latest", "path": "no/where" });
    check("diff", nowhere, (404, "PointPathNotFound"));
    check("find", json!({}), wrong);
    check("find", json!({ "pattern": "x", "depth": 3 }), wrong);
    check("find", json!({ "pattern": "a[" }), (400, "SourcePatternInvalid"));
    check("find", json!({ "pattern": "" }), (400, "SourcePatternInvalid"));
    check("find", json!({ "pattern": "x", "points": ["ffffffff"] }), (404, "PointNotFound"));
}

#[test]
fn a_stream_that_nobody_gives_makes_no_point() {
    for kind in KINDS {
        let protected = Protected::new(kind, json!({}));
        let put = |folder: Value| protected.protect(&json!({ "folder": folder }));
        for wrong in [
            json!({ "stream": "a/b" }),
            json!({ "stream": "" }),
            json!({ "stream": "dump", "paths": ["/etc"] }),
            json!({ "stream": "dump", "exclude": ["x"] }),
        ] {
            assert_eq!(put(wrong).error().1, "InvalidSource", "{kind:?}");
        }
        assert!(put(json!({ "stream": "dump" })).status < 300, "{kind:?}");
        protected.world.settle();
        let scan = protected.world.post(&format!("{}/scan", protected.item()), json!({}));
        assert_eq!((scan.status, scan.error().1), (409, "SourceStreamMissing"));
        let unknown = "0123456789abcdef0123456789abcdef";
        for body in [json!({}), json!({ "stream": unknown }), json!({ "stream": "../x" })] {
            let asked = protected.world.post(&format!("{}/backup", protected.item()), body);
            assert_eq!(asked.status, 202, "{asked:?}");
            protected.world.settle();
        }
        let ended: Vec<(String, String)> = protected.jobs("Backup");
        let missing = ("Failed".to_owned(), "SourceStreamMissing".to_owned());
        assert_eq!(ended.iter().filter(|job| **job == missing).count(), 2, "{ended:?}");
        assert!(ended.iter().all(|job| job.0 == "Failed") && ended.len() == 3, "{ended:?}");
        assert_eq!(protected.points(), Vec::<String>::new());
    }
}
