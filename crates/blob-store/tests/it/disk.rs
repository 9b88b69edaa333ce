use std::fs;
use std::os::unix::fs::symlink;

use custody_blob_store::{BlobStore, Creation, DiskStore, StoreError};

use crate::name;

#[test]
fn stands_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/store");
    DiskStore::create(&path).unwrap().create(&name("log/1"), b"bytes").unwrap();
    let again = DiskStore::open(&path).unwrap();
    assert_eq!(again.read(&name("log/1")), Ok(Some(b"bytes".to_vec())));
    let created_again = DiskStore::create(&path).unwrap();
    assert_eq!(created_again.create(&name("log/1"), b"other"), Ok(Creation::Exists));
}

#[test]
fn opens_nothing_that_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    for absent in ["none", "file", "file/beneath"] {
        let opened = DiskStore::open(&folder.path().join(absent));
        assert!(matches!(opened, Err(StoreError::Refused(_))), "{absent}: {opened:?}");
    }
    assert!(matches!(
        DiskStore::create(&folder.path().join("file/beneath")),
        Err(StoreError::Refused(_))
    ));
}

#[test]
fn leaves_nothing_but_objects_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::create(folder.path()).unwrap();
    store.create(&name("a/b"), b"1").unwrap();
    store.create(&name("a/b"), b"2").unwrap();
    store.replace(&name("a/b"), b"3").unwrap();
    assert_eq!(fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
}

#[test]
fn opening_removes_what_the_dead_left() {
    let folder = tempfile::tempdir().unwrap();
    DiskStore::create(folder.path()).unwrap();
    fs::write(folder.path().join(".tmp/1-7"), b"half an obj").unwrap();
    DiskStore::open(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
}

#[test]
fn follows_no_planted_link() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"outside").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::create(folder.path()).unwrap();
    symlink(outside.path(), folder.path().join("packs")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("object")).unwrap();

    let refused = |what: &str, refused: bool| assert!(refused, "{what} went through the link");
    for planted in ["packs/secret", "object"] {
        let planted = name(planted);
        refused("create", matches!(store.create(&planted, b"x"), Err(StoreError::Refused(_))));
        refused("read", !matches!(store.read(&planted), Ok(Some(_))));
        refused("size", !matches!(store.size(&planted), Ok(Some(_))));
    }
    refused("replace", store.replace(&name("packs/secret"), b"x").is_err());
    store.list("", &mut |name, _| panic!("{name} was listed")).unwrap();
    let _ = store.delete(&name("packs/secret"));
    store.delete(&name("object")).unwrap();
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"outside");
}

#[test]
fn strangers_in_the_folder_are_no_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::create(folder.path()).unwrap();
    fs::write(folder.path().join("README.TXT"), b"").unwrap();
    fs::write(folder.path().join(".hidden"), b"").unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    store.list("", &mut |name, _| panic!("{name} was listed")).unwrap();
    for taken in ["empty", "pipe"] {
        let created = store.create(&name(taken), b"x");
        assert!(matches!(created, Err(StoreError::Refused(_))), "{taken}: {created:?}");
    }
    assert!(matches!(store.read(&name("pipe")), Err(StoreError::Refused(_))));
}

#[test]
fn an_object_too_large_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::create(folder.path()).unwrap();
    fs::File::create(folder.path().join("large")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(store.read(&name("large")), Err(StoreError::Refused(_))));
    assert!(store.read_range(&name("large"), 1 << 39, 10).unwrap().is_some());
}
