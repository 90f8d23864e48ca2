//! One program in a sandbox, with its output and its end as if it ran here.

mod feed;
mod interactive;
mod listen;
mod order;
mod terminal;

use std::process::ExitCode;

use anyhow::Result;
use http::Method;
use wire::public::process::{Execute, Executed};

use crate::client::Session;
use crate::interrupts::Interrupts;
use crate::output::Object;

pub use feed::{Fed, feed};
pub use listen::{listen, show};
pub use order::{Given, Program, variable};
pub use terminal::attend;

/// What a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing but its end.
    None,
    /// Our standard input.
    Ours,
}

/// Runs a program in a sandbox; the exit code is its own. A signal to us ends it.
///
/// # Errors
/// When it cannot be started, or it is not known how it ended.
pub async fn run(session: &Session, sandbox: &str, order: Execute, input: Input) -> Result<ExitCode> {
    let base = format!("/v1/sandbox/{sandbox}/process");
    let mut interrupts = Interrupts::new()?;
    if input == Input::Ours {
        return interactive::run(session, &base, order, &mut interrupts).await.map(ExitCode::from);
    }
    tokio::select! {
        code = carry_out(session, &base, &order) => code.map(ExitCode::from),
        code = interrupts.next() => Ok(ExitCode::from(code)),
    }
}

async fn carry_out(session: &Session, base: &str, order: &Execute) -> Result<u8> {
    if session.output.is_json() {
        let executed: Object<Executed> =
            session.client.json(Method::POST, &format!("{base}/execute"), order).await?;
        session.output.show(&executed, |_| String::new())?;
        return Ok(listen::code(executed.it.exit_code));
    }
    listen(&mut session.client.events(Method::POST, &format!("{base}/stream"), order).await?).await
}
