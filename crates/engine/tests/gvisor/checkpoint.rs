//! A sandbox that is written down, and goes on.

use std::path::PathBuf;

use engine::gvisor::Gvisor;
use engine::{Checkpoint, Error, Machine, MachineSpec};
use wire::guest::renew::{GENERATION_PATH, HOOKS_DIRECTORY, Renew, RenewKind, Renewed};
use wire::guest::{Done, Request};

use crate::SOON;
use crate::guest::{Guest, TOKEN};
use crate::lab::{Lab, kill};

/// Counts for ever; a number that is missing or there twice is seen.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >>/counts; busybox usleep 5000; done";
/// Says how many were counted, if none is missing.
const COUNTED: &str =
    "lines=$(cat /counts | busybox wc -l); [ $lines = $(tail -n 1 /counts) ] && echo $lines";

struct Written {
    lab: Lab,
    spec: MachineSpec,
    machine: Machine,
    into: PathBuf,
    /// What had been counted a moment before.
    counted: u64,
}

/// A sandbox that counts and has written a file, and stands still.
async fn written() -> Written {
    let lab = Lab::new();
    let spec = lab.spec();
    let machine = lab.engine.up(&spec).await.unwrap().machine;
    let mut guest = lab.guest(&machine).await;
    guest.shell("dd if=/dev/urandom of=/file bs=1M count=8; busybox md5sum /file >/sum").await;
    guest.start(COUNT).await;
    let counted = counted(&mut guest, 10).await;
    // An agent that is stopped with a connection open hears of no new one when it goes on.
    guest.hang_up().await;
    let into = lab.fresh_directory();
    lab.engine.checkpoint(&machine.id, &into).await.unwrap();
    Written { lab, spec, machine, into, counted }
}

/// Waits until it has counted so far.
async fn counted(guest: &mut Guest, at_least: u64) -> u64 {
    loop {
        let (_, said) = guest.shell(COUNTED).await;
        match said.trim().parse() {
            Ok(counted) if counted >= at_least => return counted,
            // Between a line and the look at it.
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_was_written_down_goes_on_where_it_stood_still() {
    let Written { lab, spec, machine, into, counted: before } = written().await;
    lab.engine.down(&machine.id).await.unwrap();
    lab.assert_clean().await;
    let spec = MachineSpec { from: Some(into.into()), ..spec };
    for _ in 0..2 {
        let again = lab.engine.up(&spec).await.unwrap().machine;
        let mut guest = lab.guest(&again).await;
        assert!(!guest.hello.claimed_now, "it is the same agent");
        let (end, said) = guest.shell("busybox md5sum -c /sum").await;
        assert_eq!(end.exit_code, Some(0), "{said}");
        counted(&mut guest, before + 10).await;
        lab.engine.down(&again.id).await.unwrap();
    }
    lab.end().await;
}

/// What is to be renewed of a sandbox, each on a line.
fn identity() -> String {
    format!("busybox hostname; cat /etc/hostname; cat /etc/machine-id; cat {GENERATION_PATH}")
}

/// Puts files there that a renewal changes, and a program that it runs.
async fn furnish(guest: &mut Guest) {
    let program = "#!/bin/sh\necho $ATOLL_RESTORE_KIND $ATOLL_SANDBOX_ID $ATOLL_GENERATION >/told\necho done";
    let furnish = format!(
        "busybox mkdir -p {HOOKS_DIRECTORY}; echo lab >/etc/hostname; echo old >/etc/machine-id; \
         echo '{program}' >{HOOKS_DIRECTORY}/10-tell; busybox chmod +x {HOOKS_DIRECTORY}/10-tell"
    );
    let (end, said) = guest.shell(&furnish).await;
    assert_eq!(end.exit_code, Some(0), "{said}");
}

async fn renew(guest: &mut Guest, token: &str, hostname: &str) -> Renewed {
    let wall_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let (hostname, kind, entropy) = (hostname.into(), RenewKind::Fork, token.repeat(64));
    let order = Renew { token: token.repeat(64), hostname, wall_ms, kind, entropy };
    match guest.ask(&Request::Renew(order)).await {
        (Ok(Done::Renewed(renewed)), _) => renewed,
        other => panic!("another answer: {other:?}"),
    }
}

#[tokio::test]
async fn copies_of_one_sandbox_have_tokens_names_and_generations_of_their_own() {
    let lab = Lab::new();
    let spec = lab.spec();
    let machine = lab.engine.up(&spec).await.unwrap().machine;
    let mut guest = lab.guest(&machine).await;
    furnish(&mut guest).await;
    let mut seen = vec![guest.shell(&identity()).await.1];
    guest.hang_up().await;
    let into = lab.fresh_directory();
    lab.engine.checkpoint(&machine.id, &into).await.unwrap();
    lab.engine.down(&machine.id).await.unwrap();
    for (digit, name) in [("a", "first"), ("b", "second")] {
        let spec = MachineSpec { from: Some(into.clone().into()), ..lab.spec() };
        let copy = lab.engine.up(&spec).await.unwrap().machine;
        let mut guest = lab.guest(&copy).await;
        let renewed = renew(&mut guest, digit, name).await;
        assert_eq!((renewed.clock_stepped_ms, &renewed.notes[..]), (0, &[] as &[String]));
        assert_eq!((renewed.hooks[0].exit_code, renewed.hooks[0].said.as_str()), (Some(0), "done\n"));
        let told = guest.shell("cat /told").await.1;
        assert_eq!(told, format!("fork {name} {}\n", renewed.generation_id));
        seen.push(guest.shell(&identity()).await.1);
        assert!(lab.guest_with(&copy, TOKEN).await.hello.refused.is_some(), "the old token opens it");
        assert_eq!(lab.guest_with(&copy, digit).await.hello.refused, None);
        lab.engine.down(&copy.id).await.unwrap();
    }
    let names: Vec<_> = seen.iter().map(|seen| seen.lines().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(names, [["lab", "lab"], ["first", "first"], ["second", "second"]]);
    let mut ids: Vec<_> = seen.iter().flat_map(|seen| seen.lines().skip(2)).collect();
    assert_eq!(ids.len(), 6, "{seen:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "an id came twice: {seen:?}");
    lab.end().await;
}

#[tokio::test]
async fn one_that_stands_still_goes_on_when_told_to() {
    let Written { lab, machine, counted: before, .. } = written().await;
    for _ in 0..2 {
        lab.engine.resume(&machine.id).await.unwrap();
    }
    let mut guest = lab.guest(&machine).await;
    counted(&mut guest, before + 10).await;
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn whichever_step_fails_it_goes_on() {
    let lab = Lab::new();
    let machine = lab.up().await;
    for step in Gvisor::CHECKPOINT_STEPS {
        lab.faults.fail_at(step);
        let failed = lab.engine.checkpoint(&machine.id, &lab.fresh_directory()).await;
        assert!(matches!(failed, Err(Error::Step { step: at, .. }) if at == step), "{failed:?}");
        lab.faults.clear();
        lab.engine.resume(&machine.id).await.unwrap();
        let mut guest = lab.guest(&machine).await;
        assert_eq!(guest.shell("echo on").await.1, "on\n");
        guest.hang_up().await;
    }
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_brings_nothing_up_and_leaves_nothing() {
    let lab = Lab::new();
    let spec = MachineSpec { from: Some(lab.fresh_directory().into()), ..lab.spec() };
    let failed = lab.engine.up(&spec).await;
    assert!(matches!(failed, Err(Error::Step { step: "machine", .. })), "{failed:?}");
    lab.end().await;
}

#[tokio::test]
async fn whichever_step_of_going_on_fails_nothing_is_left() {
    let Written { lab, spec, machine, into, .. } = written().await;
    lab.engine.down(&machine.id).await.unwrap();
    let spec = MachineSpec { from: Some(into.into()), ..spec };
    for step in Gvisor::STEPS_FROM {
        lab.faults.fail_at(step);
        let failed = lab.engine.up(&spec).await;
        assert!(matches!(failed, Err(Error::Step { step: at, .. }) if at == step), "{failed:?}");
        lab.assert_clean().await;
        lab.faults.clear();
    }
    let up = lab.engine.up(&spec).await.unwrap();
    let mut steps: Vec<_> = up.steps.iter().map(|time| time.step.as_str()).collect();
    steps.sort_unstable();
    let mut expected = Gvisor::STEPS_FROM;
    expected.sort_unstable();
    assert_eq!(steps, expected);
    lab.engine.down(&machine.id).await.unwrap();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_started_for_a_checkpoint_that_never_comes_goes_again() {
    let lab = Lab::new();
    for why in [Some("it is damaged"), None] {
        let (tell, checkpoint) = Checkpoint::coming();
        let spec = MachineSpec { from: Some(checkpoint), ..lab.spec() };
        let come = async {
            lab.waits(&spec.id).await;
            if let Some(why) = why {
                tell.send_replace(Some(Err(why.to_owned())));
            }
            drop(tell);
        };
        let (failed, ()) = tokio::join!(lab.engine.up(&spec), come);
        assert!(
            matches!(&failed, Err(Error::NoCheckpoint(said)) if said.contains(why.unwrap_or("nobody"))),
            "{failed:?}"
        );
        lab.assert_clean().await;
    }
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_parts_end_before_it_goes_on_fails_soon() {
    let Written { lab, machine, into, .. } = written().await;
    lab.engine.down(&machine.id).await.unwrap();
    for part in [Lab::kernels, Lab::file_servers] {
        let (tell, checkpoint) = Checkpoint::coming();
        let spec = MachineSpec { from: Some(checkpoint), ..lab.spec() };
        let come = async {
            lab.waits(&spec.id).await;
            part(&lab, &spec.id).into_iter().for_each(kill);
            tell.send_replace(Some(Ok(into.clone())));
        };
        let (failed, ()) = tokio::join!(tokio::time::timeout(SOON, lab.engine.up(&spec)), come);
        let failed = failed.expect("it fails soon");
        assert!(matches!(failed, Err(Error::Step { step: "machine", .. })), "{failed:?}");
        lab.assert_clean().await;
    }
    lab.end().await;
}
