//! Snapshots: what sandboxes were at some moment.

use wire::node::{Pruned, PrunedItem, PrunedKind};
use wire::public::schema::{IdempotencyKey, OrderBy, Page, PageSize, SnapshotQuery, SnapshotSort};
use wire::public::snapshot::{
    Fork, Forks, PruneSnapshots, RestoreSnapshot, Snapshot, SnapshotList, TakeSnapshot,
};
use wire::sandbox::defaults;

use super::Noun;
use super::examples::{CREATED_AT, sandbox_id, snapshot_id, template_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, delete, get, post};
use super::sandboxes::{of_one as of_sandbox, sandbox};

const NAME: &str = "after-setup";

pub fn noun() -> Noun {
    Noun {
        tag: "Snapshots",
        text: "A snapshot is what a sandbox was at one moment: memory, processes and files. Any number of sandboxes go on from it, each with an id, a network and a life of its own. What they must not share is renewed before they are served; `docs/snapshots.md` has the table of it, and of what programs have to renew themselves.",
        operations: vec![take(), list(), read(), remove(), restore(), fork(), prune()],
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        id: snapshot_id(),
        name: NAME.into(),
        sandbox_id: sandbox_id(),
        template_id: template_id(),
        vcpu: 2,
        memory: 2048,
        disk: defaults::DISK_MIB,
        size_bytes: 134_217_728,
        state: "ready".into(),
        network_policy: None,
        created_at: CREATED_AT.into(),
    }
}

fn of_one(operation: Operation) -> Operation {
    operation.in_path("snapshot_id", "The snapshot.", &snapshot_id())
}

fn take() -> Operation {
    of_sandbox(post("/v1/sandbox/{sandbox_id}/snapshot/create", "create_snapshot", "Take a snapshot of a sandbox"))
        .says("The sandbox stands still while it is written down, and goes on; a command under way goes on with it. Connections to the outside are closed. Answers when the snapshot is durable; if that takes long, with `201` and spaces, as by `execute`.")
        .says("With `kill_sandbox_after` the sandbox does not go on: nothing happens in it that is not in the snapshot. A sandbox that is paused is woken for it.")
        .may_take(&TakeSnapshot { name: Some(NAME.into()), kill_sandbox_after: None })
        .answers(201, "It is taken.", &snapshot())
        .fails(&[NotFound, Conflict, BadGateway, Unavailable, TimedOut, DiskFull])
}

fn list() -> Operation {
    get("/v1/snapshots", "list_snapshots", "List snapshots")
        .says("Those of the key's team. What a sandbox was when it was last paused is among them, under the sandbox's id, if the sandbox broke since.")
        .in_query::<SnapshotQuery>("query", "Only those whose name has this in it, in whatever case.")
        .in_query::<SnapshotSort>("sort", "What to sort by.")
        .in_query::<OrderBy>("order-by", "Which end comes first.")
        .in_query::<Page>("page", "Which page, from 1.")
        .in_query::<PageSize>("page-size", "How many on a page.")
        .answers(200, "A page of them.", &SnapshotList { items: vec![snapshot()], total_items: 1 })
}

fn read() -> Operation {
    of_one(get("/v1/snapshot/{snapshot_id}", "get_snapshot", "Look at a snapshot"))
        .answers(200, "What it is.", &snapshot())
        .fails(&[NotFound])
}

fn remove() -> Operation {
    of_one(delete("/v1/snapshot/{snapshot_id}", "delete_snapshot", "Delete a snapshot"))
        .says("Sandboxes that went on from it are as they were. Its bytes go some time later, but for those that other snapshots have.")
        .answers_nothing(204, "It is gone.")
        .fails(&[NotFound])
}

fn restore() -> Operation {
    let order = RestoreSnapshot {
        snapshot_name: NAME.into(),
        timeout: Some(600),
        auto_pause: Some(false),
        network_policy: None,
    };
    post("/v1/snapshot/restore", "restore_snapshot", "Make a sandbox of a snapshot")
        .says("Template, CPUs, memory, disk and environment are the snapshot's. Answers when the sandbox runs and is its own: with a new id, a new host name, and whatever else is renewed.")
        .says("A snapshot that is damaged, or that nothing here can go on from, is refused with the reason, and nothing is started.")
        .in_header::<IdempotencyKey>(
            "Idempotency-Key",
            "Makes requests with the same value one request, for a day.",
        )
        .takes(&order)
        .answers(201, "It runs.", &sandbox())
        .fails(&[NotFound, Conflict, Unprocessable, BadGateway, Unavailable, TimedOut, DiskFull])
}

fn fork() -> Operation {
    of_sandbox(post("/v1/sandbox/{sandbox_id}/fork", "fork_sandbox", "Copy a sandbox that goes on"))
        .says("Up to 64 copies, each with an id, a network and a life of its own. Answers when all of them run; if one cannot be made, none is.")
        .may_take(&Fork { count: Some(2), timeout: None, auto_pause: None })
        .answers(201, "They run.", &Forks { items: vec![sandbox()] })
        .fails(&[NotFound, Conflict, BadGateway, Unavailable, TimedOut, DiskFull])
}

fn prune() -> Operation {
    let item = PrunedItem {
        kind: PrunedKind::Chunks,
        name: "000000000000000000000000000000aa-0".into(),
        bytes: 33_554_432,
        reason: "no snapshot that is left has any of its chunks; written 2 h ago".into(),
    };
    post("/v1/snapshots/prune", "prune_snapshots", "Remove bytes of snapshots nobody needs")
        .says("It is done now and then anyway. With `dry_run`, nothing goes, and the answer is what would. What was stored within the last hour stays.")
        .access(Access::Operator)
        .may_take(&PruneSnapshots { dry_run: Some(true) })
        .answers(200, "What went, or would go.", &Pruned { bytes: item.bytes, items: vec![item] })
        .fails(&[NotFound, BadGateway, Unavailable, TimedOut])
}
