//! (being written)
use std::time::Duration;
use wire::guest::Shims;
use wire::id::SandboxId;
use crate::{Error, Machine, MachineSpec, Owned, Stream, Up};
/// being written
pub struct Gvisor;
#[allow(clippy::unused_async, missing_docs, unused_variables)]
impl Gvisor {
    pub fn version(&self) -> &str { todo!() }
    pub fn shims(&self) -> Shims { todo!() }
    pub async fn up(&self, spec: &MachineSpec) -> Result<Up, Error> { todo!() }
    pub async fn find(&self, id: &SandboxId) -> Result<Option<Machine>, Error> { todo!() }
    pub async fn down(&self, id: &SandboxId) -> Result<(), Error> { todo!() }
    pub async fn dial_agent(&self, machine: &Machine, bound: Duration) -> Result<Stream, Error> { todo!() }
    pub async fn owned(&self) -> Result<Vec<Owned>, Error> { todo!() }
    pub async fn inspect(&self, id: &SandboxId) -> serde_json::Value { todo!() }
    pub async fn close(&self) {}
}
