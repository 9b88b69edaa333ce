//! Lists of changed blocks (docs/formats/changed-blocks.md), which whoever takes a snapshot gives.

use std::ops::Range;

use custody_entries::ChangedBlocks;

/// Bytes of a block, as images are cut.
const BLOCK_BYTES: u64 = 65_536;
/// The last line.
const END: &str = "end";

/// What is taken names an image's parts and nothing beyond it, every range of it counts, and the same
/// list without its end is refused.
pub(crate) fn changed_blocks(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(list) = ChangedBlocks::parse(text) else { return };
    let size = list.size();
    let ranges: Vec<Range<u64>> = text.lines().skip(3).filter_map(range).collect();
    let pieces = list.split(0..size, BLOCK_BYTES);
    let ends: Vec<u64> = pieces.iter().map(|piece| piece.end).collect();
    assert!(pieces.iter().all(|piece| piece.start < piece.end), "an empty piece");
    assert!(pieces.first().is_none_or(|first| first.start == 0), "not from the start");
    assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start), "a gap or an overlap");
    assert_eq!(ends.last().copied().unwrap_or(0), size, "not to the end");
    let is_cut = |end: &u64| end.is_multiple_of(BLOCK_BYTES) || *end == size;
    assert!(ends.iter().all(is_cut), "cut within a block");
    for range in &ranges {
        assert!(range.end <= size && list.touches(range), "{range:?} is not listed");
    }
    for piece in pieces.iter().filter(|piece| !list.touches(piece)) {
        let overlaps = |range: &&Range<u64>| range.start < piece.end && piece.start < range.end;
        assert_eq!(ranges.iter().find(overlaps), None, "{piece:?} is passed over");
    }
    let cut = text.rfind(END).map(|at| &text[..at]).unwrap();
    assert!(ChangedBlocks::parse(cut).is_err(), "a list without its end was taken");
}

/// The range that a line names.
fn range(line: &str) -> Option<Range<u64>> {
    let (offset, length) = line.split_once(' ')?;
    let (offset, length): (u64, u64) = (offset.parse().ok()?, length.parse().ok()?);
    Some(offset..offset + length)
}
