//! Bytes that bring a terminal to a state, whatever state it is in.
//!
//! ```text
//! off the alternate screen, soft reset, clear
//! rows that scrolled off, then those of the primary screen     each with a line feed between: so the first scroll off
//! region, saved cursor, cursor of the primary screen
//! if it is shown: the alternate screen, the same way
//! tab stops, modes, title, the cursor
//! ```

use std::io::Write;

use super::cursor::{Charsets, Cursor};
use super::grid::Grid;
use super::row::Row;
use super::style::Style;
use super::{Size, State, default_tabs};

const RESET: &[u8] =
    b"\x1b[?1049l\x1b[!p\x1b[?7h\x1b[?6l\x1b[4l\x1b[20l\x1b[r\x1b(B\x1b)B\x0f\x1b[0m\x1b[H\x1b[2J";
/// Rows are drawn from the first on, with the letters that are meant, and nothing scrolls but all of them.
const ALTERNATE: &[u8] = b"\x1b[?1049h\x1b[?6l\x1b[r\x1b(B\x1b)B\x0f\x1b[0m\x1b[H\x1b[2J";
const CLEAR_SCROLLBACK: &[u8] = b"\x1b[3J";
const NEXT_ROW: &[u8] = b"\r\n";

/// Appends the bytes.
pub(super) fn write(state: &State, out: &mut Vec<u8>) {
    out.extend_from_slice(RESET);
    let scrolled = state.scrollback.rows();
    let scrolled_any = scrolled.len() > 0;
    if scrolled_any {
        out.extend_from_slice(CLEAR_SCROLLBACK);
    }
    for row in scrolled {
        write_row(row, state.size.columns, out);
        out.extend_from_slice(NEXT_ROW);
    }
    // Below the last row with something in it all is blank, but rows that scrolled off must be pushed off.
    let rows = if scrolled_any { &state.main.rows } else { drawn(&state.main) };
    write_rows(rows, state.size.columns, out);
    write_tabs(state, out);
    write_modes_of(&state.main, state.size, out);
    if let Some(alternate) = &state.alternate {
        // What is saved now is what comes back with the primary screen.
        write_cursor(&state.main.saved, &state.main, state.size, out);
        out.extend_from_slice(ALTERNATE);
        write_rows(drawn(alternate), state.size.columns, out);
        write_modes_of(alternate, state.size, out);
    }
    if !state.title.is_empty() {
        // Writing to memory cannot fail, here and below.
        let _ = write!(out, "\x1b]2;{}\x07", state.title);
    }
    let grid = state.alternate.as_ref().unwrap_or(&state.main);
    write_cursor(&state.cursor, grid, state.size, out);
    // Last: while rows are drawn, letters must not push others on.
    state.modes.write(out);
}

/// The region that scrolls, and the saved cursor.
fn write_modes_of(grid: &Grid, size: Size, out: &mut Vec<u8>) {
    let _ = write!(out, "\x1b[{};{}r", grid.top + 1, grid.bottom + 1);
    if grid.saved != Cursor::default() {
        write_cursor(&grid.saved, grid, size, out);
        out.extend_from_slice(b"\x1b7");
    }
}

/// The rows down to the last with something in it.
fn drawn(grid: &Grid) -> &[Row] {
    let is_drawn = |row: &Row| !row.written().is_empty() || row.rest() != Style::default();
    &grid.rows[..grid.rows.iter().rposition(is_drawn).map_or(0, |last| last + 1)]
}

fn write_rows(rows: &[Row], columns: u16, out: &mut Vec<u8>) {
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(NEXT_ROW);
        }
        write_row(row, columns, out);
    }
}

fn write_row(row: &Row, columns: u16, out: &mut Vec<u8>) {
    let mut style = Style::default();
    let written = row.written();
    for cell in written.iter().filter(|cell| !cell.is_right_half()) {
        if cell.style != style {
            style = cell.style;
            style.write(out);
        }
        cell.write(out);
    }
    if row.rest() != Style::default() && written.len() < columns.into() {
        style = row.rest();
        style.write(out);
        out.extend_from_slice(b"\x1b[K");
    }
    if style != Style::default() {
        Style::default().write(out);
    }
}

fn write_tabs(state: &State, out: &mut Vec<u8>) {
    if state.tabs == default_tabs(state.size) {
        return;
    }
    out.extend_from_slice(b"\x1b[3g");
    for column in (0..state.size.columns).filter(|column| state.is_tab(*column)) {
        let _ = write!(out, "\x1b[{}G\x1bH", column + 1);
    }
}

/// Position, look and letters. A letter that waits for its wrap is written once more, for nothing else makes it wait.
fn write_cursor(cursor: &Cursor, grid: &Grid, size: Size, out: &mut Vec<u8>) {
    let first = if cursor.origin { grid.top } else { 0 };
    let origin = if cursor.origin { 'h' } else { 'l' };
    out.extend_from_slice(b"\x1b(B\x1b)B\x0f");
    let _ = write!(out, "\x1b[?6{origin}");
    let at = |column: u16, out: &mut Vec<u8>| {
        let _ = write!(out, "\x1b[{};{}H", cursor.row.saturating_sub(first) + 1, column + 1);
    };
    if cursor.wraps {
        let row = &grid.rows[usize::from(cursor.row)];
        let last = size.columns - 1;
        let begin = if row.cell(last).is_right_half() { last - 1 } else { last };
        at(begin, out);
        row.cell(begin).style.write(out);
        row.cell(begin).write(out);
    } else {
        at(cursor.column, out);
    }
    cursor.style.write(out);
    write_charsets(cursor.charsets, out);
}

fn write_charsets(charsets: Charsets, out: &mut Vec<u8>) {
    for (draws_lines, name) in charsets.draws_lines.into_iter().zip(['(', ')']) {
        let _ = write!(out, "\x1b{name}{}", if draws_lines { '0' } else { 'B' });
    }
    out.push(if charsets.shifted { 0x0e } else { 0x0f });
}
