//! What is read of an X.509 certificate (RFC 5280): its key and when it is valid. Nobody's signature
//! on it is checked: registering it is what makes it trusted, as with a bare public key.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::PublicKey;
use custody_ambient::Timestamp;
use data_encoding::BASE64URL_NOPAD;

use crate::der::{Elements, GENERALIZED_TIME, SEQUENCE, UTC_TIME, VERSION};

/// Largest certificate, in bytes.
const CERTIFICATE_BYTES_MAX: usize = 8 << 10;

/// A certificate whose key can sign client assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// Valid from then on.
    pub not_before: Timestamp,
    /// Valid until then.
    pub not_after: Timestamp,
    /// SHA-1 of the certificate, base64url: the `x5t` of an assertion's header.
    pub x5t: String,
    /// SHA-256 of the certificate, base64url: the `x5t#S256`.
    pub x5t_s256: String,
}

impl Certificate {
    /// Reads a certificate, DER; none if it is none, or its key is not RSA.
    pub fn read(der: &[u8]) -> Option<Self> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return None;
        }
        let mut outermost = Elements::of(der);
        let mut certificate = Elements::of(outermost.expect(SEQUENCE)?);
        let mut fields = Elements::of(certificate.expect(SEQUENCE)?);
        fields.pass_over(VERSION);
        let (_serial_number, _algorithm, _issuer) =
            (fields.next()?, fields.expect(SEQUENCE)?, fields.expect(SEQUENCE)?);
        let mut validity = Elements::of(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let _subject = fields.expect(SEQUENCE)?;
        let public_key = fields.next().filter(|key| key.tag == SEQUENCE)?.whole;
        PublicKey::from_der(public_key).ok().filter(|_| outermost.is_done())?;
        let thumbprint = |algorithm| BASE64URL_NOPAD.encode(digest(algorithm, der).as_ref());
        Some(Self {
            public_key: public_key.to_vec(),
            not_before,
            not_after,
            x5t: thumbprint(&SHA1_FOR_LEGACY_USE_ONLY),
            x5t_s256: thumbprint(&SHA256),
        })
    }
}

/// RFC 5280 §4.1.2.5: always UTC, always with seconds; two digits of a year are 1950 to 2049.
fn time(elements: &mut Elements<'_>) -> Option<Timestamp> {
    let element = elements.next()?;
    let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            (format!("{}{year}", if year < "50" { "20" } else { "19" }), rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2);
    let (month, day, hour) = (pair(0)?, pair(2)?, pair(4)?);
    let (minute, second) = (pair(6)?, pair(8)?);
    let whole = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    whole.parse().ok().filter(|_| rest.len() == 10)
}
