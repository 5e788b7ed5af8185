//! Rows of fields with a delimiter between them.
//!
//! The line of a bad row is found by counting once more from the beginning: the position that the
//! csv crate tells is that of the line before where lines end in `\r\n`, and that of a comment
//! where one stands above the row.

use std::io::{self, BufRead, Read};

use csv::ByteRecord;

use super::rows::{Field, Row, Rows};
use super::text::Text;
use super::{bad_row, some_of, wrong};
use crate::params::TextFormat;
use crate::source::SourceError;
use crate::source::records::{Next, Records, line_breaks};

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

/// What is wrong with a file: as a whole, with the row that ends before a byte of it, or with a quotation
/// that begins so many line breaks before its end.
enum Fault {
    Whole(SourceError),
    Row { end: u64, message: String },
    Open { lines: u64 },
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Self::Whole(error)
    }
}

/// Reads a file, which can be opened as often as it takes.
pub(super) fn read<'a>(
    text: Text<'a>,
    open: &dyn Fn() -> Result<Text<'a>, SourceError>,
    file: &str,
    format: &TextFormat,
    rows: &mut Rows<'_>,
) -> Result<(), SourceError> {
    let line = |end: u64| {
        let line = line_before(open()?, end);
        line.map_err(|error| wrong(file, error.to_string()))
    };
    match read_rows(text, file, format, rows) {
        Ok(()) => Ok(()),
        Err(Fault::Whole(error)) => Err(error),
        Err(Fault::Row { end, message }) => Err(bad_row(file, line(end)?, message)),
        Err(Fault::Open { lines }) => {
            let message = "expected a second quotation mark (\") that ends what one in this line begins, found the \
                           end of the file; close it, or take it out";
            let line = line(u64::MAX)?.saturating_sub(lines);
            Err(bad_row(file, line, message.to_owned()))
        }
    }
}

fn read_rows(
    mut text: Text<'_>,
    file: &str,
    format: &TextFormat,
    rows: &mut Rows<'_>,
) -> Result<(), Fault> {
    let is_packed = text.is_packed();
    let fault = |error: &io::Error| Text::fault(file, is_packed, error);
    let mut above = 0;
    for _ in 0..format.skip_rows {
        above += skip_line(&mut text).map_err(|error| fault(&error))?;
    }
    let mut records = Records::new(text, format.delimiter, format.comment);
    let next = |records: &mut Records<Text<'_>>, record: &mut ByteRecord| -> Result<_, Fault> {
        let next = records
            .next(record)
            .map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => fault(&error),
                other => wrong(file, format!("{other:?}")),
            })?;
        match next {
            Next::Record => Ok(true),
            Next::End => Ok(false),
            Next::Open { lines } => Err(Fault::Open { lines }),
        }
    };
    let bad = |records: &Records<Text<'_>>, message: String| Fault::Row {
        end: above + records.end(),
        message,
    };
    let mut record = ByteRecord::new();
    let mut is_there = next(&mut records, &mut record)?;
    let header = Header::new(format, &record).map_err(|message| bad(&records, message))?;
    let places = header.places(rows.wanted(), file)?;
    if format.header {
        is_there = next(&mut records, &mut record)?;
    }
    while is_there {
        let is_whole = record.len() == header.width
            // A delimiter at the end of each line makes an empty field that means nothing.
            || (record.len() == header.width + 1 && record[header.width].is_empty());
        if !is_whole {
            let (expected, found) = (header.width, record.len());
            let message = format!("expected {expected} fields, found {found}");
            return Err(bad(&records, message));
        }
        let row = CsvRow {
            record: &record,
            places: &places,
        };
        rows.add(&row).map_err(|message| bad(&records, message))?;
        is_there = next(&mut records, &mut record)?;
    }
    Ok(())
}

/// Takes a line away without keeping it, and tells its length.
fn skip_line(text: &mut Text<'_>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = text.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        text.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

/// The number of the line with the last byte before `end`.
fn line_before(text: Text<'_>, end: u64) -> io::Result<u64> {
    let mut text = text.take(end.saturating_sub(1));
    let mut line = 1;
    loop {
        let buffer = text.fill_buf()?;
        let taken = buffer.len();
        line += line_breaks(buffer);
        text.consume(taken);
        if taken == 0 {
            return Ok(line);
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
    fn new(format: &TextFormat, first: &ByteRecord) -> Result<Self, String> {
        let mut found: Vec<Vec<u8>> = first.iter().map(<[u8]>::to_vec).collect();
        let ends_empty = found.len() > 1 && found.last().is_some_and(Vec::is_empty);
        let named = format.names.as_ref().map(Vec::len);
        // A delimiter at the end of the line; without a header it may be a missing value.
        if ends_empty && named.map_or(format.header, |named| named < found.len()) {
            found.pop();
        }
        let names: Vec<Vec<u8>> = match &format.names {
            Some(names) => {
                let is_nothing = first.is_empty();
                if names.len() != found.len() && !is_nothing {
                    let (expected, there) = (names.len(), found.len());
                    return Err(format!(
                        "expected {expected} fields as in `names`, found {there}"
                    ));
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
