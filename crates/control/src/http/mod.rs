//! The public API over HTTP. Handlers read a request, call one application function, and answer.

mod auth;
mod body;
mod dialect;
mod docs;
mod events;
mod extract;
mod fields;
mod files;
mod health;
mod ingress;
mod keys;
mod observe;
mod operator;
mod patience;
mod presigned;
mod processes;
mod ptys;
mod public_ports;
mod query;
mod respond;
mod resume;
mod router;
mod sandboxes;
mod serve;
mod snapshots;
mod sse;
mod teams;
mod template_fields;
mod templates;

pub use fields::path_error;
pub use ingress::serve as serve_ingress;
pub use respond::error_body;
pub use router::router;
pub use serve::serve;

/// What handlers are given.
pub type App = std::sync::Arc<crate::fleet::Fleet>;
