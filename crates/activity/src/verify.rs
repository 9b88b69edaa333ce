//! Proving that the ledger is what was written.

use std::path::Path;

use custody_ambient::Timestamp;
use serde::Serialize;

use crate::head::signed;
use crate::line::{Decoded, decode};
use crate::segment::{Lines, Segment};
use crate::tail::FORMAT;
use crate::{Content, HeadFile, LedgerError, Note, Position};

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many lines, notes included, form an unbroken chain from the first on.
    pub records: u64,
    /// The last of them.
    pub last: Option<Position>,
    /// The first line that is not what was written.
    pub first_bad: Option<Bad>,
    /// The chain ends before the kept head: lines were removed.
    pub truncated_since_head: bool,
    /// How many head signatures were checked and right, that of the kept head included.
    pub signatures_checked: u64,
    /// The keys that heads are signed with, in base64, oldest first. Compare with one kept.
    pub signing_keys: Vec<String>,
    /// Bytes of an append under way or torn by a crash; the next append records and removes them.
    pub unfinished_bytes: u64,
    /// All this in words, with what was not proved.
    pub statement: String,
}

impl Report {
    /// Whether nothing wrong was found.
    pub fn passed(&self) -> bool {
        self.first_bad.is_none() && !self.truncated_since_head
    }
}

/// A line that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// File name of the segment.
    pub segment: String,
    /// Line in it, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Checks the ledger in `folder`, against a kept head if there is one. Writes nothing.
///
/// Fails only if the ledger cannot be read at all or the head file is no head; everything that is
/// wrong with the ledger itself is in the report.
pub fn verify(folder: &Path, head: Option<&HeadFile>) -> Result<Report, LedgerError> {
    if let Some(head) = head {
        head.check()?;
    }
    let mut walk = Walk::new(head);
    let mut unfinished_bytes = 0;
    let mut first_bad = None;
    let segments = Segment::list(folder)?;
    for (index, segment) in segments.iter().enumerate() {
        let lines = segment.lines()?;
        let is_last = index + 1 == segments.len();
        if let Err(bad) = walk.segment(segment, &lines, is_last) {
            first_bad = Some(bad);
            break;
        }
        unfinished_bytes = lines.fragment().len() as u64;
    }
    Ok(walk.report(first_bad, unfinished_bytes))
}

/// The chain as far as it has been followed.
struct Walk<'h> {
    last: Position,
    kept: Option<&'h HeadFile>,
    public_key: Option<String>,
    signing_keys: Vec<String>,
    signatures_checked: u64,
}

impl<'h> Walk<'h> {
    fn new(kept: Option<&'h HeadFile>) -> Self {
        let signatures_checked = u64::from(kept.is_some_and(|head| head.signature.is_some()));
        let (public_key, signing_keys) = (None, Vec::new());
        Self { last: Position::ORIGIN, kept, public_key, signing_keys, signatures_checked }
    }

    /// Follows the chain through one segment.
    fn segment(&mut self, segment: &Segment, lines: &Lines, is_last: bool) -> Result<(), Bad> {
        let bad = |index: usize, why: String| Bad {
            segment: segment.name(),
            line: index as u64 + 1,
            why,
        };
        for (index, line) in lines.whole().enumerate() {
            let line = decode(line).map_err(|why| bad(index, why))?;
            self.line(&line, index == 0).map_err(|why| bad(index, why))?;
        }
        // A crash leaves the beginning of a line. More than a whole line is damage.
        let fragment = lines.fragment();
        let line_end_lost = fragment.split_last().is_some_and(|(_, line)| decode(line).is_ok());
        if line_end_lost || (!fragment.is_empty() && !is_last) {
            return Err(bad(lines.count(), "its end is missing".to_owned()));
        }
        Ok(())
    }

    /// Follows the chain over one line, whose own hash is right.
    fn line(&mut self, line: &Decoded, begins: bool) -> Result<(), String> {
        let position = line.entry.position;
        let expected = self.last.sequence + 1;
        if position.sequence != expected {
            return Err(format!("it is record {}, expected {expected}", position.sequence));
        }
        if line.previous != self.last.hash {
            return Err("it does not continue the record before it".to_owned());
        }
        match &line.entry.content {
            Content::Note(Note::Begin { format, public_key }) if begins => {
                self.begin(*format, public_key.as_ref())?;
            }
            _ if begins => return Err("its segment has no begin note".to_owned()),
            Content::Note(Note::Head { signature }) => {
                self.signature(line.entry.time, signature)?;
            }
            _ => {}
        }
        self.last = position;
        match self.kept {
            Some(head) if head.position.sequence == position.sequence => self.kept_head(head),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, format: u32, public_key: Option<&String>) -> Result<(), String> {
        if format > FORMAT {
            return Err(format!("it is of format {format}, newer than this custody knows"));
        }
        self.public_key = public_key.cloned();
        if let Some(key) = public_key
            && self.signing_keys.last() != Some(key)
        {
            self.signing_keys.push(key.clone());
        }
        Ok(())
    }

    fn signature(&mut self, time: Timestamp, signature: &str) -> Result<(), String> {
        let key = self.public_key.as_deref().ok_or("it is signed by no known key")?;
        if !signed(key, self.last, time, signature) {
            return Err("its signature is wrong".to_owned());
        }
        self.signatures_checked += 1;
        Ok(())
    }

    fn kept_head(&self, head: &HeadFile) -> Result<(), String> {
        if head.position.hash != self.last.hash {
            return Err("it is not the record that the kept head names".to_owned());
        }
        if head.public_key.is_some() && head.public_key != self.public_key {
            return Err("the kept head was signed with another key".to_owned());
        }
        Ok(())
    }

    fn report(self, first_bad: Option<Bad>, unfinished_bytes: u64) -> Report {
        let ended = first_bad.is_none();
        let behind = |head: &HeadFile| head.position.sequence > self.last.sequence;
        let truncated_since_head = ended && self.kept.is_some_and(behind);
        let statement = self.statement(first_bad.as_ref(), truncated_since_head);
        Report {
            records: self.last.sequence,
            last: (self.last != Position::ORIGIN).then_some(self.last),
            first_bad,
            truncated_since_head,
            signatures_checked: self.signatures_checked,
            signing_keys: self.signing_keys,
            unfinished_bytes,
            statement,
        }
    }

    fn statement(&self, first_bad: Option<&Bad>, truncated: bool) -> String {
        let records = self.last.sequence;
        if let Some(Bad { segment, line, why }) = first_bad {
            return format!(
                "The ledger is broken at {segment} line {line}: {why}. The {records} records \
                 before it form an unbroken chain; nothing behind it is proved."
            );
        }
        let chain = format!(
            "{records} records form an unbroken chain; {} head signatures are right.",
            self.signatures_checked
        );
        let changes = match self.signing_keys.len() {
            0 => " No signing key is recorded.".to_owned(),
            1 => String::new(),
            keys => format!(" They were signed with {keys} keys, one after the other."),
        };
        let end = match self.kept {
            None => "Without a head kept elsewhere it cannot be excluded that records were \
                     removed at the end, or that the whole ledger was written anew."
                .to_owned(),
            Some(head) if truncated => format!(
                "The kept head names record {}: at least {} records were removed at the end.",
                head.position.sequence,
                head.position.sequence - records
            ),
            Some(head) => format!(
                "All records up to {}, the kept head of {}, are as they were; whether later \
                 records were removed at the end can only a newer head show.",
                head.position.sequence, head.time
            ),
        };
        format!("{chain}{changes} {end}")
    }
}
