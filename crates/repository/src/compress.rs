//! Compression of groups: zstd where it pays.

use zstd::zstd_safe::{CParameter, Strategy, compress_bound};

use crate::RepositoryError;
use crate::error::Malformed;

/// Level of [`CompressionEffort::Fast`].
const FAST_LEVEL: i32 = 1;
/// Level whose settings [`CompressionEffort::Auto`] begins from.
const AUTO_LEVEL: i32 = 2;
/// Two to the power of this are the entries of the table that `Auto` looks matches up in: 256 KiB of
/// them stay in a core's own cache, which the two tables of zstd's level 3 do not.
const AUTO_HASH_LOG: u32 = 16;
/// Shortest match that `Auto` looks for, in bytes.
const AUTO_MATCH_BYTES_MIN: u32 = 5;
/// Level of [`CompressionEffort::Best`]; those above it take twice the time for 2 %.
const BEST_LEVEL: i32 = 9;
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

/// How much time compressing may take. Whatever is chosen, bytes that look random are stored as
/// they are, and every repository opens the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionEffort {
    /// zstd level 1.
    Fast,
    /// 1.3 to 1.7 times the speed of zstd's level 3 for 4 to 7 % more bytes (docs/performance.md,
    /// "Compression").
    #[default]
    Auto,
    /// zstd level 9.
    Best,
}

/// A reused compression context.
pub(crate) struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    /// Room for whatever zstd may need.
    room: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(effort: CompressionEffort) -> Result<Self, RepositoryError> {
        context(effort)
            .map(|context| Self { context, room: Vec::new() })
            .map_err(|_| RepositoryError::Bug("zstd gave no compression context"))
    }

    /// The bytes as they are to be stored, in memory that the next ones take too.
    pub(crate) fn compress(
        &mut self,
        plain: &[u8],
    ) -> Result<(Compression, &mut Vec<u8>), RepositoryError> {
        self.room.clear();
        if !looks_random(plain) {
            self.room.reserve(compress_bound(plain.len()));
            self.context
                .compress_to_buffer(plain, &mut self.room)
                .map_err(|_| RepositoryError::Bug("zstd refused to compress a group"))?;
            if self.room.len() < plain.len() {
                return Ok((Compression::Zstd, &mut self.room));
            }
            self.room.clear();
        }
        self.room.extend_from_slice(plain);
        Ok((Compression::None, &mut self.room))
    }
}

fn context(effort: CompressionEffort) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    match effort {
        CompressionEffort::Fast => zstd::bulk::Compressor::new(FAST_LEVEL),
        CompressionEffort::Best => zstd::bulk::Compressor::new(BEST_LEVEL),
        CompressionEffort::Auto => {
            let mut context = zstd::bulk::Compressor::new(AUTO_LEVEL)?;
            context.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast))?;
            context.set_parameter(CParameter::HashLog(AUTO_HASH_LOG))?;
            context.set_parameter(CParameter::MinMatch(AUTO_MATCH_BYTES_MIN))?;
            Ok(context)
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

    /// Puts the plain bytes in the place of whatever is in `plain`. They must be exactly
    /// `plain_length`; the caller has bounded that. Nothing larger is ever allocated, whatever the
    /// frame claims. What is left in `stored` is of no use.
    pub(crate) fn decompress(
        &mut self,
        compression: Compression,
        stored: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        plain_length: usize,
    ) -> Result<(), Malformed> {
        match compression {
            Compression::None => std::mem::swap(stored, plain),
            Compression::Zstd => {
                plain.clear();
                plain.reserve_exact(plain_length);
                self.0
                    .decompress_to_buffer(stored.as_slice(), plain)
                    .map_err(|_| Malformed::from("a group does not decompress"))?;
            }
        }
        if plain.len() == plain_length {
            Ok(())
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

    fn compressed(bytes: &[u8], effort: CompressionEffort) -> (Compression, Vec<u8>) {
        let mut compressor = Compressor::new(effort).unwrap();
        let (compression, stored) = compressor.compress(bytes).unwrap();
        (compression, stored.clone())
    }

    #[test]
    fn only_what_shrinks_is_compressed_and_everything_comes_back() {
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text = b"the quick brown fox ".repeat(10_000);
        let base64: Vec<u8> = noise.iter().map(|byte| b' ' + byte % 64).collect();
        let check = |bytes: &[u8], expected: Compression| {
            use CompressionEffort::{Auto, Best, Fast};
            for effort in [Fast, Auto, Best] {
                let (compression, stored) = compressed(bytes, effort);
                assert_eq!(compression, expected);
                let mut decompressor = Decompressor::new().unwrap();
                // In a room that was used before, and may be longer than what comes into it.
                let mut plain = vec![7; 3];
                for (length, is_right) in [(-1, false), (0, true), (1, false), (0, true)] {
                    let length = bytes.len().strict_add_signed(length);
                    let stored = &mut stored.clone();
                    let back = decompressor.decompress(compression, stored, &mut plain, length);
                    assert_eq!(back.is_ok(), is_right, "{length}");
                    assert!(!is_right || plain == bytes);
                }
            }
        };
        check(&noise, Compression::None);
        check(&text, Compression::Zstd);
        check(&base64, Compression::Zstd);
        check(b"ab", Compression::None);
    }

    #[test]
    fn more_effort_gives_fewer_bytes() {
        let mut text = Vec::new();
        for number in 0..40_000_u32 {
            let word = blake3::hash(&(number % 1_500).to_le_bytes()).to_hex();
            text.extend_from_slice(word.get(..7 + number as usize % 9).unwrap().as_bytes());
        }
        let length = |effort| compressed(&text, effort).1.len();
        let [fast, auto, best] =
            [CompressionEffort::Fast, CompressionEffort::Auto, CompressionEffort::Best].map(length);
        assert!(best < auto && auto < fast, "{fast} {auto} {best}");
    }
}
