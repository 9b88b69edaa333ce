//! What an application proves itself with: client secrets, kept as their hash alone, and
//! certificates, whose key signs assertions.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use custody_ambient::{Entropy, Timestamp, random_array};
use custody_envelope::SecretBytes;
use custody_names::CorrelationId;
use custody_resources::Refusal;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Certificate;

/// Most secrets, and most certificates, of one application.
const CREDENTIALS_MAX: usize = 64;
/// Randomness of a secret, in bytes.
const SECRET_BYTES: usize = 32;
/// What every secret begins with, so that scanners of source code can find one, and so that none
/// begins with a hyphen, which a command line would take for an option.
const SECRET_PREFIX: &str = "custody_";
/// How much of a secret is shown, to tell it from others.
const HINT_CHARS: usize = 11;
/// How long a secret is good for unless told otherwise (Graph's default): two years.
const SECRET_DAYS: i64 = 730;
const DAY_SECONDS: i64 = 86_400;
/// Longest name of a credential, in characters.
const NAME_CHARS_MAX: usize = 256;

/// The credentials of an application or service principal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// Its secrets.
    pub passwords: Vec<Password>,
    /// Its certificates.
    pub certificates: Vec<RegisteredCertificate>,
}

/// A client secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// Its own id.
    pub key_id: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its first characters, of which the last three are its own.
    pub hint: String,
    /// SHA-256 of the secret, base64. The secret is random and long: a slow hash would add nothing.
    pub sha256: String,
    /// Good from then on.
    pub start: Timestamp,
    /// Until then.
    pub end: Timestamp,
}

/// A certificate that was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredCertificate {
    /// Its own id.
    pub key_id: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The certificate, DER in base64.
    pub der: String,
    /// Good from then on: the later of its own time and what the client said.
    pub start: Timestamp,
    /// Until then: the earlier of the two.
    pub end: Timestamp,
}

/// What a client says of a credential it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wish {
    /// What it is called.
    pub display_name: Option<String>,
    /// Good from then on; now, unless said.
    pub start_date_time: Option<Timestamp>,
    /// Until then; two years from its start, unless said.
    pub end_date_time: Option<Timestamp>,
}

/// A new secret: what is kept, and what only the one who asked for it ever sees.
pub struct NewPassword {
    /// What is kept.
    pub kept: Password,
    /// The secret, text.
    pub secret: SecretBytes,
}

/// How the secrets of an application answer one that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretAnswer {
    /// It is one of them, and good.
    Right,
    /// It is one of them, but not good any more, or not yet.
    Expired,
    /// It is none of them.
    Wrong,
}

/// The hash that is kept of a secret.
pub fn hash_of(secret: &[u8]) -> String {
    BASE64.encode(digest(&SHA256, secret).as_ref())
}

/// Whether this is the hash of that secret; takes as long either way.
pub fn is_hash_of(hash: &str, secret: &[u8]) -> bool {
    verify_slices_are_equal(hash.as_bytes(), hash_of(secret).as_bytes()).is_ok()
}

/// A new random secret, as text.
pub fn mint_secret(entropy: &dyn Entropy) -> Result<SecretBytes, Refusal> {
    let broken = |error: custody_ambient::EntropyUnavailable| Refusal::bug(error.to_string());
    let bytes = Zeroizing::new(random_array::<SECRET_BYTES>(entropy).map_err(broken)?);
    let mut text = Zeroizing::new(vec![0; BASE64URL_NOPAD.encode_len(SECRET_BYTES)]);
    BASE64URL_NOPAD.encode_mut(bytes.as_slice(), &mut text);
    Ok(SecretBytes::new([SECRET_PREFIX.as_bytes(), &text].concat()))
}

impl Credentials {
    /// Adds a new secret.
    pub fn add_password(
        &mut self,
        wish: Wish,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<NewPassword, Refusal> {
        check_room(self.passwords.len(), wish.display_name.as_deref())?;
        let secret = mint_secret(entropy)?;
        let start = wish.start_date_time.unwrap_or(now);
        let end = match wish.end_date_time {
            Some(end) => end,
            None => later(start, SECRET_DAYS * DAY_SECONDS),
        };
        if end <= start {
            return Err(Refusal::bad_request("endDateTime must be later than startDateTime"));
        }
        let shown = secret.expose().get(..HINT_CHARS).unwrap_or_default();
        let kept = Password {
            key_id: mint_key_id(entropy)?,
            display_name: wish.display_name,
            hint: String::from_utf8_lossy(shown).into_owned(),
            sha256: hash_of(secret.expose()),
            start,
            end,
        };
        self.passwords.push(kept.clone());
        Ok(NewPassword { kept, secret })
    }

    /// Adds a secret that was made before.
    pub fn take_password(&mut self, password: Password) -> Result<(), Refusal> {
        check_room(self.passwords.len(), None)?;
        self.passwords.push(password);
        Ok(())
    }

    /// Registers a certificate (DER).
    pub fn add_certificate(
        &mut self,
        der: &[u8],
        wish: Wish,
        entropy: &dyn Entropy,
    ) -> Result<(), Refusal> {
        check_room(self.certificates.len(), wish.display_name.as_deref())?;
        let read = Certificate::read(der).ok_or_else(|| {
            Refusal::bad_request(
                "Key credential is invalid: it must be an X.509 certificate, DER, \
                                  with an RSA key",
            )
        })?;
        self.certificates.push(RegisteredCertificate {
            key_id: mint_key_id(entropy)?,
            display_name: wish.display_name,
            der: BASE64.encode(der),
            start: wish.start_date_time.map_or(read.not_before, |at| at.max(read.not_before)),
            end: wish.end_date_time.map_or(read.not_after, |at| at.min(read.not_after)),
        });
        Ok(())
    }

    /// Removes the secret with this id.
    pub fn remove_password(&mut self, key_id: &str) -> Result<(), Refusal> {
        let before = self.passwords.len();
        self.passwords.retain(|password| !password.key_id.eq_ignore_ascii_case(key_id));
        if self.passwords.len() < before {
            return Ok(());
        }
        let text = format!("No credentials found to be removed: there is no secret {key_id}");
        Err(Refusal::bad_request(text))
    }

    /// What the secrets answer to one that is shown. Every one is compared, whole.
    pub fn check_secret(&self, shown: &[u8], now: Timestamp) -> SecretAnswer {
        let mut answer = SecretAnswer::Wrong;
        for password in &self.passwords {
            let good = password.start <= now && now < password.end;
            if is_hash_of(&password.sha256, shown) && answer != SecretAnswer::Right {
                answer = if good { SecretAnswer::Right } else { SecretAnswer::Expired };
            }
        }
        answer
    }

    /// The certificates that are good now.
    pub fn certificates_at(&self, now: Timestamp) -> impl Iterator<Item = Certificate> + '_ {
        let good = move |one: &&RegisteredCertificate| one.start <= now && now < one.end;
        self.certificates
            .iter()
            .filter(good)
            .filter_map(|one| Certificate::read(&BASE64.decode(one.der.as_bytes()).ok()?))
    }
}

fn check_room(count: usize, name: Option<&str>) -> Result<(), Refusal> {
    if count >= CREDENTIALS_MAX {
        return Err(Refusal::bad_request(format!(
            "an application has at most {CREDENTIALS_MAX} credentials of a sort; remove one first"
        )));
    }
    match name {
        Some(name) if name.chars().count() > NAME_CHARS_MAX => Err(Refusal::bad_request(format!(
            "the name of a credential has at most {NAME_CHARS_MAX} characters"
        ))),
        _ => Ok(()),
    }
}

fn mint_key_id(entropy: &dyn Entropy) -> Result<String, Refusal> {
    // Any type of GUID will do: what matters is its form.
    let id = CorrelationId::mint(entropy).map_err(|error| Refusal::bug(error.to_string()))?;
    Ok(id.to_string())
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}
