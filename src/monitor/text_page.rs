//! A text of labels and tables, as the console and the log show it.

use std::fmt::{Display, Write};

/// Columns of a label, as in Domino.
const LABEL: usize = 24;

/// Rows of a list that are shown; the others are counted.
const ROWS_MAX: usize = 1000;

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct TextPage(pub(super) String);

impl TextPage {
    /// Adds a line.
    pub(super) fn line(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        writeln!(self.0, "{line}").ok();
    }

    /// Adds a label in its columns, and its value.
    pub(super) fn label(&mut self, label: &str, value: impl Display) {
        writeln!(self.0, "{:LABEL$}{value}", format!("{label}:")).ok();
    }

    /// Adds a table, no more than [`ROWS_MAX`] of its rows.
    pub(super) fn table<T>(&mut self, table: &Table<'_, T>) {
        let (shown, more) = table.rows.split_at(table.rows.len().min(ROWS_MAX));
        self.0 += &table.lines(shown);
        if !more.is_empty() {
            self.line(format_args!("  ... and {} more", more.len()));
        }
    }
}

/// Rows below their headings, with two blanks before each column.
pub(super) struct Table<'a, T> {
    rows: &'a [T],
    columns: Vec<Column<'a, T>>,
}

struct Column<'a, T> {
    heading: &'a str,
    /// Its cells are on the left side of it, else on the right.
    is_left: bool,
    cell: Box<dyn Fn(&T) -> String + 'a>,
}

impl<'a, T> Table<'a, T> {
    pub(super) fn of(rows: &'a [T]) -> Table<'a, T> {
        Table { rows, columns: Vec::new() }
    }

    /// Adds a column whose cells are on the left side of it.
    pub(super) fn left(mut self, heading: &'a str, cell: impl Fn(&T) -> String + 'a) -> Table<'a, T> {
        self.columns.push(Column { heading, is_left: true, cell: Box::new(cell) });
        self
    }

    /// Adds a column whose cells are on the right side of it.
    pub(super) fn right(mut self, heading: &'a str, cell: impl Fn(&T) -> String + 'a) -> Table<'a, T> {
        self.columns.push(Column { heading, is_left: false, cell: Box::new(cell) });
        self
    }

    pub(super) fn text(&self) -> String {
        self.lines(self.rows)
    }

    fn lines(&self, rows: &[T]) -> String {
        let heads = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        let cells = rows.iter().map(|row| self.columns.iter().map(|column| (column.cell)(row)).collect());
        let lines: Vec<Vec<String>> = std::iter::once(heads).chain(cells).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |line: &Vec<String>| {
            let cell = |(index, column): (usize, &Column<'_, T>)| match column.is_left {
                true => format!("  {:<1$}", line[index], widths[index]),
                false => format!("  {:>1$}", line[index], widths[index]),
            };
            let cells: String = self.columns.iter().enumerate().map(cell).collect();
            format!("{}\n", cells.trim_end())
        };
        lines.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [("a", 12), ("longer", 3)];
        let table =
            Table::of(&rows).left("Name", |row| row.0.to_owned()).right("Calls", |row| row.1.to_string());
        let text = table.text();
        assert_eq!(text, "  Name    Calls\n  a          12\n  longer      3\n");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let mut page = TextPage::default();
        let rows: Vec<usize> = (0..ROWS_MAX + 2).collect();
        page.table(&Table::of(&rows).left("Name", |_| "x".to_owned()).right("N", usize::to_string));
        assert!(page.0.starts_with("  Name    N\n  x       0\n"), "{}", &page.0[..40]);
        assert!(page.0.ends_with("  x     999\n  ... and 2 more\n"));
    }
}
