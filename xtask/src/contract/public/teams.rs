//! Teams: who owns sandboxes and keys. For operators.

use wire::public::schema::{Page, PageSize};
use wire::public::team::{CreateTeam, OwnLimits, PutTeam, Team, TeamLimits, TeamList, TeamUse, defaults};

use super::Noun;
use super::examples::{CREATED_AT, team_id};
use super::failures::Failure::*;
use super::operation::{Access, Operation, delete, get, patch, post};

pub fn noun() -> Noun {
    Noun {
        tag: "Teams",
        text: "A team owns sandboxes and keys, and has limits. Operators make teams and set their limits.",
        operations: vec![create(), list(), read(), change(), remove()],
    }
}

pub fn team() -> Team {
    Team {
        id: team_id(),
        name: "research".into(),
        limits: TeamLimits { sandboxes: 20, ..defaults::LIMITS },
        used: TeamUse { sandboxes: 1, vcpu: 2, memory_mib: 2048, keys: 1, templates: 1 },
        created_at: CREATED_AT.into(),
    }
}

fn limits() -> Option<OwnLimits> {
    Some(OwnLimits { sandboxes: Some(20), ..OwnLimits::default() })
}

fn of_one(operation: Operation) -> Operation {
    operation.access(Access::Operator).in_path("team_id", "The team.", &team_id())
}

fn create() -> Operation {
    let new = Team { used: TeamUse::default(), ..team() };
    post("/v1/team", "create_team", "Make a team")
        .says("A limit that is not given, or `null`, is the server's default, now and when that changes.")
        .access(Access::Operator)
        .takes(&CreateTeam { name: "research".into(), limits: limits() })
        .answers(201, "It is made.", &new)
        .fails(&[Conflict])
}

fn list() -> Operation {
    get("/v1/teams", "list_teams", "List teams")
        .access(Access::Operator)
        .in_query::<Page>("page", "Which page, from 1.")
        .in_query::<PageSize>("page-size", "How many on a page.")
        .answers(200, "A page of them, by name.", &TeamList { items: vec![team()], total_items: 1 })
}

fn read() -> Operation {
    of_one(get("/v1/team/{team_id}", "get_team", "Look at a team"))
        .answers(200, "What it is, may have and has.", &team())
        .fails(&[NotFound])
}

fn change() -> Operation {
    of_one(patch("/v1/team/{team_id}", "change_team", "Change a team"))
        .says("What is not given stays as it is; a limit that is `null` becomes the server's default again. Lower limits end nothing that is there.")
        .may_take(&PutTeam { name: None, limits: limits() })
        .answers(200, "What it is now.", &team())
        .fails(&[NotFound, Conflict])
}

fn remove() -> Operation {
    of_one(delete("/v1/team/{team_id}", "delete_team", "Delete a team"))
        .says("Its keys go with it. One that has sandboxes cannot be deleted.")
        .answers_nothing(204, "It is gone.")
        .fails(&[NotFound, Conflict])
}
