//! `/v1/snapshot`, `/v1/snapshots`, and what is made of sandboxes that run.

use axum::Json;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use wire::public::limits::{FORK_COUNT, SNAPSHOT_NAME_CHARS};
use wire::public::sandbox::Sandbox;
use wire::public::snapshot::{Forks, Snapshot, SnapshotList};
use wire::sandbox::{defaults, limits};

use super::App;
use super::body::json_fields;
use super::extract::{InSandbox, OfSnapshot};
use super::fields::Fields;
use super::patience::patiently;
use super::query::Query;
use super::sandboxes::{idempotency_key, network_policy, to_the_end};
use crate::error::Result;
use crate::snapshots::{self, ForkOrder, Order, Restore};
use crate::store::{Caller, SnapshotPage, SnapshotSort};

/// `POST /v1/sandbox/{id}/snapshot/create`: answers when it is durable.
pub async fn take(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let name = name(&mut fields, "name");
    let ends = fields.boolean("kill_sandbox_after").unwrap_or(false);
    fields.finish()?;
    let keep_alive = app.limits.keep_alive;
    let order = Order { name, ends };
    let take = to_the_end(async move { snapshots::take(&app, &caller.team, &id, order).await });
    patiently(StatusCode::CREATED, keep_alive, take).await
}

/// `POST /v1/snapshot/restore`: answers when the new sandbox runs.
pub async fn restore(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Json<Sandbox>)> {
    let mut fields = json_fields(&app, request).await?;
    let body = fields.canonical();
    let key = idempotency_key(&mut fields, &headers, &body);
    let wanted = name(&mut fields, "snapshot_name");
    if wanted.is_none() {
        fields.wrong("snapshot_name", "is required");
    }
    let order = Restore {
        name: wanted.unwrap_or_default(),
        timeout_seconds: timeout(&mut fields).unwrap_or(defaults::TIMEOUT_SECONDS),
        auto_pause: fields.boolean("auto_pause").unwrap_or(false),
        network_policy: network_policy(&mut fields),
    };
    fields.finish()?;
    let restore = async move { snapshots::restore(&app, &caller.team, order, key).await };
    Ok((StatusCode::CREATED, Json(to_the_end(restore).await?.sandbox)))
}

/// `POST /v1/sandbox/{id}/fork`: answers when all copies run.
pub async fn fork(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let order = ForkOrder {
        count: fields.integer("count", FORK_COUNT).unwrap_or(1),
        timeout_seconds: timeout(&mut fields),
        auto_pause: fields.boolean("auto_pause"),
    };
    fields.finish()?;
    let keep_alive = app.limits.keep_alive;
    let fork = to_the_end(async move {
        let items = snapshots::fork(&app, &caller.team, &id, order).await?;
        Ok(Forks { items })
    });
    patiently(StatusCode::CREATED, keep_alive, fork).await
}

/// `GET /v1/snapshots`.
pub async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<SnapshotList>> {
    let page = page(Query::parse(query.as_deref())?)?;
    snapshots::list(&app, &caller.team, &page).await.map(Json)
}

/// `GET /v1/snapshot/{id}`.
pub async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfSnapshot(id): OfSnapshot,
) -> Result<Json<Snapshot>> {
    snapshots::get(&app, &caller.team, &id).await.map(Json)
}

/// `DELETE /v1/snapshot/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    OfSnapshot(id): OfSnapshot,
) -> Result<impl IntoResponse> {
    to_the_end(async move { snapshots::delete(&app, &caller.team, &id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn timeout(fields: &mut Fields) -> Option<u32> {
    fields.integer("timeout", limits::TIMEOUT_SECONDS)
}

fn name(fields: &mut Fields, field: &str) -> Option<String> {
    let name = fields.string(field)?.trim().to_owned();
    let range = SNAPSHOT_NAME_CHARS;
    if !range.contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let wanted =
            format!("must be {} to {} characters, none of them a control", range.start(), range.end());
        fields.wrong(field, wanted);
    }
    Some(name)
}

fn page(mut query: Query) -> Result<SnapshotPage> {
    let chars_max = *SNAPSHOT_NAME_CHARS.end();
    let wanted = format!("{chars_max} characters at most");
    let text =
        query.read("query", &wanted, |text| (text.chars().count() <= chars_max).then(|| text.to_owned()));
    let by_template = query.read("sort", "created_at or template_id", |text| match text {
        "created_at" => Some(false),
        "template_id" => Some(true),
        _ => None,
    });
    let ascending = query.ascending();
    let paging = query.paging();
    query.finish()?;
    let sort = match (by_template.unwrap_or(false), ascending) {
        (false, true) => SnapshotSort::CreatedAsc,
        (false, false) => SnapshotSort::CreatedDesc,
        (true, true) => SnapshotSort::TemplateAsc,
        (true, false) => SnapshotSort::TemplateDesc,
    };
    Ok(SnapshotPage { query: text.unwrap_or_default(), sort, paging })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::store::Paging;

    fn wrong_fields<T>(result: Result<T>) -> Vec<String> {
        match result {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_list_query_names_everything_that_is_wrong() {
        let parse = |text: &str| page(Query::parse(Some(text)).unwrap());
        let paging = Paging { page: 2, page_size: 5 };
        let expect = SnapshotPage { query: "a".into(), sort: SnapshotSort::TemplateAsc, paging };
        assert_eq!(parse("query=a&sort=template_id&order-by=asc&page=2&page-size=5").unwrap(), expect);
        assert_eq!(parse("query=").unwrap().sort, SnapshotSort::CreatedDesc);
        let bad = format!("query={}&sort=state&order-by=up&page=0", "x".repeat(65));
        assert_eq!(wrong_fields(parse(&bad)), ["query", "sort", "order-by", "page"]);
    }

    #[test]
    fn a_name_is_bounded() {
        for (text, wrong) in [("x", false), (" x ", false), (" ", true), (r"a\u0007b", true)] {
            let mut fields = Fields::parse(format!(r#"{{"name": "{text}"}}"#).as_bytes()).unwrap();
            name(&mut fields, "name");
            assert_eq!(!wrong_fields(fields.finish()).is_empty(), wrong, "{text:?}");
        }
    }
}
