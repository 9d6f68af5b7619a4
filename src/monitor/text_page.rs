//! A text of labels and tables, as the console and the log show it.

use std::fmt::{Display, Write};

pub(super) use Align::{Left, Right};

/// Columns of a label, as in Domino.
const LABEL: usize = 24;

/// Rows of a list that are shown; the others are counted.
const ROWS_MAX: usize = 1000;

/// The side of a column on which its cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

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

    /// Adds rows under headings, no more than [`ROWS_MAX`].
    pub(super) fn table<const N: usize>(
        &mut self,
        headings: [(&str, Align); N],
        rows: impl ExactSizeIterator<Item = [String; N]>,
    ) {
        let more = rows.len().saturating_sub(ROWS_MAX);
        self.0 += &table(headings, &rows.take(ROWS_MAX).collect::<Vec<_>>());
        if more > 0 {
            self.line(format_args!("  ... and {more} more"));
        }
    }
}

/// Rows below their headings, with two blanks before each column.
pub(super) fn table<const N: usize>(headings: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let heads = headings.map(|(heading, _)| heading.to_owned());
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = rows.iter().chain([&heads]).map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cell = |column: usize| match headings[column].1 {
            Left => format!("  {:<1$}", row[column], widths[column]),
            Right => format!("  {:>1$}", row[column], widths[column]),
        };
        let cells: String = (0..N).map(cell).collect();
        format!("{}\n", cells.trim_end())
    };
    [&heads].into_iter().chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |name: &str, count: &str| [name.to_owned(), count.to_owned()];
        let text = table([("Name", Left), ("Calls", Right)], &[row("a", "12"), row("longer", "3")]);
        assert_eq!(text, "  Name    Calls\n  a          12\n  longer      3\n");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let mut page = TextPage::default();
        page.table(
            [("Name", Left), ("N", Right)],
            (0..ROWS_MAX + 2).map(|n| ["x".to_owned(), n.to_string()]),
        );
        assert!(page.0.starts_with("  Name    N\n  x       0\n"), "{}", &page.0[..40]);
        assert!(page.0.ends_with("  x     999\n  ... and 2 more\n"));
    }
}
