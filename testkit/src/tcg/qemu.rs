//! One QEMU process: its command line, and its certain end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::build::{INITRD_FILE, KERNEL_FILE, ROOT_DISK_FILE};
use super::program;

/// The job's disk, in the directory of the run.
pub(super) const JOB_DISK_FILE: &str = "job.ext4";
/// What `init` says about the command in the end: `exit <code>`.
pub(super) const STATUS_FILE: &str = "status";
/// What the machine's kernel says.
pub(super) const CONSOLE_FILE: &str = "console";
/// What QEMU says about itself.
pub(super) const COMPLAINTS_FILE: &str = "qemu";

/// Processors of the machine.
const CPUS: u32 = 2;
/// Memory for translated code, in MiB.
const TRANSLATED_MIB: u32 = 512;
/// `panic=-1` with `-no-reboot` ends QEMU when the kernel dies. Mitigations guard nothing in here, and cost a third.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc";

/// A running machine. Killed when dropped; also by the kernel, when the thread that started it ends.
#[derive(Debug)]
pub(super) struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts the machine whose files are in `machine`, with the job's disk in `run`, and gives the command's output.
    ///
    /// Every disk is written to a file that has no name, in `run`, and lost in the end.
    pub(super) fn start(machine: &Path, run: &Path, memory_mib: u32) -> Result<(Self, ChildStdout)> {
        // Both are appended to by QEMU; what an earlier attempt said is not this one's.
        for file in [STATUS_FILE, CONSOLE_FILE] {
            File::create(run.join(file)).with_context(|| format!("create {file}"))?;
        }
        let mut command = program::command("qemu-system-x86_64")?;
        command.current_dir(run).env("TMPDIR", run).process_group(0);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args([
            "-machine",
            "q35",
            "-cpu",
            "max",
            "-smp",
            &CPUS.to_string(),
            "-m",
            &memory_mib.to_string(),
        ]);
        command.args(["-accel", &format!("tcg,thread=multi,tb-size={TRANSLATED_MIB}")]);
        command.arg("-kernel").arg(machine.join(KERNEL_FILE)).arg("-initrd").arg(machine.join(INITRD_FILE));
        command.args(["-append", KERNEL_COMMAND_LINE, "-serial", &format!("file:{CONSOLE_FILE}")]);
        for disk in [&machine.join(ROOT_DISK_FILE), &run.join(JOB_DISK_FILE)] {
            command.args(["-drive", &drive(disk)]);
        }
        command.args(["-device", "virtio-serial-pci"]);
        channel(&mut command, "output", "stdio,signal=off");
        channel(&mut command, "status", &format!("file,path={STATUS_FILE}"));
        // A channel whose input has ended counts as cut, and takes no output either: ours stays open.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(run.join(COMPLAINTS_FILE))?);
        let mut child = command.spawn().context("start qemu-system-x86_64")?;
        let output = child.stdout.take().context("qemu's output is a pipe")?;
        Ok((Self { child }, output))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Not waited for yet, so the number is still its own.
        let pid = Pid::from_child(&self.child);
        // One that ended by itself is not there to be killed, and that is as good.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn drive(disk: &Path) -> String {
    let file = disk.display().to_string().replace(',', ",,");
    format!("if=virtio,format=raw,snapshot=on,cache=unsafe,file={file}")
}

fn channel(command: &mut std::process::Command, name: &str, backend: &str) {
    let (kind, options) = backend.split_once(',').unwrap_or((backend, ""));
    command.args(["-chardev", &format!("{kind},id={name},{options}")]);
    command.args(["-device", &format!("virtserialport,chardev={name},name={name}")]);
}
