//! Text in lines of at most 80 columns: tables, and what does not fit into them.

/// What a line may have.
pub(super) const WIDTH: usize = 80;

/// A text on one line, cut at its end where it is too long.
pub(super) fn fit(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A text cut at its beginning where it is too long.
pub(super) fn fit_end(text: &str, width: usize) -> String {
    let long = text.chars().count();
    if long <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(long + 1 - width.max(1));
    std::iter::once('…').chain(kept).collect()
}

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows as lines, each column as wide as its widest cell and two spaces from the next one. What
/// has no `Align` stands left.
pub(super) fn columns(rows: &[Vec<String>], aligns: &[Align]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match aligns.get(column) {
            Some(Align::Right) => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits() {
        assert_eq!(fit("wc a\n  > b", 10), "wc a > b");
        assert_eq!(fit("0123456789", 10), "0123456789");
        assert_eq!(fit("0123 56789", 6), "0123…");
        assert_eq!(fit("äöüß", 3), "äö…");
        assert_eq!(fit("", 3), "");
        assert_eq!(fit_end("0123456789", 4), "…789");
        assert_eq!(fit_end("0123", 4), "0123");
        assert_eq!(fit_end("0123", 0), "…");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
        let rows = [row(&["a", "10", ""]), row(&["bcä", "5", "x"]), row(&["d"])];
        assert_eq!(
            columns(&rows, &[Align::Left, Align::Right]),
            "a    10\nbcä   5  x\nd\n"
        );
        assert_eq!(columns(&[], &[]), "");
    }
}
