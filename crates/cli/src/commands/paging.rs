//! Which part of a long list is shown.

use clap::Args;

use super::sandbox::PAGE_SIZE;
use crate::client::Session;
use crate::output::note;

/// Which part of a long list is shown.
#[derive(Debug, Args)]
pub struct Paging {
    /// Which page.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
    /// How many on a page, up to 100.
    #[arg(long, default_value_t = PAGE_SIZE)]
    page_size: usize,
}

impl Paging {
    /// As the API wants it.
    pub fn query(&self) -> String {
        format!("page={}&page-size={}", self.page, self.page_size)
    }

    /// Says that there is more than these, to people.
    pub fn note_rest(&self, session: &Session, shown: usize, total: u64) {
        let seen = u64::from(self.page - 1) * self.page_size as u64 + shown as u64;
        if seen < total && !session.output.is_json() {
            note(&format!("… and {} more: --page {}", total - seen, self.page + 1));
        }
    }
}
