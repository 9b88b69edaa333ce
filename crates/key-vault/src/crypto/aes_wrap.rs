//! AES key wrap (RFC 3394) and key wrap with padding (RFC 5649) over aws-lc's block cipher, whose
//! own key wrap knows no 192-bit keys.

use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext, EncryptingKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use custody_envelope::SecretBytes;
use zeroize::Zeroizing;

use super::aes::block_key;
use crate::error::{KeyVaultError, Result};

/// Bytes of a semiblock, the unit of both RFCs.
const SEMIBLOCK: usize = 8;
/// RFC 3394 2.2.3.1
const INITIAL_VALUE: [u8; SEMIBLOCK] = [0xA6; SEMIBLOCK];
/// RFC 5649 3: the high half of the initial value; the low half is the length.
const PADDED_INITIAL: [u8; 4] = [0xA6, 0x59, 0x59, 0xA6];
const ROUNDS: u64 = 6;
/// Most bytes that are wrapped: a private key of the largest size fits.
const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// RFC 3394: two semiblocks at least.
pub(super) fn wrap(key: &SecretBytes, plain: &SecretBytes) -> Result<Vec<u8>> {
    let length = plain.expose().len();
    if length < 2 * SEMIBLOCK || !length.is_multiple_of(SEMIBLOCK) || length > PLAIN_BYTES_MAX {
        return Err(KeyVaultError::BadParameter(format!(
            "{length} bytes cannot be wrapped; AES key wrap takes a multiple of {SEMIBLOCK} from \
             {} to {PLAIN_BYTES_MAX}",
            2 * SEMIBLOCK
        )));
    }
    let mut blocks = Zeroizing::new([&INITIAL_VALUE, plain.expose()].concat());
    Encryptor::new(key)?.wrap(&mut blocks)?;
    Ok(blocks.to_vec())
}

pub(super) fn unwrap(key: &SecretBytes, wrapped: &[u8]) -> Result<Option<SecretBytes>> {
    let fits = (3 * SEMIBLOCK..=PLAIN_BYTES_MAX + SEMIBLOCK).contains(&wrapped.len());
    if !fits || !wrapped.len().is_multiple_of(SEMIBLOCK) {
        return Ok(None);
    }
    let mut blocks = Zeroizing::new(wrapped.to_vec());
    Decryptor::new(key)?.unwrap(&mut blocks)?;
    let Some((initial, plain)) = blocks.split_first_chunk::<SEMIBLOCK>() else { return Ok(None) };
    let authentic = verify_slices_are_equal(initial, &INITIAL_VALUE).is_ok();
    Ok(authentic.then(|| SecretBytes::new(plain.to_vec())))
}

/// RFC 5649: one byte at least.
pub(crate) fn wrap_padded(key: &SecretBytes, plain: &SecretBytes) -> Result<Vec<u8>> {
    let bytes = plain.expose();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if bytes.is_empty() || bytes.len() > PLAIN_BYTES_MAX {
        return Err(KeyVaultError::BadParameter(format!(
            "{length} bytes cannot be wrapped; AES key wrap with padding takes 1 to \
             {PLAIN_BYTES_MAX}"
        )));
    }
    let padded = bytes.len().next_multiple_of(SEMIBLOCK);
    let mut blocks = Zeroizing::new(Vec::with_capacity(SEMIBLOCK + padded));
    blocks.extend_from_slice(&PADDED_INITIAL);
    blocks.extend_from_slice(&length.to_be_bytes());
    blocks.extend_from_slice(bytes);
    blocks.resize(SEMIBLOCK + padded, 0);
    let cipher = Encryptor::new(key)?;
    if padded == SEMIBLOCK {
        cipher.block(&mut blocks)?;
    } else {
        cipher.wrap(&mut blocks)?;
    }
    Ok(blocks.to_vec())
}

pub(super) fn unwrap_padded(key: &SecretBytes, wrapped: &[u8]) -> Result<Option<SecretBytes>> {
    let fits = (2 * SEMIBLOCK..=PLAIN_BYTES_MAX + SEMIBLOCK).contains(&wrapped.len());
    if !fits || !wrapped.len().is_multiple_of(SEMIBLOCK) {
        return Ok(None);
    }
    let mut blocks = Zeroizing::new(wrapped.to_vec());
    let cipher = Decryptor::new(key)?;
    if blocks.len() == 2 * SEMIBLOCK {
        cipher.block(&mut blocks)?;
    } else {
        cipher.unwrap(&mut blocks)?;
    }
    Ok(padded_plain(&blocks).map(|plain| SecretBytes::new(plain.to_vec())))
}

/// RFC 5649 3: the three checks, all of them before the one answer.
fn padded_plain(blocks: &[u8]) -> Option<&[u8]> {
    let (initial, padded) = blocks.split_first_chunk::<SEMIBLOCK>()?;
    let (magic, length) = initial.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let whole = length <= padded.len() && length > padded.len().saturating_sub(SEMIBLOCK);
    let (plain, padding) = padded.split_at_checked(if whole { length } else { 0 })?;
    let zeros = padding.iter().fold(0, |seen, byte| seen | byte) == 0;
    let named = verify_slices_are_equal(magic, &PADDED_INITIAL).is_ok();
    (named & whole & zeros).then_some(plain)
}

struct Encryptor(EncryptingKey);

impl Encryptor {
    fn new(key: &SecretBytes) -> Result<Self> {
        EncryptingKey::ecb(block_key(key)?).map(Self).map_err(|_| bug())
    }

    fn block(&self, block: &mut [u8]) -> Result<()> {
        self.0.encrypt(block).map(drop).map_err(|_| bug())
    }

    /// RFC 3394 2.2.1 over `A ‖ R[1] ‖ … ‖ R[n]`.
    fn wrap(&self, blocks: &mut [u8]) -> Result<()> {
        let Some((register, semiblocks)) = blocks.split_first_chunk_mut::<SEMIBLOCK>() else {
            return Err(bug());
        };
        let mut step = 0_u64;
        let mut block = Zeroizing::new([0; 2 * SEMIBLOCK]);
        for _ in 0..ROUNDS {
            for semiblock in semiblocks.chunks_exact_mut(SEMIBLOCK) {
                step += 1;
                let (high, low) = block.split_at_mut(SEMIBLOCK);
                high.copy_from_slice(register);
                low.copy_from_slice(semiblock);
                self.block(block.as_mut_slice())?;
                let (high, low) = block.split_at(SEMIBLOCK);
                register.copy_from_slice(high);
                add_step(register, step);
                semiblock.copy_from_slice(low);
            }
        }
        Ok(())
    }
}

struct Decryptor(DecryptingKey);

impl Decryptor {
    fn new(key: &SecretBytes) -> Result<Self> {
        DecryptingKey::ecb(block_key(key)?).map(Self).map_err(|_| bug())
    }

    fn block(&self, block: &mut [u8]) -> Result<()> {
        self.0.decrypt(block, DecryptionContext::None).map(drop).map_err(|_| bug())
    }

    /// RFC 3394 2.2.2 over `C[0] ‖ … ‖ C[n]`.
    fn unwrap(&self, blocks: &mut [u8]) -> Result<()> {
        let Some((register, semiblocks)) = blocks.split_first_chunk_mut::<SEMIBLOCK>() else {
            return Err(bug());
        };
        let mut step = ROUNDS * (semiblocks.len() / SEMIBLOCK) as u64;
        let mut block = Zeroizing::new([0; 2 * SEMIBLOCK]);
        for _ in 0..ROUNDS {
            for semiblock in semiblocks.chunks_exact_mut(SEMIBLOCK).rev() {
                add_step(register, step);
                step -= 1;
                let (high, low) = block.split_at_mut(SEMIBLOCK);
                high.copy_from_slice(register);
                low.copy_from_slice(semiblock);
                self.block(block.as_mut_slice())?;
                let (high, low) = block.split_at(SEMIBLOCK);
                register.copy_from_slice(high);
                semiblock.copy_from_slice(low);
            }
        }
        Ok(())
    }
}

fn add_step(register: &mut [u8; SEMIBLOCK], step: u64) {
    register.iter_mut().zip(step.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
}

fn bug() -> KeyVaultError {
    KeyVaultError::Bug("AES key wrap failed")
}
