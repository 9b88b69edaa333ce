//! The little DER (X.690) that keys and certificates need: definite lengths, one element at a time.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// The optional version at the head of a certificate.
pub(crate) const VERSION: u8 = 0xA0;

/// One element.
#[derive(Clone, Copy)]
pub(crate) struct Element<'d> {
    /// Its tag.
    pub(crate) tag: u8,
    /// What it holds.
    pub(crate) content: &'d [u8],
    /// It whole, tag and length included.
    pub(crate) whole: &'d [u8],
}

/// Reads elements one after the other.
pub(crate) struct Elements<'d>(&'d [u8]);

impl<'d> Elements<'d> {
    /// The elements in these bytes.
    pub(crate) fn of(bytes: &'d [u8]) -> Self {
        Self(bytes)
    }

    /// The next one, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// Passes over the next element if it has this tag.
    pub(crate) fn pass_over(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }

    /// Whether all are read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'d> Iterator for Elements<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let (whole, _) = self.0.split_at_checked(self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Element { tag, content, whole })
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1), without leading zeros.
pub(crate) fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut numbers = Elements::of(Elements::of(der).expect(SEQUENCE)?);
    Some((without_zero(numbers.expect(INTEGER)?), without_zero(numbers.expect(INTEGER)?)))
}

/// DER puts a zero before a number whose highest bit is set.
fn without_zero(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}
