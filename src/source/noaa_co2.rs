//! CO2 at Mauna Loa: the daily, weekly and monthly tables of NOAA's Global Monitoring Laboratory,
//! from a file or from its server.
//!
//! A table begins with comments (`#`), and may have a line of names. A row is told by its date, at
//! midnight UTC: the day, the first day of the week, the first of the month; its decimal date is
//! not looked at. Which table it is shows in the names or in the number of its fields, and another
//! one than was asked for is refused.
//!
//! Its −999.99 for "no value" is passed on as a number. `prepare` and `check` know it, count it and
//! mask it; a reader that took it away would hide how many there were.

use std::collections::HashMap;
use std::io::Read;

use super::http::{Answer, Ask, Client, Limits, Refused, SystemClock, start_of};
use super::{Asked, Fetched, GZIPPED, News, Source, SourceError, gone_rows};
use crate::data::{Column, Table};
use crate::fs;
use crate::params::{Interval, NoaaCo2Source, NoaaPlace};
use crate::time::local_seconds;

/// The largest of the tables has less than one megabyte.
const LONGEST: u64 = 64 << 20;

pub(super) struct NoaaCo2<'a> {
    pub(super) params: &'a NoaaCo2Source,
}

impl Source for NoaaCo2<'_> {
    fn inputs(&self) -> Vec<String> {
        match &self.params.place {
            NoaaPlace::File(path) => vec![path.clone()],
            NoaaPlace::Url { .. } => Vec::new(),
        }
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        match &self.params.place {
            NoaaPlace::File(path) => {
                let bytes = unpacked(fs::read(&asked.root.join(path))?);
                let rows = bytes
                    .map_err(|error| Wrong::Whole(format!("damaged gzip file: {error}")))
                    .and_then(|bytes| self.parse(&bytes))
                    .map_err(|wrong| wrong.of_file(path))?;
                let table = self.table(rows, path)?;
                Ok(Fetched::of(table, None))
            }
            NoaaPlace::Url { url, requests } => self.fetch_from(url, Limits::from(requests), asked),
        }
    }
}

/// The rows of a table, one list a column.
#[derive(Debug)]
struct Rows {
    times: Vec<i64>,
    columns: Vec<Vec<f64>>,
}

/// What is wrong with a table.
#[derive(Debug)]
enum Wrong {
    Whole(String),
    Row { line: u64, message: String },
}

impl Wrong {
    fn of_file(self, file: &str) -> SourceError {
        let file = file.to_owned();
        match self {
            Self::Whole(message) => SourceError::File { file, message },
            Self::Row { line, message } => SourceError::Row {
                file,
                line,
                message,
            },
        }
    }

    fn told(self) -> String {
        match self {
            Self::Whole(message) => message,
            Self::Row { line, message } => format!("line {line}: {message}"),
        }
    }
}

impl NoaaCo2<'_> {
    fn fetch_from(
        &self,
        url: &str,
        limits: Limits,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        let clock = SystemClock::new();
        let client = Client::new(asked.root, limits, &clock, None, asked.offline)?;
        let ask = Ask {
            slot: url.to_owned(),
            url: url.to_owned(),
            // The newest months are preliminary, and the table grows.
            ..Ask::default()
        };
        let read = |body: &[u8]| {
            self.parse(body).map_err(|wrong| Refused {
                message: format!("{}, received: {}", wrong.told(), start_of(body)),
                may_pass: false,
            })
        };
        // The laboratory adds rows and corrects them; it takes none away.
        let least = client.stored(url)?.and_then(|body| self.parse(&body).ok());
        let least = least.map_or(1, |rows| rows.times.len());
        let accept = |body: &[u8]| {
            let is_whole = body.ends_with(b"\n");
            let rows = read(body).map_err(|refused| Refused {
                may_pass: !is_whole,
                ..refused
            })?;
            if is_whole && rows.times.len() >= least {
                return Ok(());
            }
            Err(Refused {
                message: format!(
                    "the answer ends early, after {} rows; expected at least {least}, as before",
                    rows.times.len()
                ),
                may_pass: true,
            })
        };
        let Answer { body, before, .. } = client.get(&ask, &accept)?;
        let rows = read(&body).map_err(|refused| SourceError::Http {
            url: url.to_owned(),
            message: refused.message,
        })?;
        (asked.progress)(1, 1, rows.times.len());
        let before = before.and_then(|body| self.parse(&body).ok());
        let (news, gone) = compare(before.as_ref(), &rows);
        let table = self.table(rows, url)?;
        Ok(Fetched {
            table,
            news: (!asked.offline).then_some(news),
            warnings: gone_rows(gone).into_iter().collect(),
        })
    }

    fn table(&self, rows: Rows, file: &str) -> Result<Table, SourceError> {
        let columns = self.params.columns.iter().zip(rows.columns);
        let columns = columns.map(|(column, values)| Column {
            name: column.name.to_owned(),
            unit: column.unit.to_owned(),
            values,
        });
        Table::new(rows.times, columns.collect()).map_err(|source| SourceError::Table {
            file: file.to_owned(),
            source,
        })
    }

    fn parse(&self, bytes: &[u8]) -> Result<Rows, Wrong> {
        let mut rows = Rows {
            times: Vec::new(),
            columns: vec![Vec::new(); self.params.columns.len()],
        };
        let mut is_known = false;
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = String::from_utf8_lossy(line.trim_ascii());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let is_header = fields[0].eq_ignore_ascii_case("year");
            if !is_known {
                self.recognise(&fields, is_header)?;
                is_known = true;
            }
            if !is_header {
                self.add(&mut rows, &fields).map_err(|message| Wrong::Row {
                    line: number,
                    message,
                })?;
            }
        }
        if is_known {
            Ok(rows)
        } else {
            Err(Wrong::Whole(
                "expected a table of CO2, found no row".to_owned(),
            ))
        }
    }

    /// Refuses another table than was asked for.
    fn recognise(&self, fields: &[&str], is_header: bool) -> Result<(), Wrong> {
        let asked = self.params.interval;
        let found = match fields.len() {
            5 => Some(Interval::Daily),
            9 => Some(Interval::Weekly),
            8 => Some(Interval::Monthly),
            _ => None,
        };
        // Names tell more than their number: only the monthly table has no day.
        let has_day = fields.iter().any(|name| name.eq_ignore_ascii_case("day"));
        let fits = !is_header || has_day == (found != Some(Interval::Monthly));
        match found {
            Some(found) if fits && found == asked => Ok(()),
            Some(found) if fits => Err(Wrong::Whole(format!(
                "expected the {} table of CO2, found the {} one; `interval` says which",
                asked.name(),
                found.name()
            ))),
            _ => Err(Wrong::Whole(format!(
                "expected the {} table of CO2, found {} fields: {}",
                asked.name(),
                fields.len(),
                start_of(fields.join(",").as_bytes())
            ))),
        }
    }

    fn add(&self, rows: &mut Rows, fields: &[&str]) -> Result<(), String> {
        let interval = self.params.interval;
        let expected = match interval {
            Interval::Daily => 5,
            Interval::Weekly => 9,
            Interval::Monthly => 8,
        };
        if fields.len() != expected {
            return Err(format!(
                "expected {expected} fields, found {}",
                fields.len()
            ));
        }
        let whole = |place: usize| fields[place].parse::<i64>().ok();
        let day = match interval {
            Interval::Monthly => Some(1),
            Interval::Daily | Interval::Weekly => whole(2),
        };
        let time = match (whole(0), whole(1), day) {
            (Some(year), Some(month), Some(day)) => local_seconds(year, month, day, 0, 0, 0),
            _ => None,
        };
        let time = time.ok_or_else(|| {
            let found = fields[..fields.len().min(3)].join(",");
            format!("expected a date, found {found}")
        })?;
        for (column, values) in self.params.columns.iter().zip(&mut rows.columns) {
            let found = fields[column.place];
            let value = match found {
                "" | "NaN" => f64::NAN,
                text => text
                    .parse()
                    .ok()
                    .filter(|value: &f64| value.is_finite())
                    .ok_or_else(|| {
                        let name = column.name;
                        format!("expected a number as {name}, found {found}")
                    })?,
            };
            values.push(value);
        }
        rows.times.push(time);
        Ok(())
    }
}

fn unpacked(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(GZIPPED) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(&*bytes)
        .take(LONGEST + 1)
        .read_to_end(&mut unpacked)?;
    if unpacked.len() as u64 > LONGEST {
        return Err(std::io::Error::other("it is too long unpacked"));
    }
    Ok(unpacked)
}

/// How many rows were not there before, how many had other values, and how many are gone.
fn compare(before: Option<&Rows>, now: &Rows) -> (News, usize) {
    let row = |rows: &Rows, at: usize| -> Vec<u64> {
        rows.columns
            .iter()
            .map(|values| values[at].to_bits())
            .collect()
    };
    let mut before: HashMap<i64, Vec<u64>> = before
        .map(|rows| {
            (0..rows.times.len())
                .map(|at| (rows.times[at], row(rows, at)))
                .collect()
        })
        .unwrap_or_default();
    let mut news = News::default();
    for (at, time) in now.times.iter().enumerate() {
        match before.remove(time) {
            None => news.new += 1,
            Some(values) if values != row(now, at) => news.corrected += 1,
            Some(_) => {}
        }
    }
    (news, before.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Co2Column;
    use crate::time::format_short;

    fn source(interval: Interval) -> NoaaCo2Source {
        let columns: Vec<Co2Column> = interval.columns().to_vec();
        NoaaCo2Source {
            interval,
            place: NoaaPlace::File("co2.csv".into()),
            columns,
        }
    }

    const DAILY: &str = "# Mauna Loa\n#\n1974,5,17,1974.3740,333.38\n1974,5,19,1974.3795,-999.99\n";
    const WEEKLY: &str = "# Mauna Loa\r\nyear,month,day,decimal,average,ndays,1 year ago,10 years ago,increase since 1800\r\n\
                          1974,5,19,1974.3795,333.37,5,-999.99,-999.99,50.40\r\n";
    const MONTHLY: &str = "# Mauna Loa\nyear,month,decimal date,average,deseasonalized,ndays,sdev,unc\n\
                           1958,3,1958.2027,315.70,314.43,-1,-9.99,-0.99\n";

    fn parse(interval: Interval, text: &str) -> Result<Vec<(String, Vec<f64>)>, String> {
        let source = source(interval);
        let rows = NoaaCo2 { params: &source }.parse(text.as_bytes());
        let Rows { times, columns } = rows.map_err(Wrong::told)?;
        let row = |(at, time): (usize, &i64)| {
            (
                format_short(*time),
                columns.iter().map(|values| values[at]).collect(),
            )
        };
        Ok(times.iter().enumerate().map(row).collect())
    }

    #[test]
    fn three_tables() {
        let rows = parse(Interval::Daily, DAILY).unwrap();
        assert_eq!(rows[0], ("1974-05-17 00:00".to_owned(), vec![333.38]));
        assert_eq!(rows[1], ("1974-05-19 00:00".to_owned(), vec![-999.99]));
        let rows = parse(Interval::Weekly, WEEKLY).unwrap();
        let values = vec![333.37, 5.0, -999.99, -999.99, 50.4];
        assert_eq!(rows, [("1974-05-19 00:00".to_owned(), values)]);
        let rows = parse(Interval::Monthly, MONTHLY).unwrap();
        let values = vec![315.7, 314.43, -1.0, -9.99, -0.99];
        assert_eq!(rows, [("1958-03-01 00:00".to_owned(), values)]);
    }

    #[test]
    fn another_table_is_refused() {
        for (asked, text, told) in [
            (
                Interval::Daily,
                WEEKLY,
                "expected the daily table of CO2, found the weekly one",
            ),
            (
                Interval::Weekly,
                MONTHLY,
                "expected the weekly table of CO2, found the monthly one",
            ),
            (
                Interval::Monthly,
                DAILY,
                "expected the monthly table of CO2, found the daily one",
            ),
            (Interval::Daily, "<html>\n", "found 1 fields: <html>"),
            (Interval::Daily, "# nothing\n", "found no row"),
            (
                Interval::Daily,
                "1974,13,1,1974.9,333\n",
                "line 1: expected a date, found 1974,13,1",
            ),
            (
                Interval::Daily,
                "1974,5,1,1974.9,much\n",
                "line 1: expected a number as co2, found much",
            ),
        ] {
            let error = parse(asked, text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let cut = format!("{DAILY}1974,5");
        let error = parse(Interval::Daily, &cut).unwrap_err();
        assert_eq!(error, "line 5: expected 5 fields, found 2");
    }

    #[test]
    fn what_is_new_and_what_is_corrected() {
        let rows = |text: &str| {
            let source = source(Interval::Daily);
            NoaaCo2 { params: &source }.parse(text.as_bytes()).unwrap()
        };
        let now = rows(&format!("{DAILY}1974,5,20,1974.3822,333.64\n").replace("333.38", "333.39"));
        let (news, gone) = compare(Some(&rows(DAILY)), &now);
        assert_eq!((news.new, news.corrected, gone), (1, 1, 0));
        assert_eq!(compare(None, &now).0.new, 3);
        assert_eq!(compare(Some(&now), &rows(DAILY)).1, 1);
    }
}
