//! An archive, entry by entry. Pure: it reads bytes and knows no file system.
//!
//! It reads what tools write that images are made with: POSIX.1-1988 (ustar) and -2001 (pax), GNU's long names and its
//! four ways to say where holes are, and numbers in base 256. Where archives can be read in two ways it reads as Go's
//! `archive/tar` does, because whoever looks at an image before it comes here does too. It is our own because what
//! stands before an entry must have a bound, and extended attributes are bytes that may hold a line's end.

mod entry;
mod header;
mod pax;
mod sparse;

use std::io::{self, BufRead};

pub use entry::{Entry, Kind, Xattr};
pub use sparse::Segment;

use super::{Fault, Limits};
use header::{BLOCK_BYTES, Block};
use pax::Extensions;

/// A walk over an archive: [`Walk::next_entry`], and [`Walk::piece`] for what the entry holds.
#[derive(Debug)]
pub struct Walk<R> {
    reader: R,
    limits: Limits,
    /// Bytes of the entry's content that were not read yet, and what fills its last block.
    content_left: u64,
    padding_left: u64,
}

impl<R: BufRead> Walk<R> {
    /// The walk over what this reads.
    pub fn new(reader: R, limits: &Limits) -> Self {
        Self { reader, limits: limits.clone(), content_left: 0, padding_left: 0 }
    }

    /// The next entry, or None at the archive's end. What was not read of the last one is passed over.
    ///
    /// # Errors
    /// When it is not an archive, or is over a limit.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Fault> {
        let mut extensions = Extensions::default();
        loop {
            self.pass_over_content()?;
            let Some(block) = self.next_header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(Fault::new("the archive ends before the entry it announced"))
                };
            };
            match block.type_flag() {
                b'x' => extensions.pax = pax::parse(&self.extension(&block)?)?,
                b'L' => extensions.long_name = Some(header::until_nul(&self.extension(&block)?).to_vec()),
                b'K' => extensions.long_link = Some(header::until_nul(&self.extension(&block)?).to_vec()),
                // Defaults for all that follows: of what git and others put there nothing is of use here.
                b'g' => drop(self.extension(&block)?),
                _ => return self.entry(&block, extensions).map(Some),
            }
        }
    }

    /// The next piece of the entry's content, empty at its end. [`Walk::consume`] says how much of it was used.
    ///
    /// # Errors
    /// When the archive ends within.
    pub fn piece(&mut self) -> Result<&[u8], Fault> {
        if self.content_left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        let piece = self.reader.fill_buf()?;
        if piece.is_empty() {
            return Err(Fault::new("the archive ends within the entry"));
        }
        Ok(&piece[..piece.len().min(left)])
    }

    /// So many bytes of the last piece were used.
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(usize::try_from(self.content_left).unwrap_or(usize::MAX));
        self.reader.consume(bytes);
        self.content_left -= bytes as u64;
    }

    fn entry(&mut self, block: &Block, extensions: Extensions) -> Result<Entry, Fault> {
        let mut entry = Entry::new(block, &extensions, &self.limits)?;
        let name = entry.path.clone();
        self.announce(entry.stored_bytes());
        let holes = sparse::find(block, &extensions.pax, self).map_err(|fault| fault.at(&name))?;
        if let Some(sparse::Holes { size, segments }) = holes {
            sparse::check(&segments, size, self.content_left, &self.limits)
                .map_err(|fault| fault.at(&name))?;
            entry.kind = Kind::File { size, segments: Some(segments) };
        }
        Ok(entry)
    }

    /// The content of an entry that says more about the next one.
    fn extension(&mut self, block: &Block) -> Result<Vec<u8>, Fault> {
        let (size, max) = (block.size()?, self.limits.extension_bytes_max);
        if size > max {
            return Err(Fault::new(format!(
                "what stands before an entry is {size} bytes; {max} is the limit"
            )));
        }
        self.announce(size);
        let mut content = Vec::new();
        while self.content_left > 0 {
            let piece = self.piece()?;
            let bytes = piece.len();
            content.extend_from_slice(piece);
            self.consume(bytes);
        }
        Ok(content)
    }

    fn announce(&mut self, size: u64) {
        self.content_left = size;
        self.padding_left = size.next_multiple_of(BLOCK_BYTES as u64) - size;
    }

    fn pass_over_content(&mut self) -> Result<(), Fault> {
        while self.content_left > 0 {
            let bytes = self.piece()?.len();
            self.consume(bytes);
        }
        while self.padding_left > 0 {
            let piece = self.reader.fill_buf()?.len().min(self.padding_left as usize);
            if piece == 0 {
                // Some tools leave out what fills the last block.
                self.padding_left = 0;
            }
            self.reader.consume(piece);
            self.padding_left -= piece as u64;
        }
        Ok(())
    }

    /// The next block that is a header; None after the two empty ones at an archive's end, or where it just ends.
    fn next_header(&mut self) -> Result<Option<Block>, Fault> {
        let Some(block) = self.read_block()? else { return Ok(None) };
        if !block.is_empty() {
            return block.checked().map(Some);
        }
        match self.read_block()? {
            Some(second) if !second.is_empty() => Err(Fault::new("an empty block amid the archive")),
            _ => Ok(None),
        }
    }

    fn read_block(&mut self) -> Result<Option<Block>, Fault> {
        let mut block = [0; BLOCK_BYTES];
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        match self.reader.read_exact(&mut block) {
            Ok(()) => Ok(Some(Block(block))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Fault::new("the archive ends within a header"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A block of the entry's content, for maps that are kept there.
    fn content_block(&mut self) -> Result<Block, Fault> {
        if self.content_left < BLOCK_BYTES as u64 {
            return Err(Fault::new("the map of holes is cut off"));
        }
        let block = self.read_block()?.ok_or_else(|| Fault::new("the archive ends within the entry"))?;
        self.content_left -= BLOCK_BYTES as u64;
        Ok(block)
    }

    /// A block that stands between a header and its content, and is not counted in its size.
    fn extra_block(&mut self) -> Result<Block, Fault> {
        self.read_block()?.ok_or_else(|| Fault::new("the archive ends within the map of holes"))
    }
}
