//! `/api/v1/templates`.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use wire::public::template::{TemplateState, Visibility};

use super::super::super::App;
use super::super::super::body::json_fields;
use super::super::super::sandboxes::to_the_end;
use super::envelope::{Refusal, data};
use super::name::{self, Name};
use super::{builtin, spec, status};
use crate::error::Error;
use crate::store::Caller;
use crate::templates::record::{Scope, Spec, TemplateRecord};
use crate::templates::{self, Changes, Order, SpecChange};
use crate::times::rfc3339;

/// The last part of the path that makes templates of sandboxes.
const FROM_SANDBOX: &str = "from-sandbox";

/// An answer of the dialect.
type Answer = Result<Response, Refusal>;

/// `GET /api/v1/templates`: those of all, then the team's own.
pub async fn list(State(app): State<App>, Extension(caller): Extension<Caller>) -> Answer {
    let records = templates::all(&app, &caller.team).await?;
    let has_default = records.iter().any(|it| it.scope == Scope::Public && it.name == builtin::ID);
    let is_shown = |record: &TemplateRecord| match record.scope {
        Scope::System => record.name == builtin::TEMPLATE && !has_default,
        Scope::Team | Scope::Public => name::is_shown(&record.name),
    };
    let mut shown: Vec<_> = records.into_iter().filter(is_shown).collect();
    shown.sort_by(|a, b| (scope(a), id(a)).cmp(&(scope(b), id(b))));
    let in_use = templates::in_use(&app, &caller.team).await?;
    let active = |record: &TemplateRecord| in_use.get(&record.id).copied().unwrap_or(0);
    let items: Vec<_> = shown.iter().map(|record| present(record, active(record))).collect();
    Ok(data(StatusCode::OK, json!({ "count": items.len(), "templates": items })))
}

/// `POST /api/v1/templates`.
pub async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let mut body = json_fields(&app, request).await?;
    let name = name::read(&mut body);
    let wanted = spec::read(body)?;
    let order = Order {
        name,
        uri: wanted.image,
        credentials: None,
        visibility: Visibility::Team,
        spec: Spec::default().merged(&wanted.spec)?,
    };
    let made = to_the_end(async move { templates::create(&app, &caller, order).await }).await?;
    Ok(data(StatusCode::CREATED, present(&made, 0)))
}

/// `GET /api/v1/templates/{id}`.
pub async fn get(State(app): State<App>, Extension(caller): Extension<Caller>, name: Name) -> Answer {
    let record = find(&app, &caller, &name).await?;
    answer(&app, &caller, &record).await
}

/// `PUT /api/v1/templates/{id}`: what the spec does not say is as if it had never been said.
pub async fn update(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    name: Name,
    request: Request,
) -> Answer {
    let wanted = spec::read(json_fields(&app, request).await?)?;
    let record = find_own(&app, &caller, &name).await?;
    // The registry is asked again only for another image, or one that could not be had.
    let is_news = record.image.uri.as_ref() != Some(&wanted.image) || record.state == TemplateState::Failed;
    let changes = Changes {
        uri: is_news.then_some(wanted.image),
        spec: SpecChange::Merge(wanted.spec),
        ..Changes::default()
    };
    let (fleet, by) = (app.clone(), caller.clone());
    let changed =
        to_the_end(async move { templates::change(&fleet, &by, &record.id, changes).await }).await?;
    answer(&app, &caller, &changed).await
}

/// `DELETE /api/v1/templates/{id}`.
pub async fn delete(State(app): State<App>, Extension(caller): Extension<Caller>, name: Name) -> Answer {
    let record = find_own(&app, &caller, &name).await?;
    templates::delete(&app, &caller, &record.id).await?;
    Ok(data(StatusCode::OK, json!({ "message": "template deleted" })))
}

/// `POST /api/v1/templates/from-sandbox`, and nothing else that is posted there.
pub async fn from_sandbox(State(app): State<App>, name: Name, request: Request) -> Answer {
    if name.as_str() != FROM_SANDBOX {
        return Err(Error::MethodNotAllowed.into());
    }
    json_fields(&app, request).await?;
    Err(Refusal::NotYet(
        "templates cannot be made from sandboxes yet: this server takes no snapshots of their disks; \
         make one from an image",
    ))
}

/// The template that an id means to this caller: the team's own before one that all see.
async fn find(app: &App, caller: &Caller, name: &Name) -> Result<TemplateRecord, Refusal> {
    let meanings = name.meanings();
    for meaning in &meanings {
        if let Some(record) = templates::find(app, &caller.team, meaning).await? {
            return Ok(record);
        }
    }
    if meanings.iter().any(|meaning| meaning == builtin::ID)
        && let Some(record) = templates::find(app, &caller.team, builtin::TEMPLATE).await?
    {
        return Ok(record);
    }
    Err(unknown(name))
}

/// The same among those that are the team's to change.
async fn find_own(app: &App, caller: &Caller, name: &Name) -> Result<TemplateRecord, Refusal> {
    for meaning in name.meanings() {
        let found = templates::find(app, &caller.team, &meaning).await?;
        if let Some(record) = found.filter(|record| record.scope == Scope::Team) {
            return Ok(record);
        }
    }
    Err(unknown(name))
}

fn unknown(name: &Name) -> Refusal {
    Error::not_found("template", name.as_str()).into()
}

async fn answer(app: &App, caller: &Caller, record: &TemplateRecord) -> Answer {
    let active = templates::in_use(app, &caller.team).await?.remove(&record.id);
    Ok(data(StatusCode::OK, present(record, active.unwrap_or(0))))
}

fn present(record: &TemplateRecord, active: u64) -> Value {
    let mut shown = json!({
        "template_id": id(record),
        "scope": scope(record),
        "spec": if record.is_system() { builtin::spec() } else { spec::shown(record) },
        "status": status::of(record, active),
        "created_at": rfc3339(record.created_at_ms),
        "updated_at": rfc3339(record.updated_at_ms),
    });
    if let (Scope::Team, Some(team)) = (record.scope, &record.team) {
        shown["team_id"] = json!(team);
    }
    shown
}

fn id(record: &TemplateRecord) -> &str {
    if record.is_system() { builtin::ID } else { &record.name }
}

fn scope(record: &TemplateRecord) -> &'static str {
    match record.scope {
        Scope::System | Scope::Public => "public",
        Scope::Team => "team",
    }
}
