//! What a set of figures found: tables for people, the same as JSON, and what it was aimed at.

use std::{fmt, fs, path::Path, thread};

use portwarden_aws::SystemClock;
use portwarden_core::clock::Clock as _;
use serde_json::{Map, Value, json};

use crate::Failure;

/// The figures of one set.
pub(crate) struct Sheet {
    set: &'static str,
    tables: Vec<Table>,
    aims: Vec<Aim>,
    not_run: Vec<String>,
    load: String,
}

/// One table: a row for each thing, a figure in each column.
pub(crate) struct Table {
    title: &'static str,
    columns: Vec<(&'static str, Unit)>,
    rows: Vec<(String, Vec<Option<f64>>)>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    /// Of 1,000 bytes.
    Kilobytes,
    /// Of 1,000,000 bytes.
    Megabytes,
    /// How many times another figure.
    Times,
    Count,
}

struct Aim {
    what: String,
    value: f64,
    at_most: f64,
    unit: Unit,
}

impl Sheet {
    pub(crate) fn new(set: &'static str) -> Self {
        Self {
            set,
            tables: Vec::new(),
            aims: Vec::new(),
            not_run: Vec::new(),
            load: load(),
        }
    }

    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Compares a figure with what it should be at most. Missing an aim is told and is no failure: machines differ.
    pub(crate) fn aim(&mut self, what: impl Into<String>, value: f64, at_most: f64, unit: Unit) {
        self.aims.push(Aim {
            what: what.into(),
            value,
            at_most,
            unit,
        });
    }

    /// Names what this machine cannot run.
    pub(crate) fn not_run(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.not_run.contains(&what) {
            self.not_run.push(what);
        }
    }

    /// Writes the figures as JSON, to a file of the set's name.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let aims = self.aims.iter().map(|aim| {
            json!({
                "what": aim.what,
                "value": aim.value,
                "at_most": aim.at_most,
                "unit": aim.unit.name(),
                "met": aim.is_met(),
            })
        });
        let sheet = json!({
            "set": self.set,
            "at": SystemClock.now(),
            "processors": thread::available_parallelism()?.get(),
            "load_before": self.load,
            "load_after": load(),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "aims": aims.collect::<Vec<_>>(),
            "not_run": self.not_run,
        });
        let text = serde_json::to_string_pretty(&sheet)?;
        Ok(fs::write(folder.join(format!("{}.json", self.set)), text)?)
    }
}

/// How busy the machine is: the mean number of running programs of the last minutes.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

impl Table {
    pub(crate) fn new(title: &'static str, columns: &[(&'static str, Unit)]) -> Self {
        Self {
            title,
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; what was not measured is left out.
    pub(crate) fn row(&mut self, what: impl Into<String>, figures: impl IntoIterator<Item = Option<f64>>) {
        let figures: Vec<_> = figures.into_iter().collect();
        assert_eq!(figures.len(), self.columns.len(), "one figure for each column");
        self.rows.push((what.into(), figures));
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(what, figures)| {
            let named = self.columns.iter().zip(figures).map(|((name, unit), figure)| {
                let key = format!("{} {}", name, unit.name()).trim_end().replace(' ', "_");
                (key, json!(figure))
            });
            let mut row: Map<String, Value> = named.collect();
            row.insert("what".to_owned(), json!(what));
            Value::Object(row)
        });
        json!({"title": self.title, "rows": rows.collect::<Vec<_>>()})
    }
}

impl Aim {
    fn is_met(&self) -> bool {
        self.value <= self.at_most
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Kilobytes => "kB",
            Self::Megabytes => "MB",
            Self::Times => "times",
            Self::Count => "",
        }
    }

    fn show(self, figure: f64) -> String {
        match self {
            Self::Milliseconds if figure >= 1000.0 => format!("{:.2} s", figure / 1000.0),
            Self::Milliseconds => format!("{figure:.1} ms"),
            Self::Kilobytes => format!("{figure:.1} kB"),
            Self::Megabytes => format!("{figure:.1} MB"),
            Self::Times => format!("{figure:.2} ×"),
            Self::Count => format!("{figure:.0}"),
        }
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "== {} (load {} before, {} after)", self.set, self.load, load())?;
        for table in &self.tables {
            writeln!(f, "\n{table}")?;
        }
        for aim in &self.aims {
            let (value, at_most) = (aim.unit.show(aim.value), aim.unit.show(aim.at_most));
            let word = if aim.is_met() { "met" } else { "MISSED" };
            writeln!(f, "{word:>6}  {}: {value}, at most {at_most}", aim.what)?;
        }
        for what in &self.not_run {
            writeln!(f, "not run: {what}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.columns.iter().map(|(name, _)| (*name).to_owned());
        let head = std::iter::once(self.title.to_owned()).chain(head).collect();
        let rows = self.rows.iter().map(|(what, figures)| {
            let shown = figures
                .iter()
                .zip(&self.columns)
                .map(|(figure, (_, unit))| figure.map_or_else(|| "–".to_owned(), |figure| unit.show(figure)));
            std::iter::once(what.clone()).chain(shown).collect()
        });
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        for line in &lines {
            for (column, cell) in line.iter().enumerate() {
                let width = width(column).unwrap_or_default();
                if column == 0 {
                    write!(f, "{cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Returns the middle of some figures, the mean of two if their number is even.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
        count => figures[count / 2],
    }
}

/// Returns a time in milliseconds.
pub(crate) fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns a size in megabytes.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([5.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn figures_stand_below_their_columns_and_have_their_unit_in_the_key() {
        let mut table = Table::new("scan", &[("wall", Unit::Milliseconds), ("of trivy", Unit::Times)]);
        table.row("portwarden", [Some(1500.0), Some(0.1)]);
        table.row("trivy", [Some(15.0), None]);
        let expected =
            "scan            wall  of trivy\nportwarden    1.50 s    0.10 ×\ntrivy       15.0 ms         –\n";
        assert_eq!(
            table.to_string().split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(
            table.json()["rows"][0],
            json!({"what": "portwarden", "wall_ms": 1500.0, "of_trivy_times": 0.1})
        );
    }
}
