//! What a sandbox may use, and what it may reach. Only real engines can tell these.

use std::time::Duration;

use serde_json::json;
use testkit::lab::{Builder, eventually};

use super::{execute, is_slow, run, sandbox, shown, write};
use crate::id_of;

/// Everything these stories see of the network from inside: addresses that answer somebody, somewhere.
const TARGETS: &str = r#"
import socket
for host, port in [("172.16.0.1", 22), ("172.16.0.1", 1), ("127.0.0.1", 7070), ("169.254.169.254", 80), ("1.1.1.1", 53)]:
    s = socket.socket(); s.settimeout(0.3)
    try: s.connect((host, port)); print("reached", host, port)
    except OSError: pass
try:
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(0.3)
    u.sendto(b"\0" * 20, ("172.16.0.1", 53)); u.recv(1); print("reached by udp")
except OSError: pass
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 768); print("raw socket")
except OSError: pass
try: socket.getaddrinfo("example.com", 80); print("resolved")
except OSError: pass
print("done")
"#;

/// Makes as many processes as it may for so many seconds, and writes down what it is told then.
const CROWD: &str = r#"
import os, time
if os.fork(): os._exit(0)
told = False
until += time.monotonic()
while time.monotonic() < until:
    try:
        if os.fork() == 0:
            time.sleep(max(0, until - time.monotonic()))
            os._exit(0)
    except OSError as error:
        if not told:
            with open("new", "w") as file: file.write(error.strerror)
            os.rename("new", "told")
            told = True
        time.sleep(0.01)
"#;

pub async fn what_takes_too_much_memory_is_killed_and_the_sandbox_lives(lab: Builder) {
    let lab = lab.start().await;
    let id = id_of(&lab.api.post("/v1/sandbox", json!({ "memory": 512 })).await.expect(201).json());
    let greedy = "python3 -c \"b = []\nwhile True: b.append(bytearray(8 << 20))\"";
    let killed = run(&lab, &id, greedy).await;
    assert_eq!((&killed["exit_code"], &killed["out_of_memory"]), (&json!(137), &json!(true)), "{killed}");
    assert_eq!(run(&lab, &id, "echo alive").await["stdout"], "alive\n");
    lab.end().await;
}

pub async fn what_the_host_kills_for_memory_ends_with_that_reason(lab: Builder) {
    let lab = lab.silence_max(Duration::from_secs(5)).start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "true").await;
    // The agent watches the memory of the inside, and so does not see this coming.
    let groups = lab.runner().supervisor().node.engine.owned().await.unwrap();
    let groups =
        groups.iter().filter(|owned| owned.kind == "cgroup").map(|owned| std::path::Path::new(&owned.name));
    let files = [("memory.current", "memory.max"), ("memory.usage_in_bytes", "memory.limit_in_bytes")];
    let (used, limit) = groups
        .flat_map(|group| files.map(|(used, limit)| (group.join(used), group.join(limit))))
        .find(|(used, _)| used.exists())
        .expect("a sandbox has a group that limits memory");
    let used: u64 = std::fs::read_to_string(used).unwrap().trim().parse().unwrap();
    std::fs::write(limit, (used + (16 << 20)).to_string()).unwrap();
    // What becomes of the command is not known to anybody: its answer breaks off.
    let greedy = json!({ "argv": ["python3", "-c", "b = bytearray(b'x') * (300 << 20)"] });
    let path = format!("/v1/sandbox/{id}/process/execute");
    lab.api.attempt(http::Method::POST, &path, greedy.to_string()).await;
    eventually("the host has killed it", async || shown(&lab, &id).await["state"] == "deleted").await;
    let dead = shown(&lab, &id).await;
    assert_eq!(dead["reason"], "out_of_memory", "{dead}");
    assert!(dead["reason_detail"].as_str().unwrap().contains("memory limit"), "{dead}");
    lab.end().await;
}

pub async fn a_full_disk_is_an_error_inside_and_the_sandbox_lives(lab: Builder) {
    let lab = lab.disk_mib(64).start().await;
    let id = sandbox(&lab).await;
    let full = run(&lab, &id, "head -c 1G /dev/zero > big; echo code $?; ls -s big | cut -d' ' -f1").await;
    assert!(full["stderr"].as_str().unwrap().contains("No space left on device"), "{full}");
    let refused = write(&lab, &id, "more", vec![7u8; 1 << 20]).await.expect(507);
    assert_eq!(refused.json()["code"], "disk_full", "{refused:?}");
    assert_eq!(run(&lab, &id, "rm big; echo again > small && cat small").await["stdout"], "again\n");
    lab.end().await;
}

pub async fn too_many_processes_are_refused_inside_and_the_sandbox_lives(lab: Builder) {
    let lab = lab.processes(30).start().await;
    let id = sandbox(&lab).await;
    let seconds = if is_slow() { 90 } else { 6 };
    let crowd = format!("until = {seconds}\n{CROWD}");
    execute(&lab, &id, json!({ "argv": ["python3", "-c", crowd] })).await.expect(200);
    eventually("the limit is told", async || {
        let answer = execute(&lab, &id, json!({ "command": "true" })).await;
        answer.status == 409 && answer.json()["code"] == "process_limit"
    })
    .await;
    eventually("the inside is told", async || {
        let told = super::read(&lab, &id, json!({ "path": "told" })).await;
        told.status == 200 && told.body == "Resource temporarily unavailable"
    })
    .await;
    eventually("there is room again", async || {
        execute(&lab, &id, json!({ "command": "true" })).await.status == 200
    })
    .await;
    lab.end().await;
}

pub async fn nothing_outside_can_be_reached(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let seen = execute(&lab, &id, json!({ "argv": ["python3", "-c", TARGETS] })).await.expect(200).json();
    assert_eq!(seen["stdout"], "done\n", "{seen}");
    lab.end().await;
}

pub async fn the_inside_sees_its_own_size_and_no_other(lab: Builder) {
    let lab = lab.start().await;
    let asked = json!({ "memory": 1024, "vcpu": 2 });
    let id = id_of(&lab.api.post("/v1/sandbox", asked).await.expect(201).json());
    let total = run(&lab, &id, "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo").await;
    let total_mib: u32 = total["stdout"].as_str().unwrap().trim().parse().unwrap();
    assert!((1000..=1300).contains(&total_mib), "{total_mib} MiB");
    assert_eq!(run(&lab, &id, "nproc").await["stdout"], "2\n");
    let processes = run(&lab, &id, "ls /proc | grep -c '^[0-9]'").await;
    assert!(processes["stdout"].as_str().unwrap().trim().parse::<u32>().unwrap() < 10, "{processes}");
    lab.end().await;
}

pub async fn a_launcher_that_is_killed_takes_no_sandbox_with_it(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let launcher = launcher_pid(lab.dir());
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    assert_eq!(run(&lab, &id, "echo still here").await["stdout"], "still here\n");
    let other = sandbox(&lab).await;
    assert_eq!(run(&lab, &other, "echo new").await["stdout"], "new\n");
    assert_eq!(shown(&lab, &id).await["state"], "running");
    lab.end().await;
}

pub async fn an_agent_that_is_killed_ends_its_sandbox_with_a_reason(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let denied = run(&lab, &id, "kill -9 1 && echo killed").await;
    assert_eq!(denied["stdout"], "", "the sandbox user ended its agent: {denied}");
    assert_eq!(shown(&lab, &id).await["state"], "running");
    eventually("the sandbox still answers", async || run(&lab, &id, "true").await["exit_code"] == 0).await;
    lab.end().await;
}

/// The launcher of a lab, by its command line.
fn launcher_pid(dir: &std::path::Path) -> rustix::process::Pid {
    let dir = dir.to_str().unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command_line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number
            && command_line.contains("role launcher")
            && command_line.contains(dir)
        {
            return rustix::process::Pid::from_raw(number).unwrap();
        }
    }
    panic!("no launcher of {dir} runs");
}
