//! One row of a screen, kept only as far as something was written.

use super::style::Style;

/// Marks (accents, joiners) kept with one letter.
const MARKS_MAX: usize = 2;
/// No mark.
const NONE: char = '\0';

/// One place of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    letter: char,
    marks: [char; MARKS_MAX],
    /// How it looks.
    pub style: Style,
    /// Columns: 1 or 2; 0 for the right half of the letter before.
    width: u8,
}

impl Cell {
    /// A letter of one or two columns.
    pub fn letter(letter: char, width: u16, style: Style) -> Self {
        Self { letter, marks: [NONE; MARKS_MAX], style, width: width as u8 }
    }

    /// Nothing, on the background of `style`.
    pub fn blank(style: Style) -> Self {
        Self::letter(' ', 1, style.blank())
    }

    /// Whether this is the right half of the letter before.
    pub fn is_right_half(&self) -> bool {
        self.width == 0
    }

    /// Appends the letter and its marks.
    pub fn write(&self, out: &mut Vec<u8>) {
        let marks = self.marks.iter().filter(|mark| **mark != NONE);
        for letter in std::iter::once(&self.letter).chain(marks) {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// One row. What lies beyond `cells` is blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    cells: Vec<Cell>,
    rest: Style,
}

impl Row {
    /// A row with nothing in it.
    pub fn blank(style: Style) -> Self {
        Self { cells: Vec::new(), rest: style.blank() }
    }

    /// What was written, up to the last place that differs from what lies beyond.
    pub fn written(&self) -> &[Cell] {
        let beyond = Cell::blank(self.rest);
        let length = self.cells.iter().rposition(|cell| *cell != beyond).map_or(0, |last| last + 1);
        &self.cells[..length]
    }

    /// How what lies beyond looks.
    pub fn rest(&self) -> Style {
        self.rest
    }

    /// The place at `column`, which may lie beyond.
    pub fn cell(&self, column: u16) -> Cell {
        self.cells.get(usize::from(column)).copied().unwrap_or_else(|| Cell::blank(self.rest))
    }

    /// Cells this row keeps in memory.
    pub fn kept(&self) -> usize {
        self.cells.len()
    }

    /// Keeps no more than it must.
    pub fn settle(&mut self) {
        self.cells.truncate(self.written().len());
        self.cells.shrink_to_fit();
    }

    /// Puts a letter of one or two columns, which fits.
    pub fn put(&mut self, column: u16, cell: Cell) {
        let (start, end) = (usize::from(column), usize::from(column) + usize::from(cell.width));
        self.split(start);
        self.split(end);
        self.pad(end);
        self.cells[start] = cell;
        for right_half in &mut self.cells[start + 1..end] {
            *right_half = Cell { width: 0, ..cell };
        }
    }

    /// Adds a mark to the letter that ends at `column`. One too many is dropped.
    pub fn mark(&mut self, column: u16, mark: char) {
        let mut index = usize::from(column);
        if self.cells.get(index).is_some_and(Cell::is_right_half) {
            index = index.saturating_sub(1);
        }
        self.pad(index + 1);
        if let Some(free) = self.cells[index].marks.iter_mut().find(|mark| **mark == NONE) {
            *free = mark;
        }
    }

    /// Blanks what lies from one column up to, and without, another.
    pub fn erase(&mut self, from: u16, to: u16, columns: u16, style: Style) {
        let (from, to) = (usize::from(from.min(to)), usize::from(to));
        self.split(from);
        self.split(to);
        if to < usize::from(columns) {
            self.pad(to);
            self.cells[from..to].fill(Cell::blank(style));
        } else {
            if self.rest != style.blank() {
                self.pad(from);
            }
            self.cells.truncate(from);
            self.rest = style.blank();
        }
    }

    /// Makes room for `count` places at `column`; what is pushed over the edge is lost.
    pub fn insert(&mut self, column: u16, count: u16, columns: u16, style: Style) {
        let (column, columns) = (usize::from(column), usize::from(columns));
        let count = usize::from(count).min(columns.saturating_sub(column));
        self.split(column);
        self.pad(columns);
        self.split(columns - count);
        self.cells.truncate(columns - count);
        self.cells.splice(column..column, std::iter::repeat_n(Cell::blank(style), count));
    }

    /// Takes `count` places out at `column`; what follows moves up.
    pub fn delete(&mut self, column: u16, count: u16, columns: u16, style: Style) {
        let (column, columns) = (usize::from(column), usize::from(columns));
        let end = column + usize::from(count).min(columns.saturating_sub(column));
        self.split(column);
        self.split(end);
        self.pad(columns);
        self.cells.drain(column..end);
        self.cells.resize(columns, Cell::blank(style));
    }

    /// Takes on another width: what does not fit is cut off, what is new is blank.
    pub fn resize(&mut self, from: u16, to: u16) {
        if self.rest != Style::default() {
            self.pad(from.into());
            self.rest = Style::default();
        }
        self.split(to.into());
        self.cells.truncate(to.into());
    }

    /// Makes sure that no letter stands on both sides of where `column` begins: one that does is blanked.
    fn split(&mut self, column: usize) {
        if column > 0 && self.cells.get(column).is_some_and(Cell::is_right_half) {
            for half in [column - 1, column] {
                self.cells[half] = Cell::blank(self.cells[half].style);
            }
        }
    }

    fn pad(&mut self, columns: usize) {
        if self.cells.len() < columns {
            self.cells.resize(columns, Cell::blank(self.rest));
        }
    }
}
