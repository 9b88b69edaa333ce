use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{Child, Command};

use custody_blob_store::{BlobStore, Creation, DiskStore};

use crate::name;

/// Processes that compete.
const RIVALS: u32 = 4;

/// Names they compete for.
const ROUNDS: u32 = 200;

/// In a child process: the store's folder and the rival's number.
const FOLDER: &str = "CUSTODY_TEST_RACE_FOLDER";
const RIVAL: &str = "CUSTODY_TEST_RACE_RIVAL";

/// The test runs itself again as the competing processes.
#[test]
fn create_has_one_winner_among_processes() {
    if let (Some(folder), Some(rival)) = (env::var_os(FOLDER), env::var_os(RIVAL)) {
        return compete(Path::new(&folder), rival.to_str().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::create(folder.path()).unwrap();
    let rivals: Vec<Child> = (0..RIVALS).map(|rival| start(folder.path(), rival)).collect();
    for rival in 0..RIVALS {
        while store.read(&name(&format!("ready/{rival}"))).unwrap().is_none() {
            std::thread::yield_now();
        }
    }
    store.create(&name("go"), b"").unwrap();
    for mut rival in rivals {
        assert!(rival.wait().unwrap().success());
    }

    let mut winners = BTreeMap::<String, Vec<u32>>::new();
    for rival in 0..RIVALS {
        let wins = store.read(&name(&format!("wins/{rival}"))).unwrap().unwrap();
        for round in String::from_utf8(wins).unwrap().lines() {
            winners.entry(round.to_owned()).or_default().push(rival);
        }
    }
    assert_eq!(winners.len(), ROUNDS as usize, "each name was won");
    for (round, winners) in winners {
        assert_eq!(winners.len(), 1, "{round} was won by {winners:?}");
        let stands = store.read(&name(&format!("race/{round}"))).unwrap().unwrap();
        assert_eq!(stands, winners[0].to_string().into_bytes());
    }
}

fn start(folder: &Path, rival: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "processes::create_has_one_winner_among_processes"])
        .env(FOLDER, folder)
        .env(RIVAL, rival.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn compete(folder: &Path, rival: &str) {
    let store = DiskStore::open(folder).unwrap();
    store.create(&name(&format!("ready/{rival}")), b"").unwrap();
    while store.read(&name("go")).unwrap().is_none() {
        std::thread::yield_now();
    }
    let wins: Vec<String> = (0..ROUNDS)
        .map(|round| round.to_string())
        .filter(|round| {
            let object = name(&format!("race/{round}"));
            store.create(&object, rival.as_bytes()).unwrap() == Creation::Created
        })
        .collect();
    store.create(&name(&format!("wins/{rival}")), wins.join("\n").as_bytes()).unwrap();
}
