//! Processes: started, fed, listened to, ended, reaped.

pub mod kill;
pub mod plan;
pub mod reaper;
pub mod spawner;

pub mod table;

mod attach;
mod call;
mod card;
mod exec;
mod input;
mod keep;
mod kept;
mod output;
mod parting;
mod ring;
mod script;
mod spawn;

pub use call::call;
pub use exec::{START_SECONDS_MAX, exec, exec_end};
pub use keep::{begin, keep_for_nobody};
pub use kept::Kept;
pub use parting::Parting;
