//! `kind: file`: from what a person wrote to what can be read.

use std::collections::BTreeMap;

use encoding_rs::Encoding;
use serde::{Deserialize, Deserializer};

use super::super::{Invalid, invalid};
use super::times::{self, RawTime, SourceTime};
use crate::physics::Conversion;
use crate::yaml::sections;

sections!(RawFile, RawLead, RawSeries, RawColumn);

/// Names that the rows themselves are told by.
const RESERVED: [&str; 3] = ["time", "series", "issue_time"];

/// As a person wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawFile {
    pub(super) path: String,
    pub(super) format: Option<FileFormat>,
    pub(super) encoding: Option<String>,
    pub(super) delimiter: Option<char>,
    pub(super) decimal: Option<char>,
    pub(super) comment: Option<char>,
    #[serde(default)]
    pub(super) skip_rows: u32,
    pub(super) header: Option<bool>,
    pub(super) names: Option<Vec<String>>,
    #[serde(default)]
    pub(super) missing: Vec<String>,
    pub(super) time: Option<RawTime>,
    pub(super) issue_time: Option<RawTime>,
    pub(super) lead: Option<RawLead>,
    pub(super) series: Option<RawSeries>,
    pub(super) columns: BTreeMap<String, RawColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawLead {
    #[serde(deserialize_with = "name")]
    pub(super) column: String,
    pub(super) unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawSeries {
    #[serde(default, deserialize_with = "some_name")]
    pub(super) column: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawColumn {
    pub(super) unit: String,
    pub(super) to: Option<String>,
    #[serde(default, deserialize_with = "some_name")]
    pub(super) from: Option<String>,
    pub(super) series: Option<BTreeMap<String, Name>>,
    #[serde(default)]
    pub(super) missing: Vec<String>,
}

/// A column by its name, or by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::params) struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl serde::de::Visitor<'_> for Scalar {
            type Value = Name;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name or the number of a column")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::deserialize(deserializer).map(|Name(text)| text)
}

pub(super) fn some_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let name = Option::<Name>::deserialize(deserializer)?;
    Ok(name.map(|Name(text)| text))
}

/// How to read files of observations or forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSource {
    /// A file, relative to the project, or a pattern of files.
    pub path: String,
    /// What kind of file; by its content where absent.
    pub format: Option<FileFormat>,
    /// How text is written.
    pub text: TextFormat,
    /// When a row is of.
    pub time: RowTime,
    /// Which series a row is of.
    pub series: FileSeries,
    /// At least one.
    pub columns: Vec<FileColumn>,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Rows of fields with a delimiter between them.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Parquet.
    Parquet,
}

/// How the text of a file is written.
#[derive(Clone, Debug, PartialEq)]
pub struct TextFormat {
    /// UTF-8 where absent, or what a byte order mark says.
    pub encoding: Option<&'static Encoding>,
    /// One ASCII character.
    pub delimiter: u8,
    /// What stands before the decimals: a point or a comma.
    pub decimal: u8,
    /// Lines that begin with it are no rows.
    pub comment: Option<u8>,
    /// Lines above everything else that are no rows.
    pub skip_rows: u64,
    /// Whether the first row has the names of the columns.
    pub header: bool,
    /// The names of the columns, in place of the header's; else numbers where there is none.
    pub names: Option<Vec<String>>,
}

/// When a row is of.
#[derive(Clone, Debug, PartialEq)]
pub enum RowTime {
    /// An observation.
    Observed(SourceTime),
    /// A forecast that was issued at a time, for another one.
    Forecast {
        /// When it was issued.
        issue: SourceTime,
        /// The time that it speaks of.
        valid: ValidTime,
    },
}

/// The time that a forecast speaks of.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidTime {
    /// It has one of its own.
    At(SourceTime),
    /// So much later than the issue.
    Lead {
        /// The column that says how much.
        column: String,
        /// The length of its unit in seconds.
        unit_s: f64,
    },
}

/// Which series a row is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSeries {
    /// There is one, without a name.
    Only,
    /// One with this name.
    Named(String),
    /// A column says it.
    Column(String),
    /// A row has values of all of these.
    Wide(Vec<String>),
}

/// One column of a table and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct FileColumn {
    /// Its name in the table.
    pub name: String,
    /// Its unit in the table.
    pub unit: String,
    /// Columns of the file: one for each series of a wide file, or one for all.
    pub from: Vec<String>,
    /// What its fields are.
    pub reading: Reading,
    /// Texts that mean "no value", besides the empty one.
    pub missing: Vec<String>,
}

/// What the fields of a column are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// Numbers, in another unit where there is a conversion.
    Number(Option<Conversion>),
    /// Words of the compass, which become degrees.
    Compass,
}

pub(in crate::params) fn check(key: &str, raw: RawFile) -> Result<FileSource, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    if raw.path.is_empty() {
        return Err(invalid(key("path"), "a file or a pattern", "nothing"));
    }
    let text = check_text(&key, &raw)?;
    let time = check_row_time(&key, raw.time, raw.issue_time, raw.lead)?;
    let wide = check_wide(&key("columns"), &raw.columns)?;
    let series = check_series(&key("series"), raw.series, wide)?;
    let columns = check_columns(&key("columns"), raw.columns, &series, &raw.missing)?;
    Ok(FileSource {
        path: raw.path,
        format: raw.format,
        text,
        time,
        series,
        columns,
    })
}

fn check_text(key: &dyn Fn(&str) -> String, raw: &RawFile) -> Result<TextFormat, Invalid> {
    let ascii = |name: &str, c: char| {
        u8::try_from(c)
            .ok()
            .filter(|byte| byte.is_ascii() && !b"\r\n\"".contains(byte))
            .ok_or_else(|| invalid(key(name), "one ASCII character", c.escape_default()))
    };
    let delimiter = ascii("delimiter", raw.delimiter.unwrap_or(','))?;
    let decimal = match raw.decimal.unwrap_or('.') {
        '.' => b'.',
        ',' => b',',
        other => return Err(invalid(key("decimal"), "`.` or `,`", other)),
    };
    if decimal == delimiter {
        let expected = "another character than the decimal one";
        return Err(invalid(key("delimiter"), expected, char::from(delimiter)));
    }
    let comment = raw.comment.map(|c| ascii("comment", c)).transpose()?;
    let encoding = raw.encoding.as_deref().map(|name| {
        find_encoding(name).ok_or_else(|| {
            let expected = "an encoding such as utf-8, latin-1, windows-1252 or utf-16";
            invalid(key("encoding"), expected, name)
        })
    });
    if let Some(names) = &raw.names
        && names.is_empty()
    {
        return Err(invalid(key("names"), "at least one", "none"));
    }
    Ok(TextFormat {
        encoding: encoding.transpose()?,
        delimiter,
        decimal,
        comment,
        skip_rows: u64::from(raw.skip_rows),
        header: raw.header.unwrap_or(true),
        names: raw.names.clone(),
    })
}

/// By the names of the WHATWG's standard, and `latin-1`, as Python has it.
fn find_encoding(name: &str) -> Option<&'static Encoding> {
    let name = match name.to_ascii_lowercase().as_str() {
        "latin-1" | "latin_1" => "latin1".to_owned(),
        other => other.replace('_', "-"),
    };
    Encoding::for_label(name.as_bytes())
}

fn check_row_time(
    key: &dyn Fn(&str) -> String,
    time: Option<RawTime>,
    issue: Option<RawTime>,
    lead: Option<RawLead>,
) -> Result<RowTime, Invalid> {
    let time = time
        .map(|raw| times::check(&key("time"), raw))
        .transpose()?;
    let issue = issue
        .map(|raw| times::check(&key("issue_time"), raw))
        .transpose()?;
    let wrong = |name: &str, expected: &str, found: &str| Err(invalid(key(name), expected, found));
    if issue.as_ref().is_some_and(|issue| issue.covers.is_some()) {
        return wrong("issue_time.covers", "absent: an issue is one moment", "it");
    }
    match (time, issue, lead) {
        (Some(time), None, None) => Ok(RowTime::Observed(time)),
        (Some(time), Some(issue), None) => {
            let valid = ValidTime::At(time);
            Ok(RowTime::Forecast { issue, valid })
        }
        (None, Some(issue), Some(lead)) => {
            let unit_s = match lead.unit.as_deref().unwrap_or("h") {
                "s" => 1.0,
                "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                other => return wrong("lead.unit", "s, min, h or d", other),
            };
            let column = lead.column;
            let valid = ValidTime::Lead { column, unit_s };
            Ok(RowTime::Forecast { issue, valid })
        }
        (None, None, None) => wrong("time", "the time of a row", "none"),
        (None, Some(_), None) => wrong("lead", "it or `time` beside `issue_time`", "neither"),
        (_, None, Some(_)) => wrong("lead", "absent without `issue_time`", "it"),
        (Some(_), Some(_), Some(_)) => wrong("lead", "it or `time`", "both"),
    }
}

/// The series of a wide file, where it is one: the same for each column that has several.
fn check_wide(
    key: &str,
    columns: &BTreeMap<String, RawColumn>,
) -> Result<Option<Vec<String>>, Invalid> {
    let mut wide: Option<Vec<String>> = None;
    for (name, column) in columns {
        let Some(series) = &column.series else {
            continue;
        };
        let names: Vec<String> = series.keys().cloned().collect();
        let key = format!("{key}.{name}.series");
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(invalid(key, "a column for each series", "none"));
        }
        match &wide {
            Some(others) if *others != names => {
                let expected = format!("the series {}", others.join(", "));
                return Err(invalid(key, expected, names.join(", ")));
            }
            _ => wide = Some(names),
        }
    }
    Ok(wide)
}

fn check_series(
    key: &str,
    raw: Option<RawSeries>,
    wide: Option<Vec<String>>,
) -> Result<FileSeries, Invalid> {
    match (raw, wide) {
        (None, None) => Ok(FileSeries::Only),
        (None, Some(names)) => Ok(FileSeries::Wide(names)),
        (Some(_), Some(_)) => Err(invalid(key, "absent beside `series` of columns", "it")),
        (Some(raw), None) => match (raw.column, raw.name) {
            (Some(column), None) => Ok(FileSeries::Column(column)),
            (None, Some(name)) if !name.is_empty() => Ok(FileSeries::Named(name)),
            (Some(_), Some(_)) => Err(invalid(key, "`column` or `name`", "both")),
            _ => Err(invalid(key, "`column` or `name`", "neither")),
        },
    }
}

fn check_columns(
    key: &str,
    columns: BTreeMap<String, RawColumn>,
    series: &FileSeries,
    missing: &[String],
) -> Result<Vec<FileColumn>, Invalid> {
    if columns.is_empty() {
        return Err(invalid(key, "at least one column", "none"));
    }
    let mut checked = Vec::new();
    for (name, raw) in columns {
        if RESERVED.contains(&name.as_str()) {
            let expected = format!("names other than {}", RESERVED.join(", "));
            return Err(invalid(key, expected, name));
        }
        let key = format!("{key}.{name}");
        let from = match (raw.from, raw.series) {
            (Some(_), Some(_)) => {
                return Err(invalid(format!("{key}.from"), "it or `series`", "both"));
            }
            (from, None) => {
                let from = from.unwrap_or_else(|| name.clone());
                match series {
                    FileSeries::Wide(names) => vec![from; names.len()],
                    _ => vec![from],
                }
            }
            (None, Some(series)) => series.into_values().map(|Name(from)| from).collect(),
        };
        let (reading, unit) = check_unit(&key, raw.unit, raw.to)?;
        checked.push(FileColumn {
            name,
            unit,
            from,
            reading,
            missing: missing.iter().chain(&raw.missing).cloned().collect(),
        });
    }
    Ok(checked)
}

/// The unit in which values are kept, and how they are read to be in it.
pub(super) fn check_unit(
    key: &str,
    unit: String,
    to: Option<String>,
) -> Result<(Reading, String), Invalid> {
    match (unit.as_str(), to) {
        ("compass", None) => Ok((Reading::Compass, "°".to_owned())),
        ("compass", Some(to)) if to == "°" => Ok((Reading::Compass, to)),
        (_, None) => Ok((Reading::Number(None), unit)),
        (from, Some(to)) if from == to => Ok((Reading::Number(None), to)),
        (from, Some(to)) => {
            let conversion = Conversion::new(from, &to).ok_or_else(|| {
                let expected = format!("a unit that {from} can become");
                invalid(format!("{key}.to"), expected, &to)
            })?;
            Ok((Reading::Number(Some(conversion)), to))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<FileSource, String> {
        let raw = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        check("sources.x", raw).map_err(|error| error.to_string())
    }

    #[test]
    fn what_can_be_read() {
        let source = checked(
            "path: a/*.csv
delimiter: \"\\t\"
decimal: ','
encoding: latin-1
header: false
issue_time: {column: 1, format: '%Y%m%d%H'}
lead: {column: 2}
columns: {wind: {from: 3, unit: km/h, to: m/s}, direction: {from: 4, unit: compass}}
",
        )
        .unwrap();
        assert_eq!(source.path, "a/*.csv");
        assert!(!source.text.header);
        assert_eq!((source.text.delimiter, source.text.decimal), (b'\t', b','));
        assert_eq!(source.text.encoding, Some(encoding_rs::WINDOWS_1252));
        assert_eq!(source.columns[0].reading, Reading::Compass);
        assert_eq!(
            (
                source.columns[1].unit.as_str(),
                source.columns[1].from[0].as_str()
            ),
            ("m/s", "3")
        );
        let wide = checked(
            "path: a\ntime: {column: t}\ncolumns: {p: {unit: '1', series: {b: p2, a: p1}}, t: {unit: K}}",
        );
        let wide = wide.unwrap();
        assert_eq!(wide.series, FileSeries::Wide(vec!["a".into(), "b".into()]));
        assert_eq!(wide.columns[0].from, ["p1", "p2"]);
        assert_eq!(wide.columns[1].from, ["t", "t"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_key() {
        let columns = "columns: {t: {unit: K}}";
        for (text, told) in [
            ("path: ''", "sources.x.path"),
            ("delimiter: é", "sources.x.delimiter: expected one ASCII"),
            ("delimiter: \"\\n\"", "sources.x.delimiter"),
            ("decimal: ','", "sources.x.delimiter: expected another"),
            ("decimal: x", "sources.x.decimal"),
            (
                "encoding: klingon",
                "sources.x.encoding: expected an encoding",
            ),
            ("names: []", "sources.x.names"),
            (
                "series: {}",
                "sources.x.series: expected `column` or `name`",
            ),
            ("lead: {column: h}", "sources.x.lead: expected absent"),
            (
                "issue_time: {column: i}\nlead: {column: h}",
                "sources.x.lead: expected it or `time`",
            ),
            ("columns: {}", "sources.x.columns: expected at least one"),
            (
                "columns: {series: {unit: K}}",
                "sources.x.columns: expected names other",
            ),
            (
                "columns: {a: {unit: K, to: m/s}}",
                "sources.x.columns.a.to: expected a unit that K",
            ),
            (
                "columns: {a: {unit: K, from: x, series: {b: c}}}",
                "sources.x.columns.a.from",
            ),
            (
                "columns: {a: {unit: K, series: {b: c}}, d: {unit: K, series: {e: c}}}",
                "sources.x.columns.d.series: expected the series b, found e",
            ),
            ("format: xlsx", "xlsx"),
            ("tims: x", "tims"),
        ] {
            let mut whole = vec![text.to_owned()];
            for (key, line) in [
                ("path", "path: a"),
                ("time", "time: {column: t}"),
                ("columns", columns),
            ] {
                if !text.starts_with(key) {
                    whole.push(line.to_owned());
                }
            }
            let error = checked(&whole.join("\n")).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        let error = checked("path: a\ncolumns: {t: {unit: K}}").unwrap_err();
        assert!(error.contains("sources.x.time"), "{error}");
        let error =
            checked("path: a\nissue_time: {column: i}\ncolumns: {t: {unit: K}}").unwrap_err();
        assert!(error.contains("sources.x.lead"), "{error}");
    }
}
