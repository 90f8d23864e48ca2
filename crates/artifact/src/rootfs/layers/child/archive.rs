//! A layer's archive: decompressed by one thread, hashed by another, read by the caller.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use wire::image::Digest;

use super::input::Layer;
use super::{Fault, Limits};
use crate::rootfs::layers::Compression;

/// Bytes that are passed on at a time.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks that may wait for who is slower.
const BLOCKS_WAITING: usize = 8;
/// Bytes of the decompressors' input buffer.
const INPUT_BYTES: usize = 128 * 1024;
/// The largest window of zstd that is accepted, as a power of two: what its own tool accepts.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

type Block = Arc<Vec<u8>>;
type Input = io::BufReader<Layer>;

/// An archive being read.
#[derive(Debug)]
pub(super) struct Archive {
    blocks: Receiver<io::Result<Block>>,
    block: Block,
    at: usize,
    bytes: u64,
    bytes_max: u64,
    decoder: JoinHandle<Input>,
    hasher: JoinHandle<Digest>,
}

impl Archive {
    pub fn open(layer: Layer, compression: Compression, limits: &Limits) -> Self {
        let (to_reader, blocks) = sync_channel(BLOCKS_WAITING);
        let (to_hasher, hashed) = sync_channel(BLOCKS_WAITING);
        let limits = limits.clone();
        let bytes_max = limits.archive_bytes_max;
        let decoder = std::thread::spawn(move || {
            let input = io::BufReader::with_capacity(INPUT_BYTES, layer);
            let mut outlet = Outlet { to_reader, to_hasher, limits, bytes: 0 };
            match decode(input, compression, &mut outlet) {
                Ok(input) => input,
                Err((error, input)) => {
                    // The reader may be gone already, with a reason of its own.
                    let _ = outlet.to_reader.send(Err(error));
                    input
                }
            }
        });
        let hasher = std::thread::spawn(move || hash(hashed));
        Self { blocks, block: Block::default(), at: 0, bytes: 0, bytes_max, decoder, hasher }
    }

    /// Reads what follows the last entry, and says the archive's digest and length.
    pub fn finish(mut self) -> Result<(Digest, u64, Layer), Fault> {
        loop {
            let rest = self.fill_buf()?.len();
            if rest == 0 {
                break;
            }
            self.consume(rest);
        }
        let died = |_| Fault::new("a thread of the unpacker died");
        let input = self.decoder.join().map_err(died)?;
        Ok((self.hasher.join().map_err(died)?, self.bytes, input.into_inner()))
    }
}

impl BufRead for Archive {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() {
            // No sender any more: the end.
            let Ok(block) = self.blocks.recv() else { return Ok(&[]) };
            self.block = block?;
            self.at = 0;
            self.bytes += self.block.len() as u64;
            if self.bytes > self.bytes_max {
                return Err(io::Error::other(format!("the archive is over {} bytes", self.bytes_max)));
            }
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let got = piece.read(buffer)?;
        self.consume(got);
        Ok(got)
    }
}

fn hash(blocks: Receiver<Block>) -> Digest {
    let mut hash = Sha256::new();
    blocks.iter().for_each(|block| hash.update(block.as_slice()));
    Digest::from_sha256(hash.finalize().into())
}

/// Where decompressed blocks go.
struct Outlet {
    to_reader: SyncSender<io::Result<Block>>,
    to_hasher: SyncSender<Block>,
    limits: Limits,
    bytes: u64,
}

/// Decompresses all of the layer. The input comes back in any case: the next layer follows in it.
fn decode(
    mut input: Input,
    compression: Compression,
    outlet: &mut Outlet,
) -> Result<Input, (io::Error, Input)> {
    let compression = match compression {
        Compression::Detect => match detect(&mut input) {
            Ok(detected) => detected,
            Err(error) => return Err((error, input)),
        },
        told => told,
    };
    let decoded = match compression {
        Compression::Gzip => {
            let mut decoder = MultiGzDecoder::new(&mut input);
            outlet
                .pass_on(|buffer| decoder.read(buffer).map(|got| (got, decoder.get_ref().get_ref().bytes())))
        }
        Compression::Zstd => zstd_decoder(&mut input).and_then(|mut decoder| {
            outlet
                .pass_on(|buffer| decoder.read(buffer).map(|got| (got, decoder.get_ref().get_ref().bytes())))
        }),
        Compression::None | Compression::Detect => {
            outlet.pass_on(|buffer| input.read(buffer).map(|got| (got, input.get_ref().bytes())))
        }
    };
    match decoded {
        Ok(()) => Ok(input),
        Err(error) => Err((named(error, compression), input)),
    }
}

fn zstd_decoder(input: &mut Input) -> io::Result<zstd::stream::read::Decoder<'static, &mut Input>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// What the first bytes say. Gzip and zstd begin in a way that no archive's name does.
fn detect(input: &mut Input) -> io::Result<Compression> {
    let start = input.fill_buf()?;
    Ok(match start {
        _ if start.starts_with(&GZIP_MAGIC) => Compression::Gzip,
        _ if start.starts_with(&ZSTD_MAGIC) => Compression::Zstd,
        _ => Compression::None,
    })
}

fn named(error: io::Error, compression: Compression) -> io::Error {
    match compression {
        Compression::Gzip if error.kind() != io::ErrorKind::Other => {
            io::Error::other(format!("it is not a whole gzip stream: {error}"))
        }
        _ => error,
    }
}

impl Outlet {
    /// Passes on all that `read` reads; it says how much that was, and how much had come in by then.
    fn pass_on(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<(usize, u64)>) -> io::Result<()> {
        loop {
            let mut block = vec![0; BLOCK_BYTES];
            let (mut filled, mut came_in, mut is_over) = (0, 0, false);
            while filled < block.len() && !is_over {
                let (got, so_far) = match read(&mut block[filled..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                };
                (filled, came_in, is_over) = (filled + got, so_far, got == 0);
            }
            block.truncate(filled);
            self.check(filled as u64, came_in)?;
            let block = Arc::new(block);
            // Nobody listens any more where the layer was refused already.
            if filled > 0
                && (self.to_hasher.send(block.clone()).is_err() || self.to_reader.send(Ok(block)).is_err())
            {
                return Ok(());
            }
            if is_over {
                return Ok(());
            }
        }
    }

    fn check(&mut self, more: u64, came_in: u64) -> io::Result<()> {
        self.bytes += more;
        let (free, most) = (self.limits.expansion_free_bytes, self.limits.expansion_max);
        if self.bytes > free && self.bytes / most > came_in {
            return Err(io::Error::other(format!(
                "it decompresses to more than {free} bytes and {most} times its size"
            )));
        }
        Ok(())
    }
}
