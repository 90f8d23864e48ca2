//! Control against a scripted node: one story a test.

mod access;
mod contract;
mod converge;
mod coverage;
mod deadlines;
mod directories;
mod events;
mod files;
mod idempotency;
mod kept;
mod keys;
mod openapi;
mod presigned;
mod processes;
mod sandbox0;
mod support;
mod teams;
mod template_images;
mod template_secrets;
mod templates;
mod watches;
