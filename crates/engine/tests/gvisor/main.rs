//! The gVisor engine on this machine: real sandboxes with the real agent. Needs root and runsc.

mod checkpoint;
mod guest;
mod lab;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use engine::gvisor::Gvisor;
use engine::{Error, Owned};
use lab::{Lab, WAIT, kill, stop};

/// How soon the end of a process must be told, on a loaded host.
const SOON: Duration = Duration::from_secs(10);
/// So long after it began, a start is over.
const KILL_DELAY_MS_MAX: u64 = 90;

#[tokio::test]
async fn a_sandbox_comes_up_runs_a_program_and_leaves_nothing() {
    let lab = Lab::new();
    let up = lab.engine.up(&lab.spec()).await.unwrap();
    let mut steps: Vec<_> = up.steps.iter().map(|time| time.step.as_str()).collect();
    steps.sort_unstable();
    let mut expected = Gvisor::STEPS;
    expected.sort_unstable();
    assert_eq!(steps, expected);

    let mut guest = lab.guest(&up.machine).await;
    assert!(guest.hello.claimed_now);
    let (end, output) = guest.shell("echo out; echo in >/file; cat /file; exit 7").await;
    assert_eq!((end.exit_code, output.as_str()), (Some(7), "out\nin\n"));

    lab.engine.down(&up.machine.id).await.unwrap();
    lab.assert_clean().await;
    lab.engine.down(&up.machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn whichever_step_fails_nothing_is_left() {
    let lab = Lab::new();
    for step in Gvisor::STEPS {
        lab.faults.fail_at(step);
        let spec = lab.spec();
        match lab.engine.up(&spec).await {
            Err(Error::Step { step: failed, source }) if failed == step => {
                assert!(matches!(*source, Error::Injected(_)), "{step}: {source}");
            }
            other => panic!("{step}: {other:?}"),
        }
        lab.assert_clean().await;
        lab.faults.clear();
        assert!(lab.engine.find(&spec.id).await.unwrap().is_none());
    }
    // The same engine works on.
    let machine = lab.up().await;
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn an_id_that_is_there_is_refused_and_left_alone() {
    let lab = Lab::new();
    let spec = lab.spec();
    let machine = lab.engine.up(&spec).await.unwrap().machine;
    assert!(matches!(lab.engine.up(&spec).await, Err(Error::Exists { .. })));
    assert!(lab.guest(&machine).await.hello.claimed_now);
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn the_end_of_a_sandbox_is_told_with_its_cause() {
    let lab = Lab::new();
    let machine = lab.up().await;
    kill(pid_of(&lab, &machine).await);
    let exit = tokio::time::timeout(SOON, machine.exited()).await.unwrap();
    assert!(!exit.out_of_memory);
    assert!(exit.evidence.contains("signal 9"), "{}", exit.evidence);
    assert!(lab.engine.find(&machine.id).await.unwrap().is_none());
    assert!(matches!(lab.engine.dial_agent(&machine, WAIT).await, Err(Error::Ended { .. })));
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_without_its_file_server_ends_instead_of_hanging() {
    let lab = Lab::new();
    let machine = lab.up().await;
    let servers = lab.file_servers(&machine.id);
    assert_eq!(servers.len(), 1);
    // runsc mostly notices by itself; not if the file server ends before the two have met.
    stop(pid_of(&lab, &machine).await);
    kill(servers[0]);
    assert!(matches!(lab.engine.dial_agent(&machine, WAIT).await, Err(Error::Ended { .. })));
    let exit = tokio::time::timeout(SOON, machine.exited()).await.unwrap();
    assert!(exit.evidence.starts_with("its file server ended; "), "{exit:?}");
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_its_kernel_is_killed_a_start_ends_soon() {
    let lab = Lab::new();
    for delay_ms in (0..KILL_DELAY_MS_MAX).step_by(3) {
        let spec = lab.spec();
        let kernel = async || loop {
            // One that just becomes another program has no arguments.
            if let Some(pid) = lab.kernels(&spec.id).first() {
                return *pid;
            }
            tokio::task::yield_now().await;
        };
        let kill = async {
            kernel().await;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            kill(kernel().await);
        };
        let (up, ()) = tokio::join!(tokio::time::timeout(SOON, lab.engine.up(&spec)), kill);
        match up.unwrap_or_else(|_| panic!("killed after {delay_ms} ms, it hangs")) {
            Ok(up) => drop(tokio::time::timeout(SOON, up.machine.exited()).await.unwrap()),
            Err(error) => assert!(matches!(error, Error::Step { .. }), "{error}"),
        }
        lab.engine.down(&spec.id).await.unwrap();
    }
    lab.end().await;
}

#[tokio::test]
async fn a_sandbox_that_passes_its_memory_limit_ends_as_such() {
    let lab = Lab::new();
    let machine = lab.up().await;
    // No reserve was asked of the agent, so nobody stops this before the kernel does.
    lab.guest(&machine).await.start("tail /dev/zero").await;
    let exit = tokio::time::timeout(WAIT, machine.exited()).await.unwrap();
    assert!(exit.out_of_memory, "{}", exit.evidence);
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_inside_and_nothing_outside() {
    let lab = Lab::new();
    let machine = lab.up().await;
    let mut guest = lab.guest(&machine).await;
    for place in ["/big", "/tmp/big"] {
        let (end, output) = guest.shell(&format!("dd if=/dev/zero of={place} bs=1M count=200")).await;
        assert!(end.exit_code == Some(1) && output.contains("No space left"), "{place}: {end:?} {output}");
        let (end, _) =
            guest.shell(&format!("busybox rm {place} && dd if=/dev/zero of=/small bs=1M count=16")).await;
        assert_eq!(end.exit_code, Some(0), "room was not given back after {place}");
    }
    let disk = fs::metadata(lab.data(format!("disks/{}.img", machine.id))).unwrap();
    assert!(disk.blocks() * 512 <= 128 << 20);
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn nothing_outside_can_be_reached() {
    let lab = Lab::new();
    let machine = lab.up().await;
    let mut guest = lab.guest(&machine).await;
    for address in ["172.16.0.1 80", "172.16.0.1 1", "169.254.169.254 80", "1.1.1.1 53", "10.0.0.1 22"] {
        let (end, output) = guest.shell(&format!("busybox timeout 3 nc -w 2 {address} </dev/null")).await;
        assert_ne!(end.exit_code, Some(0), "{address} was reached: {output}");
    }
    // The sandbox's own loopback works.
    let (end, output) = guest.shell("(echo there | nc -l -p 99) & sleep 0.3; nc 127.0.0.1 99").await;
    assert!(end.exit_code == Some(0) && output.contains("there"), "{end:?} {output}");
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_sandbox_is_found_again_after_a_restart_of_the_node() {
    let mut lab = Lab::new();
    let machine = lab.up().await;
    assert!(lab.guest(&machine).await.hello.claimed_now);
    lab.reopened();
    let found = lab.engine.find(&machine.id).await.unwrap().unwrap();
    assert!(!lab.guest(&found).await.hello.claimed_now, "it is another agent");
    let again = lab.engine.find(&machine.id).await.unwrap().unwrap();
    kill(pid_of(&lab, &found).await);
    for machine in [found, again] {
        let exit = tokio::time::timeout(SOON, machine.exited()).await.unwrap();
        assert!(exit.evidence.contains("signal 9"), "{}", exit.evidence);
    }
    lab.reopened();
    assert!(lab.engine.find(&machine.id).await.unwrap().is_none());
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn sandboxes_outlive_their_launcher() {
    let lab = Lab::new();
    let [doomed, survivor] = [lab.up().await, lab.up().await];
    lab.kill_launcher();
    let (end, _) = lab.guest(&survivor).await.shell("echo x >/written && cat /bin/busybox >/dev/null").await;
    assert_eq!(end.exit_code, Some(0));

    kill(pid_of(&lab, &doomed).await);
    tokio::time::timeout(SOON, doomed.exited()).await.unwrap();
    lab.engine.down(&doomed.id).await.unwrap();

    let fresh = lab.up().await;
    assert_eq!(lab.launchers().len(), 1);
    assert_eq!(lab.guest(&fresh).await.shell("exit 3").await.0.exit_code, Some(3));
    assert_eq!(lab.guest(&survivor).await.shell("cat /written").await.1, "x\n");
    for machine in [fresh, survivor] {
        lab.engine.down(&machine.id).await.unwrap();
    }
    lab.end().await;
}

#[tokio::test]
async fn closing_leaves_what_runs_alone() {
    let lab = Lab::new();
    let machine = lab.up().await;
    lab.engine.close().await;
    assert!(lab.guest(&machine).await.hello.claimed_now);
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn twenty_at_once_come_up_and_go() {
    let lab = Lab::new();
    let ups = (0..20).map(|_| async {
        let machine = lab.up().await;
        assert_eq!(lab.guest(&machine).await.shell("exit 4").await.0.exit_code, Some(4));
        machine
    });
    let machines = futures_util::future::join_all(ups).await;
    let downs = machines.iter().map(|machine| lab.engine.down(&machine.id));
    for result in futures_util::future::join_all(downs).await {
        result.unwrap();
    }
    lab.end().await;
}

#[tokio::test]
async fn two_who_take_it_down_at_once_and_one_who_gave_up_on_it_do_not_collide() {
    let lab = Lab::new();
    let spec = lab.spec();
    // The caller goes away in the middle of the bring-up.
    let gone = tokio::time::timeout(Duration::from_millis(20), lab.engine.up(&spec)).await;
    assert!(gone.is_err(), "a sandbox came up in 20 ms");
    let (one, two) = tokio::join!(lab.engine.down(&spec.id), lab.engine.down(&spec.id));
    one.unwrap();
    two.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn what_was_left_behind_is_listed_with_its_owner_and_removed() {
    let lab = Lab::new();
    let machine = lab.up().await;
    let id = lab::fresh_id();
    let group = lab.cgroups(&machine.id)[0].with_file_name(id.as_str());
    fs::create_dir(&group).unwrap();
    let planted = [
        ("netns", lab.run_dir("netns").join(id.as_str())),
        ("disk", lab.data("disks").join(format!("{id}.img"))),
        ("directory", lab.data("bundles").join(id.as_str())),
        ("engine_state", lab.run_dir("runsc").join(format!("{id}_sandbox:{id}.state"))),
    ];
    for (kind, path) in &planted {
        if *kind == "directory" { fs::create_dir(path).unwrap() } else { fs::write(path, "garbage").unwrap() }
    }
    let nobodys = lab.data("disks/nobodys.img");
    fs::write(&nobodys, "").unwrap();

    let owned = lab.engine.owned().await.unwrap();
    let listed = |kind, path: &std::path::Path, owner| {
        assert!(
            owned.contains(&Owned { kind, name: path.display().to_string(), owner }),
            "{kind} in {owned:#?}"
        );
    };
    listed("cgroup", &group, Some(id.clone()));
    planted.iter().for_each(|(kind, path)| listed(kind, path, Some(id.clone())));
    listed("disk", &nobodys, None);
    for kind in ["process", "cgroup", "netns", "disk", "loop", "directory", "engine_state"] {
        let of_machine = |owned: &&Owned| owned.kind == kind && owned.owner.as_ref() == Some(&machine.id);
        assert!(owned.iter().any(|owned| of_machine(&owned)), "no {kind} of the machine in {owned:#?}");
    }

    lab.engine.down(&id).await.unwrap();
    fs::remove_file(nobodys).unwrap();
    // Records that cannot be read are no obstacle.
    for record in fs::read_dir(lab.run_dir("runsc")).unwrap().flatten() {
        if record.file_type().unwrap().is_file() {
            fs::write(record.path(), "garbage").unwrap();
        }
    }
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn an_image_that_is_none_is_refused_with_its_name() {
    let lab = Lab::new();
    let mut spec = lab.spec();
    spec.image = lab.data("no-such-image");
    let error = lab.engine.up(&spec).await.unwrap_err();
    let Error::Step { step: "image", source } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("no-such-image"), "{source}");
    lab.end().await;
}

#[tokio::test]
async fn an_idle_sandbox_costs_less_and_answers_at_once_when_woken() {
    let lab = Lab::new();
    let machine = lab.up().await;
    let pid = pid_of(&lab, &machine).await;
    let slack = || fs::read_to_string(format!("/proc/{pid}/timerslack_ns")).unwrap().trim().to_owned();
    lab.engine.doze(&machine.id);
    assert_eq!(slack(), "50000000");
    lab.engine.wake(&machine.id);
    assert_eq!(slack(), "50000");
    lab.engine.down(&machine.id).await.unwrap();
    lab.engine.doze(&machine.id);
    lab.end().await;
}

#[test]
fn the_doctor_finds_this_host_fit() {
    let ill: Vec<_> = engine::probe::report("runsc".as_ref())
        .into_iter()
        .filter(|check| check.engine == "gvisor" && !check.ok)
        .collect();
    assert!(ill.is_empty(), "{ill:#?}");
}

async fn pid_of(lab: &Lab, machine: &engine::Machine) -> i32 {
    lab.engine.inspect(&machine.id).await["pid"].as_i64().unwrap().try_into().unwrap()
}
