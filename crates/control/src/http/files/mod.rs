//! `/v1/sandbox/{id}/filesystem`: one file for each kind of operation.

mod bundles;
mod calls;
mod edits;
mod transfer;
mod walks;
mod watch;

pub use bundles::{read_files, write_files};
pub use calls::{copy, delete, exists, mkdir, relocate, set_permissions, stat};
pub use edits::{edit_file, edit_files};
pub use transfer::{read_file, write_file};
pub use walks::{glob, grep, ls, tree};
pub use watch::watch;

use super::fields::Fields;

/// The largest permission bits: `7777`.
const MODE_MAX: u32 = 0o7777;
/// What octal permission bits look like, for people.
const MODE_WANTED: &str = "octal permission bits such as 644";

/// Octal permission bits.
fn octal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= MODE_MAX)
}

/// Octal permission bits in a field.
fn mode(fields: &mut Fields, name: &str) -> Option<u32> {
    let text = fields.string(name)?;
    let mode = octal(&text);
    if mode.is_none() {
        fields.wrong(name, format!("must be {MODE_WANTED}, not {text:?}"));
    }
    mode
}
