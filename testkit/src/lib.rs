//! What tests stand on: a whole fleet in one process, a clock they set, and
//! faults they ask for.

pub mod bins;
pub mod clock;
pub mod cloud;
pub mod host;
pub mod http;
pub mod images;
pub mod ingress;
pub mod kept;
pub mod lab;
pub mod machines;
pub mod registry;
pub mod s3;
pub mod server;
pub mod socket;
pub mod tcg;
pub mod web;
