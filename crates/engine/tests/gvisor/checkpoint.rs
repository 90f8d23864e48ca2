//! A sandbox that is written down, and goes on.

use std::path::PathBuf;

use engine::gvisor::Gvisor;
use engine::{Error, Machine, MachineSpec};

use crate::guest::Guest;
use crate::lab::Lab;

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
    let spec = MachineSpec { from: Some(into), ..spec };
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
    let spec = MachineSpec { from: Some(lab.fresh_directory()), ..lab.spec() };
    let failed = lab.engine.up(&spec).await;
    assert!(matches!(failed, Err(Error::Step { step: "machine", .. })), "{failed:?}");
    lab.end().await;
}
