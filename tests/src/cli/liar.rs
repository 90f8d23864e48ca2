//! A server that says whatever a story wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use testkit::bins;

use super::{Said, said};

/// A request that was heard: its method and path, and its body.
pub type Heard = (String, String);
/// What is answered: a status and a body; nothing at all if there is none.
pub type Reply = Option<(u16, String)>;

/// A server that answers what it is told to, to whoever asks.
pub struct Liar {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Liar {
    /// One that answers so.
    ///
    /// # Panics
    /// When there is no port.
    pub fn new(answer: impl Fn(&str, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let (heard, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (hears, stops) = (heard.clone(), stop.clone());
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stops.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever leaves in the middle has heard enough.
                let _ = serve(stream, &hears, &answer);
            }
        });
        Self { address, heard, stop, listening: Some(listening) }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs `atoll` with these arguments against it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn atoll(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(bins::atoll());
        command.args(arguments).env("ATOLL_URL", self.url());
        said(command.env("ATOLL_API_KEY", "any").output().expect("atoll is started"))
    }

    /// What was asked.
    ///
    /// # Panics
    /// When a story broke meanwhile.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("nobody broke off").clone()
    }
}

/// Ends with the story.
impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    heard: &Mutex<Vec<Heard>>,
    answer: &impl Fn(&str, &str) -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let asked = line.rsplit_once(" HTTP").map_or("", |(asked, _)| asked).to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let reply = answer(&asked, &body);
    heard.lock().expect("nobody broke off").push((asked, body));
    let Some((status, body)) = reply else { return Ok(()) };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    reader.get_mut().write_all(format!("{head}{body}").as_bytes())
}
