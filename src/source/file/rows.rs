//! From the fields of rows to a table: which instant, which series, which number.
//!
//! It knows no format. A format gives the fields that are [`Rows::wanted`] for one row after another.
//! A row that is good costs no allocation of its own.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::number;
use crate::data::quality::is_sentinel;
use crate::data::{Column, RowSeries, SeriesError, Table};
use crate::params::{
    Clock, FileSeries, FileSource, Reading, RowTime, SourceTime, TimePlace, ValidTime,
};
use crate::physics::{Conversion, compass_degrees};
use crate::source::times::{BadTime, Order, TimeReader, end_of};
use crate::time::{Stamp, Step, local_seconds};

/// More series than this are a wrong column.
const SERIES: usize = 100_000;
/// How much of a field is told.
const TOLD: usize = 60;
/// From here on `f64` does not have every whole number, so that two of them may be read as one.
const ROUNDED: f64 = 9_007_199_254_740_992.0;

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    /// Nothing.
    Missing,
    /// A number.
    Number(f64),
    /// A whole number, of which no digit is lost.
    Whole(i128),
    /// A text, which may be a number, a time, or nothing.
    Text(&'a [u8]),
    /// A time that the format knows as one.
    Time(Stamp),
    /// Something that no column can be.
    Other(&'static str),
}

/// A row of a format.
pub(super) trait Row {
    /// The field that is wanted at this place of [`Rows::wanted`].
    fn field(&self, slot: usize) -> Field<'_>;
}

/// Rows on their way to a table.
pub(super) struct Rows<'a> {
    plan: Plan<'a>,
    times: Vec<i64>,
    issues: Vec<i64>,
    series: SeriesOf,
    columns: Vec<Vec<f64>>,
    /// One for each series.
    clocks: Vec<Clocks<'a>>,
    scratch: String,
}

impl<'a> Rows<'a> {
    pub(super) fn new(params: &'a FileSource) -> Self {
        Self {
            plan: Plan::new(params),
            times: Vec::new(),
            issues: Vec::new(),
            series: SeriesOf::default(),
            columns: vec![Vec::new(); params.columns.len()],
            clocks: Vec::new(),
            scratch: String::new(),
        }
    }

    /// The names of the fields that a format must give.
    pub(super) fn wanted(&self) -> &[&'a str] {
        &self.plan.wanted
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Takes a row, or says what is wrong with it.
    pub(super) fn add(&mut self, row: &impl Row) -> Result<(), String> {
        let series = match self.plan.series {
            Some(slot) => {
                self.series
                    .find(row.field(slot), &mut self.scratch, self.plan.wanted[slot])?
            }
            None => 0,
        };
        let Some((time, issue)) = self.read_times(row, series)? else {
            return Ok(());
        };
        for part in 0..self.plan.parts {
            for (place, values) in self.columns.iter_mut().enumerate() {
                let value = self.plan.columns[place].read(row, part, self.plan.decimal)?;
                values.push(value);
            }
            self.times.push(time);
            self.issues.extend(issue);
            if self.plan.series.is_some() {
                self.series.of.push(series);
            }
        }
        Ok(())
    }

    /// The time and the issue time; none where the row is to be skipped.
    fn read_times(
        &mut self,
        row: &impl Row,
        series: u32,
    ) -> Result<Option<(i64, Option<i64>)>, String> {
        let plan = &self.plan;
        while self.clocks.len() <= series as usize {
            self.clocks.push(Clocks::new(plan.params));
        }
        let clocks = &mut self.clocks[series as usize];
        let scratch = &mut self.scratch;
        let issued = match (&plan.issue, &mut clocks.issue) {
            (Some(place), Some(reader)) => {
                let Some(issued) = place.read(row, reader, scratch)? else {
                    return Ok(None);
                };
                clocks.turn_to(issued);
                Some(issued)
            }
            _ => None,
        };
        let time = match (&plan.time, &mut clocks.time, issued) {
            (When::At { place, covers }, Some(reader), _) => {
                let time = place.read(row, reader, scratch)?;
                match covers {
                    Some((lasting, clock)) => time.map(|begin| end_of(begin, *lasting, clock)),
                    None => time,
                }
            }
            (When::Lead { slot, name, unit_s }, _, Some(issued)) => {
                let lead = number_of(row.field(*slot), name, plan.decimal)?;
                let seconds = (lead * unit_s).round();
                if seconds.is_nan() || seconds.abs() > 1e11 {
                    return Err(format!("expected a lead in `{name}`, found {lead}"));
                }
                Some(issued + seconds as i64)
            }
            // A plan has a reader for each time that it reads.
            _ => None,
        };
        Ok(time.map(|time| (time, issued)))
    }

    /// The table of all rows.
    pub(super) fn finish(self) -> Result<Table, SeriesError> {
        let params = self.plan.params;
        let columns = params.columns.iter().zip(self.columns);
        let columns = columns.map(|(column, values)| Column {
            name: column.name.clone(),
            unit: column.unit.clone(),
            values,
        });
        let rows = self.times.len();
        let mut table = Table::new(self.times, columns.collect())?;
        let series = match &params.series {
            FileSeries::Only => None,
            FileSeries::Named(name) => Some(RowSeries::one(name, rows)),
            FileSeries::Wide(names) => {
                let of = (0..rows).map(|row| names[row % names.len()].as_str());
                Some(RowSeries::from_names(of))
            }
            FileSeries::Column(_) => {
                let SeriesOf { names, of, .. } = &self.series;
                let of = of.iter().map(|&place| names[place as usize].as_str());
                Some(RowSeries::from_names(of))
            }
        };
        if let Some(series) = series {
            table = table.with_series(series)?;
        }
        if matches!(params.time, RowTime::Forecast { .. }) {
            table = table.with_issues(self.issues)?;
        }
        Ok(table)
    }
}

/// What is read of a row, with the places of the fields.
struct Plan<'a> {
    params: &'a FileSource,
    wanted: Vec<&'a str>,
    time: When<'a>,
    issue: Option<Place<'a>>,
    series: Option<usize>,
    /// Rows of the table that a row makes: one for each series of a wide file.
    parts: usize,
    columns: Vec<ColumnPlan<'a>>,
    decimal: u8,
}

/// The time that a row speaks of.
enum When<'a> {
    At {
        place: Place<'a>,
        /// How long what a row holds lasts from then on, by which clock.
        covers: Option<(Step, &'a Clock)>,
    },
    Lead {
        slot: usize,
        name: &'a str,
        unit_s: f64,
    },
}

/// Where a time stands.
enum Place<'a> {
    One {
        slot: usize,
        name: &'a str,
    },
    /// Year, month, day, hour, minute, second.
    Parts([Option<(usize, &'a str)>; 6]),
}

struct ColumnPlan<'a> {
    name: &'a str,
    slots: Vec<usize>,
    reading: Reading,
    /// Texts that mean "no value", and those of them that are numbers.
    missing: &'a [String],
    missing_numbers: Vec<f64>,
}

impl<'a> Plan<'a> {
    fn new(params: &'a FileSource) -> Self {
        let mut wanted = Wanted::default();
        let (time, issue) = match &params.time {
            RowTime::Observed(time) => (wanted.when(time), None),
            RowTime::Forecast { issue, valid } => {
                let issue = wanted.time(issue);
                let time = match valid {
                    ValidTime::At(time) => wanted.when(time),
                    ValidTime::Lead { column, unit_s } => When::Lead {
                        slot: wanted.slot(column),
                        name: column,
                        unit_s: *unit_s,
                    },
                };
                (time, Some(issue))
            }
        };
        let (series, parts) = match &params.series {
            FileSeries::Column(column) => (Some(wanted.slot(column)), 1),
            FileSeries::Wide(names) => (None, names.len()),
            FileSeries::Only | FileSeries::Named(_) => (None, 1),
        };
        let columns = params.columns.iter().map(|column| ColumnPlan {
            name: &column.name,
            slots: column.from.iter().map(|from| wanted.slot(from)).collect(),
            reading: column.reading,
            missing: &column.missing,
            missing_numbers: numbers_of(&column.missing, params.text.decimal),
        });
        let columns = columns.collect();
        Self {
            params,
            wanted: wanted.0,
            time,
            issue,
            series,
            parts,
            columns,
            decimal: params.text.decimal,
        }
    }
}

/// The names of fields, each once.
#[derive(Default)]
struct Wanted<'a>(Vec<&'a str>);

impl<'a> Wanted<'a> {
    fn slot(&mut self, name: &'a str) -> usize {
        let slot = self.0.iter().position(|wanted| *wanted == name);
        slot.unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        })
    }

    fn when(&mut self, time: &'a SourceTime) -> When<'a> {
        When::At {
            place: self.time(time),
            covers: time.covers.map(|covers| (covers, &time.format.clock)),
        }
    }

    fn time(&mut self, time: &'a SourceTime) -> Place<'a> {
        match &time.place {
            TimePlace::Column(name) => Place::One {
                slot: self.slot(name),
                name,
            },
            TimePlace::Parts(parts) => {
                let all = [
                    Some(&parts.year),
                    Some(&parts.month),
                    parts.day.as_ref(),
                    parts.hour.as_ref(),
                    parts.minute.as_ref(),
                    parts.second.as_ref(),
                ];
                Place::Parts(all.map(|name| name.map(|name| (self.slot(name), name.as_str()))))
            }
        }
    }
}

/// Reads the times of one series.
struct Clocks<'a> {
    time: Option<TimeReader<'a>>,
    issue: Option<TimeReader<'a>>,
    /// The issue that the times are of, and what the rows of the others say of their order. Rows of several
    /// issues may alternate.
    now: Option<i64>,
    others: HashMap<i64, Order>,
}

impl<'a> Clocks<'a> {
    fn new(params: &'a FileSource) -> Self {
        let (time, issue) = match &params.time {
            RowTime::Observed(time) => (Some(time), None),
            RowTime::Forecast { issue, valid } => match valid {
                ValidTime::At(time) => (Some(time), Some(issue)),
                ValidTime::Lead { .. } => (None, Some(issue)),
            },
        };
        Self {
            time: time.map(|time| TimeReader::new(&time.format)),
            issue: issue.map(|issue| TimeReader::of_issues(&issue.format)),
            now: None,
            others: HashMap::new(),
        }
    }

    /// The times that follow are of this issue: they go on where it was left, or begin.
    fn turn_to(&mut self, issue: i64) {
        let Some(time) = self.time.as_mut().filter(|time| time.heeds_order()) else {
            return;
        };
        if self.now == Some(issue) {
            return;
        }
        let left = time.change_run(self.others.remove(&issue).unwrap_or_default());
        self.others.extend(self.now.map(|now| (now, left)));
        self.now = Some(issue);
    }
}

impl Place<'_> {
    fn read(
        &self,
        row: &impl Row,
        reader: &mut TimeReader<'_>,
        scratch: &mut String,
    ) -> Result<Option<i64>, String> {
        match self {
            Self::One { slot, name } => {
                let time = match row.field(*slot) {
                    Field::Text(text) => match std::str::from_utf8(text) {
                        Ok(text) => reader.read(text),
                        Err(_) => reader.read(&String::from_utf8_lossy(text)),
                    },
                    Field::Number(number) => {
                        scratch.clear();
                        // Whole numbers are written without a point.
                        let _ = write!(scratch, "{number}");
                        reader.read(scratch)
                    }
                    Field::Whole(number) => {
                        scratch.clear();
                        let _ = write!(scratch, "{number}");
                        reader.read(scratch)
                    }
                    Field::Time(stamp) => reader.read_stamp(stamp),
                    Field::Missing => reader.read(""),
                    Field::Other(what) => reader.read(what),
                };
                time.map_err(|error| in_column(&error, name))
            }
            Self::Parts(parts) => {
                let mut fields = [0, 1, 1, 0, 0, 0];
                for (field, part) in fields.iter_mut().zip(parts) {
                    if let Some((slot, name)) = part {
                        *field = whole_number_of(row.field(*slot), name)?;
                    }
                }
                let [year, month, day, hour, minute, second] = fields;
                let found =
                    || format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
                let local = local_seconds(year, month, day, hour, minute, second)
                    .ok_or_else(|| format!("expected a date and time, found {}", found()))?;
                reader
                    .read_local(local, found)
                    .map_err(|error| error.to_string())
            }
        }
    }
}

fn in_column(error: &BadTime, name: &str) -> String {
    format!("{error}, in `{name}`")
}

impl ColumnPlan<'_> {
    fn read(&self, row: &impl Row, part: usize, decimal: u8) -> Result<f64, String> {
        let field = match row.field(self.slots[part]) {
            Field::Text(text) => {
                let text = text.trim_ascii();
                let missing = |missing: &String| missing.as_bytes() == text;
                if text.is_empty() || self.missing.iter().any(missing) {
                    return Ok(f64::NAN);
                }
                Field::Text(text)
            }
            Field::Missing => return Ok(f64::NAN),
            field => field,
        };
        match self.reading {
            Reading::Number(conversion) => {
                let number = number_of(field, self.name, decimal)?;
                if self.missing_numbers.contains(&number) {
                    return Ok(f64::NAN);
                }
                Ok(conversion.map_or(number, |conversion| converted(number, conversion)))
            }
            Reading::Compass => {
                let word = match field {
                    Field::Text(text) => std::str::from_utf8(text).ok(),
                    Field::Number(number) if self.missing_numbers.contains(&number) => {
                        return Ok(f64::NAN);
                    }
                    Field::Whole(number) if self.missing_numbers.contains(&(number as f64)) => {
                        return Ok(f64::NAN);
                    }
                    _ => None,
                };
                word.and_then(compass_degrees).ok_or_else(|| {
                    let found = told(field);
                    format!(
                        "expected a word of the compass in `{}`, found {found}",
                        self.name
                    )
                })
            }
        }
    }
}

/// The numbers among texts that mean "no value", each also as single precision has it: a file of such
/// numbers has −999.9 as −999.90002….
pub(in crate::source) fn numbers_of(missing: &[String], decimal: u8) -> Vec<f64> {
    let numbers = missing
        .iter()
        .filter_map(|text| number::read(text.trim().as_bytes(), decimal));
    numbers
        .flat_map(|number| [number, f64::from(number as f32)])
        .collect()
}

/// A number that stands for "no value" is passed on as it is, so that a check finds it.
pub(in crate::source) fn converted(number: f64, conversion: Conversion) -> f64 {
    if is_sentinel(number) {
        number
    } else {
        conversion.convert(number)
    }
}

fn number_of(field: Field<'_>, name: &str, decimal: u8) -> Result<f64, String> {
    let number = match field {
        Field::Number(number) => Some(number).filter(|number| !number.is_infinite()),
        Field::Whole(number) => Some(number as f64),
        Field::Text(text) => number::read(text.trim_ascii(), decimal),
        _ => None,
    };
    number.ok_or_else(|| format!("expected a number in `{name}`, found {}", told(field)))
}

fn whole_number_of(field: Field<'_>, name: &str) -> Result<i64, String> {
    let number = number_of(field, name, b'.')?;
    // Written as 1.0 by whoever had a missing value in the column.
    if number.fract() == 0.0 && number.abs() < 1e9 {
        Ok(number as i64)
    } else {
        Err(format!(
            "expected a whole number in `{name}`, found {number}"
        ))
    }
}

/// A field as an error tells it.
fn told(field: Field<'_>) -> String {
    match field {
        Field::Missing => "nothing".to_owned(),
        Field::Number(number) => number.to_string(),
        Field::Whole(number) => number.to_string(),
        Field::Text(text) => {
            let text = String::from_utf8_lossy(text);
            let short: String = text.chars().take(TOLD).collect();
            format!("`{short}`")
        }
        Field::Time(_) => "a time".to_owned(),
        Field::Other(what) => what.to_owned(),
    }
}

/// The series of each row.
#[derive(Default)]
struct SeriesOf {
    names: Vec<String>,
    places: HashMap<String, u32>,
    of: Vec<u32>,
    /// Rows of one series mostly stand together.
    last: u32,
}

impl SeriesOf {
    fn find(
        &mut self,
        field: Field<'_>,
        scratch: &mut String,
        column: &str,
    ) -> Result<u32, String> {
        let name = match field {
            Field::Text(text) => std::str::from_utf8(text.trim_ascii()).ok(),
            Field::Number(number) if number.abs() >= ROUNDED => {
                return Err(format!(
                    "expected the name of a series in `{column}`, found {number}, a number so large that others may \
                     have been rounded to it; write names as texts or as whole numbers of 64 bits"
                ));
            }
            Field::Number(number) => {
                scratch.clear();
                let _ = write!(scratch, "{number}");
                Some(scratch.as_str())
            }
            Field::Whole(number) => {
                scratch.clear();
                let _ = write!(scratch, "{number}");
                Some(scratch.as_str())
            }
            _ => None,
        };
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let found = told(field);
            return Err(format!(
                "expected the name of a series in `{column}`, found {found}"
            ));
        };
        if self
            .names
            .get(self.last as usize)
            .is_some_and(|last| last == name)
        {
            return Ok(self.last);
        }
        self.last = match self.places.get(name) {
            Some(&place) => place,
            None if self.names.len() == SERIES => {
                return Err(format!(
                    "expected at most {SERIES} series in `{column}`, found more"
                ));
            }
            None => {
                let place = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.places.insert(name.to_owned(), place);
                place
            }
        };
        Ok(self.last)
    }
}
