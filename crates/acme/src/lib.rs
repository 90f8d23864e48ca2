//! A certificate of an authority that speaks ACME (RFC 8555), for a domain and every name right below it, kept fresh.
//!
//! Whose the domain is, is proven by records in the DNS (RFC 8555, 8.4), which are there for as long as the authority
//! looks, and no longer. All of it goes on in a process of its own, for it reads what others send.
//!
//! ```text
//! D/                    the directory it is given, its own, 0700
//!   account.json        who it is to the authority: a key, 0600
//!   certificate.pem     the certificate's key and its chain, 0600, replaced as a whole
//!   orders.json         when it asked for certificates lately
//!   presented.json      the records it has put into the DNS and not taken out yet
//! ```

mod account;
mod config;
mod dns;
mod files;
mod https;
mod journal;
mod keeper;
mod kept;
mod order;
mod records;
mod schedule;
mod trouble;
mod validity;

pub use config::{Config, Dns, Secret, Update};
pub use keeper::Keeper;
pub use kept::{CERTIFICATE_FILE, Kept};
pub use trouble::Trouble;
pub use validity::Validity;
