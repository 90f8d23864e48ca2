//! The gVisor engine on this machine: as root, with runsc, in directories and control groups of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use engine::gvisor::{Config, Gvisor};
use engine::steps::Faults;
use engine::{MachineSpec, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::id::{ENTROPY_BYTES, SandboxId};
use wire::sandbox::Resources;

/// How long anything here may take.
const WAIT: Duration = Duration::from_secs(30);

struct Lab {
    config: Config,
    engine: Gvisor,
    image: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Lab {
    /// A failed test leaves no launcher behind.
    fn drop(&mut self) {
        for pid in self.launchers() {
            run("kill", &["-9", &pid.to_string()]);
        }
    }
}

impl Lab {
    fn launchers(&self) -> Vec<u32> {
        let run_dir = self.config.run_dir.to_str().unwrap();
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split('\0').any(|argument| argument == run_dir)
        };
        pids.filter(is_ours).collect()
    }

    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("atoll-gvisor-").tempdir().unwrap();
        let name = directory.path().file_name().unwrap().to_str().unwrap().to_owned();
        let image = make_image(directory.path());
        let agent = directory.path().join("agent");
        std::fs::write(&agent, "#!/bin/busybox sh\nexec /bin/busybox nc -ll -p 1 -e /bin/busybox cat\n")
            .unwrap();
        run("chmod", &["0755", agent.to_str().unwrap()]);
        let config = Config {
            runsc: std::env::var_os("ATOLL_TEST_RUNSC").map_or("/usr/bin/runsc".into(), PathBuf::from),
            agent,
            dir: directory.path().join("data"),
            run_dir: directory.path().join("run"),
            cgroup_parent: name,
            launcher: vec![env!("CARGO_BIN_EXE_launcher-for-tests").into()],
            faults: Faults::default(),
        };
        let engine = Gvisor::open(config.clone()).unwrap();
        Self { config, engine, image, _directory: directory }
    }

    fn spec(&self) -> MachineSpec {
        let resources = Resources { vcpu: 1, memory_mib: 512, disk_mib: 1024, processes_max: 256 };
        MachineSpec { id: fresh_id(), image: self.image.clone(), resources }
    }
}

fn fresh_id() -> SandboxId {
    let mut entropy = [0; ENTROPY_BYTES];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut entropy).unwrap();
    SandboxId::from_entropy(entropy)
}

fn run(program: &str, args: &[&str]) {
    let ran = Command::new(program).args(args).output().unwrap();
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// An image with nothing but a shell in it.
fn make_image(directory: &Path) -> PathBuf {
    let (tree, image) = (directory.join("tree"), directory.join("image.erofs"));
    for name in ["bin", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(tree.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    run("mkfs.erofs", &["--quiet", "-T0", image.to_str().unwrap(), tree.to_str().unwrap()]);
    image
}

async fn echo(stream: &mut Stream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    tokio::time::timeout(WAIT, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn measure() {
    let lab = Lab::new();
    for _ in 0..std::env::var("N").map_or(3, |n| n.parse().unwrap()) {
        let spec = lab.spec();
        let t = Instant::now();
        let up = lab.engine.up(&spec).await.unwrap();
        let t_up = t.elapsed();
        let mut stream = lab.engine.dial_agent(&up.machine, WAIT).await.unwrap();
        let t_dial = t.elapsed();
        echo(&mut stream).await;
        let t_echo = t.elapsed();
        println!("{}", lab.engine.inspect(&spec.id).await);
        let t = Instant::now();
        lab.engine.down(&spec.id).await.unwrap();
        let t_down = t.elapsed();
        println!("up {t_up:?} dial {t_dial:?} echo {t_echo:?} down {t_down:?}");
        println!("{}", up.steps.iter().map(|s| format!("{}={} ", s.step, s.micros)).collect::<String>());
        println!("{:?}", lab.engine.owned().await.unwrap());
    }
    lab.engine.close().await;
    let _ = lab.config;
}
