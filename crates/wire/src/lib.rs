//! Every word two of our processes say to each other.
//!
//! Pure data: this crate opens nothing, waits for nothing and reads no clock
//! ([`clock::Clock`] names one, and is implemented elsewhere).
//!
//! | module | who speaks |
//! | --- | --- |
//! | [`public`] | users and the API (`/v1`) |
//! | [`node`] | control and a node |
//! | [`guest`] | a node and the agent inside a sandbox |
//! | [`ingress`] | the ingress, control and a node |

pub mod causes;
pub mod changes;
pub mod clock;
pub mod guest;
pub mod id;
pub mod image;
pub mod ingress;
pub mod keyring;
pub mod node;
pub mod public;
pub mod sandbox;
pub mod snapshot;
pub mod token;
