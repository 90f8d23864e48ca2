//! Files with holes: the four ways GNU tar writes where the holes are (GNU tar manual, "Storing Sparse Files").

use std::io::BufRead;

use super::header::{BLOCK_BYTES, Block, Format, positive};
use super::pax::{self, Records};
use super::{Fault, Limits, Walk};

/// The real name of a file with holes; the header has a made-up one.
pub(super) const NAME: &str = "GNU.sparse.name";

/// Bytes of a piece's offset and length in a header.
const PIECE_BYTES: usize = 24;

/// A piece of a file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// A file's length, and where it is not empty.
#[derive(Debug)]
pub(super) struct Holes {
    pub size: u64,
    pub segments: Vec<Segment>,
}

/// The holes of the entry with this header, if it has some.
pub(super) fn find<R: BufRead>(
    block: &Block,
    records: &Records,
    walk: &mut Walk<R>,
) -> Result<Option<Holes>, Fault> {
    if block.type_flag() == b'S' && block.format() == Format::Gnu {
        return old_gnu(block, walk).map(Some);
    }
    let is_file = matches!(block.type_flag(), 0 | b'0' | b'7');
    let version = (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor"));
    match version {
        _ if !is_file => Ok(None),
        (Some(b"1"), Some(b"0")) => version_1(records, walk).map(Some),
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => version_0(records, walk.limits.segments_max),
        _ => Err(Fault::new("its holes are written in a way that is not known")),
    }
}

/// Whether the pieces are in order, end within the file, and are what is stored.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64, limits: &Limits) -> Result<(), Fault> {
    let wrong = || Fault::new("its map of holes makes no sense");
    if segments.len() > limits.segments_max {
        let max = limits.segments_max;
        return Err(Fault::new(format!("it has {} pieces; {max} is the limit", segments.len())));
    }
    let (mut end, mut sum) = (0u64, 0u64);
    for segment in segments {
        if segment.offset < end {
            return Err(wrong());
        }
        end = segment.offset.checked_add(segment.length).ok_or_else(wrong)?;
        sum = sum.checked_add(segment.length).ok_or_else(wrong)?;
    }
    if end > size || sum != stored || i64::try_from(size).is_err() { Err(wrong()) } else { Ok(()) }
}

/// Pieces in the header, and in blocks after it as long as each says that there is another.
fn old_gnu<R: BufRead>(block: &Block, walk: &mut Walk<R>) -> Result<Holes, Fault> {
    let size = positive(&block.0[483..495], "real size")?;
    let mut segments = Vec::new();
    let mut goes_on = pieces(&block.0[386..482], &mut segments)? && block.0[482] != 0;
    while goes_on {
        let more = walk.extra_block()?;
        goes_on = pieces(&more.0[..504], &mut segments)? && more.0[504] != 0;
        if segments.len() > walk.limits.segments_max {
            break;
        }
    }
    Ok(Holes { size, segments })
}

/// Whether they fill the field.
fn pieces(field: &[u8], segments: &mut Vec<Segment>) -> Result<bool, Fault> {
    for piece in field.chunks_exact(PIECE_BYTES) {
        if piece[0] == 0 {
            return Ok(false);
        }
        let (offset, length) = (positive(&piece[..12], "offset")?, positive(&piece[12..], "length")?);
        segments.push(Segment { offset, length });
    }
    Ok(true)
}

/// Versions 0.0 and 0.1: records.
fn version_0(records: &Records, segments_max: usize) -> Result<Option<Holes>, Fault> {
    let numbers: Vec<u64> = match records.get("GNU.sparse.map") {
        Some(map) => {
            map.split(|byte| *byte == b',').map(|text| pax::decimal(text, "map")).collect::<Result<_, _>>()?
        }
        None => records
            .0
            .iter()
            .filter(|(key, _)| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes")
            .map(|(_, value)| pax::decimal(value, "map"))
            .collect::<Result<_, _>>()?,
    };
    let Some(size) = records.number("GNU.sparse.size")? else { return Ok(None) };
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > segments_max {
        return Err(Fault::new("its map of holes makes no sense"));
    }
    let segments = numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect();
    Ok(Some(Holes { size, segments }))
}

/// Version 1.0: lines at the beginning of the content, up to a block's end.
fn version_1<R: BufRead>(records: &Records, walk: &mut Walk<R>) -> Result<Holes, Fault> {
    let size = records.number("GNU.sparse.realsize")?;
    let size = size.ok_or_else(|| Fault::new("its real size is not told"))?;
    let mut lines = Lines { walk, text: Vec::new(), at: 0 };
    let count = lines.next()? as usize;
    if count > lines.walk.limits.segments_max {
        let max = lines.walk.limits.segments_max;
        return Err(Fault::new(format!("it has {count} pieces; {max} is the limit")));
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push(Segment { offset: lines.next()?, length: lines.next()? });
    }
    Ok(Holes { size, segments })
}

/// Numbers on lines, read a block at a time.
struct Lines<'a, R> {
    walk: &'a mut Walk<R>,
    text: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> Result<u64, Fault> {
        loop {
            if let Some(length) = self.text[self.at..].iter().position(|byte| *byte == b'\n') {
                let line = &self.text[self.at..self.at + length];
                self.at += length + 1;
                return pax::decimal(line, "map");
            }
            if self.text.len() - self.at > BLOCK_BYTES {
                return Err(Fault::new("its map of holes makes no sense"));
            }
            self.text.drain(..self.at);
            self.at = 0;
            let block = self.walk.content_block()?;
            self.text.extend_from_slice(&block.0);
        }
    }
}
