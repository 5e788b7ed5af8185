//! A CSV file, plain or gzipped, with a header row.

use std::io::{Cursor, Read};

use super::{Asked, Fetched, Source, SourceError};
use crate::data::{Column, Table};
use crate::fs;
use crate::params::FileSource;

/// The first two bytes of every gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(super) struct File<'a> {
    pub(super) params: &'a FileSource,
}

impl Source for File<'_> {
    fn inputs(&self) -> Vec<String> {
        vec![self.params.path.clone()]
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        let bytes = fs::read(&asked.root.join(&self.params.path))?;
        let table = self.parse(&self.unpack(bytes)?)?;
        Ok(Fetched {
            table,
            news: None,
            warnings: Vec::new(),
        })
    }
}

impl File<'_> {
    fn wrong(&self, message: impl Into<String>) -> SourceError {
        SourceError::File {
            file: self.params.path.clone(),
            message: message.into(),
        }
    }

    fn unpack(&self, bytes: Vec<u8>) -> Result<Vec<u8>, SourceError> {
        if !bytes.starts_with(&GZIP) {
            return Ok(bytes);
        }
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(Cursor::new(bytes))
            .read_to_end(&mut unpacked)
            .map_err(|error| self.wrong(format!("damaged gzip file: {error}")))?;
        Ok(unpacked)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Table, SourceError> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.params.delimiter)
            .from_reader(bytes);
        let header = reader
            .byte_headers()
            .map_err(|error| self.broken_row(&error))?
            .clone();
        let place = |name: &str| {
            header
                .iter()
                .position(|field| field == name.as_bytes())
                .ok_or_else(|| {
                    let there: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
                    self.wrong(format!(
                        "no column `{name}`; there are {}",
                        there.join(", ")
                    ))
                })
        };
        let time_place = place(self.time_column())?;
        let mut columns = Vec::new();
        for (name, column) in &self.params.columns {
            let values = Vec::new();
            columns.push((
                place(&column.from)?,
                Column {
                    name: name.clone(),
                    unit: column.unit.clone(),
                    values,
                },
            ));
        }
        let mut times = Vec::new();
        let mut row = csv::ByteRecord::new();
        while reader
            .read_byte_record(&mut row)
            .map_err(|error| self.broken_row(&error))?
        {
            let line = row.position().map_or(0, csv::Position::line);
            times.push(self.time(&row[time_place], line)?);
            for (place, column) in &mut columns {
                column
                    .values
                    .push(self.value(&row[*place], &column.name, line)?);
            }
        }
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Table::new(times, columns).map_err(|source| SourceError::Table {
            file: self.params.path.clone(),
            source,
        })
    }

    fn time_column(&self) -> &str {
        match &self.params.time.place {
            crate::params::TimePlace::Column(name) => name,
            crate::params::TimePlace::Parts(_) => "",
        }
    }

    fn time(&self, field: &[u8], line: u64) -> Result<i64, SourceError> {
        let text = String::from_utf8_lossy(field);
        let mut reader = super::times::TimeReader::new(&self.params.time.format);
        match reader.read(&text) {
            Ok(Some(time)) => Ok(time),
            Ok(None) => Err(self.row(line, "skipped".to_owned())),
            Err(error) => Err(self.row(line, error.to_string())),
        }
    }

    fn value(&self, field: &[u8], name: &str, line: u64) -> Result<f64, SourceError> {
        let text = std::str::from_utf8(field).unwrap_or("\u{fffd}").trim();
        if text.is_empty() || self.params.missing.iter().any(|missing| missing == text) {
            return Ok(f64::NAN);
        }
        text.parse::<f64>()
            .ok()
            .filter(|value| !value.is_infinite())
            .ok_or_else(|| {
                self.row(
                    line,
                    format!("expected a number in `{name}`, found `{text}`"),
                )
            })
    }

    fn row(&self, line: u64, message: String) -> SourceError {
        SourceError::Row {
            file: self.params.path.clone(),
            line,
            message,
        }
    }

    fn broken_row(&self, error: &csv::Error) -> SourceError {
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                self.row(line, format!("expected {expected_len} fields, found {len}"))
            }
            _ => self.wrong(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use super::*;
    use crate::params::FileColumn;

    fn params() -> FileSource {
        let column = |from: &str| FileColumn {
            from: from.into(),
            unit: "°C".into(),
        };
        FileSource {
            path: "station.csv".into(),
            time: crate::params::SourceTime {
                place: crate::params::TimePlace::Column("time".into()),
                format: crate::params::TimeFormat {
                    notation: crate::params::Notation::Iso,
                    clock: crate::params::Clock::Offset(0),
                },
            },
            columns: BTreeMap::from([("t".to_owned(), column("TEMP"))]),
            delimiter: b',',
            missing: vec!["NA".into(), "-9999".into()],
        }
    }

    fn parse(text: &str) -> Result<Table, String> {
        File { params: &params() }
            .parse(text.as_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_missing_values_and_other_columns() {
        let table = parse(
            "x,time,TEMP\n1,1970-01-01T00:00Z,1.5\n2,1970-01-01T01:00Z,NA\n3,1970-01-01 02:00,\n",
        )
        .unwrap();
        assert_eq!(table.times(), [0, 3600, 7200]);
        let values = &table.column("t").unwrap().values;
        assert!((values[0] - 1.5).abs() < 1e-12 && values[1].is_nan() && values[2].is_nan());
        assert!(parse("time,TEMP\n1970-01-01,-9999\n").unwrap().columns()[0].values[0].is_nan());
        assert_eq!(parse("time,TEMP\n").unwrap().times(), [0_i64; 0]);
    }

    #[test]
    fn a_broken_row_is_told_with_its_line() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            error("time,TEMP\n1970-01-01T00:00Z,1.5\n1970-01-01T01:00Z,warm\n"),
            "station.csv, line 3: expected a number in `t`, found `warm`"
        );
        assert_eq!(
            error("time,TEMP\nsoon,1.5\n"),
            "station.csv, line 2: expected a time (an ISO date and time) in `time`, found `soon`"
        );
        assert_eq!(
            error("time,TEMP\n1970-01-01\n"),
            "station.csv, line 2: expected 2 fields, found 1"
        );
        assert_eq!(
            error("zeit,TEMP\n"),
            "station.csv: no column `time`; there are zeit, TEMP"
        );
        assert!(error("time,TEMP\n1970-01-01,inf\n").contains("inf"));
        assert!(error("").contains("no column `time`"));
    }

    #[test]
    fn gzip_is_seen_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"time,TEMP\n1970-01-01,1\n").unwrap();
        let packed = encoder.finish().unwrap();
        fs::write_atomic(&folder.path().join("station.csv"), &packed).unwrap();
        let params = params();
        let file = File { params: &params };
        let fetch = || {
            file.fetch(&mut Asked {
                root: folder.path(),
                offline: false,
                progress: &mut |_, _, _| {},
            })
        };
        assert_eq!(fetch().unwrap().table.times(), [0]);
        fs::write_atomic(&folder.path().join("station.csv"), &packed[..12]).unwrap();
        assert!(fetch().unwrap_err().to_string().contains("damaged gzip"));
    }
}
