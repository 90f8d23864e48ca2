//! Ports of machines, which are the host's own: whoever listens on one must be a process of the machine that is asked for.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use super::layout::Place;
use super::processes;
use crate::Error;

/// The tables of TCP sockets (`proc_net_tcp(5)`).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a socket that listens, in those tables.
const LISTEN: &str = "0A";

/// Connects to a port on which a process of the machine listens for everybody.
///
/// # Errors
/// [`Error::Io`] when there is none.
pub(super) async fn dial(place: &Place, port: u16) -> Result<TcpStream, Error> {
    let what = || format!("connecting to port {port} of a machine");
    if !is_its_own(place, port, |address| !is_loopback(address)).await? {
        return Err(Error::io(what())(io::ErrorKind::ConnectionRefused.into()));
    }
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(Error::io(what()))
}

/// Whether a process of the machine listens on this port of the loopback interface.
///
/// # Errors
/// [`Error::Io`] when there is none.
pub(super) async fn check_loopback(place: &Place, port: u16) -> Result<(), Error> {
    if is_its_own(place, port, is_loopback).await? {
        return Ok(());
    }
    let what = format!("looking for port {port} of a machine's loopback interface");
    Err(Error::io(what)(io::ErrorKind::ConnectionRefused.into()))
}

async fn is_its_own(place: &Place, port: u16, counts: fn(&str) -> bool) -> Result<bool, Error> {
    let listening: HashSet<String> = TABLES
        .iter()
        .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), port, counts))
        .collect();
    if listening.is_empty() {
        return Ok(false);
    }
    let own = processes::of(place).await?;
    Ok(own.iter().any(|seen| sockets(seen.pid).any(|socket| listening.contains(&socket))))
}

/// The sockets that listen on this port, by their number, of which the address counts.
fn listening(table: &str, port: u16, counts: fn(&str) -> bool) -> Vec<String> {
    let port = format!("{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let on_port = lines.filter(|fields| {
        let local = fields.get(1).and_then(|local| local.split_once(':'));
        local.is_some_and(|(address, on)| on == port && counts(address)) && fields.get(3) == Some(&LISTEN)
    });
    on_port.filter_map(|fields| fields.get(9).map(|inode| (*inode).to_owned())).collect()
}

/// Whether an address of the tables is 127.0.0.1 or ::1; each four bytes are written as a number of this machine's.
fn is_loopback(address: &str) -> bool {
    ["0100007F", "00000000000000000000000001000000"].contains(&address)
}

/// The sockets that a process has open, by their number.
fn sockets(pid: i32) -> impl Iterator<Item = String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(number.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_listen_on_the_very_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n\
            1: 0100007F:1F90 0100007F:8001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0\n\
            2: 00000000:01F9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0\n";
        let none = Vec::<String>::new();
        assert_eq!(listening(table, 8080, is_loopback), ["4711"]);
        assert_eq!(listening(table, 8080, |address| !is_loopback(address)), none);
        assert_eq!(listening(table, 505, is_loopback), none);
        assert_eq!(listening(table, 505, |address| !is_loopback(address)), ["4713"]);
        assert_eq!(listening("", 8080, |_| true), none);
    }
}
