//! How records come into the DNS, and out of it.

mod hook;
mod update;

use crate::config::Dns;
use crate::trouble::Trouble;

use self::hook::Hook;
use self::update::Server;

/// One of the ways there are.
pub(crate) enum Way {
    Update(Box<Server>),
    Hook(Hook),
}

impl Way {
    /// The way to records of this name.
    pub(crate) fn new(dns: &Dns, name: &str) -> Result<Self, Trouble> {
        match dns {
            Dns::Update(update) => Server::new(update, name).map(Box::new).map(Self::Update),
            Dns::Hook(program) => Ok(Self::Hook(Hook::new(program.clone()))),
        }
    }

    /// Adds a record to those of its name.
    pub(crate) async fn add(&self, name: &str, value: &str) -> Result<(), Trouble> {
        match self {
            Self::Update(server) => server.add(value).await,
            Self::Hook(hook) => hook.call("present", name, value).await,
        }
    }

    /// Removes that record and no other. One that is not there is removed as well.
    pub(crate) async fn remove(&self, name: &str, value: &str) -> Result<(), Trouble> {
        match self {
            Self::Update(server) => server.remove(value).await,
            Self::Hook(hook) => hook.call("cleanup", name, value).await,
        }
    }

    /// Waits until the records can be seen, where somebody can be asked for that.
    pub(crate) async fn settle(&self, values: &[String]) -> Result<(), Trouble> {
        match self {
            Self::Update(server) => server.settle(values).await,
            Self::Hook(_) => Ok(()),
        }
    }
}
