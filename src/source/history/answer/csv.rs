//! CSV: a header that names the columns, then a row a line.

use super::super::super::http::{Refused, start_of};
use super::super::super::records::{Next, Records, line_breaks};
use super::super::super::times::TimeReader;
use super::super::json::Scalar;
use super::{Page, Reader, Rows, final_refusal, read_time};

impl Reader<'_> {
    pub(super) fn read_csv(&self, body: &[u8], delimiter: u8) -> Result<Page, Refused> {
        if body.trim_ascii().is_empty() {
            return Err(Refused {
                message: "the answer is empty".to_owned(),
                may_pass: true,
            });
        }
        let mut records = Records::new(body, delimiter, None);
        let mut next = |record: &mut csv::ByteRecord| match records.next(record) {
            Ok(Next::Record) => Ok(true),
            Ok(Next::End) => Ok(false),
            Ok(Next::Open { lines }) => Err(refuse_open(body, lines)),
            Err(error) => Err(final_refusal(format!("expected CSV: {error}"))),
        };
        let mut header = csv::ByteRecord::new();
        next(&mut header)?;
        let place = |name: &str| {
            let is_it = |field: &[u8]| field.trim_ascii() == name.as_bytes();
            header.iter().position(is_it).ok_or_else(|| {
                final_refusal(format!(
                    "expected a column `{name}`, received: {}",
                    start_of(body)
                ))
            })
        };
        let time_place = place(&self.params.time)?;
        let mut places = Vec::new();
        for field in &self.params.columns {
            places.push(match place(&field.from) {
                Ok(place) => Some(place),
                Err(_) if field.optional => None,
                Err(refused) => return Err(refused),
            });
        }
        if !body.ends_with(b"\n") && !body.ends_with(b"\r") {
            // Nothing else would tell that a number was cut in two.
            return Err(Refused {
                message: "the answer ends early: its last line has no end".to_owned(),
                may_pass: true,
            });
        }
        let mut times = TimeReader::new(&self.params.time_format);
        let mut page = Page {
            rows: Rows::empty(places.len()),
            ..Page::default()
        };
        let mut row = csv::ByteRecord::new();
        while next(&mut row)? {
            page.received += 1;
            let line = row.position().map_or(0, csv::Position::line);
            let (expected, found) = (header.len(), row.len());
            if found != expected {
                return Err(Refused {
                    message: format!("line {line}: expected {expected} fields, found {found}"),
                    // A cut line has fewer fields, and another try may bring a whole one.
                    may_pass: found < expected,
                });
            }
            let text = |place: usize| std::str::from_utf8(&row[place]).unwrap_or("\u{fffd}");
            let wrong = |name: &str, message: String| {
                final_refusal(format!("line {line}, `{name}`: {message}"))
            };
            let time = read_time(&mut times, Scalar::Text(text(time_place)));
            let Some(time) = time.map_err(|message| wrong(&self.params.time, message))? else {
                continue;
            };
            page.rows.times.push(time);
            for (number, place) in places.iter().enumerate() {
                let scalar = place.map_or(Scalar::Null, |place| Scalar::Text(text(place)));
                let value = self.value(number, scalar);
                let from = &self.params.columns[number].from;
                page.rows.columns[number].push(value.map_err(|message| wrong(from, message))?);
            }
        }
        Ok(page)
    }
}

/// A quotation that begins so many line breaks before the end: either the rest of it was cut on its way, or it is
/// none.
fn refuse_open(body: &[u8], lines: u64) -> Refused {
    let line = (line_breaks(body) + 1).saturating_sub(lines);
    Refused {
        message: format!(
            "line {line}: the answer ends early: no quotation mark (\") ends what one in this line begins"
        ),
        may_pass: true,
    }
}
