//! Ports of machines, which are the host's own: whoever listens on one must be a process of the machine that is asked for.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::layout::Place;
use super::processes;
use crate::Error;

/// Between two looks at who listens.
const LOOK_WAIT: Duration = Duration::from_millis(20);
/// The tables of TCP sockets (`proc_net_tcp(5)`).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a socket that listens, in those tables.
const LISTEN: &str = "0A";

/// Connects to a port on which a process of the machine listens, or waits for one, `bound` at most.
///
/// # Errors
/// [`Error::Io`] when there is none to the end.
pub(super) async fn dial(place: &Place, port: u16, bound: Duration) -> Result<TcpStream, Error> {
    let what = || format!("connecting to port {port} of a machine");
    let deadline = Instant::now() + bound;
    loop {
        if is_its_own(place, port).await? {
            return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(Error::io(what()));
        }
        if Instant::now() >= deadline {
            return Err(Error::io(what())(io::ErrorKind::ConnectionRefused.into()));
        }
        tokio::time::sleep(LOOK_WAIT).await;
    }
}

async fn is_its_own(place: &Place, port: u16) -> Result<bool, Error> {
    let listening: HashSet<String> = TABLES
        .iter()
        .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), port))
        .collect();
    if listening.is_empty() {
        return Ok(false);
    }
    let own = processes::of(place).await?;
    Ok(own.iter().any(|seen| sockets(seen.pid).any(|socket| listening.contains(&socket))))
}

/// The sockets that listen on this port, by their number.
fn listening(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let on_port = lines.filter(|fields| {
        fields.get(1).is_some_and(|local| local.ends_with(&port)) && fields.get(3) == Some(&LISTEN)
    });
    on_port.filter_map(|fields| fields.get(9).map(|inode| (*inode).to_owned())).collect()
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
            2: 0100007F:01F9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0\n";
        assert_eq!(listening(table, 8080), ["4711"]);
        assert_eq!(listening(table, 505), ["4713"]);
        assert_eq!(listening("", 8080), Vec::<String>::new());
    }
}
