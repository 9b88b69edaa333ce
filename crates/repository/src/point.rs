//! Points: one restorable state of an item each (docs/formats/repository.md, "Points").

use std::fmt;
use std::str::FromStr;

use custody_ambient::Timestamp;
use custody_entries::Metadata;
use custody_envelope::ObjectType;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::RepositoryError;
use crate::content::{Content, array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::listing;
use crate::log::ObjectId;
use crate::sealed::Keys;

/// Fields of every point; one that says until when it is kept has one more.
const FIELDS: u64 = 11;

/// Most warnings that a point keeps; all are counted.
pub const WARNINGS_MAX: usize = 1_000;

/// A point's id: the SHA-256 of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub ObjectId);

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PointId {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let unknown = || RepositoryError::PointNotFound(text.chars().take(100).collect());
        ObjectId::from_hex(text).map(Self).ok_or_else(unknown)
    }
}

/// How much a backup found and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files in the point.
    pub files: u64,
    /// Folders in the point.
    pub folders: u64,
    /// Links, pipes, sockets and device nodes in the point.
    pub others: u64,
    /// Length of all files in bytes, holes included.
    pub bytes: u64,
    /// Plain bytes of chunks that were not stored before.
    pub new_bytes: u64,
    /// What those take in the store, in bytes.
    pub stored_bytes: u64,
    /// Files taken over from the parent point without being opened.
    pub unchanged_files: u64,
}

/// A warning that a point keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointWarning {
    /// The stable code.
    pub code: String,
    /// The path below the item's top, as bytes.
    pub path: Vec<u8>,
    /// What happened, in words.
    pub message: String,
}

/// What a point's object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The item it is a state of.
    pub item: String,
    /// The host it was read on.
    pub host: String,
    /// The paths that were read, as given.
    pub paths: Vec<Vec<u8>>,
    /// When reading began, by the clock of that host.
    pub begun: Timestamp,
    /// When reading ended.
    pub ended: Timestamp,
    /// The point that unchanged files were taken over from.
    pub parent: Option<PointId>,
    /// How much there is.
    pub counts: Counts,
    /// How many warnings there were; `warnings` holds the first [`WARNINGS_MAX`].
    pub warnings_total: u64,
    /// What was left out or is doubtful.
    pub warnings: Vec<PointWarning>,
    /// Metadata of the top folder itself, unless the top was made up (several paths).
    pub top: Option<Metadata>,
    /// Until when whoever asked for it wanted it kept. Nothing in the repository heeds it: it is there
    /// for a record store that is made anew.
    pub keep_until: Option<Timestamp>,
    pub(crate) root: Content,
}

impl Point {
    pub(crate) fn seal(&self, keys: Keys<'_>) -> Result<Vec<u8>, RepositoryError> {
        keys.seal(ObjectType::Point, &[], self.encode()?)
    }

    pub(crate) fn open(
        bytes: &[u8],
        keys: Keys<'_>,
        object: &dyn ToString,
    ) -> Result<Self, RepositoryError> {
        let plain = keys.open(ObjectType::Point, &[], bytes, object)?;
        Self::decode(&plain).map_err(|malformed| malformed.in_object(object.to_string()))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        // The last field stands only where it says something: other points are as they ever were.
        let fields = FIELDS + u64::from(self.keep_until.is_some());
        cbor.array(fields)?.str(&self.item)?.str(&self.host)?.array(self.paths.len() as u64)?;
        for path in &self.paths {
            cbor.bytes(path)?;
        }
        for time in [self.begun, self.ended] {
            encode_time(time, &mut cbor)?;
        }
        match &self.top {
            Some(top) => listing::encode_metadata(top, &mut cbor)?,
            None => {
                cbor.null()?;
            }
        }
        self.root.encode(&mut cbor)?;
        match &self.parent {
            Some(PointId(id)) => cbor.bytes(id.as_bytes())?,
            None => cbor.null()?,
        };
        let counts = &self.counts;
        cbor.array(7)?.u64(counts.files)?.u64(counts.folders)?.u64(counts.others)?;
        cbor.u64(counts.bytes)?.u64(counts.new_bytes)?.u64(counts.stored_bytes)?;
        cbor.u64(counts.unchanged_files)?.u64(self.warnings_total)?;
        cbor.array(self.warnings.len() as u64 * 3)?;
        for warning in &self.warnings {
            cbor.str(&warning.code)?.bytes(&warning.path)?.str(&warning.message)?;
        }
        if let Some(keep_until) = self.keep_until {
            encode_time(keep_until, &mut cbor)?;
        }
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cbor = Decoder::new(bytes);
        let fields = length_of_array(&mut cbor)?;
        if ![FIELDS, FIELDS + 1].contains(&fields) {
            return Err("it has more or fewer fields than a point".into());
        }
        let (item, host) = (cbor.str()?.to_owned(), cbor.str()?.to_owned());
        let mut paths = Vec::new();
        for _ in 0..length_of_array(&mut cbor)? {
            paths.push(cbor.bytes()?.to_vec());
        }
        let (begun, ended) = (decode_time(&mut cbor)?, decode_time(&mut cbor)?);
        let top = present(&mut cbor)?.then(|| listing::decode_metadata(&mut cbor)).transpose()?;
        let root = Content::decode(&mut cbor)?;
        let parent = present(&mut cbor)?.then(|| array32(&mut cbor)).transpose()?;
        let parent = parent.map(|parent| PointId(ObjectId::from_bytes(parent)));
        array_of(&mut cbor, 7)?;
        let counts = Counts {
            files: cbor.u64()?,
            folders: cbor.u64()?,
            others: cbor.u64()?,
            bytes: cbor.u64()?,
            new_bytes: cbor.u64()?,
            stored_bytes: cbor.u64()?,
            unchanged_files: cbor.u64()?,
        };
        let warnings_total = cbor.u64()?;
        let mut warnings = Vec::new();
        for _ in 0..length_of_array(&mut cbor)? / 3 {
            warnings.push(PointWarning {
                code: cbor.str()?.to_owned(),
                path: cbor.bytes()?.to_vec(),
                message: cbor.str()?.to_owned(),
            });
        }
        let keep_until = (fields > FIELDS).then(|| decode_time(&mut cbor)).transpose()?;
        end(&cbor)?;
        Ok(Self {
            item,
            host,
            paths,
            begun,
            ended,
            parent,
            counts,
            warnings_total,
            warnings,
            top,
            keep_until,
            root,
        })
    }
}

/// Whether something other than null follows; a null is gone over.
fn present(cbor: &mut Decoder<'_>) -> Result<bool, Malformed> {
    if cbor.datatype()? == Type::Null {
        cbor.null()?;
        return Ok(false);
    }
    Ok(true)
}

fn encode_time(time: Timestamp, cbor: &mut Encoder<&mut Vec<u8>>) -> Result<(), RepositoryError> {
    cbor.array(2)?.i64(time.as_second())?.i32(time.subsec_nanosecond())?;
    Ok(())
}

fn decode_time(cbor: &mut Decoder<'_>) -> Result<Timestamp, Malformed> {
    array_of(cbor, 2)?;
    Timestamp::new(cbor.i64()?, cbor.i32()?).map_err(|_| "a time is out of range".into())
}
