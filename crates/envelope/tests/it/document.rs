//! A reader written from `docs/formats/keyring.md` alone opens what the crate makes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac};
use custody_envelope::{
    Fingerprint, IdPurpose, KeyEncryptionKeys, MacPurpose, ObjectType, Ring, WrapAlgorithm,
};
use minicbor::Decoder;

use crate::setting::{Setting, VAULT};

fn derive(secret: &[u8], salt: &[u8], label: &str, rest: &[u8]) -> [u8; 32] {
    let info = [label.as_bytes(), &[0], VAULT.as_bytes(), rest].concat();
    let mut out = [0; 32];
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
    let prk = salt.extract(secret);
    prk.expand(&[&info], hkdf::HKDF_SHA256).unwrap().fill(&mut out).unwrap();
    out
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// What §2 says stands in the first ring of a vault with two layers.
struct FirstRing {
    commitment: Vec<u8>,
    data_key: Vec<u8>,
    infrastructure_key: Vec<u8>,
    id_salt: Vec<u8>,
    id_sealed: Vec<u8>,
    body: Vec<u8>,
    mac: Vec<u8>,
}

fn expect_key(decoder: &mut Decoder<'_>, key: u64) {
    assert_eq!(decoder.u64().unwrap(), key);
}

/// Reads a wrapped key, unwraps its only wrap and checks the digest.
fn wrapped_key(decoder: &mut Decoder<'_>, setting: &Setting, label: &str) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(decoder.map().unwrap(), Some(4));
    expect_key(decoder, 0);
    assert_eq!(decoder.u32().unwrap(), 1);
    expect_key(decoder, 1);
    assert_eq!(decoder.i64().unwrap(), 1_795_327_200_123);
    expect_key(decoder, 2);
    let commitment = decoder.bytes().unwrap().to_vec();
    expect_key(decoder, 3);
    assert_eq!((decoder.array().unwrap(), decoder.map().unwrap()), (Some(1), Some(3)));
    expect_key(decoder, 0);
    let key = decoder.str().unwrap().parse().unwrap();
    expect_key(decoder, 1);
    assert_eq!(decoder.u8().unwrap(), 1);
    expect_key(decoder, 2);
    let wrap = decoder.bytes().unwrap();
    let plain = setting.keks.unwrap(&key, WrapAlgorithm::RsaOaep256, wrap).unwrap();
    let bound = [label.as_bytes(), &[0], VAULT.as_bytes(), &[0, 0, 0, 1]].concat();
    assert_eq!(&plain.expose()[32..], digest::digest(&digest::SHA256, &bound).as_ref());
    (commitment, plain.expose()[..32].to_vec())
}

fn read(ring: &Ring, setting: &Setting) -> FirstRing {
    let mut outer = Decoder::new(ring.encoded());
    assert_eq!(outer.array().unwrap(), Some(5));
    assert_eq!((outer.str().unwrap(), outer.u64().unwrap()), ("custody keyring", 1));
    let body = outer.bytes().unwrap();
    assert!(outer.bytes().unwrap().is_empty());
    let mac = outer.bytes().unwrap().to_vec();

    let mut decoder = Decoder::new(body);
    assert_eq!(decoder.map().unwrap(), Some(8));
    expect_key(&mut decoder, 0);
    assert_eq!(decoder.bytes().unwrap(), VAULT.as_bytes());
    expect_key(&mut decoder, 1);
    assert_eq!(decoder.u64().unwrap(), 1);
    expect_key(&mut decoder, 2);
    assert_eq!(decoder.i64().unwrap(), 1_795_327_200_123);
    expect_key(&mut decoder, 4);
    assert_eq!((decoder.array().unwrap(), decoder.map().unwrap()), (Some(1), Some(1)));
    expect_key(&mut decoder, 0);
    let (commitment, data_key) = wrapped_key(&mut decoder, setting, "custody/1 data key");
    expect_key(&mut decoder, 5);
    assert_eq!((decoder.array().unwrap(), decoder.map().unwrap()), (Some(1), Some(4)));
    expect_key(&mut decoder, 0);
    assert_eq!(decoder.u32().unwrap(), 1);
    expect_key(&mut decoder, 1);
    assert_eq!(decoder.u32().unwrap(), 1);
    expect_key(&mut decoder, 2);
    let id_salt = decoder.bytes().unwrap().to_vec();
    expect_key(&mut decoder, 3);
    let id_sealed = decoder.bytes().unwrap().to_vec();
    expect_key(&mut decoder, 6);
    let (_, infrastructure_key) =
        wrapped_key(&mut decoder, setting, "custody/1 infrastructure key");
    expect_key(&mut decoder, 7);
    assert_eq!(decoder.u8().unwrap(), 0);
    expect_key(&mut decoder, 8);
    assert!(!decoder.bool().unwrap());
    assert_eq!(decoder.position(), body.len());
    let body = body.to_vec();
    FirstRing { commitment, data_key, infrastructure_key, id_salt, id_sealed, body, mac }
}

fn open(
    suite: &'static aws_lc_rs::aead::Algorithm,
    key: &[u8],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &mut Vec<u8>,
) {
    let key = LessSafeKey::new(UnboundKey::new(suite, key).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::from(aad), sealed).unwrap().len();
    sealed.truncate(length);
}

#[test]
fn ring_and_object_are_what_the_document_says() {
    let (setting, ring, keys) = Setting::with_two_layers();
    let first = read(&ring, &setting);
    let one = [0, 0, 0, 1];
    assert_eq!(
        first.commitment,
        derive(&first.data_key, &[], "custody/1 data key commitment", &one)
    );
    assert_eq!(first.mac, mac(&derive(&first.data_key, &[], "custody/1 ring", &one), &first.body));
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
    let fingerprint = [&b"custody/1 fingerprint\0"[..], &hash(ring.encoded()), &first.commitment];
    assert_eq!(ring.fingerprint().as_bytes().as_slice(), hash(&fingerprint.concat()));

    let mut id_key = first.id_sealed.clone();
    let sealing_key = derive(&first.data_key, &first.id_salt, "custody/1 id key", &one);
    open(&AES_256_GCM, &sealing_key, [0; 12], b"", &mut id_key);
    let chunk_names = derive(&id_key, &[], "custody/1 id purpose", &[0, 0, 0, 1, 1]);
    assert_eq!(keys.id_key(IdPurpose::ChunkNames).unwrap().expose(), chunk_names);
    let log_entry_key = derive(&first.data_key, &[], "custody/1 mac", &[0, 0, 0, 1, 1]);
    let entry_mac = keys.mac(MacPurpose::LogEntry, 1, b"entry").unwrap();
    assert_eq!(entry_mac.as_slice(), mac(&log_entry_key, b"entry"));

    let mut sealer = keys.sealer(ObjectType::Point, &setting.entropy).unwrap();
    let mut sealed = [b"one".to_vec(), b"two".to_vec()];
    sealer.seal(b"aad", false, &mut sealed[0]).unwrap();
    sealer.seal(b"aad", true, &mut sealed[1]).unwrap();
    let header = sealer.header();
    let clear = [&b"custody\x01\x03\0\0\0"[..], VAULT.as_bytes(), &one, &one].concat();
    assert_eq!(header[..36], clear);
    let salt = &header[36..68];
    assert_eq!(header[68..], derive(&first.data_key, salt, "custody/1 commitment", &[3]));
    let inner = derive(&first.data_key, salt, "custody/1", &[3]);
    let outer = derive(&first.infrastructure_key, salt, "custody/1 second layer", &[3]);
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    open(&CHACHA20_POLY1305, &outer, nonce, b"aad", &mut sealed[1]);
    open(&AES_256_GCM, &inner, nonce, b"aad", &mut sealed[1]);
    assert_eq!(sealed[1], b"two");
}

/// A change here is a change of format: readers of what was written before would fail.
#[test]
fn the_bytes_of_format_1_never_change() {
    let (setting, ring, keys) = Setting::with_two_layers();
    let fingerprint = "6d2fbb431c851e1daa9b1c46f562f45618f4a5bed8279295d1fdd089310a97ce";
    assert_eq!(ring.fingerprint().to_string(), fingerprint);
    let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
    let mut sealed = b"content".to_vec();
    sealer.seal(b"aad", true, &mut sealed).unwrap();
    let object = [sealer.header(), &sealed].concat();
    let hash = digest::digest(&digest::SHA256, &object);
    let hash = Fingerprint::from_bytes(hash.as_ref().try_into().unwrap());
    let expected = "e47e773cffd92c0aa4abb3689e833518d4c50a929bfa7ba146ae5d5cac642b72";
    assert_eq!(hash.to_string(), expected);
}
