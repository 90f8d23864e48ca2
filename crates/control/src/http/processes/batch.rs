//! `POST …/process/batch`.

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::StatusCode;
use wire::public::process::{BATCH_COMMANDS_MAX, BatchRan};

use super::order::to_run;
use crate::error::Result;
use crate::http::App;
use crate::http::body::json_fields;
use crate::http::extract::InSandbox;
use crate::http::fields::Fields;
use crate::http::patience::patiently;
use crate::processes::{self, Batch};
use crate::store::Caller;

/// Runs several commands. All are checked before any is run; those under way die with the connection.
pub async fn batch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    InSandbox(id): InSandbox,
    request: Request,
) -> Result<Response> {
    let mut fields = json_fields(&app, request).await?;
    let batch = read(&mut fields);
    fields.finish()?;
    let keep_alive = app.limits.keep_alive;
    let run = async move {
        let items = processes::batch(&app, &caller.team, &id, &batch).await?;
        Ok(BatchRan { items })
    };
    patiently(StatusCode::OK, keep_alive, run).await
}

fn read(fields: &mut Fields) -> Batch {
    let commands = fields.objects("commands", 1..=BATCH_COMMANDS_MAX).unwrap_or_default();
    let orders = commands.into_iter().enumerate().map(|(index, mut command)| {
        let order = to_run(&mut command);
        fields.absorb(&format!("commands[{index}]"), command);
        order
    });
    Batch {
        orders: orders.collect(),
        parallel: fields.boolean("parallel").unwrap_or(false),
        stop_on_error: fields.boolean("stop_on_error").unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};

    fn check(body: Value, wrong: &[&str]) {
        let mut fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        read(&mut fields);
        let found = match fields.finish() {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        };
        assert_eq!(found, wrong, "{body}");
    }

    #[test]
    fn every_wrong_command_is_named_by_its_place() {
        let good = json!({"command": "true"});
        check(json!({"commands": [good]}), &[]);
        check(
            json!({"commands": [good, {}, {"argv": ["a"], "timeout": 0}]}),
            &["commands[1].command", "commands[2].timeout"],
        );
        check(json!({}), &["commands"]);
        check(json!({"commands": []}), &["commands"]);
        check(json!({"commands": good}), &["commands"]);
        check(json!({"commands": ["true"]}), &["commands"]);
        check(json!({"commands": vec![good.clone(); BATCH_COMMANDS_MAX + 1]}), &["commands"]);
        check(
            json!({"commands": [good], "parallel": "yes", "stop_on_error": 1}),
            &["parallel", "stop_on_error"],
        );
    }
}
