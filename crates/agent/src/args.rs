//! The command line: `atoll-agent --listen tcp:ADDRESS:PORT|unix:PATH [--root DIR]`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::root::Root;

/// What the agent was started with.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Where to listen.
    pub listen: Address,
    root: Option<PathBuf>,
}

/// Where nodes connect.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket, made at this path.
    Unix(PathBuf),
}

const USAGE: &str = "usage: atoll-agent --listen tcp:ADDRESS:PORT|unix:PATH [--root DIR]";

impl Args {
    /// The tree that file operations see.
    pub fn root(&self) -> Result<Root, String> {
        match &self.root {
            None => Ok(Root::Machine),
            Some(dir) => Root::confined(dir).map_err(|error| format!("--root {}: {error}", dir.display())),
        }
    }
}

/// Understands the words after the program's name.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Args, String> {
    let (mut listen, mut root) = (None, None);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{} needs a value; {USAGE}", flag.display()))?;
        match flag.to_str() {
            Some("--listen") => listen = Some(address(value)?),
            Some("--root") => root = Some(PathBuf::from(value)),
            _ => return Err(format!("what is {}? {USAGE}", flag.display())),
        }
    }
    Ok(Args { listen: listen.ok_or(USAGE)?, root })
}

fn address(value: OsString) -> Result<Address, String> {
    let text = value.to_str().ok_or("--listen: not text")?;
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    let socket = text.strip_prefix("tcp:").and_then(|address| address.parse().ok());
    socket.map(Address::Tcp).ok_or_else(|| format!("--listen {text}: expected tcp:ADDRESS:PORT or unix:PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn both_kinds_of_address_are_understood() {
        let tcp = parsed("--listen tcp:0.0.0.0:1").unwrap();
        assert_eq!(tcp, Args { listen: Address::Tcp(([0, 0, 0, 0], 1).into()), root: None });
        let unix = parsed("--root /tmp/r --listen unix:/tmp/a.sock").unwrap();
        let root = Some("/tmp/r".into());
        assert_eq!(unix, Args { listen: Address::Unix("/tmp/a.sock".into()), root });
    }

    #[test]
    fn anything_else_is_refused() {
        for line in
            ["", "--listen", "--listen tcp:here:1", "--listen vsock:1", "--root /", "--listen unix:/a -x y"]
        {
            assert!(parsed(line).is_err(), "{line:?} was accepted");
        }
    }
}
