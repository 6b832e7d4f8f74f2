//! Fits a table into a width: first columns take their short form, then the least important ones are
//! left out, and lists and names are cut.

use anstyle::Style;

use crate::failure::printable;
use crate::top::line::StyledLine;

/// Space between two columns.
const GAP: &str = "  ";

/// Lists and names are cut to this number of characters before columns take a shorter form.
const ROOMY: usize = 24;

/// Lists and names are cut to this number of characters before columns are left out.
const TIGHT: usize = 12;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    /// The name in the short form.
    short: &'static str,
    kind: ColumnKind,
    /// The column of the highest rank is left out first; one without a rank stays.
    rank: Option<u8>,
}

/// Contents of a column, which decide its alignment and how it is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// Aligned to the right; the space before a unit may be left out.
    Number,
    /// A bar of this number of characters, then a number.
    Bar(usize),
    /// A word that is never cut.
    Word,
    /// A name that may be cut.
    Name,
    /// Names with commas between them; `+2` may stand for the last two.
    List,
}

impl Column {
    pub(super) const fn new(name: &'static str, short: &'static str, kind: ColumnKind) -> Self {
        Self {
            name,
            short,
            kind,
            rank: None,
        }
    }

    /// Allows the column to be left out, after those of higher ranks.
    pub(super) const fn rank(mut self, rank: u8) -> Self {
        self.rank = Some(rank);
        self
    }

    fn head(&self, detail: ColumnDetail) -> &'static str {
        match detail {
            ColumnDetail::Short => self.short,
            _ => self.name,
        }
    }

    fn write(&self, cell: &str, detail: ColumnDetail) -> String {
        match (self.kind, detail) {
            (ColumnKind::Bar(_), ColumnDetail::Full) => cell.to_owned(),
            (ColumnKind::Bar(bar), _) => {
                let number: String = cell.chars().skip(bar).collect();
                Self {
                    kind: ColumnKind::Number,
                    ..*self
                }
                .write(number.trim(), detail)
            }
            // `912M` for `912 MB`.
            (ColumnKind::Number, ColumnDetail::Short) => {
                let cell = cell.replace(' ', "");
                cell.strip_suffix('B').unwrap_or(&cell).to_owned()
            }
            _ => cell.to_owned(),
        }
    }

    fn is_right(&self, detail: ColumnDetail) -> bool {
        match self.kind {
            ColumnKind::Number => true,
            ColumnKind::Bar(_) => detail != ColumnDetail::Full,
            _ => false,
        }
    }
}

/// How much the columns show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnDetail {
    Full,
    WithoutBars,
    Short,
}

/// The cells of a row, of which the last ones may be missing, and its style.
pub(super) type TableRow = (Vec<String>, Style);

/// A table that fits into its width.
#[derive(Debug)]
pub(super) struct FittedTable {
    pub(super) lines: Vec<StyledLine>,
    /// Names of the columns that were left out.
    pub(super) left_out: Vec<&'static str>,
}

/// A column in the form and width in which it is written.
struct ColumnLayout {
    column: Column,
    detail: ColumnDetail,
    /// The name of the column, then its cells.
    cells: Vec<String>,
    width: usize,
}

impl ColumnLayout {
    /// The column at index `at`, as wide as its widest cell.
    fn new(column: Column, at: usize, rows: &[TableRow], detail: ColumnDetail) -> Self {
        let mut cells = vec![column.head(detail).to_owned()];
        let cell = |row: &TableRow| {
            row.0
                .get(at)
                .map(|cell| column.write(&printable(cell), detail))
        };
        cells.extend(rows.iter().map(|row| cell(row).unwrap_or_default()));
        let widest = cells.iter().map(|cell| cell.chars().count()).max();
        Self {
            column,
            detail,
            width: widest.unwrap_or(0),
            cells,
        }
    }

    /// The smallest width when names and lists are cut to `least` characters.
    fn least(&self, least: usize) -> usize {
        match self.column.kind {
            ColumnKind::Name | ColumnKind::List => self.width.min(least),
            _ => self.width,
        }
    }

    fn show(&self, row: usize) -> String {
        let width = self.width;
        let cell = self.cells.get(row).map_or("", String::as_str);
        let cell = match self.column.kind {
            ColumnKind::List => shortened(cell, width),
            _ => cut(cell, width),
        };
        if self.column.is_right(self.detail) {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    }
}

impl FittedTable {
    /// Lines of at most `width` characters, or wider where the columns that must stay need more.
    pub(super) fn fit(columns: &[Column], rows: &[TableRow], width: usize) -> Self {
        let lay_out = |kept: &[usize], detail| -> Vec<ColumnLayout> {
            let kept = kept.iter();
            kept.map(|at| ColumnLayout::new(columns[*at], *at, rows, detail))
                .collect()
        };
        let mut kept: Vec<usize> = (0..columns.len()).collect();
        for detail in [
            ColumnDetail::Full,
            ColumnDetail::WithoutBars,
            ColumnDetail::Short,
        ] {
            let shown = lay_out(&kept, detail);
            if needs(&shown, ROOMY) <= width {
                return Self::of(shown, rows, (width, ROOMY));
            }
        }
        let mut left_out = Vec::new();
        loop {
            let shown = lay_out(&kept, ColumnDetail::Short);
            let ranks = kept.iter().enumerate();
            let ranks = ranks.filter_map(|(place, at)| Some((columns[*at].rank?, place)));
            match ranks.max() {
                Some((_, place)) if needs(&shown, TIGHT) > width => {
                    left_out.push(kept.remove(place));
                }
                _ => {
                    left_out.sort_unstable();
                    let mut table = Self::of(shown, rows, (width, TIGHT));
                    table.left_out = left_out.iter().map(|at| columns[*at].name).collect();
                    return table;
                }
            }
        }
    }

    /// Cuts names and lists to `least` characters and shares the rest of the width among them.
    fn of(mut shown: Vec<ColumnLayout>, rows: &[TableRow], (width, least): (usize, usize)) -> Self {
        let mut left = width.saturating_sub(needs(&shown, least));
        for column in &mut shown {
            let given = left.min(column.width - column.least(least));
            left -= given;
            column.width = column.least(least) + given;
        }
        let styles = std::iter::once(Style::new().dimmed()).chain(rows.iter().map(|row| row.1));
        let lines = styles.enumerate().map(|(row, style)| {
            let cells = shown.iter().map(|column| column.show(row));
            StyledLine::new(cells.collect::<Vec<String>>().join(GAP), style)
        });
        Self {
            lines: lines.collect(),
            left_out: Vec::new(),
        }
    }
}

/// Width of the lines when names and lists are cut to `least` characters.
fn needs(shown: &[ColumnLayout], least: usize) -> usize {
    let cells: usize = shown.iter().map(|column| column.least(least)).sum();
    cells + GAP.len() * shown.len().saturating_sub(1)
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start = text.chars().take(width.saturating_sub(1));
    start.chain(['…']).collect()
}

/// The names that fit into `width`, and the number of those that do not: `a,b,+3`.
fn shortened(list: &str, width: usize) -> String {
    if list.chars().count() <= width {
        return list.to_owned();
    }
    let names: Vec<&str> = list.split(',').collect();
    let counted = |shown: usize| format!(",+{}", names.len() - shown);
    for shown in (1..names.len()).rev() {
        let text = names[..shown].join(",") + &counted(shown);
        if text.chars().count() <= width {
            return text;
        }
    }
    match names.as_slice() {
        [one] => cut(one, width),
        _ => {
            let rest = counted(1);
            cut(names[0], width.saturating_sub(rest.len())) + &rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::line::Colours;

    const COLUMNS: [Column; 6] = [
        Column::new("CORE", "CORE", ColumnKind::Word),
        Column::new("BUSY", "BUSY", ColumnKind::Bar(4)),
        Column::new("BATCHES/S", "BATCH/S", ColumnKind::Number).rank(2),
        Column::new("RSS", "RSS", ColumnKind::Number).rank(1),
        Column::new("MODEL", "MODEL", ColumnKind::Name),
        Column::new("CORES", "CORES", ColumnKind::List),
    ];

    fn fit(width: usize) -> (Vec<String>, Vec<&'static str>) {
        let name = "a-model-with-a-long-name";
        let row = [
            "0",
            "##..  50 %",
            "1.5",
            "912 MB",
            name,
            "0,1,2,3,4,5,6,7,8,9",
        ];
        let rows = [(row.map(str::to_owned).to_vec(), Style::new())];
        let table = FittedTable::fit(&COLUMNS, &rows, width);
        let lines = table.lines.iter();
        let lines = lines.map(|line| line.show(usize::MAX, Colours::No));
        (lines.collect(), table.left_out)
    }

    #[test]
    fn columns_say_less_and_then_go() {
        let all = [
            "CORE  BUSY        BATCHES/S     RSS  MODEL                     CORES",
            "0     ##..  50 %        1.5  912 MB  a-model-with-a-long-name  0,1,2,3,4,5,6,7,8,9",
        ];
        assert_eq!(fit(usize::MAX), (all.map(str::to_owned).to_vec(), vec![]));
        assert_eq!(fit(82), fit(usize::MAX));
        for (width, row, gone) in [
            (
                81,
                "0     50 %        1.5  912 MB  a-model-with-a-long-name  0,1,2,3,4,5,6,7,8,9",
                &[][..],
            ),
            (
                75,
                "0      50%      1.5  912M  a-model-with-a-long-name  0,1,2,3,4,5,6,7,8,9",
                &[],
            ),
            (
                60,
                "0      50%      1.5  912M  a-model-with-a-lon…  0,1,2,3,4,+5",
                &[],
            ),
            (
                50,
                "0      50%  912M  a-model-with-a-lo…  0,1,2,3,4,+5",
                &["BATCHES/S"],
            ),
            (
                40,
                "0      50%  a-model-with-…  0,1,2,3,4,+5",
                &["BATCHES/S", "RSS"],
            ),
        ] {
            let (lines, left_out) = fit(width);
            assert_eq!(
                (lines[1].as_str(), left_out.as_slice()),
                (row, gone),
                "{width}"
            );
        }
        for width in 38..90 {
            let (lines, _) = fit(width);
            assert!(
                lines.iter().all(|line| line.chars().count() <= width),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn lists_count_what_they_do_not_name() {
        for (list, width, shown) in [
            ("a,b,c", 5, "a,b,c"),
            ("aa,bb,cc,dd", 8, "aa,bb,+2"),
            ("aa,bb,cc,dd", 7, "aa,+3"),
            ("a-long-name,b", 8, "a-lo…,+1"),
            ("a-long-name", 6, "a-lon…"),
        ] {
            assert_eq!(shortened(list, width), shown);
        }
    }
}
