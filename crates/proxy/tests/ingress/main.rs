//! The ingress between real sockets: raw clients, and apps that are HTTP servers of their own or misbehave.

mod open;
mod plain;
mod refusals;
mod smuggling;
mod streaming;
mod support;
mod tls;
mod upgrades;
