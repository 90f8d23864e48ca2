//! The way to what listens in here on the loopback interface alone, where nobody from outside can: a connection of ours,
//! between which and the node's bytes go as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use wire::guest::AGENT_TCP_PORT;

use super::Wire;
use crate::failure;
use crate::listen::ByteStream;

/// Programs listen on the one or the other.
const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// How long a program that listens may take to have room for one more, in seconds.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Bytes on their way in one direction.
const PIECE_BYTES: usize = 16 * 1024;

/// A connection to whoever listens on this port; or why there is none.
pub async fn connect(port: u16) -> Result<TcpStream, String> {
    if port == AGENT_TCP_PORT {
        return Err(format!("port {port} is the agent's own"));
    }
    let mut reasons = Vec::new();
    for address in ADDRESSES {
        match connect_to(address, port).await {
            Ok(stream) => return Ok(stream),
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(format!("no connection to port {port}: {}", reasons.join(", ")))
}

async fn connect_to(address: IpAddr, port: u16) -> Result<TcpStream, String> {
    let bound = Duration::from_secs(CONNECT_SECONDS_MAX);
    let connecting = tokio::time::timeout(bound, TcpStream::connect((address, port))).await;
    let connected = connecting.map_err(|_| format!("no answer within {CONNECT_SECONDS_MAX} s"))?;
    let stream = connected.map_err(|error| failure::text(&error))?;
    stream.set_nodelay(true).map_err(|error| failure::text(&error))?;
    Ok(stream)
}

/// Carries bytes until both sides have ended, or either has broken off, which the other then learns.
pub async fn relay(wire: Wire, mut app: TcpStream) {
    let Wire { mut stream, input } = wire;
    let carried = async {
        app.write_all(&input).await?;
        copy_bidirectional_with_sizes(&mut stream, &mut app, PIECE_BYTES, PIECE_BYTES).await
    };
    if carried.await.is_err() {
        stream.break_off();
        app.break_off();
    }
}
