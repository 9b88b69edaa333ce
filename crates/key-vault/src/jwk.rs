//! Keys from outside, as a JWK brings them (RFC 7518).

use std::collections::BTreeSet;

use custody_envelope::SecretBytes;

use crate::error::{KeyVaultError, Result};
use crate::key::KeyOrigin;
use crate::key_shape::{Curve, KeyShape, OctSize, RsaSize};
use crate::key_use::KeyUse;

/// A private or symmetric key to import. It has no `Debug`: it is secret.
pub enum ImportedKey {
    /// RSA with both primes.
    Rsa(Box<RsaComponents>),
    /// EC.
    Ec {
        /// `crv`
        curve: Curve,
        /// `x`
        x: Vec<u8>,
        /// `y`
        y: Vec<u8>,
        /// `d`
        d: SecretBytes,
    },
    /// The public half of an RSA key.
    RsaPublic {
        /// `n`
        n: Vec<u8>,
        /// `e`
        e: Vec<u8>,
    },
    /// The public half of an EC key.
    EcPublic {
        /// `crv`
        curve: Curve,
        /// `x`
        x: Vec<u8>,
        /// `y`
        y: Vec<u8>,
    },
    /// Symmetric.
    Oct {
        /// Its size.
        size: OctSize,
        /// `k`
        k: SecretBytes,
    },
}

/// The numbers of an RSA private key, big-endian.
pub struct RsaComponents {
    /// `n`
    pub n: Vec<u8>,
    /// `e`
    pub e: Vec<u8>,
    /// `d`
    pub d: SecretBytes,
    /// `p`
    pub p: SecretBytes,
    /// `q`
    pub q: SecretBytes,
    /// `dp`
    pub dp: SecretBytes,
    /// `dq`
    pub dq: SecretBytes,
    /// `qi`
    pub qi: SecretBytes,
}

impl ImportedKey {
    /// An RSA key of a size that is served.
    pub fn rsa(mut numbers: RsaComponents) -> Result<Self> {
        strip_zeros(&mut numbers.n);
        strip_zeros(&mut numbers.e);
        rsa_size(&numbers.n)?;
        Ok(Self::Rsa(Box::new(numbers)))
    }

    /// The public half of an RSA key of a size that is served.
    pub fn rsa_public(mut n: Vec<u8>, mut e: Vec<u8>) -> Result<Self> {
        strip_zeros(&mut n);
        strip_zeros(&mut e);
        rsa_size(&n)?;
        Ok(Self::RsaPublic { n, e })
    }

    /// The public half of an EC key.
    pub fn ec_public(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self> {
        Ok(Self::EcPublic { curve, x: to_field(x, curve)?, y: to_field(y, curve)? })
    }

    /// An EC key.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8], d: &SecretBytes) -> Result<Self> {
        let (x, y) = (to_field(x, curve)?, to_field(y, curve)?);
        Ok(Self::Ec { curve, x, y, d: SecretBytes::new(to_field(d.expose(), curve)?) })
    }

    /// A symmetric key of a size that is served.
    pub fn oct(k: SecretBytes) -> Result<Self> {
        let bits = u32::try_from(k.expose().len() * 8).unwrap_or(u32::MAX);
        Ok(Self::Oct { size: OctSize::try_from(bits)?, k })
    }

    /// Kind and size.
    pub fn shape(&self) -> Result<KeyShape> {
        match self {
            Self::Rsa(numbers) => rsa_size(&numbers.n).map(KeyShape::Rsa),
            Self::RsaPublic { n, .. } => rsa_size(n).map(KeyShape::Rsa),
            Self::Ec { curve, .. } | Self::EcPublic { curve, .. } => Ok(KeyShape::Ec(*curve)),
            Self::Oct { size, .. } => Ok(KeyShape::Oct(*size)),
        }
    }

    /// What such a key is taken in for unless whoever brings it says less.
    pub fn usual_operations(&self) -> Result<BTreeSet<KeyUse>> {
        let all = self.shape()?.usual_operations();
        let public = self.origin() == KeyOrigin::ImportedPublic;
        Ok(all.into_iter().filter(|wanted| !public || wanted.needs_public_half_only()).collect())
    }

    pub(crate) fn origin(&self) -> KeyOrigin {
        match self {
            Self::RsaPublic { .. } | Self::EcPublic { .. } => KeyOrigin::ImportedPublic,
            Self::Rsa(_) | Self::Ec { .. } | Self::Oct { .. } => KeyOrigin::Imported,
        }
    }
}

fn rsa_size(modulus: &[u8]) -> Result<RsaSize> {
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = u32::try_from(modulus.len() * 8).unwrap_or(u32::MAX).saturating_sub(unused);
    RsaSize::try_from(bits)
}

fn strip_zeros(number: &mut Vec<u8>) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
}

/// A number as long as the curve's field: some clients drop leading zeros, some add one.
fn to_field(number: &[u8], curve: Curve) -> Result<Vec<u8>> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let missing = curve.bytes().checked_sub(number.len()).ok_or_else(|| {
        KeyVaultError::BadParameter(format!(
            "x, y and d of {} have at most {} bytes",
            curve.as_str(),
            curve.bytes()
        ))
    })?;
    // One allocation of the final size: the number may be secret, so no copy may stay behind.
    let mut field = Vec::with_capacity(curve.bytes());
    field.resize(missing, 0);
    field.extend_from_slice(number);
    Ok(field)
}
