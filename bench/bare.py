"""`runsc run` by itself, with what our engine gives it: the same image, limits, cgroups and workarounds."""

import contextlib
import ctypes
import glob
import json
import os
import struct
import subprocess

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_KILL"]
FLAGS = ["--platform=systrap", "--network=sandbox", "--net-disconnect-ok", "--directfs=false", "--host-uds=none"]
CGROUP = "atoll-bench"

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_MEMBARRIER, ENOSYS = 324, 38


def enter_mount_namespace(image, root):
    """A mount namespace of our own, with the image mounted and /proc/sys/net covered (Linux 6.11 and later need it)."""
    check(LIBC.unshare(CLONE_NEWNS))
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", image, root], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=4k", "none", "/proc/sys/net"], check=True)
    if os.path.ismount("/sys/fs/cgroup/unified"):
        # crun refuses a host that has both versions of cgroups; nobody here needs the second.
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def without_membarrier():
    """Answers membarrier(2) with ENOSYS from here on: an old runsc waits 16 ms in it at each start."""
    instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, SYS_MEMBARRIER), (0x06, 0, 0, 0x50000 | ENOSYS), (0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(instructions), 0) + code, 16 + len(code))
    struct.pack_into("Q", program, 8, ctypes.addressof(program) + 16)
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    check(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0))


class Bare:
    """Runs `/bin/true` as the only process of a container, again and again."""

    def __init__(self, root, directory, memory_mib, vcpu):
        self.root, self.directory, self.memory_mib, self.vcpu = root, directory, memory_mib, vcpu
        self.count = 0

    def prepare(self):
        """Everything that is not `runsc run`: a bundle, an empty network namespace, an overlay directory."""
        self.count += 1
        name = f"bare-{os.getpid()}-{self.count:06}"
        bundle = f"{self.directory}/{name}"
        os.makedirs(f"{bundle}/overlay")
        subprocess.run(["ip", "netns", "add", name], check=True)
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(self.config(name), file)
        return name, bundle

    def run(self, prepared):
        name, bundle = prepared
        flags = [*FLAGS, f"--overlay2=root:dir={bundle}/overlay", "--root", f"{self.directory}/state"]
        subprocess.run(["runsc", *flags, "run", "--bundle", bundle, name], check=True, preexec_fn=without_membarrier,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def clean(self, prepared):
        subprocess.run(["ip", "netns", "del", prepared[0]], check=True)

    def close(self):
        for directory in glob.glob(f"/sys/fs/cgroup/{CGROUP}") + glob.glob(f"/sys/fs/cgroup/*/{CGROUP}"):
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def config(self, name):
        kinds = ["pid", "ipc", "uts", "mount"]
        namespaces = [{"type": kind} for kind in kinds] + [{"type": "network", "path": f"/run/netns/{name}"}]
        mounts = [("/proc", "proc"), ("/dev", "tmpfs"), ("/sys", "sysfs")]
        capabilities = {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")}
        return {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/usr/bin:/bin"],
                        "capabilities": capabilities},
            "root": {"path": self.root}, "hostname": "sandbox",
            "mounts": [{"destination": path, "type": kind, "source": kind} for path, kind in mounts],
            "linux": {"cgroupsPath": f"/{CGROUP}/{name}", "namespaces": namespaces, "resources": {
                "memory": {"limit": self.memory_mib << 20}, "pids": {"limit": 8192},
                "cpu": {"quota": self.vcpu * 100_000, "period": 100_000}}},
        }
