//! Columns in as much room as there is: where there is too little they say less, then the least
//! important ones go, and lists and names are cut.

use anstyle::Style;

use crate::failure::printable;
use crate::top::line::Line;

/// Between two columns.
const GAP: &str = "  ";

/// Lists and names may be cut to so many characters before anything else is given up.
const ROOMY: usize = 24;

/// And to so many before columns that matter less go.
const TIGHT: usize = 12;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    /// Its name where there is little room.
    short: &'static str,
    kind: Kind,
    /// The highest goes first; what has none stays.
    rank: Option<u8>,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// At the right; the space ahead of a unit can go.
    Number,
    /// A bar of so many cells, and a number.
    Bar(usize),
    /// A word that is never cut.
    Word,
    /// A name that may be cut.
    Name,
    /// Names with commas between them, of which the last ones may be counted only.
    List,
}

impl Column {
    pub(super) const fn new(name: &'static str, short: &'static str, kind: Kind) -> Self {
        Self {
            name,
            short,
            kind,
            rank: None,
        }
    }

    /// May be left out, after those of higher ranks.
    pub(super) const fn rank(mut self, rank: u8) -> Self {
        self.rank = Some(rank);
        self
    }

    fn head(&self, form: Form) -> &'static str {
        match form {
            Form::Short => self.short,
            _ => self.name,
        }
    }

    fn write(&self, cell: &str, form: Form) -> String {
        match (self.kind, form) {
            (Kind::Bar(_), Form::Full) => cell.to_owned(),
            (Kind::Bar(bar), _) => {
                let number: String = cell.chars().skip(bar).collect();
                Self {
                    kind: Kind::Number,
                    ..*self
                }
                .write(number.trim(), form)
            }
            // `912M` for `912 MB`.
            (Kind::Number, Form::Short) => {
                let cell = cell.replace(' ', "");
                cell.strip_suffix('B').unwrap_or(&cell).to_owned()
            }
            _ => cell.to_owned(),
        }
    }

    fn is_right(&self, form: Form) -> bool {
        match self.kind {
            Kind::Number => true,
            Kind::Bar(_) => form != Form::Full,
            _ => false,
        }
    }
}

/// How much columns say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Full,
    WithoutBars,
    Short,
}

/// A row: its cells, of which the last ones may be missing, and how it looks.
pub(super) type Row = (Vec<String>, Style);

/// A table that is as wide as it may be.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) lines: Vec<Line>,
    /// Columns that there was no room for.
    pub(super) left_out: Vec<&'static str>,
}

/// A column as it is shown.
struct Shown {
    column: Column,
    form: Form,
    /// The first is its name.
    cells: Vec<String>,
    width: usize,
}

impl Shown {
    /// As wide as its widest cell.
    fn new(column: Column, at: usize, rows: &[Row], form: Form) -> Self {
        let mut cells = vec![column.head(form).to_owned()];
        let cell = |row: &Row| {
            row.0
                .get(at)
                .map(|cell| column.write(&printable(cell), form))
        };
        cells.extend(rows.iter().map(|row| cell(row).unwrap_or_default()));
        let widest = cells.iter().map(|cell| cell.chars().count()).max();
        Self {
            column,
            form,
            width: widest.unwrap_or(0),
            cells,
        }
    }

    /// How wide it must be, when what may be cut has `least` characters.
    fn least(&self, least: usize) -> usize {
        match self.column.kind {
            Kind::Name | Kind::List => self.width.min(least),
            _ => self.width,
        }
    }

    fn show(&self, row: usize) -> String {
        let width = self.width;
        let cell = self.cells.get(row).map_or("", String::as_str);
        let cell = match self.column.kind {
            Kind::List => shortened(cell, width),
            _ => cut(cell, width),
        };
        match self.column.is_right(self.form) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        }
    }
}

impl Table {
    /// Lines of at most `width` characters, if there are columns enough that can go.
    pub(super) fn fit(columns: &[Column], rows: &[Row], width: usize) -> Self {
        let lay_out = |kept: &[usize], form| -> Vec<Shown> {
            let kept = kept.iter();
            kept.map(|at| Shown::new(columns[*at], *at, rows, form))
                .collect()
        };
        let mut kept: Vec<usize> = (0..columns.len()).collect();
        for form in [Form::Full, Form::WithoutBars, Form::Short] {
            let shown = lay_out(&kept, form);
            if needs(&shown, ROOMY) <= width {
                return Self::of(shown, rows, (width, ROOMY));
            }
        }
        let mut left_out = Vec::new();
        loop {
            let shown = lay_out(&kept, Form::Short);
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

    /// What may be cut has `least` characters, and what is left of the width.
    fn of(mut shown: Vec<Shown>, rows: &[Row], (width, least): (usize, usize)) -> Self {
        let mut left = width.saturating_sub(needs(&shown, least));
        for column in &mut shown {
            let given = left.min(column.width - column.least(least));
            left -= given;
            column.width = column.least(least) + given;
        }
        let styles = std::iter::once(Style::new().dimmed()).chain(rows.iter().map(|row| row.1));
        let lines = styles.enumerate().map(|(row, style)| {
            let cells = shown.iter().map(|column| column.show(row));
            Line::styled(cells.collect::<Vec<String>>().join(GAP), style)
        });
        Self {
            lines: lines.collect(),
            left_out: Vec::new(),
        }
    }
}

/// How wide lines are, when what may be cut has `least` characters.
fn needs(shown: &[Shown], least: usize) -> usize {
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

/// As many names as there is room for, and how many more there are.
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
        Column::new("CORE", "CORE", Kind::Word),
        Column::new("BUSY", "BUSY", Kind::Bar(4)),
        Column::new("BATCHES/S", "BATCH/S", Kind::Number).rank(2),
        Column::new("RSS", "RSS", Kind::Number).rank(1),
        Column::new("MODEL", "MODEL", Kind::Name),
        Column::new("CORES", "CORES", Kind::List),
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
        let table = Table::fit(&COLUMNS, &rows, width);
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
