//! Parts of long lists.

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    pub page: u32,
    /// Items on a page.
    pub page_size: u32,
}

impl Paging {
    /// Rows that are wanted.
    pub fn limit(self) -> i64 {
        self.page_size.into()
    }

    /// Rows before them.
    pub fn offset(self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.page_size)
    }
}
