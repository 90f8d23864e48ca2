//! The rows of one screen, and the region of them that scrolls.

use std::collections::VecDeque;

use super::Size;
use super::cursor::Cursor;
use super::row::Row;
use super::style::Style;

/// Rows kept of what has scrolled off the top.
pub const SCROLLBACK_ROWS_MAX: usize = 1000;
/// Cells kept of it; the oldest rows are forgotten first.
pub const SCROLLBACK_CELLS_MAX: usize = 40_000;

/// The rows of one screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// As many as the screen has.
    pub rows: Vec<Row>,
    /// The first row that scrolls.
    pub top: u16,
    /// The last one.
    pub bottom: u16,
    /// What `DECSC` keeps.
    pub saved: Cursor,
}

impl Grid {
    /// Nothing but blanks.
    pub fn blank(size: Size, style: Style) -> Self {
        let rows = vec![Row::blank(style); size.rows.into()];
        Self { rows, top: 0, bottom: size.rows - 1, saved: Cursor::default() }
    }

    /// The row, which exists.
    pub fn row(&mut self, row: u16) -> &mut Row {
        &mut self.rows[usize::from(row)]
    }

    /// Moves rows `from` to the end of the region up by `count`; those moved out are given to `lost`.
    pub fn scroll_up(&mut self, from: u16, count: u16, style: Style, mut lost: impl FnMut(Row)) {
        let region = &mut self.rows[from.into()..=self.bottom.into()];
        let count = usize::from(count).min(region.len());
        region.rotate_left(count);
        let kept = region.len() - count;
        for row in &mut region[kept..] {
            lost(std::mem::replace(row, Row::blank(style)));
        }
    }

    /// Moves rows `from` to the end of the region down by `count`.
    pub fn scroll_down(&mut self, from: u16, count: u16, style: Style) {
        let region = &mut self.rows[from.into()..=self.bottom.into()];
        let count = usize::from(count).min(region.len());
        region.rotate_right(count);
        region[..count].fill(Row::blank(style));
    }

    /// Blanks whole rows, from one up to, and without, another.
    pub fn clear(&mut self, from: u16, to: u16, style: Style) {
        self.rows[from.min(to).into()..to.into()].fill(Row::blank(style));
    }

    /// Sets the region that scrolls.
    pub fn set_region(&mut self, top: u16, bottom: u16) {
        (self.top, self.bottom) = (top, bottom);
        self.saved.keep_in(top, bottom);
    }

    /// Takes on another size. Rows leave at the top only as far as the cursor, in row `cursor_row`, needs it; returns
    /// those.
    pub fn resize(&mut self, from: Size, to: Size, cursor_row: u16) -> Vec<Row> {
        let leaving = (cursor_row + 1).saturating_sub(to.rows);
        let lost = self.rows.drain(..usize::from(leaving)).collect();
        self.rows.resize(to.rows.into(), Row::default());
        self.rows.iter_mut().for_each(|row| row.resize(from.columns, to.columns));
        self.set_region(0, to.rows - 1);
        self.saved.row = self.saved.row.saturating_sub(leaving);
        self.saved.confine(to);
        lost
    }
}

/// Rows that have scrolled off the top, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrollback {
    rows: VecDeque<Row>,
    cells: usize,
}

impl Scrollback {
    /// Keeps one more; forgets the oldest if that is too much.
    pub fn push(&mut self, mut row: Row) {
        row.settle();
        self.cells += row.kept();
        self.rows.push_back(row);
        self.forget_old();
    }

    fn forget_old(&mut self) {
        while self.rows.len() > SCROLLBACK_ROWS_MAX || self.cells > SCROLLBACK_CELLS_MAX {
            self.cells -= self.rows.pop_front().map_or(0, |row| row.kept());
        }
    }

    /// Takes on another width.
    pub fn resize(&mut self, from: u16, to: u16) {
        self.rows.iter_mut().for_each(|row| row.resize(from, to));
        self.cells = self.rows.iter().map(Row::kept).sum();
        self.forget_old();
    }

    /// All of them.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
