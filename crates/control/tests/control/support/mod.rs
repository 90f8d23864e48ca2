//! What the tests of control work with: a node that does as it is told, and a lab around it.

mod lab;
mod node;
mod routes;

pub use lab::{Answer, HeldClock, Lab, TEMPLATE};
pub use node::{Node, Say, image_of, resolved};
pub use routes::{Access, Route, routes};
