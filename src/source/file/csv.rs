//! Rows of fields with a delimiter between them.

use std::io::BufRead;

use csv::{ByteRecord, Position};

use super::rows::{Field, Row, Rows};
use super::text::Text;
use super::{bad_row, some_of, wrong};
use crate::params::TextFormat;
use crate::source::SourceError;

/// Bytes of a field or a line that may be read before it is broken for sure.
const BUFFER: usize = 1 << 16;

/// The fields that are wanted, in a record.
struct CsvRow<'a> {
    record: &'a ByteRecord,
    /// Where each of them stands.
    places: &'a [usize],
}

impl Row for CsvRow<'_> {
    fn field(&self, slot: usize) -> Field<'_> {
        Field::Text(&self.record[self.places[slot]])
    }
}

pub(super) fn read(
    mut text: Text<'_>,
    file: &str,
    format: &TextFormat,
    rows: &mut Rows<'_>,
) -> Result<(), SourceError> {
    let is_packed = text.is_packed();
    for _ in 0..format.skip_rows {
        skip_line(&mut text).map_err(|error| Text::fault(file, is_packed, &error))?;
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(format.delimiter)
        .comment(format.comment)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(BUFFER)
        .from_reader(text);
    let mut record = ByteRecord::new();
    let mut next = |record: &mut ByteRecord| {
        reader
            .read_byte_record(record)
            .map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => Text::fault(file, is_packed, &error),
                other => wrong(file, format!("{other:?}")),
            })
    };
    let line = |record: &ByteRecord| format.skip_rows + record.position().map_or(0, Position::line);
    let mut is_there = next(&mut record)?;
    let header = Header::new(format, &record, file, line(&record))?;
    let places = header.places(rows.wanted(), file)?;
    if format.header {
        is_there = next(&mut record)?;
    }
    while is_there {
        let is_whole = record.len() == header.width
            // A delimiter at the end of each line makes an empty field that means nothing.
            || (record.len() == header.width + 1 && record[header.width].is_empty());
        if !is_whole {
            let (expected, found) = (header.width, record.len());
            let message = format!("expected {expected} fields, found {found}");
            return Err(bad_row(file, line(&record), message));
        }
        let row = CsvRow {
            record: &record,
            places: &places,
        };
        rows.add(&row)
            .map_err(|message| bad_row(file, line(&record), message))?;
        is_there = next(&mut record)?;
    }
    Ok(())
}

/// Takes a line away without keeping it.
fn skip_line(text: &mut Text<'_>) -> std::io::Result<()> {
    loop {
        let buffer = text.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (length, is_over) = (buffer.len(), buffer.is_empty());
        text.consume(end.map_or(length, |end| end + 1));
        if end.is_some() || is_over {
            return Ok(());
        }
    }
}

/// The names of the columns.
struct Header {
    names: Vec<Vec<u8>>,
    width: usize,
}

impl Header {
    /// From the first record, which is the header where there is one.
    fn new(
        format: &TextFormat,
        first: &ByteRecord,
        file: &str,
        line: u64,
    ) -> Result<Self, SourceError> {
        let mut found: Vec<Vec<u8>> = first.iter().map(<[u8]>::to_vec).collect();
        // A delimiter at the end of the line.
        if found.len() > 1 && found.last().is_some_and(Vec::is_empty) {
            found.pop();
        }
        let names = match &format.names {
            Some(names) => {
                if names.len() != found.len() && !(found.is_empty() && !format.header) {
                    let (expected, there) = (names.len(), found.len());
                    let message =
                        format!("expected {expected} fields as in `names`, found {there}");
                    return Err(bad_row(file, line, message));
                }
                names.iter().map(|name| name.clone().into_bytes()).collect()
            }
            None if format.header => found,
            None => (1..=found.len())
                .map(|number| number.to_string().into_bytes())
                .collect(),
        };
        let width = names.len();
        Ok(Self { names, width })
    }

    fn places(&self, wanted: &[&str], file: &str) -> Result<Vec<usize>, SourceError> {
        // A file without anything in it has no columns to miss.
        wanted.iter().map(|name| self.place(name, file)).collect()
    }

    /// By its name, or by its name without the blanks around it.
    fn place(&self, name: &str, file: &str) -> Result<usize, SourceError> {
        let find = |is_it: &dyn Fn(&[u8]) -> bool| {
            let mut places = (0..self.names.len()).filter(|&place| is_it(&self.names[place]));
            (places.next(), places.next())
        };
        let exact = find(&|found| found == name.as_bytes());
        let found = match exact {
            (None, _) => find(&|found| found.trim_ascii() == name.trim().as_bytes()),
            exact => exact,
        };
        match found {
            (Some(place), None) => Ok(place),
            (Some(one), Some(other)) => {
                let (one, other) = (one + 1, other + 1);
                let message = format!(
                    "the columns {one} and {other} are both called `{name}`; `names` can call them otherwise"
                );
                Err(wrong(file, message))
            }
            (None, _) => {
                let there = some_of(self.names.iter().map(|name| String::from_utf8_lossy(name)));
                let is_text = self
                    .names
                    .iter()
                    .all(|name| std::str::from_utf8(name).is_ok());
                let why = if is_text {
                    ""
                } else {
                    ", which is not UTF-8: name its `encoding`"
                };
                Err(wrong(
                    file,
                    format!("no column `{name}`; there are {there}{why}"),
                ))
            }
        }
    }
}
