//! Aligned columns.

use crate::paint::{Paint, Tone};
use crate::text::{clean, cut_middle, left, right, width};

/// Which side of its column a cell is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Single cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(Tone::Normal, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(Tone::Normal, text)
    }
}

/// What is left of a column that was cut: enough to distinguish names.
const MIN_FITTED: usize = 8;

/// Rows of cells in aligned columns, two spaces apart. Widths are those of a terminal, not bytes.
#[derive(Debug, Clone)]
pub struct Table {
    header: Option<Vec<Cell>>,
    aligns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with a header line.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let (header, aligns) = columns
            .into_iter()
            .map(|(title, align)| (Cell::toned(Tone::Dim, title), align))
            .unzip();
        Self { header: Some(header), aligns, rows: Vec::new() }
    }

    /// A table of rows alone.
    pub fn without_header(aligns: impl IntoIterator<Item = Align>) -> Self {
        Self { header: None, aligns: aligns.into_iter().collect(), rows: Vec::new() }
    }

    /// Labels and their values, one pair a line.
    pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut table = Self::without_header([Align::Left, Align::Left]);
        for (label, value) in facts {
            table.row([Cell::toned(Tone::Dim, label), Cell::from(value)]);
        }
        table
    }

    /// Adds a row. Missing cells are empty.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Whether it has no rows.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Cuts the cells of one column so that the lines fit a width, as far as that column can give.
    pub fn fit(&mut self, width: usize, column: usize) -> &mut Self {
        let widths = self.widths();
        let Some(own) = widths.get(column) else { return self };
        let all = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let most = own.saturating_sub(all.saturating_sub(width)).max(MIN_FITTED);
        for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            cell.text = cut_middle(&cell.text, most);
        }
        self
    }

    /// Its lines, each without spaces at its end, the text ending with a line's end unless empty.
    pub fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in self.header.iter().chain(&self.rows) {
            let mut line = String::new();
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (index, cell) in
                row.iter().enumerate().take_while(|(i, _)| last.is_some_and(|l| *i <= l))
            {
                let align = self.aligns.get(index).copied().unwrap_or(Align::Left);
                let column = widths[index];
                // The colour goes around the text, not the spaces.
                let text = paint.tone(cell.tone, &cell.text);
                let missing = column.saturating_sub(width(&cell.text));
                line.push_str(&match align {
                    Align::Left if Some(index) == last => text,
                    Align::Left => text + &left("", missing),
                    Align::Right => right("", missing) + &text,
                });
                if Some(index) != last {
                    line.push_str("  ");
                }
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.aligns.len()];
        for row in self.header.iter().chain(&self.rows) {
            for (index, cell) in row.iter().enumerate() {
                if index >= widths.len() {
                    widths.push(0);
                }
                widths[index] = widths[index].max(width(&cell.text));
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table =
            Table::new([("NAME", Align::Left), ("SIZE", Align::Right), ("CHANNELS", Align::Left)]);
        table.row(["debian-12", "812.4 MiB", "dev, prod"]);
        table.row(["日本", "7 B", ""]);
        table.row(["bad\x1b[2J\nname"]);
        insta::assert_snapshot!(table.render(Paint::new(false)), @r"
        NAME            SIZE  CHANNELS
        debian-12  812.4 MiB  dev, prod
        日本             7 B
        bad name
        ");
    }

    #[test]
    fn one_column_gives_way() {
        for (room, expected) in [
            (80, "debian-12-bookworm-web  1.0 GiB\n"),
            (25, "debian-1…orm-web  1.0 GiB\n"),
            (3, "debi…web  1.0 GiB\n"),
        ] {
            let mut table = Table::without_header([Align::Left, Align::Right]);
            table.row(["debian-12-bookworm-web", "1.0 GiB"]);
            assert_eq!(table.fit(room, 0).render(Paint::new(false)), expected, "{room}");
        }
    }

    #[test]
    fn colour_changes_no_width() {
        let mut table = Table::without_header([Align::Left, Align::Right]);
        table.row([Cell::toned(Tone::Good, "ok"), Cell::toned(Tone::Dim, "1")]);
        table.row([Cell::from("long"), Cell::from("22")]);
        insta::assert_snapshot!(table.render(Paint::new(true)).replace('\x1b', "^"), @r"
        ^[32mok^[0m     ^[2m1^[0m
        long  22
        ");
        assert_eq!(Table::without_header([]).render(Paint::new(true)), "");
    }
}
