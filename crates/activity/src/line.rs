//! One line of the ledger: a record or a note with its place in the chain.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use custody_ambient::Timestamp;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Between a line's content and its own hash.
const HASH_MEMBER: &[u8] = b",\"hash\":\"";
/// Behind a line's own hash.
const LINE_END: &[u8] = b"\"}";

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// From 1, one more for each line.
    pub sequence: u64,
    /// The line's hash, which stands for all lines up to it.
    pub hash: LineHash,
}

impl Position {
    /// Before the first line.
    pub(crate) const ORIGIN: Self = Self { sequence: 0, hash: LineHash([0; 32]) };
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// Wall clock of the process that wrote it.
    pub time: Timestamp,
    /// What it says.
    pub content: Content,
}

impl Entry {
    /// The record, or `None` if the line is a note of the ledger's own.
    pub fn record(&self) -> Option<&Value> {
        match &self.content {
            Content::Record(record) => Some(record),
            Content::Note(_) => None,
        }
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// What somebody put on record: a JSON object.
    Record(Value),
    /// What the ledger says about itself.
    Note(Note),
}

/// What the ledger says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// First line of every segment.
    Begin {
        /// Version of the format, see `docs/formats/ledger.md`.
        format: u32,
        /// The Ed25519 key that signs heads in this segment, in base64.
        public_key: Option<String>,
    },
    /// Signs the line before.
    Head {
        /// Ed25519 signature, in base64.
        signature: String,
    },
    /// The tail was found damaged.
    Repaired {
        /// In which way.
        fault: Fault,
        /// Length of what was found, in bytes.
        bytes: u64,
        /// Hash of what was found.
        sha256: LineHash,
        /// Its first 4,096 bytes, as far as they are text.
        text: String,
    },
}

/// What was wrong with the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The last line had no end: a crash. It was cut off.
    Torn,
    /// The last line was whole but not what had been written. It was left in place.
    Unreadable,
}

/// SHA-256 of a line, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// The hash of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }
}

impl FromStr for LineHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.map(Self).ok_or_else(|| "a hash is 64 lower-case hexadecimal digits".to_owned())
    }
}

impl TryFrom<String> for LineHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> String {
        hash.to_string()
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All members of a line but its own hash.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    sequence: u64,
    time: Timestamp,
    previous: LineHash,
    record: Option<Value>,
    ledger: Option<Note>,
}

/// What a new line says.
pub(crate) enum Said<'r> {
    /// A record: the text of a JSON object.
    Record(&'r str),
    /// A note of the ledger's own.
    Note(Note),
}

/// The members of a line before what it says.
#[derive(Serialize)]
struct Place {
    sequence: u64,
    time: Timestamp,
    previous: LineHash,
}

/// Appends the line that follows `previous` to `out` and returns its place.
pub(crate) fn encode(
    previous: Position,
    time: Timestamp,
    said: Said<'_>,
    out: &mut Vec<u8>,
) -> Result<Position, serde_json::Error> {
    let sequence = previous.sequence + 1;
    let begin = out.len();
    serde_json::to_writer(&mut *out, &Place { sequence, time, previous: previous.hash })?;
    out.pop(); // the closing brace comes behind the hash
    match said {
        Said::Record(record) => {
            out.extend_from_slice(b",\"record\":");
            out.extend_from_slice(record.as_bytes());
        }
        Said::Note(note) => {
            out.extend_from_slice(b",\"ledger\":");
            serde_json::to_writer(&mut *out, &note)?;
        }
    }
    let hash = LineHash::of(out.get(begin..).unwrap_or_default());
    out.extend_from_slice(HASH_MEMBER);
    out.extend_from_slice(hash.to_string().as_bytes());
    out.extend_from_slice(LINE_END);
    out.push(b'\n');
    Ok(Position { sequence, hash })
}

/// A line (without its `\n`) that bears its right hash, with the hash of the line before it.
pub(crate) struct Decoded {
    pub(crate) entry: Entry,
    pub(crate) previous: LineHash,
}

/// Reads a line without its `\n`; the error says what is wrong with it.
pub(crate) fn decode(line: &[u8]) -> Result<Decoded, String> {
    let unsealed = || "it has no hash of its own".to_owned();
    let line = line.strip_suffix(LINE_END).ok_or_else(unsealed)?;
    let (line, stated) = line.split_last_chunk::<64>().ok_or_else(unsealed)?;
    let line = line.strip_suffix(HASH_MEMBER).ok_or_else(unsealed)?;
    let hash = LineHash::of(line);
    if hash.to_string().as_bytes() != stated {
        return Err("its bytes do not fit its hash".to_owned());
    }
    let mut closed = line.to_vec();
    closed.push(b'}');
    let members: Members =
        serde_json::from_slice(&closed).map_err(|error| format!("it is no line: {error}"))?;
    let content = match (members.record, members.ledger) {
        (Some(record), None) => Content::Record(record),
        (None, Some(note)) => Content::Note(note),
        _ => return Err("it must hold a record or a note".to_owned()),
    };
    let position = Position { sequence: members.sequence, hash };
    let entry = Entry { position, time: members.time, content };
    Ok(Decoded { entry, previous: members.previous })
}
