//! The numbers of public keys (SubjectPublicKeyInfo, RFC 5280; RSA: RFC 8017 A.1.1, EC: SEC 1).

use crate::key_shape::PublicKey;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;
/// The head of an uncompressed point.
const UNCOMPRESSED: u8 = 0x04;

pub(crate) fn rsa_public_key(der: &[u8]) -> Option<PublicKey> {
    let (numbers, _) = element(subject_public_key(der)?, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let (modulus, exponent) = (unsigned(modulus).to_vec(), unsigned(exponent).to_vec());
    Some(PublicKey::Rsa { modulus, exponent })
}

pub(crate) fn ec_public_key(der: &[u8], field_bytes: usize) -> Option<PublicKey> {
    let point = subject_public_key(der)?.strip_prefix(&[UNCOMPRESSED])?;
    let (x, y) = point.split_at_checked(field_bytes)?;
    (y.len() == field_bytes).then(|| PublicKey::Ec { x: x.to_vec(), y: y.to_vec() })
}

/// Modulus and private exponent of an RSA key in PKCS#8 (RFC 5208, RFC 8017 A.1.2).
pub(crate) fn rsa_private_exponent(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = element(der, SEQUENCE)?;
    let (_version, rest) = element(info, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, OCTET_STRING)?;
    let (numbers, _) = element(key, SEQUENCE)?;
    let (_version, rest) = element(numbers, INTEGER)?;
    let (modulus, rest) = element(rest, INTEGER)?;
    let (_public_exponent, rest) = element(rest, INTEGER)?;
    let (private_exponent, _) = element(rest, INTEGER)?;
    Some((unsigned(modulus), unsigned(private_exponent)))
}

fn subject_public_key(der: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(der, SEQUENCE)?;
    let (_algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    bits.strip_prefix(&[0])
}

/// An INTEGER without the zero that marks it as positive.
fn unsigned(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// The content of the DER element at the head of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
