//! The real agent as a child process, spoken to over its socket.

mod confinement;
mod endings;
mod exec;
mod files;
mod greeting;
mod harness;
mod limits;
mod processes;
mod terminals;
