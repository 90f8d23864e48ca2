//! Where log lines go.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Logs to standard error: what `ATOLL_LOG` asks for, or warnings; JSON if `ATOLL_LOG_FORMAT` is `json`.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_env("ATOLL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    if std::env::var("ATOLL_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().init();
    } else {
        logs.init();
    }
}
