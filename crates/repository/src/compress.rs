//! Compression of groups: zstd where it pays.

use crate::RepositoryError;
use crate::error::Malformed;

/// zstd's own default: more costs twice the time for 4 % (reference measurements, §3).
const LEVEL: i32 = 3;
/// How many bytes of a group are looked at to tell whether it is worth compressing.
const SAMPLE_BYTES: usize = 16 << 10;

/// How a group is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zstd,
}

impl Compression {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Zstd),
            _ => Err("it names an unknown compression".into()),
        }
    }
}

/// A reused compression context.
pub(crate) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(crate) fn new() -> Result<Self, RepositoryError> {
        zstd::bulk::Compressor::new(LEVEL)
            .map(Self)
            .map_err(|_| RepositoryError::Bug("zstd gave no compression context"))
    }

    /// The bytes as they are to be stored.
    pub(crate) fn compress(
        &mut self,
        plain: Vec<u8>,
    ) -> Result<(Compression, Vec<u8>), RepositoryError> {
        if looks_random(&plain) {
            return Ok((Compression::None, plain));
        }
        let compressed = self
            .0
            .compress(&plain)
            .map_err(|_| RepositoryError::Bug("zstd refused to compress a group"))?;
        if compressed.len() < plain.len() {
            Ok((Compression::Zstd, compressed))
        } else {
            Ok((Compression::None, plain))
        }
    }
}

/// A reused decompression context.
pub(crate) struct Decompressor(zstd::bulk::Decompressor<'static>);

impl Decompressor {
    pub(crate) fn new() -> Result<Self, RepositoryError> {
        zstd::bulk::Decompressor::new()
            .map(Self)
            .map_err(|_| RepositoryError::Bug("zstd gave no decompression context"))
    }

    /// Gives the plain bytes back, which must be exactly `plain_length`; the caller has bounded
    /// that. Nothing larger is ever allocated, whatever the frame claims.
    pub(crate) fn decompress(
        &mut self,
        compression: Compression,
        stored: Vec<u8>,
        plain_length: usize,
    ) -> Result<Vec<u8>, Malformed> {
        let plain = match compression {
            Compression::None => stored,
            Compression::Zstd => self
                .0
                .decompress(&stored, plain_length)
                .map_err(|_| Malformed::from("a group does not decompress"))?,
        };
        if plain.len() == plain_length {
            Ok(plain)
        } else {
            Err("a group has another length than its pack says".into())
        }
    }
}

/// Whether the byte histogram of a sample is as flat as that of random bytes: the sum of squared
/// counts is within an eighth of what chance gives. Text and code are many times above.
fn looks_random(bytes: &[u8]) -> bool {
    let stride = (bytes.len() / SAMPLE_BYTES).max(1);
    let mut counts = [0_u64; 256];
    let mut sampled = 0_u64;
    for byte in bytes.iter().step_by(stride) {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
        sampled += 1;
    }
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    let by_chance = sampled + sampled * sampled / 256;
    sampled >= 1_024 && squares < by_chance + by_chance / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shrinks_is_compressed_and_everything_comes_back() {
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text = b"the quick brown fox ".repeat(10_000);
        let base64: Vec<u8> = noise.iter().map(|byte| b' ' + byte % 64).collect();
        let check = |bytes: &[u8], expected: Compression| {
            let (compression, stored) =
                Compressor::new().unwrap().compress(bytes.to_vec()).unwrap();
            assert_eq!(compression, expected);
            let mut decompressor = Decompressor::new().unwrap();
            let back = decompressor.decompress(compression, stored.clone(), bytes.len());
            assert_eq!(back.unwrap(), bytes);
            let short = decompressor.decompress(compression, stored.clone(), bytes.len() - 1);
            assert!(short.is_err());
            assert!(decompressor.decompress(compression, stored, bytes.len() + 1).is_err());
        };
        check(&noise, Compression::None);
        check(&text, Compression::Zstd);
        check(&base64, Compression::Zstd);
        check(b"ab", Compression::None);
    }
}
