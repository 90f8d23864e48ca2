//! What became of sandboxes.

use wire::public::event::{EventList, SandboxEvent};
use wire::public::schema::{EventNumber, PageSize, Truth};
use wire::sandbox::{Reason, State};

use super::Noun;
use super::examples::{CREATED_AT, sandbox_id};
use super::failures::Failure::*;
use super::operation::{Operation, get};
use super::sandboxes::of_one;

const KEPT: &str = "Events of a sandbox can be read as long as the sandbox can be looked at, and for a day at least, unless the server is configured otherwise.";

pub fn noun() -> Noun {
    Noun {
        tag: "Events",
        text: "What became of sandboxes and why, in the order it was recorded. Whoever has seen an event can go on after it: nothing is missed, nothing is told twice, whatever was restarted meanwhile.",
        operations: vec![of_sandbox(), of_team()],
    }
}

fn of_sandbox() -> Operation {
    told(of_one(get("/v1/sandbox/{sandbox_id}/events", "list_sandbox_events", "What became of a sandbox")))
        .says("As a stream it ends with the event whose state is `deleted`.")
        .fails(&[NotFound])
}

fn of_team() -> Operation {
    told(get("/v1/events", "list_events", "What became of a team's sandboxes"))
        .says("As a stream it goes on until the client or the server ends it.")
}

fn told(operation: Operation) -> Operation {
    let events = events();
    operation
        .says("A page, oldest first; with `follow=true`, or where `Accept` names `text/event-stream`, a stream of Server-Sent Events: what there is, and then what happens.")
        .says(KEPT)
        .in_query::<EventNumber>("after", "The event that was seen last. Absent: from the oldest that is kept.")
        .in_query::<PageSize>("page-size", "How many on a page.")
        .in_query::<Truth>("follow", "Whether to answer with a stream.")
        .in_header::<EventNumber>("Last-Event-ID", "As `after`, which it beats; clients for Server-Sent Events send it when they come back.")
        .answers(200, "What happened.", &EventList { next: events[1].id, items: events.to_vec() })
        .answers_events("What happened.", &events)
}

fn events() -> [SandboxEvent; 2] {
    let running = SandboxEvent {
        id: 17,
        sandbox_id: sandbox_id(),
        state: State::Running,
        at: CREATED_AT.into(),
        reason: None,
        reason_detail: None,
    };
    let deleted = SandboxEvent {
        id: 19,
        state: State::Deleted,
        reason: Some(Reason::EngineLost),
        reason_detail: Some("the sandbox's process ended with signal 9".into()),
        ..running.clone()
    };
    [running, deleted]
}
