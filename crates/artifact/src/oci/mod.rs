//! Images of others: what registries say, and how they are spoken to.
//!
//! Everything here comes from strangers. It is bounded before it is read, and believed only when its digest is the one
//! that was asked for.
//!
//! | module | what |
//! | --- | --- |
//! | [`settings`] | what the operator allows |
//! | [`address`] | which addresses are the operator's own network |
//! | [`http`] | requests: every connection and redirect by the operator's rules |
//! | [`auth`] | credentials → a registry's token |
//! | [`registry`] | manifests and blobs of one repository |
//! | [`manifest`], [`config`], [`platform`] | what they say |

pub mod address;
pub mod settings;

pub(crate) mod auth;
pub(crate) mod config;
pub(crate) mod failure;
pub(crate) mod http;
pub(crate) mod manifest;
pub(crate) mod platform;
pub(crate) mod registry;

pub use settings::Settings;
