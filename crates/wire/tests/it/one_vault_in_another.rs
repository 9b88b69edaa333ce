//! What belongs to one vault is nothing in another, though the same key wraps both and the same
//! identity speaks for both: keyrings, wrapped data keys, packs, whole repositories. It is refused by
//! a code that names it, nothing of it can be read, and what was there before works again once it is
//! back.

use std::fs;
use std::path::{Path, PathBuf};

use custody_envelope::Ring;
use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, Desk, KEY, Speaker, end};

const ANNA: &str = "what Anna keeps";
const BERT: &str = "what Bert keeps";

/// Two vaults under one key, each with a recovery point.
struct Pair {
    desk: Desk,
    anna: Kept,
    bert: Kept,
}

struct Kept {
    vault: String,
    item: String,
    repository: PathBuf,
    fingerprint: String,
}

impl Pair {
    fn new() -> Self {
        let desk = Desk::new();
        desk.admit("kv1");
        let [anna, bert] = [("anna", ANNA), ("bert", BERT)].map(|(name, text)| {
            let vault = desk.vault(BACKUP, name);
            assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
            desk.write(text);
            let item = desk.item(&vault);
            assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
            let properties = desk.get(&vault)["properties"].clone();
            let guid = properties["vaultGuid"].as_str().unwrap();
            let repository = desk.site.server.data_folder().join("vaults").join(guid);
            let fingerprint = properties["fingerprint"].as_str().unwrap().to_owned();
            Kept { vault, item, repository, fingerprint }
        });
        Self { desk, anna, bert }
    }

    /// Runs a job of Bert's; what it says of its end.
    fn run(&self, verb: &str, body: Value) -> Ended {
        let of = match verb {
            "verify" | "prune" => &self.bert.vault,
            _ => &self.bert.item,
        };
        let job = self.desk.job(of, verb, body);
        Ended::of(&self.desk.get(job["id"].as_str().unwrap()))
    }

    /// Restores Bert's newest point; what came, of which nothing is Anna's.
    fn restore(&self) -> (Ended, Option<String>) {
        let into = tempfile::tempdir().unwrap();
        let body = json!({ "point": "latest", "target": into.path(), "overwrite": "always" });
        let ended = self.run("restore", body);
        let restored = files(into.path());
        for file in &restored {
            assert!(!fs::read_to_string(file).unwrap().contains(ANNA), "{}", file.display());
        }
        let letter = restored.iter().find(|file| file.ends_with("letter.txt"));
        (ended, letter.map(|letter| fs::read_to_string(letter).unwrap()))
    }

    /// Everything of Bert's works.
    fn works(&self, when: &str) {
        let (ended, letter) = self.restore();
        assert_eq!((ended.end(), letter.as_deref()), (COMPLETED, Some(BERT)), "{when}: {ended:?}");
        for (verb, body) in
            [("verify", json!({ "readData": true })), ("backup", json!({})), ("prune", json!({}))]
        {
            let ended = self.run(verb, body);
            assert_eq!(ended.end(), COMPLETED, "{when}: {verb} {ended:?}");
        }
    }

    /// The code by which Bert's repository is refused to who has the keys and no records: without a
    /// fingerprint, and with it.
    fn alone(&self) -> [Option<String>; 2] {
        let fingerprint = Some(self.bert.fingerprint.as_str());
        [None, fingerprint].map(|fingerprint| {
            let opened = self.desk.site.repository(&self.bert.repository, fingerprint);
            opened.err().map(|error| error.code().to_owned())
        })
    }
}

/// Files that are put in others' places, and what was there.
struct Swapped(Vec<(PathBuf, Vec<u8>)>);

impl Swapped {
    fn all(places: &[PathBuf], bytes: &[u8]) -> Self {
        let before = places.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        for path in places {
            fs::write(path, bytes).unwrap();
        }
        Self(before)
    }

    fn is_mended(&self) -> bool {
        self.0.iter().all(|(path, bytes)| fs::read(path).unwrap() == *bytes)
    }

    fn back(self) {
        for (path, bytes) in self.0 {
            fs::write(path, bytes).unwrap();
        }
    }
}

impl Kept {
    /// Its objects of one sort.
    fn objects(&self, sort: &str) -> Vec<PathBuf> {
        files(&self.repository.join(sort))
    }

    fn guid(&self) -> &str {
        self.repository.file_name().unwrap().to_str().unwrap()
    }
}

/// How a job ended.
#[derive(Debug)]
struct Ended {
    status: String,
    code: String,
    message: String,
    /// Code, object and message of each.
    warnings: Vec<[String; 3]>,
    result: Value,
}

impl Ended {
    fn of(job: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let properties = &job["properties"];
        let error = &properties["errorDetails"][0];
        let warnings = properties["warnings"].as_array().cloned().unwrap_or_default();
        let warning = |one: &Value| ["code", "path", "message"].map(|part| text(&one[part]));
        Self {
            status: text(&properties["status"]),
            code: text(&error["code"]),
            message: text(&error["message"]),
            warnings: warnings.iter().map(warning).collect(),
            result: properties["result"].clone(),
        }
    }

    fn end(&self) -> (&str, &str) {
        (&self.status, &self.code)
    }

    /// Whether it completed with a warning of this code and object that says this.
    fn warns(&self, code: &str, object: &str, says: &str) -> bool {
        let meant = |[its, path, message]: &[String; 3]| {
            its == code && path.contains(object) && message.contains(says)
        };
        self.status == "CompletedWithWarnings" && self.warnings.iter().any(meant)
    }
}

impl Desk {
    fn write(&self, text: &str) {
        fs::write(self.source.path().join("letter.txt"), text).unwrap();
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// A keyring of Anna's in the place of Bert's, or beside it under a number to come: Bert goes on with
/// the ring of his record, the jobs name the foreign one, and a place that was overwritten is mended.
#[test]
fn a_keyring_of_another_vault_is_named_and_not_used() {
    const FOREIGN: &str = "KeyringForeignVault";
    let pair = Pair::new();
    let (anna, bert) = (&pair.anna, &pair.bert);
    let foreign = fs::read(&anna.objects("keys")[0]).unwrap();
    let named = |number: u64| {
        let object = format!("keys/ring-{number:010}");
        let (ended, letter) = pair.restore();
        assert!(ended.warns(FOREIGN, &object, anna.guid()), "{ended:?}");
        assert_eq!(letter.as_deref(), Some(BERT));
    };
    let places = bert.objects("keys");
    assert_eq!(places.len(), 2);
    let swapped = Swapped::all(&places, &foreign);
    assert_eq!(pair.alone(), [FOREIGN, "KeyringUntrusted"].map(|code| Some(code.to_owned())));
    named(3);
    assert!(swapped.is_mended());
    pair.works("mended");
    for stands_in_the_way in [false, true] {
        let ring = pair.desk.get(&bert.vault)["properties"]["keyring"]["number"].clone();
        let ahead = if stands_in_the_way { 1 } else { 90 };
        let number = ring.as_u64().unwrap() + ahead;
        let beside = bert.repository.join(format!("keys/ring-{number:010}"));
        fs::write(&beside, &foreign).unwrap();
        named(number);
        assert_eq!(pair.alone(), [FOREIGN, "KeyringUntrusted"].map(|code| Some(code.to_owned())));
        pair.desk.key("kv1", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
        let ended = pair.run("backup", json!({}));
        let object = format!("keys/ring-{number:010}");
        if stands_in_the_way {
            assert_eq!(ended.end(), ("Failed", FOREIGN), "{ended:?}");
            assert!(ended.message.contains(&object), "{ended:?}");
        } else {
            assert!(ended.warns(FOREIGN, &object, anna.guid()), "{ended:?}");
        }
        fs::remove_file(&beside).unwrap();
        pair.works("taken away");
        assert_eq!(pair.alone(), [None, None]);
    }
}

/// A wrapped data key of Anna's in Bert's keyring: the key vault unwraps it, and what comes out is no
/// key of this vault.
#[test]
fn a_wrapped_data_key_of_another_vault_is_refused() {
    let pair = Pair::new();
    let wraps = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let ring = Ring::parse(bytes).unwrap();
        ring.generations().map(|one| one.wraps()[0].bytes().to_vec()).collect()
    };
    let [theirs, own] =
        [&pair.anna, &pair.bert].map(|kept| fs::read(&kept.objects("keys")[0]).unwrap());
    assert_eq!(wraps(&own).len(), 2);
    for generation in 0..2 {
        let (wrap, other) = (&wraps(&own)[generation], &wraps(&theirs)[generation]);
        let at = own.windows(wrap.len()).position(|part| part == wrap).unwrap();
        let mut forged = own.clone();
        forged[at..at + other.len()].copy_from_slice(other);
        assert_eq!(&wraps(&forged)[generation], other, "it is a ring of the same shape");
        let swapped = Swapped::all(&pair.bert.objects("keys"), &forged);
        let refused = Some("KeyWrapUnproven".to_owned());
        assert_eq!(pair.alone(), [refused.clone(), refused], "generation {generation}");
        // With the record the bytes are known to be others before any key vault is asked.
        let (ended, letter) = pair.restore();
        assert!(ended.warns("KeyringRolledBack", "ring-0000000003", "number 3"), "{ended:?}");
        assert_eq!(letter.as_deref(), Some(BERT));
        assert!(swapped.is_mended());
        pair.works("mended");
    }
}

/// Packs, points and the log of Anna's in the place of Bert's, and the mark of her repository on his:
/// jobs fail or warn by a code, name the object and whose it is, and go on when it is back.
#[test]
fn objects_of_another_vault_are_refused_in_the_place_of_ones_own() {
    const DAMAGED: &str = "RepositoryDamaged";
    const FOREIGN: &str = "RepositoryForeignVault";
    let pair = Pair::new();
    let (anna, bert) = (&pair.anna, &pair.bert);
    let hash = "its bytes do not match its name";
    for (sort, restore, verify, says) in [
        ("packs", DAMAGED, Some(DAMAGED), anna.guid()),
        ("points", DAMAGED, Some(DAMAGED), hash),
        ("log", FOREIGN, Some(DAMAGED), anna.guid()),
        ("custody-repository", FOREIGN, None, anna.guid()),
    ] {
        let of = |kept: &Kept| match kept.objects(sort) {
            all if all.is_empty() => vec![kept.repository.join(sort)],
            all => all,
        };
        let swapped = Swapped::all(&of(bert), &fs::read(&of(anna)[0]).unwrap());
        let (ended, letter) = pair.restore();
        assert_eq!((ended.end(), letter), (("Failed", restore), None), "{sort}: {ended:?}");
        assert!(ended.message.contains(says), "{sort}: {ended:?}");
        let ended = pair.run("verify", json!({ "readData": true }));
        match verify {
            Some(code) => assert!(ended.warns(code, sort, says), "{sort}: {ended:?}"),
            None => assert_eq!(ended.end(), ("Failed", restore), "{sort}: {ended:?}"),
        }
        swapped.back();
        pair.works(sort);
    }
}

/// Packs, indexes and points of Anna's beside Bert's own are no part of his vault: nothing leads to
/// them, a check counts them, and none of them is a recovery point.
#[test]
fn objects_of_another_vault_beside_ones_own_are_rubbish() {
    let pair = Pair::new();
    let (anna, bert) = (&pair.anna, &pair.bert);
    let mut added = Vec::new();
    for sort in ["packs", "index", "points"] {
        for object in anna.objects(sort) {
            let place = bert.repository.join(object.strip_prefix(&anna.repository).unwrap());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(&object, &place).unwrap();
            added.push(place);
        }
    }
    let ended = pair.run("verify", json!({ "readData": true }));
    assert_eq!(ended.end(), COMPLETED, "{ended:?}");
    assert_eq!(ended.result["unreferencedObjects"], added.len(), "{ended:?}");
    let stranger = anna.objects("points")[0].file_name().unwrap().to_str().unwrap().to_owned();
    let into = tempfile::tempdir().unwrap();
    let body = json!({ "point": stranger, "target": into.path(), "overwrite": "always" });
    let ended = pair.run("restore", body);
    assert_eq!(ended.end(), ("Failed", "PointNotFound"), "{ended:?}");
    assert!(files(into.path()).is_empty());
    pair.works("beside");
}
