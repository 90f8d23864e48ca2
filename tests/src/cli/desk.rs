//! Somebody who sits at a terminal, in which a command runs.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::{PATIENCE, ended};

/// A terminal, and the command that runs in it.
pub struct Desk {
    child: Child,
    keyboard: File,
    /// The command's side.
    side: OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    looked: usize,
}

/// How a terminal treats keys and bytes.
pub type Treatment = [u32; 4];

impl Desk {
    /// Runs a command in a terminal of this size.
    ///
    /// # Panics
    /// When the system has no terminal to give.
    pub fn new(mut command: Command, cols: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let side = open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .expect("its other side");
        set_size(&side, cols, rows);
        let end = || side.try_clone().expect("a descriptor");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it is started");
        let keyboard = File::from(master);
        let screen = watch(keyboard.try_clone().expect("a descriptor"));
        Self { child, keyboard, side, screen, seen: Vec::new(), looked: 0 }
    }

    /// How the terminal treats keys and bytes now.
    ///
    /// # Panics
    /// When it is gone.
    pub fn treatment(&self) -> Treatment {
        let now: Termios = tcgetattr(&self.side).expect("it is there");
        let (input, output) = (now.input_modes.bits(), now.output_modes.bits());
        [input, output, now.control_modes.bits(), now.local_modes.bits()]
    }

    /// Types this.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal is there");
    }

    /// Looks until `text` is shown, after whatever was looked for before.
    ///
    /// # Panics
    /// When it never is; with what was shown.
    pub fn until(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = String::from_utf8_lossy(&self.seen[self.looked..]).into_owned();
            if let Some(at) = new.find(text) {
                self.looked += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => panic!("{text:?} was not shown in time: {new:?}"),
            }
        }
    }

    /// Makes the window another size, which the command is told.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, cols: u16, rows: u16) {
        set_size(&self.side, cols, rows);
        // The system tells those whose controlling terminal it is; this one is nobody's.
        self.signal(Signal::WINCH);
    }

    /// Sends the command a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process has a number");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits until the command has ended; its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn code(&mut self) -> Option<i32> {
        ended(&mut self.child).code()
    }
}

/// A story that failed half way leaves no command.
impl Drop for Desk {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn set_size(side: &OwnedFd, cols: u16, rows: u16) {
    let size = Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(side, size).expect("a terminal has a size");
}

/// What is shown, as it comes. It ends with the terminal.
fn watch(mut screen: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
