//! Which parts of an image have changed since a recovery point (docs/formats/changed-blocks.md).

use std::ops::Range;

/// What the first line says.
const TITLE: &str = "custody changed blocks 1";
/// What the last line says: a list without it was cut.
const END: &str = "end";
/// Most ranges in a list.
const RANGES_MAX: usize = 4 << 20;
/// Digits of a recovery point's id.
const ID_DIGITS: usize = 64;

/// Which parts of an image have changed since a recovery point, on the word of whoever lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedBlocks {
    since: String,
    size: u64,
    /// In order, none touching another.
    ranges: Vec<Range<u64>>,
}

impl ChangedBlocks {
    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(format!("line 1: it does not say {TITLE:?}"));
        }
        let since = lines.next().and_then(|line| line.strip_prefix("since "));
        let since = since.filter(|id| id.len() == ID_DIGITS && id.bytes().all(is_digit));
        let since = since.ok_or("line 2: it does not say since which recovery point")?.to_owned();
        let size = lines.next().and_then(|line| line.strip_prefix("size "));
        let size = size.and_then(number).ok_or("line 3: it does not say the image's size")?;
        let mut ranges = Vec::new();
        for (at, line) in (4..).zip(lines.by_ref()) {
            if line == END {
                if lines.next().is_some() {
                    return Err(format!("line {}: something follows the end", at + 1));
                }
                return Ok(Self { since, size, ranges: joined(ranges) });
            }
            let range = line.split_once(' ').and_then(|(offset, length)| {
                let (offset, length) = (number(offset)?, number(length).filter(|it| *it > 0)?);
                Some(offset..offset.checked_add(length).filter(|end| *end <= size)?)
            });
            ranges.push(range.ok_or_else(|| format!("line {at}: it is no range of the image"))?);
            if ranges.len() > RANGES_MAX {
                return Err(format!("line {at}: there are more ranges than {RANGES_MAX}"));
            }
        }
        Err("it has no end: it was cut".to_owned())
    }

    /// The id of the recovery point that it starts from.
    pub fn since(&self) -> &str {
        &self.since
    }

    /// The image's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether any byte of this range is listed.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        let after = self.ranges.partition_point(|listed| listed.end <= range.start);
        self.ranges.get(after).is_some_and(|listed| listed.start < range.end)
    }

    /// Cuts a range where what is listed begins and ends, widened to multiples of `block` bytes.
    pub fn split(&self, range: Range<u64>, block: u64) -> Vec<Range<u64>> {
        let block = block.max(1);
        let after = self.ranges.partition_point(|listed| listed.end <= range.start);
        let listed = self.ranges.get(after..).unwrap_or_default();
        let mut cuts = vec![range.start];
        for listed in listed.iter().take_while(|listed| listed.start < range.end) {
            let start = listed.start / block * block;
            let end = listed.end.div_ceil(block).saturating_mul(block);
            for cut in [start, end] {
                let cut = cut.clamp(range.start, range.end);
                if cuts.last().is_some_and(|last| *last < cut) {
                    cuts.push(cut);
                }
            }
        }
        if cuts.last().is_some_and(|last| *last < range.end) {
            cuts.push(range.end);
        }
        cuts.windows(2).filter_map(|pair| Some(*pair.first()?..*pair.get(1)?)).collect()
    }
}

/// The ranges in order, those that touch made one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One range alone.
    fn one(range: Range<u64>) -> Vec<Range<u64>> {
        vec![range]
    }

    fn list(rest: &str) -> String {
        format!("{TITLE}\nsince {}\nsize 1000\n{rest}", "ab".repeat(32))
    }

    #[test]
    fn lists_that_are_whole_are_read_and_others_refused() {
        let check = |text: &str, expected: Result<&[Range<u64>], &str>| {
            let parsed = ChangedBlocks::parse(text);
            match (parsed, expected) {
                (Ok(parsed), Ok(ranges)) => assert_eq!(parsed.ranges, ranges),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        };
        check(&list("end\n"), Ok(&[]));
        check(&list("0 1000\nend\n"), Ok(&one(0..1000)));
        check(&list("500 10\n0 20\n20 5\n505 20\nend\n"), Ok(&[0..25, 500..525]));
        check(&list("0 5\n"), Err("cut"));
        check(&list(""), Err("cut"));
        check(&list("0 5\nend\nmore\n"), Err("line 6"));
        for range in [
            "0 0",
            "1000 1",
            "999 2",
            "0 18446744073709551616",
            "1 18446744073709551615",
            "-1 5",
            "+1 5",
            "5",
            "5 5 5",
            "",
            "a b",
            " 1 2",
            "1  2",
        ] {
            check(&list(&format!("0 5\n{range}\nend\n")), Err("line 5"));
        }
        check("", Err("line 1"));
        check("custody changed blocks 2\n", Err("line 1"));
        check(&format!("{TITLE}\nsince latest\nsize 5\nend\n"), Err("line 2"));
        check(&format!("{TITLE}\nsince {}\nsize -5\nend\n", "0".repeat(64)), Err("line 3"));
    }

    #[test]
    fn a_range_is_touched_if_one_byte_of_it_is_listed() {
        let changed = ChangedBlocks::parse(&list("100 10\n200 1\nend\n")).unwrap();
        let check = |range: Range<u64>, expected| {
            assert_eq!(changed.touches(&range), expected, "{range:?}");
        };
        check(0..100, false);
        check(0..101, true);
        check(109..110, true);
        check(110..200, false);
        check(110..201, true);
        check(201..1000, false);
    }

    #[test]
    fn ranges_are_cut_at_blocks() {
        let changed = ChangedBlocks::parse(&list("105 10\n118 1\n300 50\nend\n")).unwrap();
        let check = |range: Range<u64>, expected: &[Range<u64>]| {
            assert_eq!(changed.split(range.clone(), 10), expected, "{range:?}");
        };
        check(0..100, &one(0..100));
        check(0..500, &[0..100, 100..120, 120..300, 300..350, 350..500]);
        check(103..117, &one(103..117));
        check(320..330, &one(320..330));
        check(340..1000, &[340..350, 350..1000]);
        check(7..7, &[]);
    }
}
