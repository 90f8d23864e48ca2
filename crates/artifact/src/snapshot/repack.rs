//! Writing anew what is left of packs that are mostly garbage, so that they can go.
//!
//! Chunks go to a new pack, and the manifests that have them are written over, under the same names. Only then is there
//! nothing that counts on the old packs but who fetches just now, and looks again.

use std::collections::{BTreeSet, HashMap};

use super::Shared;
use super::chunk::{Packer, Unpacker, length_of};
use super::error::{Error, Result};
use super::facts::Root;
use super::keys::{ChunkName, Epoch};
use super::manifest::{Location, Manifest, Placed};
use super::objects::{Kind, PackName, Packs, Part, Put};
use super::seal::{Cipher, random};

/// Moves what these snapshots have in these packs.
pub(super) fn repack(shared: &Shared, packs: &BTreeSet<PackName>, roots: &[Root]) -> Result<()> {
    let (batch, epoch) = (u128::from_be_bytes(random()?), shared.keys.newest());
    let writer = shared.objects.packs(batch);
    let cipher = shared.keys.chunks(&shared.objects, epoch, batch)?;
    let (packer, unpacker) = (Packer::new()?, Unpacker::new()?);
    let moved = HashMap::new();
    let mut moving = Moving { shared, packs, writer: &writer, cipher, epoch, packer, unpacker, moved };
    let concerned = moving.copy_all(roots).and_then(|concerned| writer.finish().map(|_| concerned));
    let concerned = concerned.inspect_err(|_| writer.abandon())?;
    concerned.iter().try_for_each(|root| moving.rewrite(root))?;
    shared.index.moved(packs, &moving.moved);
    Ok(())
}

struct Moving<'a> {
    shared: &'a Shared,
    packs: &'a BTreeSet<PackName>,
    writer: &'a Packs<'a>,
    cipher: Cipher,
    epoch: Epoch,
    packer: Packer,
    unpacker: Unpacker,
    moved: HashMap<ChunkName, Location>,
}

impl Moving<'_> {
    /// Copies the chunks; which snapshots have some.
    fn copy_all(&mut self, roots: &[Root]) -> Result<Vec<Root>> {
        let mut concerned = Vec::new();
        for root in roots {
            let Some(manifest) = self.manifest(root)? else { continue };
            let mut is_concerned = false;
            for file in &manifest.files {
                for chunk in file.chunks.iter().filter(|chunk| self.packs.contains(&chunk.at.pack)) {
                    is_concerned = true;
                    self.copy(chunk, length_of(file.bytes, chunk.index))?;
                }
            }
            concerned.extend(is_concerned.then_some(*root));
        }
        Ok(concerned)
    }

    /// Copies a chunk, unless it is damaged: then it stays where it is, for who asks for it to be told.
    fn copy(&mut self, chunk: &Placed, length: usize) -> Result<()> {
        if self.moved.contains_key(&chunk.name) {
            return Ok(());
        }
        let Location { pack, epoch, offset, length: sealed_length } = chunk.at;
        let mut sealed = vec![0; sealed_length as usize];
        let old = self.shared.keys.chunks(&self.shared.objects, epoch, pack.batch)?;
        let read = self.shared.objects.read(pack, u64::from(offset), &mut sealed)?;
        let plain = match read {
            Part::Whole => self.unpacker.unpack(&old, &chunk.name, &mut sealed, length),
            Part::Short | Part::Missing => Err("it is not there"),
        };
        let plain = match plain {
            Ok(plain) => plain,
            Err(why) => {
                tracing::warn!(%pack, offset, why, "a chunk cannot be moved");
                return Ok(());
            }
        };
        let sealed = self.packer.pack(&self.cipher, &chunk.name, plain)?;
        let (pack, offset) = self.writer.append(sealed)?;
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        self.moved.insert(chunk.name, Location { pack, epoch: self.epoch, offset, length });
        Ok(())
    }

    /// Writes where chunks are now, unless the snapshot has gone.
    fn rewrite(&self, root: &Root) -> Result<()> {
        let Some(mut manifest) = self.manifest(root)? else { return Ok(()) };
        for chunk in manifest.files.iter_mut().flat_map(|file| &mut file.chunks) {
            if self.packs.contains(&chunk.at.pack) {
                chunk.at = self.moved.get(&chunk.name).copied().unwrap_or(chunk.at);
            }
        }
        let (_, sealed) = manifest.seal(&self.shared.objects, &self.shared.keys)?;
        self.shared.objects.put(Kind::Manifests, &root.to_string(), sealed, Put::Over).map(drop)
    }

    fn manifest(&self, root: &Root) -> Result<Option<Manifest>> {
        match self.shared.manifest(root) {
            Err(Error::NotFound { .. }) => Ok(None),
            manifest => manifest.map(Some),
        }
    }
}
