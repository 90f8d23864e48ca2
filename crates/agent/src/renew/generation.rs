//! A number that is another one after each renewal, where programs find it: one that has seeded a generator of its own
//! compares it, or watches its directory, and seeds anew.

use std::path::Path;

use wire::guest::Error;
use wire::guest::renew::GENERATION_PATH;

use super::entropy;
use crate::file::put;
use crate::report;
use crate::root::Root;

/// Everybody may read it.
const MODE: u32 = 0o644;

/// The first one of a sandbox, when it is claimed. Without it a sandbox is as good as any, until it is renewed.
pub fn publish_first(root: &Root) {
    let id = entropy::fresh_id().map_err(|error| error.to_string());
    if let Err(why) = id.and_then(|id| publish(root, &id).map_err(|error| error.message)) {
        report(&format!("its generation is not told: {why}"));
    }
}

/// Puts it into its place at once: whoever reads it sees the old one or the new one.
pub fn publish(root: &Root, id: &str) -> Result<(), Error> {
    let mut line = Some(format!("{id}\n").into());
    put(root, Path::new(GENERATION_PATH), Some(MODE), || Ok(line.take())).map(drop)
}
