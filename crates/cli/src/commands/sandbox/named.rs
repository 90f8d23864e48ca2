//! How people name a sandbox.

use anyhow::{Result, bail};
use clap::Args;
use wire::id::SandboxId;
use wire::public::sandbox::SandboxList;

use crate::client::Session;

/// Sandboxes on a page, as many as the API gives.
pub const PAGE_SIZE: usize = 100;
/// Pages looked at for one whose id begins so.
const PAGES_MAX: usize = 20;
/// Ids shown where several fit.
const SHOWN_MAX: usize = 5;

/// A sandbox.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The sandbox: its id, or as much of its beginning as fits no other.
    #[arg(value_name = "ID")]
    id: String,
}

impl Named {
    /// Its path in the API.
    ///
    /// # Errors
    /// When no sandbox or more than one fits.
    pub async fn path(&self, session: &Session) -> Result<String> {
        Ok(format!("/v1/sandbox/{}", resolve(session, &self.id).await?))
    }
}

/// The sandbox whose id this is or begins with. An id that is whole is taken as it is.
///
/// # Errors
/// When no sandbox or more than one fits.
pub async fn resolve(session: &Session, text: &str) -> Result<SandboxId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let mut fitting = Vec::new();
    for page in 1..=PAGES_MAX {
        let path = format!("/v1/sandboxes?page={page}&page-size={PAGE_SIZE}");
        let list: SandboxList = session.client.get(&path).await?;
        let is_last = list.items.len() < PAGE_SIZE;
        fitting.extend(list.items.into_iter().map(|item| item.id).filter(|id| begins(id, text)));
        if is_last {
            break;
        }
    }
    choose(text, fitting)
}

fn begins(id: &SandboxId, text: &str) -> bool {
    let suffix = text.strip_prefix(SandboxId::PREFIX).and_then(|rest| rest.strip_prefix('-')).unwrap_or(text);
    !suffix.is_empty() && id.as_str()[SandboxId::PREFIX.len() + 1..].starts_with(suffix)
}

fn choose(text: &str, mut fitting: Vec<SandboxId>) -> Result<SandboxId> {
    match fitting.len() {
        0 => bail!("no sandbox has an id that begins with `{text}`; `atoll sandbox ls` shows them"),
        1 => Ok(fitting.remove(0)),
        count => {
            let shown: Vec<_> = fitting.iter().take(SHOWN_MAX).map(SandboxId::as_str).collect();
            let more = if count > SHOWN_MAX { ", …" } else { "" };
            bail!("`{text}` fits {count} sandboxes: {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: u8) -> SandboxId {
        SandboxId::from_entropy([letter; wire::id::ENTROPY_BYTES])
    }

    #[test]
    fn an_id_may_be_shortened_with_or_without_what_all_have_in_common() {
        let a = id(0);
        assert!(begins(&a, "aaa") && begins(&a, "sbx-a"));
        for other in ["", "sbx-", "sbx", "b", "sbx-b", "sbx-aaaaaaaaaaaaaaaaaaaaa"] {
            assert!(!begins(&a, other), "{other:?}");
        }
    }

    #[test]
    fn what_fits_none_or_several_is_refused_with_their_names() {
        assert_eq!(choose("a", vec![id(0)]).unwrap(), id(0));
        assert!(choose("a", vec![]).unwrap_err().to_string().contains("begins with `a`"));
        let error = choose("", (0..7).map(id).collect()).unwrap_err().to_string();
        assert!(error.contains("fits 7 sandboxes: sbx-aaaa") && error.ends_with(", …"), "{error}");
    }
}
