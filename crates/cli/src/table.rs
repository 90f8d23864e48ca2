//! Aligned columns for people.

use std::fmt;

use crate::output::printable;

/// Blanks between columns.
const GAP: &str = "   ";

/// Rows of cells, aligned.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// What is known of one thing: a name and a value a row, without headings.
    pub fn facts() -> Self {
        Self::default()
    }

    /// One more row. What a cell says is made harmless, and stays on its line.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell).replace('\n', "\\n")).to_vec());
    }

    /// One more fact.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        self.row([name.to_owned(), value.to_string()]);
    }

    /// One more fact, if it is one.
    pub fn fact_if(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.fact(name, value);
        }
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}{GAP}"));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_lines_end_where_words_do() {
        let mut table = Table::new(["ID", "STATE"]);
        table.row(["sbx-ä".into(), "running".into()]);
        table.row(["x".into(), String::new()]);
        assert_eq!(table.to_string(), "ID      STATE\nsbx-ä   running\nx\n");
    }

    #[test]
    fn a_cell_cannot_leave_its_line() {
        let mut table = Table::facts();
        table.fact("name", "a\nb\u{1b}[0m");
        assert_eq!(table.to_string(), "name   a\\nb\\u{1b}[0m\n");
    }
}
