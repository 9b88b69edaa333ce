//! Wycheproof's vectors through the data plane: the key is imported, the operation called, the
//! answer compared. Every vector of an algorithm that Key Vault has, valid and invalid; what Key
//! Vault does not have is skipped by group and named with its reason.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use http::Method;
use serde_json::{Value, json};
use wycheproof::{EllipticCurve, HashFunction, Mgf, TestResult};

use crate::world::{Answer, HSM, KEY_VAULT, World, b64, unb64};

/// A world, what was compared and what was skipped.
struct Vectors {
    family: &'static str,
    world: World,
    compared: usize,
    keys: usize,
    skipped: BTreeMap<String, usize>,
}

impl Vectors {
    fn of(family: &'static str) -> Self {
        Self { family, world: World::new(), compared: 0, keys: 0, skipped: BTreeMap::new() }
    }

    fn skip(&mut self, count: usize, reason: impl Into<String>) {
        *self.skipped.entry(reason.into()).or_default() += count;
    }

    /// Imports a key under a name of its own; `None` names why the API does not take it.
    fn import(&mut self, host: &str, jwk: &Value, uses: &[&str]) -> Result<String, String> {
        self.keys += 1;
        let name = format!("w{}", self.keys);
        let body = json!({ "key": jwk, "key_ops": uses });
        let made = self.world.own(Method::PUT, host, &format!("/keys/{name}"), &body);
        if made.status == 200 { Ok(name) } else { Err(made.message().to_owned()) }
    }

    fn call(&self, host: &str, name: &str, verb: &str, body: &Value) -> Answer {
        let answer = self.world.post(host, &format!("/keys/{name}/{verb}"), body);
        assert!(answer.status < 500, "{}", answer.body);
        answer
    }

    /// Compares a decryption or unwrap with what the vector says.
    fn opened(&mut self, answer: &Answer, result: TestResult, plain: &[u8], what: &str) {
        self.compared += 1;
        let right = answer.status == 200 && unb64(answer.text("/value")) == plain;
        match result {
            TestResult::Valid => assert!(right, "{what}: {}", answer.body),
            TestResult::Invalid => assert_eq!(answer.status, 400, "{what}: {}", answer.body),
            TestResult::Acceptable => assert!(right || answer.status == 400, "{what}"),
        }
    }

    /// Compares a verification with what the vector says.
    fn verified(&mut self, answer: &Answer, result: TestResult, what: &str) {
        self.compared += 1;
        let valid = answer.body.pointer("/value").and_then(Value::as_bool);
        match result {
            TestResult::Valid => assert_eq!(valid, Some(true), "{what}"),
            TestResult::Invalid => assert_eq!(valid, Some(false), "{what}: {}", answer.body),
            TestResult::Acceptable => assert!(valid.is_some(), "{what}"),
        }
    }

    #[expect(clippy::print_stdout, reason = "how much was compared is what this test is read for")]
    fn report(self, at_least: usize) {
        println!(
            "{}: {} vectors compared, {} keys imported",
            self.family, self.compared, self.keys
        );
        for (reason, count) in &self.skipped {
            println!("{}: {count} skipped: {reason}", self.family);
        }
        assert!(self.compared >= at_least, "{}: only {} compared", self.family, self.compared);
    }
}

fn hash(function: HashFunction) -> Option<(&'static str, &'static digest::Algorithm)> {
    match function {
        HashFunction::Sha2_256 => Some(("256", &digest::SHA256)),
        HashFunction::Sha2_384 => Some(("384", &digest::SHA384)),
        HashFunction::Sha2_512 => Some(("512", &digest::SHA512)),
        _ => None,
    }
}

fn oct(key: &[u8]) -> Value {
    json!({ "kty": "oct", "k": b64(key) })
}

fn rsa_private(key: &wycheproof::RsaPrivate) -> Value {
    json!({
        "kty": "RSA", "n": b64(&key.n), "e": b64(&key.e), "d": b64(&key.d), "p": b64(&key.p),
        "q": b64(&key.q), "dp": b64(&key.d1), "dq": b64(&key.d2), "qi": b64(&key.c),
    })
}

#[test]
fn rsa_oaep() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let mut vectors = Vectors::of("RSA-OAEP");
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match (group.hash, group.mgf, group.mgf_hash) {
                (HashFunction::Sha1, Mgf::Mgf1, HashFunction::Sha1) => "RSA-OAEP",
                (HashFunction::Sha2_256, Mgf::Mgf1, HashFunction::Sha2_256) => "RSA-OAEP-256",
                (hash, _, mgf) => {
                    let reason = format!("the API has no RSA-OAEP with {hash:?} and MGF1-{mgf:?}");
                    vectors.skip(group.tests.len(), reason);
                    continue;
                }
            };
            let key = match vectors.import(KEY_VAULT, &rsa_private(&group.key), &["decrypt"]) {
                Ok(key) => key,
                Err(reason) => {
                    vectors.skip(group.tests.len(), reason);
                    continue;
                }
            };
            for test in group.tests {
                if !test.label.is_empty() {
                    vectors.skip(1, "the API has no OAEP labels");
                    continue;
                }
                let body = json!({ "alg": algorithm, "value": b64(&test.ct) });
                let answer = vectors.call(KEY_VAULT, &key, "decrypt", &body);
                let what = format!("{name:?} {}", test.tc_id);
                vectors.opened(&answer, test.result, &test.pt, &what);
            }
        }
    }
    vectors.report(130);
}

#[test]
fn rsa_pkcs1_decrypt() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let mut vectors = Vectors::of("RSA1_5");
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = match vectors.import(KEY_VAULT, &rsa_private(&group.key), &["decrypt"]) {
                Ok(key) => key,
                Err(reason) => {
                    vectors.skip(group.tests.len(), reason);
                    continue;
                }
            };
            for test in group.tests {
                let body = json!({ "alg": "RSA1_5", "value": b64(&test.ct) });
                let answer = vectors.call(KEY_VAULT, &key, "decrypt", &body);
                let what = format!("{name:?} {}", test.tc_id);
                vectors.compared += 1;
                let right = answer.status == 200 && unb64(answer.text("/value")) == test.pt[..];
                match test.result {
                    TestResult::Valid => assert!(right, "{what}: {}", answer.body),
                    // Implicit rejection: bad padding opens to other bytes, a wrong length is told.
                    TestResult::Invalid => {
                        assert!(test.pt.is_empty() || !right, "{what}");
                        let whole = test.ct.len() == group.key_size / 8;
                        assert_eq!(answer.status, if whole { 200 } else { 400 }, "{what}");
                    }
                    TestResult::Acceptable => {}
                }
            }
        }
    }
    vectors.report(130);
}

#[test]
fn rsa_pkcs1_signatures() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut vectors = Vectors::of("RS256, RS384, RS512");
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let Some((suffix, algorithm)) = hash(group.hash) else {
                vectors.skip(group.tests.len(), format!("the API signs no {:?}", group.hash));
                continue;
            };
            let jwk = json!({ "kty": "RSA", "n": b64(&group.key.n), "e": b64(&group.key.e) });
            let key = match vectors.import(KEY_VAULT, &jwk, &["verify"]) {
                Ok(key) => key,
                Err(reason) => {
                    vectors.skip(group.tests.len(), reason);
                    continue;
                }
            };
            for test in group.tests {
                let digest = digest::digest(algorithm, &test.msg);
                let (digest, value) = (b64(digest.as_ref()), b64(&test.sig));
                let alg = format!("RS{suffix}");
                let body = json!({ "alg": alg, "digest": digest, "value": value });
                let answer = vectors.call(KEY_VAULT, &key, "verify", &body);
                vectors.verified(&answer, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    vectors.report(1_500);
}

#[test]
fn rsa_pss_signatures() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut vectors = Vectors::of("PS256, PS384, PS512");
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let known = hash(group.hash).filter(|(_, algorithm)| {
                group.mgf == Mgf::Mgf1
                    && group.mgf_hash == Some(group.hash)
                    && group.salt_size == algorithm.output_len()
            });
            let Some((suffix, algorithm)) = known else {
                let (hash, mgf, salt) = (group.hash, group.mgf_hash, group.salt_size);
                let reason = format!("the API has no PSS with {hash:?}, {mgf:?}, salt of {salt}");
                vectors.skip(group.tests.len(), reason);
                continue;
            };
            let jwk = json!({ "kty": "RSA", "n": b64(&group.key.n), "e": b64(&group.key.e) });
            let key = match vectors.import(KEY_VAULT, &jwk, &["verify"]) {
                Ok(key) => key,
                Err(reason) => {
                    vectors.skip(group.tests.len(), reason);
                    continue;
                }
            };
            for test in group.tests {
                let digest = digest::digest(algorithm, &test.msg);
                let (digest, value) = (b64(digest.as_ref()), b64(&test.sig));
                let alg = format!("PS{suffix}");
                let body = json!({ "alg": alg, "digest": digest, "value": value });
                let answer = vectors.call(KEY_VAULT, &key, "verify", &body);
                vectors.verified(&answer, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    vectors.report(500);
}

#[test]
fn ecdsa_signatures() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let mut vectors = Vectors::of("ES256, ES384, ES512, ES256K");
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match (group.key.curve, group.hash) {
                (EllipticCurve::Secp256r1, HashFunction::Sha2_256) => Some(("P-256", "ES256", 32)),
                (EllipticCurve::Secp384r1, HashFunction::Sha2_384) => Some(("P-384", "ES384", 48)),
                (EllipticCurve::Secp521r1, HashFunction::Sha2_512) => Some(("P-521", "ES512", 66)),
                (EllipticCurve::Secp256k1, HashFunction::Sha2_256) => {
                    Some(("P-256K", "ES256K", 32))
                }
                _ => None,
            };
            let Some((curve, algorithm, field)) = algorithm else {
                let (curve, hash) = (group.key.curve, group.hash);
                let reason = format!("the API has no ECDSA on {curve:?} with {hash:?}");
                vectors.skip(group.tests.len(), reason);
                continue;
            };
            if !format!("{name:?}").ends_with("P1363") {
                vectors.skip(group.tests.len(), "the API takes r ‖ s, these are DER signatures");
                continue;
            }
            let fixed = |number: &[u8]| {
                let zeros = number.iter().take_while(|byte| **byte == 0).count();
                let number = &number[zeros..];
                [vec![0; field - number.len()], number.to_vec()].concat()
            };
            let (x, y) = (fixed(&group.key.affine_x), fixed(&group.key.affine_y));
            let jwk = json!({ "kty": "EC", "crv": curve, "x": b64(&x), "y": b64(&y) });
            let key = vectors.import(KEY_VAULT, &jwk, &["verify"]).unwrap();
            let (_, hashing) = hash(group.hash).unwrap();
            for test in group.tests {
                let digest = digest::digest(hashing, &test.msg);
                let (digest, value) = (b64(digest.as_ref()), b64(&test.sig));
                let body = json!({ "alg": algorithm, "digest": digest, "value": value });
                let answer = vectors.call(KEY_VAULT, &key, "verify", &body);
                vectors.verified(&answer, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    vectors.report(700);
}

#[test]
fn aes_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let mut vectors = Vectors::of("A128GCM, A192GCM, A256GCM");
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if group.nonce_size != 96 {
            let reason = format!("the API's IV has 96 bits, these have {}", group.nonce_size);
            vectors.skip(group.tests.len(), reason);
            continue;
        }
        let algorithm = format!("A{}GCM", group.key_size);
        for test in group.tests {
            let key = vectors.import(HSM, &oct(&test.key), &["decrypt"]).unwrap();
            let body = json!({
                "alg": algorithm, "value": b64(&test.ct), "iv": b64(&test.nonce),
                "aad": b64(&test.aad), "tag": b64(&test.tag),
            });
            let answer = vectors.call(HSM, &key, "decrypt", &body);
            vectors.opened(&answer, test.result, &test.pt, &format!("GCM {}", test.tc_id));
        }
    }
    vectors.report(130);
}

#[test]
fn aes_cbc() {
    use wycheproof::cipher::{TestName, TestSet};
    let mut vectors = Vectors::of("A*CBCPAD and A*CBC");
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests {
            let what = format!("CBC {}", test.tc_id);
            let key = vectors.import(HSM, &oct(&test.key), &["encrypt", "decrypt"]).unwrap();
            let padded = format!("A{}CBCPAD", group.key_size);
            let iv = b64(&test.nonce);
            let body = json!({ "alg": padded, "value": b64(&test.ct), "iv": iv });
            let answer = vectors.call(HSM, &key, "decrypt", &body);
            vectors.opened(&answer, test.result, &test.pt, &what);
            if test.result == TestResult::Valid {
                let body = json!({ "alg": padded, "value": b64(&test.pt), "iv": iv });
                let sealed = vectors.call(HSM, &key, "encrypt", &body);
                assert_eq!(unb64(sealed.text("/value")), test.ct[..], "{what}");
                let padding = 16 - test.pt.len() % 16;
                let fill = vec![u8::try_from(padding).unwrap(); padding];
                let blocks = [&test.pt[..], &fill].concat();
                let alg = format!("A{}CBC", group.key_size);
                let body = json!({ "alg": alg, "value": b64(&blocks), "iv": iv });
                let sealed = vectors.call(HSM, &key, "encrypt", &body);
                assert_eq!(unb64(sealed.text("/value")), test.ct[..], "{what}");
            }
        }
    }
    vectors.report(130);
}

#[test]
fn aes_key_wrap() {
    use wycheproof::keywrap::{TestName, TestSet};
    let mut vectors = Vectors::of("A*KW, CKM_AES_KEY_WRAP and CKM_AES_KEY_WRAP_PAD");
    let sets = [
        (TestName::AesKeyWrap, "KW"),
        (TestName::AesKeyWrap, "CKM_AES_KEY_WRAP"),
        (TestName::AesKeyWrapWithPadding, "CKM_AES_KEY_WRAP_PAD"),
    ];
    for (name, algorithm) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match algorithm {
                "KW" => format!("A{}KW", group.key_size),
                other => other.to_owned(),
            };
            for test in group.tests {
                let what = format!("{algorithm} {}", test.tc_id);
                let key = vectors.import(HSM, &oct(&test.key), &["wrapKey", "unwrapKey"]).unwrap();
                let body = json!({ "alg": algorithm, "value": b64(&test.ct) });
                let answer = vectors.call(HSM, &key, "unwrapkey", &body);
                vectors.opened(&answer, test.result, &test.pt, &what);
                if test.result == TestResult::Valid {
                    let body = json!({ "alg": algorithm, "value": b64(&test.pt) });
                    let wrapped = vectors.call(HSM, &key, "wrapkey", &body);
                    assert_eq!(unb64(wrapped.text("/value")), test.ct[..], "{what}");
                }
            }
        }
    }
    vectors.report(300);
}

#[test]
fn hmac() {
    use wycheproof::mac::{TestName, TestSet};
    let mut vectors = Vectors::of("HS256, HS384, HS512");
    let sets =
        [(TestName::HmacSha256, 256), (TestName::HmacSha384, 384), (TestName::HmacSha512, 512)];
    for (name, bits) in sets {
        let algorithm = format!("HS{bits}");
        for group in TestSet::load(name).unwrap().test_groups {
            if group.tag_size != bits {
                let reason = format!("the API cuts no tags, these have {} bits", group.tag_size);
                vectors.skip(group.tests.len(), reason);
                continue;
            }
            for test in group.tests {
                let key = match vectors.import(HSM, &oct(&test.key), &["sign", "verify"]) {
                    Ok(key) => key,
                    Err(reason) => {
                        vectors.skip(1, reason);
                        continue;
                    }
                };
                let what = format!("{algorithm} {}", test.tc_id);
                let (digest, value) = (b64(&test.msg), b64(&test.tag));
                let body = json!({ "alg": algorithm, "digest": digest, "value": value });
                let answer = vectors.call(HSM, &key, "verify", &body);
                vectors.verified(&answer, test.result, &what);
                let body = json!({ "alg": algorithm, "value": digest });
                let signed = vectors.call(HSM, &key, "sign", &body);
                let same = unb64(signed.text("/value")) == test.tag[..];
                assert_eq!(same, test.result == TestResult::Valid, "{what}");
            }
        }
    }
    vectors.report(100);
}
