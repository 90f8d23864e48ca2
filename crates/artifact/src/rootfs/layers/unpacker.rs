//! The node's side: one child for one image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::pipe::fcntl_setpipe_size;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::image::Digest;

use super::protocol::{FRAME_BYTES_MAX, LayerOrder, Orders, REPORT_BYTES_MAX, Report};
use super::{Compression, Fault, LayerReport, Limits};
use crate::{Draft, Error, Result, program};

/// Where in a draft the tree grows.
const TREE_DIR: &str = "tree";
/// Bytes that are passed on at a time: a pipe's worth.
const CHUNK_BYTES: usize = 256 * 1024;
const _: () = assert!(CHUNK_BYTES <= FRAME_BYTES_MAX);
/// Bytes of what a dying child said that an error repeats.
const LAST_WORDS_BYTES: u64 = 4096;

/// An image being unpacked. Dropped, it ends the child; the draft is not touched.
#[derive(Debug)]
pub struct Unpacker {
    tree: PathBuf,
    child: Child,
    /// None when the child was told that there is no more.
    input: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
    last_words: Option<JoinHandle<String>>,
    limits: Limits,
    layers: usize,
}

impl Unpacker {
    /// Starts a child that unpacks into this draft. `program` becomes [`super::child::main`] when it is started with one
    /// argument more. It is found by its path: `/proc/self/exe` would be another program's. Needs root.
    ///
    /// # Errors
    /// When the child cannot be started or confined.
    pub async fn start(program: &[OsString], draft: &Draft, limits: Limits) -> Result<Self> {
        let tree = draft.path().join(TREE_DIR);
        crate::durable::make_dir(&tree)?;
        let orders = Orders { tree: tree.clone(), limits: limits.clone() };
        let mut child =
            command(program, &orders)?.spawn().map_err(Error::io("start", Path::new("unshare")))?;
        let input = child.stdin.take().ok_or_else(no_pipe)?;
        let reports = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let last_words = child.stderr.take().map(|stderr| tokio::spawn(read_last_words(stderr)));
        // Fewer switches between the two; less is good too.
        let _ = fcntl_setpipe_size(&input, FRAME_BYTES_MAX);
        let mut unpacker = Self { tree, child, input: Some(input), reports, last_words, limits, layers: 0 };
        match unpacker.report().await? {
            Report::Ready => Ok(unpacker),
            other => Err(unpacker.unexpected(&other)),
        }
    }

    /// Applies the next layer, from the bottom up, as its bytes come. Whether its `diff_id` is the one given is checked.
    ///
    /// # Errors
    /// [`Error::Layer`] when the layer is malformed, hostile or over a limit; that names the layer, the entry and the
    /// reason. After an error this can only be dropped.
    pub async fn apply(
        &mut self,
        mut layer: impl AsyncRead + Unpin,
        compression: Compression,
        diff_id: Option<&Digest>,
    ) -> Result<LayerReport> {
        self.layers += 1;
        let order = LayerOrder { compression, diff_id: diff_id.cloned() };
        let order = serde_json::to_vec(&order).map_err(|error| self.broken(error.into()))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        if self.send(&order).await? {
            loop {
                let length = layer.read(&mut chunk).await.map_err(|error| self.broken(error))?;
                if !self.send(&chunk[..length]).await? || length == 0 {
                    break;
                }
            }
        }
        match self.report().await? {
            Report::Applied(report) => Ok(report),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The tree, whole, after the last layer.
    ///
    /// # Errors
    /// When the child did not end well.
    pub async fn finish(mut self) -> Result<PathBuf> {
        self.input = None;
        match self.report().await? {
            Report::Done => {}
            other => return Err(self.unexpected(&other)),
        }
        self.child.wait().await.map_err(Error::io("wait for", Path::new("the unpacker")))?;
        Ok(self.tree)
    }

    /// Sends one frame. False if the child listens no more; it says why.
    async fn send(&mut self, frame: &[u8]) -> Result<bool> {
        let Some(input) = &mut self.input else { return Ok(false) };
        let length = (frame.len() as u32).to_le_bytes();
        let send = async {
            input.write_all(&length).await?;
            input.write_all(frame).await
        };
        match timeout(self.limits.stall_max, send).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.stalled()),
        }
    }

    /// What the child says next. A failure that it reports, or that is its end, is an error.
    async fn report(&mut self) -> Result<Report> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reports).take(REPORT_BYTES_MAX);
        match timeout(self.limits.stall_max, limited.read_until(b'\n', &mut line)).await {
            Err(_) => return Err(self.stalled()),
            Ok(read) => read.map_err(|error| self.broken(error))?,
        };
        match serde_json::from_slice(&line) {
            Ok(Report::Failed(fault)) => Err(self.failed(fault)),
            Ok(report) => Ok(report),
            Err(_) => Err(self.died().await),
        }
    }

    /// The child ended without a word of ours: out of memory or time, mostly.
    async fn died(&mut self) -> Error {
        let _ = self.child.start_kill();
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = match self.last_words.take() {
            Some(words) => words.await.unwrap_or_default(),
            None => String::new(),
        };
        let said = said.trim();
        let limits = format!(
            "the limits are {} bytes of memory and {} seconds of processor time",
            self.limits.memory_bytes_max, self.limits.cpu_seconds_max
        );
        self.failed(Fault::new(format!("the unpacker died ({status}; {limits}): {said}")))
    }

    fn stalled(&self) -> Error {
        self.failed(Fault::new(format!("the unpacker did nothing for {:?}", self.limits.stall_max)))
    }

    fn unexpected(&self, report: &Report) -> Error {
        self.failed(Fault::new(format!("the unpacker said {report:?} out of turn")))
    }

    fn failed(&self, fault: Fault) -> Error {
        Error::Layer { layer: self.layers, fault }
    }

    fn broken(&self, source: std::io::Error) -> Error {
        Error::Io { what: format!("pass on layer {}", self.layers), source }
    }
}

/// The child's start: in namespaces of its own, dead with the thread that starts it.
fn command(program: &[OsString], orders: &Orders) -> Result<Command> {
    let orders = serde_json::to_string(orders).map_err(|error| Error::Io {
        what: format!("name {} to the unpacker", orders.tree.display()),
        source: error.into(),
    })?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]);
    command.args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--"]);
    command.args(program).arg(orders);
    command.env_clear().env("PATH", program::PATH).current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn no_pipe() -> Error {
    Error::io("talk to", Path::new("the unpacker"))(std::io::ErrorKind::BrokenPipe.into())
}

async fn read_last_words(stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    let mut limited = stderr.take(LAST_WORDS_BYTES);
    // What came until an error is all there is.
    let _ = limited.read_to_end(&mut words).await;
    let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&words).into_owned()
}
