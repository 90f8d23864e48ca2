//! The start of a process: `clone` with shared memory, as `posix_spawn(3)` does it.
//!
//! The child borrows the agent's memory and stops the calling thread until it
//! has become its program or ended. Nothing is copied, so a start costs the same
//! however large the agent is, and no lock of another thread can be held in a
//! copy. The price: until then the child may call the kernel and nothing else.
//! No allocation, no lock, no function of the C library that keeps state.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use wire::guest::{Error, ErrorCode};

use super::plan::{Cwd, Plan};
use super::script::SCRIPT_FD;
use crate::failure;
use crate::sandbox::Sandbox;
use crate::sandbox::users;

/// The stack a child runs on until it is a program, in bytes.
const STACK_BYTES: usize = 64 * 1024;
/// Below it, so that running over it is a fault and not a corruption.
const GUARD_BYTES: usize = 64 * 1024;
/// Signals there are, and the size of a set of them, in bytes (`rt_sigaction(2)`).
const SIGNALS: c_int = 64;
const SIGNAL_SET_BYTES: usize = 8;
/// How a child ends that could not become its program. Nobody sees it.
const FAILED_STATUS: c_int = 127;

/// Memory for the stacks of children, one after the other.
pub struct Stack(*mut c_void);

// SAFETY: the memory belongs to this value alone, whichever thread holds it.
unsafe impl Send for Stack {}

impl Stack {
    /// Takes memory for it. It is never given back: there is one per thread that starts processes.
    pub fn new() -> io::Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK);
        // SAFETY: a fresh mapping at an address the kernel chooses; then its lowest part is made unusable.
        unsafe {
            let base = libc::mmap(ptr::null_mut(), GUARD_BYTES + STACK_BYTES, protection, flags, -1, 0);
            if base == libc::MAP_FAILED || libc::mprotect(base, GUARD_BYTES, libc::PROT_NONE) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(base))
        }
    }

    fn top(&self) -> *mut c_void {
        self.0.wrapping_byte_add(GUARD_BYTES + STACK_BYTES)
    }
}

/// What became of the steps between the child's first moment and its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Step {
    Prepare = 1,
    Identity = 2,
    Directory = 3,
    Program = 4,
}

/// What the child reads, in the agent's memory. Everything is owned by who called [`spawn`], who is stopped meanwhile.
struct Orders {
    programs: *const *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    directory_path: *const c_char,
    directory: RawFd,
    stdio: [RawFd; 3],
    is_on_terminal: bool,
    script: RawFd,
    group_members: RawFd,
    file_limit: libc::rlimit,
    has_process_limit: bool,
    process_limit: libc::rlimit,
    switch: bool,
    uid: u32,
    gid: u32,
    groups: *const u32,
    groups_length: usize,
    denied_capabilities: *const u32,
    denied_capabilities_length: usize,
    dies_with_agent: bool,
    failed_step: AtomicI32,
    errno: AtomicI32,
}

/// What a process reads from and writes to.
pub enum Stdio {
    /// Its stdin, stdout and stderr.
    Three([RawFd; 3]),
    /// A terminal, which becomes the one that controls its session.
    Terminal(RawFd),
}

/// Starts the process. The kernel writes its number into `cradle` before it runs.
///
/// All signals must be blocked in the calling thread, and every descriptor of the agent must be closed on exec.
///
/// # Errors
/// What the child could not do. The cradle must be emptied in either case.
pub fn spawn(
    plan: &Plan,
    sandbox: &Sandbox,
    stdio: Stdio,
    stack: &Stack,
    cradle: &AtomicI32,
) -> Result<i32, Error> {
    let (programs, argv, envp) = (pointers(&plan.programs), pointers(&plan.argv), pointers(&plan.envp));
    let (directory_path, directory) = match &plan.cwd {
        Cwd::Path(path) => (path.as_ptr(), -1),
        Cwd::Directory(fd, _) => (ptr::null(), fd.as_raw_fd()),
    };
    let identity = &plan.identity;
    let (stdio, is_on_terminal) = match stdio {
        Stdio::Three(three) => (three, false),
        Stdio::Terminal(terminal) => ([terminal; 3], true),
    };
    let orders = Orders {
        programs: programs.as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        directory_path,
        directory,
        stdio,
        is_on_terminal,
        script: plan.script.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        group_members: sandbox.limit.as_ref().map_or(-1, |limit| limit.members().as_raw_fd()),
        file_limit: raw_limit(&sandbox.file_limit),
        has_process_limit: sandbox.limit.is_some(),
        process_limit: both(
            sandbox.limit.as_ref().map_or(libc::RLIM_INFINITY, |limit| u64::from(limit.processes_max())),
        ),
        switch: users::may_switch(),
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups.as_ptr(),
        groups_length: identity.groups.len(),
        denied_capabilities: sandbox.denied_capabilities.as_ptr(),
        denied_capabilities_length: sandbox.denied_capabilities.len(),
        dies_with_agent: !crate::init::is_first_process(),
        failed_step: AtomicI32::new(0),
        errno: AtomicI32::new(0),
    };
    let pid = clone_child(&orders, stack, cradle).map_err(|error| start_failure(plan, error))?;
    match orders.errno.load(Ordering::Acquire) {
        0 => Ok(pid),
        errno => Err(child_failure(
            plan,
            orders.failed_step.load(Ordering::Acquire),
            Errno::from_raw_os_error(errno),
        )),
    }
}

fn clone_child(orders: &Orders, stack: &Stack, cradle: &AtomicI32) -> io::Result<i32> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    let argument = ptr::from_ref(orders).cast_mut().cast();
    // SAFETY: CLONE_VFORK stops this thread until the child has left our memory, so `orders` and the stack outlive the
    // child's use of them; `child` only calls the kernel; the cradle lives as long as the process.
    let pid = unsafe { libc::clone(child, stack.top(), flags, argument, cradle.as_ptr()) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// A list of C strings as the kernel wants it.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn raw_limit(limit: &rustix::process::Rlimit) -> libc::rlimit {
    let raw = |value: Option<u64>| value.unwrap_or(libc::RLIM_INFINITY);
    libc::rlimit { rlim_cur: raw(limit.current), rlim_max: raw(limit.maximum) }
}

fn both(limit: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur: limit, rlim_max: limit }
}

/// The kernel would not make a child.
fn start_failure(plan: &Plan, error: io::Error) -> Error {
    if error.raw_os_error() == Some(libc::EAGAIN) {
        process_limit()
    } else {
        failure::of(&plan.program_name, error)
    }
}

/// The sandbox has as many processes as it may.
pub fn process_limit() -> Error {
    Error::new(ErrorCode::ProcessLimit, "the sandbox has as many processes as it may; end some of them first")
}

fn child_failure(plan: &Plan, step: i32, errno: Errno) -> Error {
    let subject = if step == Step::Directory as i32 {
        plan.cwd.name()
    } else if step == Step::Identity as i32 {
        format!("becoming {}", plan.identity.name)
    } else {
        plan.program_name.clone()
    };
    match errno {
        Errno::AGAIN => process_limit(),
        Errno::TOOBIG => Error::new(
            ErrorCode::TooLarge,
            format!("{subject}: its arguments are too long for the kernel; put them into a file"),
        ),
        errno => failure::of(subject, errno),
    }
}

/// The child's whole life in our memory.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Orders` of the thread that is stopped until we are gone.
    let orders = unsafe { &*argument.cast::<Orders>() };
    // SAFETY: the orders' pointers are valid as long as the orders; nothing here does more than call the kernel.
    let (step, errno) = unsafe { become_program(orders) };
    orders.failed_step.store(step as i32, Ordering::Release);
    orders.errno.store(errno, Ordering::Release);
    FAILED_STATUS
}

/// Calls the kernel. The C library writes the error number to the stopped thread's `errno`, which nobody reads.
macro_rules! call {
    ($step:expr, $number:expr $(, $argument:expr)*) => {
        if libc::syscall($number $(, $argument)*) < 0 {
            return ($step, *libc::__errno_location());
        }
    };
}

/// Returns only if it fails.
///
/// # Safety
/// Only for the child of [`clone_child`], with orders that outlive it.
unsafe fn become_program(orders: &Orders) -> (Step, c_int) {
    // SAFETY: see above; every call below is a plain system call with valid pointers.
    unsafe {
        // A session of its own: everything it starts can be found and killed.
        call!(Step::Prepare, libc::SYS_setsid);
        reset_signals();
        if orders.group_members >= 0 {
            call!(Step::Prepare, libc::SYS_write, orders.group_members, c"0".as_ptr(), 1usize);
        }
        let limit = &raw const orders.file_limit;
        call!(
            Step::Prepare,
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            limit,
            ptr::null_mut::<libc::rlimit>()
        );
        if orders.has_process_limit {
            let limit = &raw const orders.process_limit;
            call!(
                Step::Prepare,
                libc::SYS_prlimit64,
                0,
                libc::RLIMIT_NPROC,
                limit,
                ptr::null_mut::<libc::rlimit>()
            );
        }
        for (target, fd) in orders.stdio.iter().enumerate() {
            call!(Step::Prepare, libc::SYS_dup3, *fd, target, 0);
        }
        if orders.is_on_terminal {
            call!(Step::Prepare, libc::SYS_ioctl, libc::STDIN_FILENO, libc::TIOCSCTTY, 0);
        }
        if orders.switch {
            let (step, errno) = switch_user(orders);
            if errno != 0 {
                return (step, errno);
            }
        }
        if orders.dies_with_agent {
            call!(Step::Prepare, libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        }
        if orders.directory_path.is_null() {
            call!(Step::Directory, libc::SYS_fchdir, orders.directory);
        } else {
            call!(Step::Directory, libc::SYS_chdir, orders.directory_path);
        }
        if orders.script == SCRIPT_FD {
            call!(Step::Prepare, libc::SYS_fcntl, SCRIPT_FD, libc::F_SETFD, 0);
        } else if orders.script >= 0 {
            call!(Step::Prepare, libc::SYS_dup3, orders.script, SCRIPT_FD, 0);
        }
        unblock_signals();
        (Step::Program, execute(orders))
    }
}

/// Handlers would run in the agent's memory, and what is ignored would stay ignored in the program.
unsafe fn reset_signals() {
    // The kernel's `struct sigaction` for the default action is all zeros, and not longer than this.
    let default = [0u64; 8];
    for signal in 1..=SIGNALS {
        // SAFETY: reads `default`; SIGKILL and SIGSTOP are refused, which is right.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<c_void>(),
                SIGNAL_SET_BYTES,
            );
        }
    }
}

unsafe fn unblock_signals() {
    let none = 0u64;
    // SAFETY: reads `none`, a set of SIGNAL_SET_BYTES bytes.
    unsafe {
        let set = &raw const none;
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            set,
            ptr::null_mut::<c_void>(),
            SIGNAL_SET_BYTES,
        );
    }
}

/// Not the C library's functions: those would change every thread of the agent.
unsafe fn switch_user(orders: &Orders) -> (Step, c_int) {
    // SAFETY: as in `become_program`.
    unsafe {
        for index in 0..orders.denied_capabilities_length {
            let capability = *orders.denied_capabilities.add(index);
            call!(Step::Identity, libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        call!(Step::Identity, libc::SYS_setgroups, orders.groups_length, orders.groups);
        call!(Step::Identity, libc::SYS_setresgid, orders.gid, orders.gid, orders.gid);
        call!(Step::Identity, libc::SYS_setresuid, orders.uid, orders.uid, orders.uid);
    }
    (Step::Identity, 0)
}

/// Tries each program, as `execvp(3)` does: goes on where there is none, and remembers one that was forbidden.
unsafe fn execute(orders: &Orders) -> c_int {
    let mut worst = libc::ENOENT;
    let mut program = orders.programs;
    // SAFETY: the three lists end with a null pointer and outlive this child.
    unsafe {
        while !(*program).is_null() {
            libc::syscall(libc::SYS_execve, *program, orders.argv, orders.envp);
            match *libc::__errno_location() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                errno => return errno,
            }
            program = program.add(1);
        }
    }
    worst
}
