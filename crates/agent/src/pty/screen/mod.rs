//! What a terminal shows: kept so that whoever comes later sees it too.
//!
//! Programs write bytes; [`Screen::process`] does to rows, cursor and modes what a terminal
//! of the `xterm-256color` kind would, and [`Screen::redraw`] writes bytes that bring any such
//! terminal to the same state, with the alternate screen and the primary one behind it, the
//! region that scrolls, saved cursors, modes, title and what has scrolled off the top.
//!
//! The bytes are hostile. Nothing here fails or panics on any of them, and what they can make
//! it keep is bounded: by the size, by [`grid::SCROLLBACK_CELLS_MAX`], [`TITLE_BYTES_MAX`] and
//! [`unfinished::KEPT_BYTES_MAX`]. Sequences are taken apart by `vte`, in its form that allocates
//! nothing; what is not known is passed over, as terminals do.

mod cursor;
mod grid;
mod modes;
mod perform;
mod redraw;
mod row;
mod style;
#[cfg(test)]
mod tests;
mod unfinished;

use self::cursor::Cursor;
use self::grid::{Grid, Scrollback};
use self::modes::Modes;
use self::row::{Cell, Row};
use self::unfinished::Unfinished;

/// A window's title, in bytes; longer ones are not kept.
pub const TITLE_BYTES_MAX: usize = 1024;

/// Columns between two tab stops at first.
const TAB_COLUMNS: u16 = 8;

/// How large a screen is; neither is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Letters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// Letters it holds.
    pub fn cells(self) -> u32 {
        u32::from(self.columns) * u32::from(self.rows)
    }
}

/// What a terminal shows.
pub struct Screen {
    parser: vte::Parser<TITLE_BYTES_MAX>,
    state: State,
    unfinished: Unfinished,
    is_pristine: bool,
}

impl Screen {
    /// An empty one.
    pub fn new(size: Size) -> Self {
        Self {
            parser: vte::Parser::new_with_size(),
            state: State::new(size),
            unfinished: Unfinished::default(),
            is_pristine: true,
        }
    }

    /// Takes in what a program has written.
    pub fn process(&mut self, bytes: &[u8]) {
        self.is_pristine &= bytes.is_empty();
        for byte in bytes {
            self.state.has_acted = false;
            self.parser.advance(&mut self.state, std::slice::from_ref(byte));
            self.unfinished.follow(*byte, self.state.has_acted);
        }
    }

    /// Takes on another size.
    pub fn resize(&mut self, size: Size) {
        self.state.resize(size);
    }

    /// Bytes that bring a terminal of the same size to this state. None if nothing was ever written.
    pub fn redraw(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.is_pristine {
            redraw::write(&self.state, &mut out);
            out.extend_from_slice(self.unfinished.bytes());
        }
        out
    }
}

/// Everything but the sequence that is just being read.
struct State {
    size: Size,
    main: Grid,
    /// Programs that fill the screen have one of their own while they run.
    alternate: Option<Grid>,
    cursor: Cursor,
    modes: Modes,
    tabs: Vec<bool>,
    scrollback: Scrollback,
    title: String,
    /// The letter written just before, for `REP`.
    last: Option<char>,
    /// Whether the byte just read ended something.
    has_acted: bool,
}

impl State {
    fn new(size: Size) -> Self {
        Self {
            size,
            main: Grid::blank(size, Default::default()),
            alternate: None,
            cursor: Cursor::default(),
            modes: Modes::default(),
            tabs: default_tabs(size),
            scrollback: Scrollback::default(),
            title: String::new(),
            last: None,
            has_acted: false,
        }
    }

    /// The rows that are shown.
    fn grid(&mut self) -> &mut Grid {
        self.alternate.as_mut().unwrap_or(&mut self.main)
    }

    /// The row of the cursor.
    fn row(&mut self) -> &mut Row {
        let row = self.cursor.row;
        self.grid().row(row)
    }

    fn resize(&mut self, size: Size) {
        let (main_row, alternate_row) = match &self.alternate {
            Some(_) => (self.main.saved.row, self.cursor.row),
            None => (self.cursor.row, 0),
        };
        let lost = self.main.resize(self.size, size, main_row);
        let mut moved_up = lost.len();
        lost.into_iter().for_each(|row| self.scrollback.push(row));
        self.scrollback.resize(self.size.columns, size.columns);
        if let Some(alternate) = &mut self.alternate {
            moved_up = alternate.resize(self.size, size, alternate_row).len();
        }
        self.cursor.row = self.cursor.row.saturating_sub(moved_up as u16);
        self.cursor.confine(size);
        let known = self.tabs.len();
        self.tabs.extend(default_tabs(size).into_iter().skip(known));
        self.tabs.truncate(size.columns.into());
        self.size = size;
    }

    /// Writes one letter where the cursor is.
    fn letter(&mut self, letter: char) {
        let letter = self.cursor.charsets.translate(letter);
        match unicode_width::UnicodeWidthChar::width(letter) {
            None => {}
            Some(0) => self.mark(letter),
            Some(width) => self.wide_letter(letter, width as u16),
        }
    }

    fn mark(&mut self, mark: char) {
        let Cursor { column, wraps, .. } = self.cursor;
        if wraps || column > 0 {
            self.row().mark(if wraps { column } else { column - 1 }, mark);
        }
    }

    fn wide_letter(&mut self, letter: char, width: u16) {
        let columns = self.size.columns;
        if width > columns {
            return;
        }
        if self.cursor.wraps && self.modes.wraps() {
            self.cursor.column = 0;
            self.line_feed();
        } else if self.cursor.column + width > columns {
            if self.modes.wraps() {
                self.cursor.column = 0;
                self.line_feed();
            } else {
                self.cursor.column = columns - width;
            }
        }
        self.last = Some(letter);
        let Cursor { column, style, .. } = self.cursor;
        if self.modes.inserts {
            self.row().insert(column, width, columns, style);
        }
        self.row().put(column, Cell::letter(letter, width, style));
        self.cursor.wraps = column + width >= columns;
        self.cursor.column = (column + width).min(columns - 1);
    }

    /// Down by one; scrolls at the end of the region.
    fn line_feed(&mut self) {
        self.cursor.wraps = false;
        if self.cursor.row == self.grid().bottom {
            let top = self.grid().top;
            self.scroll_up(top, 1);
        } else if self.cursor.row + 1 < self.size.rows {
            self.cursor.row += 1;
        }
    }

    /// Up by one; scrolls at the top of the region.
    fn reverse_line_feed(&mut self) {
        self.cursor.wraps = false;
        let (row, top, style) = (self.cursor.row, self.grid().top, self.cursor.style);
        if row == top {
            self.grid().scroll_down(top, 1, style);
        } else {
            self.cursor.row = row.saturating_sub(1);
        }
    }

    /// Scrolls from a row of the region on. What leaves the top of the primary screen is kept.
    fn scroll_up(&mut self, from: u16, count: u16) {
        let style = self.cursor.style;
        match &mut self.alternate {
            Some(grid) => grid.scroll_up(from, count, style, drop),
            None if from == 0 => self.main.scroll_up(from, count, style, |row| self.scrollback.push(row)),
            None => self.main.scroll_up(from, count, style, drop),
        }
    }

    /// Moves the cursor; rows count from the region that scrolls, if that is how positions are told.
    fn go_to(&mut self, row: u16, column: u16) {
        let (first, last) = match self.cursor.origin {
            true => (self.grid().top, self.grid().bottom),
            false => (0, self.size.rows - 1),
        };
        self.cursor.row = row.saturating_add(first).min(last);
        self.go_to_column(column);
    }

    fn go_to_column(&mut self, column: u16) {
        self.cursor.column = column.min(self.size.columns - 1);
        self.cursor.wraps = false;
    }

    /// Moves the cursor up; not out of the region, if it is in it.
    fn up(&mut self, count: u16) {
        let top = self.grid().top;
        let first = if self.cursor.row >= top { top } else { 0 };
        self.cursor.row = self.cursor.row.saturating_sub(count).max(first);
        self.cursor.wraps = false;
    }

    /// Moves the cursor down; likewise.
    fn down(&mut self, count: u16) {
        let bottom = self.grid().bottom;
        let last = if self.cursor.row <= bottom { bottom } else { self.size.rows - 1 };
        self.cursor.row = self.cursor.row.saturating_add(count).min(last);
        self.cursor.wraps = false;
    }

    fn tab(&mut self, count: u16) {
        for _ in 0..count.min(self.size.columns) {
            let next = (self.cursor.column + 1..self.size.columns).find(|column| self.is_tab(*column));
            self.go_to_column(next.unwrap_or(u16::MAX));
        }
    }

    fn back_tab(&mut self, count: u16) {
        for _ in 0..count.min(self.size.columns) {
            let next = (0..self.cursor.column).rev().find(|column| self.is_tab(*column));
            self.go_to_column(next.unwrap_or(0));
        }
    }

    fn is_tab(&self, column: u16) -> bool {
        self.tabs.get(usize::from(column)).copied().unwrap_or(false)
    }

    /// `DECSC`.
    fn save(&mut self) {
        self.grid().saved = self.cursor;
    }

    /// `DECRC`.
    fn restore(&mut self) {
        self.cursor = self.grid().saved;
        self.keep_cursor_in_region();
    }

    fn keep_cursor_in_region(&mut self) {
        let (top, bottom) = (self.grid().top, self.grid().bottom);
        self.cursor.keep_in(top, bottom);
    }

    /// Shows the alternate screen, blank, or the primary one again.
    fn alternate(&mut self, on: bool) {
        if on && self.alternate.is_none() {
            self.alternate = Some(Grid::blank(self.size, self.cursor.style));
        } else if !on {
            self.alternate = None;
        }
        self.keep_cursor_in_region();
    }
}

fn default_tabs(size: Size) -> Vec<bool> {
    (0..size.columns).map(|column| column % TAB_COLUMNS == 0).collect()
}
