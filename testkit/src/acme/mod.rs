//! An authority of ACME, the DNS that it asks, and clients that look at what it has issued.
//!
//! Both are the real programs, `pebble` and `knotd`, on loopback addresses of their own, gone when dropped.

mod authority;
mod visit;
mod zone;

pub use authority::Pebble;
pub use visit::Visit;
pub use zone::Zone;

use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

/// A program has so long to listen.
const LISTEN_BOUND: Duration = Duration::from_secs(60);
/// Between two looks at whether it does.
const LISTEN_POLL: Duration = Duration::from_millis(10);

/// A program that ends with its owner.
#[derive(Debug)]
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of the loopback address that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has one").port()
}

/// Waits until somebody listens there.
fn await_listener(port: u16, what: &str, log: impl Fn() -> String) {
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < LISTEN_BOUND, "{what} does not listen: {}", log());
        std::thread::sleep(LISTEN_POLL);
    }
}
