//! What sequences do (ECMA-48, and xterm's control sequences).

use vte::{Params, Perform};

use super::cursor::Charsets;
use super::grid::Grid;
use super::row::Cell;
use super::{State, TITLE_BYTES_MAX};

impl Perform for State {
    fn print(&mut self, letter: char) {
        self.has_acted = true;
        self.letter(letter);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            0x08 => self.go_to_column(self.cursor.column.saturating_sub(1)),
            b'\t' => self.tab(1),
            b'\n' | 0x0b | 0x0c => {
                self.line_feed();
                if self.modes.line_feed_returns {
                    self.go_to_column(0);
                }
            }
            b'\r' => self.go_to_column(0),
            0x0e => self.cursor.charsets.shifted = true,
            0x0f => self.cursor.charsets.shifted = false,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        self.has_acted = true;
        self.last = None;
        match (intermediates, byte) {
            _ if ignore => {}
            ([], b'7') => self.save(),
            ([], b'8') => self.restore(),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.line_feed();
                self.go_to_column(0);
            }
            ([], b'H') => self.set_tab(true),
            ([], b'M') => self.reverse_line_feed(),
            ([], b'=') => self.modes.keypad = true,
            ([], b'>') => self.modes.keypad = false,
            ([], b'c') => *self = State { has_acted: true, ..State::new(self.size) },
            (b"#", b'8') => self.fill(),
            (b"(", set) => self.cursor.charsets.draws_lines[0] = set == b'0',
            (b")", set) => self.cursor.charsets.draws_lines[1] = set == b'0',
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        self.has_acted = true;
        self.last = self.last.filter(|_| action == 'b');
        match intermediates {
            _ if ignore => {}
            [] => self.csi(params, action),
            b"?" => match action {
                'h' => self.set_private_modes(params, true),
                'l' => self.set_private_modes(params, false),
                'J' => self.erase_display(params),
                'K' => self.erase_line(params),
                _ => {}
            },
            b" " if action == 'q' => self.modes.set_shape(number(params, 0, 0)),
            b"!" if action == 'p' => self.soft_reset(),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        self.has_acted = true;
        if let [b"0" | b"2", parts @ ..] = params {
            // A title may have semicolons in it.
            let title = String::from_utf8(parts.join(&b';')).unwrap_or_default();
            if title.len() < TITLE_BYTES_MAX && !title.contains(char::is_control) {
                self.title = title;
            }
        }
    }

    fn unhook(&mut self) {
        self.has_acted = true;
    }
}

/// The parameter at `index`; `default` where it is missing or 0.
fn number(params: &Params, index: usize, default: u16) -> u16 {
    let given = params.iter().nth(index).and_then(|param| param.first().copied()).unwrap_or(0);
    if given == 0 { default } else { given }
}

impl State {
    fn csi(&mut self, params: &Params, action: char) {
        let count = number(params, 0, 1);
        let (columns, style) = (self.size.columns, self.cursor.style);
        let column = self.cursor.column;
        match action {
            '@' => self.row().insert(column, count, columns, style),
            'A' => self.up(count),
            'B' | 'e' => self.down(count),
            'C' | 'a' => self.go_to_column(column.saturating_add(count)),
            'D' => self.go_to_column(column.saturating_sub(count)),
            'E' => {
                self.down(count);
                self.go_to_column(0);
            }
            'F' => {
                self.up(count);
                self.go_to_column(0);
            }
            'G' | '`' => self.go_to_column(count - 1),
            'H' | 'f' => self.go_to(count - 1, number(params, 1, 1) - 1),
            'I' => self.tab(count),
            'J' => self.erase_display(params),
            'K' => self.erase_line(params),
            'L' => self.insert_rows(count),
            'M' => self.delete_rows(count),
            'P' => self.row().delete(column, count, columns, style),
            'S' => {
                let top = self.grid().top;
                self.scroll_up(top, count);
            }
            'T' => {
                let top = self.grid().top;
                self.grid().scroll_down(top, count, style);
            }
            'X' => self.row().erase(column, column.saturating_add(count).min(columns), columns, style),
            'Z' => self.back_tab(count),
            'b' => self.repeat(count),
            'd' => self.go_to(count - 1, column),
            'g' => self.clear_tabs(number(params, 0, 0)),
            'h' => params.iter().for_each(|mode| self.modes.set_ansi(mode[0], true)),
            'l' => params.iter().for_each(|mode| self.modes.set_ansi(mode[0], false)),
            'm' => self.cursor.style.apply(params),
            'r' => self.set_region(count, number(params, 1, self.size.rows)),
            's' => self.save(),
            'u' => self.restore(),
            _ => {}
        }
    }

    fn set_region(&mut self, first: u16, last: u16) {
        let last = last.min(self.size.rows);
        if first < last {
            self.grid().set_region(first - 1, last - 1);
            self.go_to(0, 0);
        }
    }

    fn set_private_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter().filter_map(|param| param.first()) {
            match mode {
                6 => {
                    self.cursor.origin = on;
                    self.go_to(0, 0);
                }
                47 | 1047 => self.alternate(on),
                1048 if on => self.save(),
                1048 => self.restore(),
                1049 if on => {
                    self.main.saved = self.cursor;
                    self.alternate = None;
                    self.alternate(true);
                }
                1049 => {
                    self.alternate(false);
                    self.restore();
                }
                mode => self.modes.set_private(*mode, on),
            }
        }
    }

    fn erase_display(&mut self, params: &Params) {
        let (row, rows, style) = (self.cursor.row, self.size.rows, self.cursor.style);
        match number(params, 0, 0) {
            0 => {
                self.erase_line(params);
                self.grid().clear(row + 1, rows, style);
            }
            1 => {
                self.erase_line(params);
                self.grid().clear(0, row, style);
            }
            2 => self.grid().clear(0, rows, style),
            3 => self.scrollback.clear(),
            _ => {}
        }
    }

    fn erase_line(&mut self, params: &Params) {
        let (column, columns, style) = (self.cursor.column, self.size.columns, self.cursor.style);
        match number(params, 0, 0) {
            0 => self.row().erase(column, columns, columns, style),
            1 => self.row().erase(0, column + 1, columns, style),
            2 => self.row().erase(0, columns, columns, style),
            _ => {}
        }
    }

    fn is_in_region(&mut self) -> bool {
        let (top, bottom) = (self.grid().top, self.grid().bottom);
        (top..=bottom).contains(&self.cursor.row)
    }

    fn insert_rows(&mut self, count: u16) {
        if self.is_in_region() {
            let (row, style) = (self.cursor.row, self.cursor.style);
            self.grid().scroll_down(row, count, style);
            self.go_to_column(0);
        }
    }

    fn delete_rows(&mut self, count: u16) {
        if self.is_in_region() {
            let (row, style) = (self.cursor.row, self.cursor.style);
            self.grid().scroll_up(row, count, style, drop);
            self.go_to_column(0);
        }
    }

    /// Not more often than makes a difference to see.
    fn repeat(&mut self, count: u16) {
        if let Some(last) = self.last {
            for _ in 0..count.min(self.size.columns) {
                self.letter(last);
            }
        }
    }

    fn set_tab(&mut self, is_set: bool) {
        if let Some(tab) = self.tabs.get_mut(usize::from(self.cursor.column)) {
            *tab = is_set;
        }
    }

    fn clear_tabs(&mut self, which: u16) {
        match which {
            0 => self.set_tab(false),
            3 => self.tabs.fill(false),
            _ => {}
        }
    }

    /// `DECALN`: fills the screen with `E`.
    fn fill(&mut self) {
        let size = self.size;
        *self.grid() = Grid { saved: self.grid().saved, ..Grid::blank(size, Default::default()) };
        for row in &mut self.grid().rows {
            (0..size.columns).for_each(|column| row.put(column, Cell::letter('E', 1, Default::default())));
        }
        self.cursor.origin = false;
        self.go_to(0, 0);
    }

    /// `DECSTR`: what programs may have set, and nothing that is seen.
    fn soft_reset(&mut self) {
        self.modes = Default::default();
        self.cursor.origin = false;
        self.cursor.style = Default::default();
        self.cursor.charsets = Charsets::default();
        let rows = self.size.rows;
        self.grid().set_region(0, rows - 1);
        self.grid().saved = Default::default();
    }
}
