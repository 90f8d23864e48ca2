//! The real agent as a child process, spoken to over its socket.

mod boot;
mod bundles;
mod confinement;
mod dialling;
mod endings;
mod exec;
mod files;
mod greeting;
mod harness;
mod limits;
mod operations;
mod partings;
mod processes;
mod renewals;
mod terminals;
mod walks;
mod watches;
