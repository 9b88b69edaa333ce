//! What says what a run is (docs/formats/index-cache.md).

use std::collections::BTreeSet;

use minicbor::{Decoder, Encoder};

use super::packs::PackSum;
use crate::RepositoryError;
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::log::ObjectId;

/// The version of the format.
const FORMAT: u64 = 2;

/// What a run covers and how long its tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) covered: BTreeSet<ObjectId>,
    pub(super) packs: PackSum,
    pub(super) chunks: u64,
    pub(super) groups: u64,
    pub(super) filter_blocks: u64,
}

impl Manifest {
    pub(super) fn encode(&self) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        cbor.array(7)?.u64(FORMAT)?.array(self.covered.len() as u64)?;
        for id in &self.covered {
            cbor.bytes(id.as_bytes())?;
        }
        cbor.u64(self.packs.count)?.bytes(&self.packs.sum.to_be_bytes())?;
        cbor.u64(self.chunks)?.u64(self.groups)?.u64(self.filter_blocks)?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cbor = Decoder::new(bytes);
        array_of(&mut cbor, 7)?;
        if cbor.u64()? != FORMAT {
            return Err("it is of another format".into());
        }
        let mut covered = BTreeSet::new();
        for _ in 0..length_of_array(&mut cbor)? {
            covered.insert(ObjectId::from_bytes(array32(&mut cbor)?));
        }
        let count = cbor.u64()?;
        let sum = cbor.bytes()?.try_into().map_err(|_| "its sum has another length")?;
        let packs = PackSum { count, sum: u128::from_be_bytes(sum) };
        let (chunks, groups, filter_blocks) = (cbor.u64()?, cbor.u64()?, cbor.u64()?);
        end(&cbor)?;
        if filter_blocks == 0 {
            return Err("it has no filter".into());
        }
        Ok(Self { covered, packs, chunks, groups, filter_blocks })
    }
}

/// Reads bytes as a manifest: what is read is written and read as the same.
#[cfg(feature = "parsers")]
#[expect(clippy::unwrap_used, reason = "a fuzzer looks for panics")]
pub(super) fn parse(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        let written = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&written).unwrap(), manifest);
    }
}
