//! The child's side: a process that does this and nothing else.

mod apply;
mod archive;
mod confine;
mod content;
mod input;
mod metadata;
mod parent;
mod tree;
mod whiteout;

use std::ffi::OsString;
use std::io::{self, Stdin};
use std::process::ExitCode;

use apply::Applier;
use archive::Archive;
use input::Layer;

use super::protocol::{self, LayerOrder, LayerReport, Orders, Report};
use super::{Fault, Limits};

/// The child, whose one argument is what [`super::Unpacker`] gave it. A hidden role of the program that has it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = unpack(args);
    let report = match &outcome {
        Ok(()) => Report::Done,
        Err(fault) => Report::Failed(fault.clone()),
    };
    match (protocol::say(&report), outcome) {
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn unpack(args: impl IntoIterator<Item = OsString>) -> Result<(), Fault> {
    let orders: Orders = args
        .into_iter()
        .next()
        .and_then(|orders| serde_json::from_slice(orders.as_encoded_bytes()).ok())
        .ok_or_else(|| Fault::new("this is a part of the server, which starts it itself"))?;
    confine::enter(&orders.tree, &orders.limits)?;
    let mut applier = Applier::new(&orders.limits)?;
    protocol::say(&Report::Ready)?;
    let mut input = io::stdin();
    while let Some(order) = protocol::read_frame::<LayerOrder>(&mut input)? {
        let (report, rest) = apply_layer(input, &order, &mut applier, &orders.limits)?;
        protocol::say(&Report::Applied(report))?;
        input = rest;
    }
    applier.finish()
}

/// Applies a layer, and gives back the input, which is at the beginning of the next one.
fn apply_layer(
    input: Stdin,
    order: &LayerOrder,
    applier: &mut Applier,
    limits: &Limits,
) -> Result<(LayerReport, Stdin), Fault> {
    let mut archive = Archive::open(Layer::new(input), order.compression, limits);
    let applied = applier.apply(&mut archive)?;
    let (diff_id, archive_bytes, layer) = archive.finish()?;
    if let Some(expected) = order.diff_id.as_ref().filter(|expected| **expected != diff_id) {
        return Err(Fault::new(format!("its content is {diff_id} and should be {expected}")));
    }
    let report = LayerReport {
        diff_id,
        archive_bytes,
        entries: applied.entries,
        xattrs_left_out: applied.xattrs_left_out,
    };
    Ok((report, layer.end()?))
}
