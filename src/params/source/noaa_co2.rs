//! `kind: noaa-co2`: from what a person wrote to what can be asked for or read.

use serde::Deserialize;

use super::super::{Invalid, invalid};
use super::requests::{RawLimits, RequestLimits, check_limits};
use crate::yaml::sections;

sections!(RawNoaaCo2);

/// As a person wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawNoaaCo2 {
    pub(super) interval: Interval,
    pub(super) path: Option<String>,
    pub(super) url: Option<String>,
    pub(super) columns: Option<Vec<String>>,
    #[serde(default)]
    pub(super) requests: RawLimits,
}

/// A table of CO2 at Mauna Loa.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoaaCo2Source {
    /// Which of the tables.
    pub interval: Interval,
    /// Where it is.
    pub place: NoaaPlace,
    /// Which of its columns; at least one.
    pub columns: Vec<Co2Column>,
}

/// Where a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoaaPlace {
    /// In a file, relative to the project.
    File(String),
    /// At a server.
    Url {
        /// Its address.
        url: String,
        /// How long and how often to try.
        requests: RequestLimits,
    },
}

/// How much time a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// A day.
    Daily,
    /// A week from Sunday.
    Weekly,
    /// A month.
    Monthly,
}

impl Interval {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The columns of its table that are values.
    pub fn columns(self) -> &'static [Co2Column] {
        match self {
            Self::Daily => &DAILY,
            Self::Weekly => &WEEKLY,
            Self::Monthly => &MONTHLY,
        }
    }
}

/// A column of a table: by its name here, with its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Co2Column {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its place in a row, from 0.
    pub place: usize,
}

const fn column(name: &'static str, unit: &'static str, place: usize) -> Co2Column {
    Co2Column { name, unit, place }
}

const DAILY: [Co2Column; 1] = [column("co2", "ppm", 4)];
const WEEKLY: [Co2Column; 5] = [
    column("co2", "ppm", 4),
    column("days", "1", 5),
    column("co2_a_year_ago", "ppm", 6),
    column("co2_10_years_ago", "ppm", 7),
    column("co2_since_1800", "ppm", 8),
];
const MONTHLY: [Co2Column; 5] = [
    column("co2", "ppm", 3),
    column("co2_deseasonalized", "ppm", 4),
    column("days", "1", 5),
    column("co2_deviation", "ppm", 6),
    column("co2_uncertainty", "ppm", 7),
];

pub(in crate::params) fn check(key: &str, raw: RawNoaaCo2) -> Result<NoaaCo2Source, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    let place = match (raw.path, raw.url) {
        (Some(_), Some(_)) => return Err(invalid(key("url"), "`path` or `url`", "both")),
        (Some(path), None) if path.is_empty() => {
            return Err(invalid(key("path"), "a file", "nothing"));
        }
        (Some(path), None) => NoaaPlace::File(path),
        (None, url) => {
            let url = url.unwrap_or_else(|| address(raw.interval).to_owned());
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            if !is_web || url.contains(['?', '#', '@']) {
                let expected = "https://HOST/PATH without a query or a password";
                return Err(invalid(key("url"), expected, "something else"));
            }
            NoaaPlace::Url {
                url,
                requests: check_limits(&key("requests"), &raw.requests)?,
            }
        }
    };
    let names = raw.columns.unwrap_or_else(|| vec!["co2".to_owned()]);
    let there = raw.interval.columns();
    let mut columns: Vec<Co2Column> = Vec::new();
    for name in &names {
        let Some(column) = there.iter().find(|column| column.name == name) else {
            let all: Vec<&str> = there.iter().map(|column| column.name).collect();
            return Err(invalid(key("columns"), all.join(", "), name));
        };
        if columns.contains(column) {
            return Err(invalid(
                key("columns"),
                "each name once",
                format!("{name} twice"),
            ));
        }
        columns.push(*column);
    }
    if columns.is_empty() {
        return Err(invalid(key("columns"), "at least one", "none"));
    }
    Ok(NoaaCo2Source {
        interval: raw.interval,
        place,
        columns,
    })
}

/// Where the Global Monitoring Laboratory publishes them.
fn address(interval: Interval) -> &'static str {
    match interval {
        Interval::Daily => "https://gml.noaa.gov/webdata/ccgg/trends/co2/co2_daily_mlo.csv",
        Interval::Weekly => "https://gml.noaa.gov/webdata/ccgg/trends/co2/co2_weekly_mlo.csv",
        Interval::Monthly => "https://gml.noaa.gov/webdata/ccgg/trends/co2/co2_mm_mlo.csv",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<NoaaCo2Source, String> {
        let raw = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        check("sources.x", raw).map_err(|error| error.to_string())
    }

    #[test]
    fn which_table_and_which_columns() {
        let source = checked("{interval: weekly, columns: [days, co2]}").unwrap();
        assert_eq!(source.columns, [WEEKLY[1], WEEKLY[0]]);
        assert!(
            matches!(source.place, NoaaPlace::Url { url, .. } if url.ends_with("weekly_mlo.csv"))
        );
        for (text, told) in [
            ("{interval: hourly}", "hourly"),
            (
                "{interval: daily, columns: [days]}",
                "sources.x.columns: expected co2, found days",
            ),
            ("{interval: weekly, columns: []}", "at least one"),
            ("{interval: weekly, columns: [co2, co2]}", "co2 twice"),
            (
                "{interval: weekly, path: a, url: 'http://b'}",
                "sources.x.url",
            ),
            ("{interval: weekly, path: ''}", "sources.x.path"),
            ("{interval: weekly, url: 'ftp://b'}", "sources.x.url"),
            (
                "{interval: weekly, url: 'http://b/c?key=1'}",
                "without a query",
            ),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
