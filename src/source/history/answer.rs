//! Rows from the body of an answer, JSON or CSV.
//!
//! A value is a number, or text that is one; null, an empty text and the texts that the parameters
//! list mean "no value". Anything else is an error that says where it stands and what was found. A
//! row may lack a value, but where all rows of an answer lack a column it is not the answer that the
//! parameters describe.
//!
//! Values in, values out: it must not know of requests.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess};

use super::super::file::{converted, numbers_of};
use super::super::http::{Refused, start_of};
use super::super::records::{Next, Records, line_breaks};
use super::super::times::TimeReader;
use super::json::{Each, Element, Leaves, Scalar, ScalarTo, Tree, Walk};
use crate::params::{AnswerFormat, AnswerParams, Layout, Paging, Pointer, Reading};
use crate::physics::compass_degrees;

/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Rows in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    pub(super) times: Vec<i64>,
    /// One list for each column of the parameters.
    pub(super) columns: Vec<Vec<f64>>,
}

/// What one body says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) rows: Rows,
    /// How many rows it has, those included that were skipped for their time.
    pub(super) received: usize,
    /// How many rows there are on all pages, as the service says.
    pub(super) total: Option<usize>,
    /// A link to the next page, or its cursor.
    pub(super) next: Option<String>,
}

impl Rows {
    pub(super) fn empty(columns: usize) -> Self {
        Self {
            times: Vec::new(),
            columns: vec![Vec::new(); columns],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn append(&mut self, other: Self) {
        self.times.extend(other.times);
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.extend(more);
        }
    }

    /// Sorted by time; what comes first stays first among equal times.
    pub(super) fn sorted(self) -> Self {
        if self.times.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.times.len()).collect();
        order.sort_by_key(|&row| self.times[row]);
        self.take(&order)
    }

    /// Those of some times only.
    pub(super) fn within(self, range: std::ops::Range<i64>) -> Self {
        if self.times.iter().all(|time| range.contains(time)) {
            return self;
        }
        let inside = |row: &usize| range.contains(&self.times[*row]);
        let rows: Vec<usize> = (0..self.times.len()).filter(inside).collect();
        self.take(&rows)
    }

    fn take(&self, rows: &[usize]) -> Self {
        let column = |column: &Vec<f64>| rows.iter().map(|&row| column[row]).collect();
        Self {
            times: rows.iter().map(|&row| self.times[row]).collect(),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    pub(super) fn is_known(&self, row: usize) -> bool {
        self.columns.iter().any(|column| !column[row].is_nan())
    }
}

/// Reads bodies as the parameters say.
pub(super) struct Reader<'a> {
    params: &'a AnswerParams,
    /// Of an answer: rows or columns, then the total and the way to the next page.
    outer: Tree,
    /// Of a row.
    inner: Tree,
    total: Option<usize>,
    next: Option<usize>,
    /// Numbers that mean "no value".
    missing: Vec<f64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(params: &'a AnswerParams, paging: Option<&Paging>) -> Self {
        let next = match paging {
            Some(Paging::Next(at) | Paging::Cursor { at, .. }) => Some(at),
            _ => None,
        };
        let mut outer: Vec<&Pointer> = Vec::new();
        let froms = params.columns.iter().map(|field| &field.from);
        let fields = [&params.time].into_iter().chain(froms);
        // The parameters are checked, so each of them is a pointer.
        let fields: Vec<Pointer> = match &params.format {
            AnswerFormat::Json(_) => fields.filter_map(|text| Pointer::parse(text)).collect(),
            AnswerFormat::Csv { .. } => Vec::new(),
        };
        let mut inner = Tree::default();
        match &params.format {
            AnswerFormat::Json(Layout::Rows(rows)) => {
                outer.push(rows);
                inner = Tree::new(&fields);
            }
            AnswerFormat::Json(Layout::Columns) => outer.extend(&fields),
            AnswerFormat::Csv { .. } => {}
        }
        let lists = outer.len();
        outer.extend(&params.total);
        outer.extend(next);
        Self {
            params,
            outer: Tree::new(outer),
            inner,
            total: params.total.as_ref().map(|_| lists),
            next: next.map(|_| lists + usize::from(params.total.is_some())),
            missing: numbers_of(&params.missing, b'.'),
        }
    }

    /// All rows of a body.
    pub(super) fn read(&self, body: &[u8]) -> Result<Page, Refused> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let page = match &self.params.format {
            AnswerFormat::Json(layout) => self.read_json(body, layout),
            AnswerFormat::Csv { delimiter } => self.read_csv(body, *delimiter),
        }?;
        Ok(Page {
            rows: page.rows.sorted(),
            ..page
        })
    }

    fn read_json(&self, body: &[u8], layout: &Layout) -> Result<Page, Refused> {
        let mut state = State::new(self);
        let mut json = serde_json::Deserializer::from_slice(body);
        let walk = Walk {
            tree: &self.outer,
            leaves: &mut state,
        };
        let read = walk.deserialize(&mut json).and_then(|()| json.end());
        if let Err(error) = read {
            return Err(refuse_json(body, &error, state.place()));
        }
        state.finish(layout, body)
    }

    /// A value of a column.
    fn value(&self, column: usize, scalar: Scalar<'_>) -> Result<f64, String> {
        let reading = self.params.columns[column].reading;
        let number = match scalar {
            Scalar::Null => return Ok(f64::NAN),
            Scalar::Whole(number) => number as f64,
            Scalar::Number(number) => number,
            Scalar::Text(text) => {
                let text = text.trim();
                if text.is_empty() || self.params.missing.iter().any(|missing| missing == text) {
                    return Ok(f64::NAN);
                }
                if reading == Reading::Compass {
                    return compass_degrees(text).ok_or_else(|| {
                        format!("expected a word of the compass, found `{}`", told(text))
                    });
                }
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.ok_or_else(|| format!("expected a number, found `{}`", told(text)))?
            }
        };
        let is_missing = self.missing.contains(&number);
        match reading {
            _ if is_missing => Ok(f64::NAN),
            Reading::Number(None) => Ok(number),
            Reading::Number(Some(conversion)) => Ok(converted(number, conversion)),
            Reading::Compass => Err(format!("expected a word of the compass, found {number}")),
        }
    }

    fn read_csv(&self, body: &[u8], delimiter: u8) -> Result<Page, Refused> {
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

/// The time of a row; none where the row is to be skipped.
fn read_time(times: &mut TimeReader<'_>, scalar: Scalar<'_>) -> Result<Option<i64>, String> {
    let number;
    let text = match scalar {
        Scalar::Null => return Err("expected a time, found null".to_owned()),
        Scalar::Text(text) => text,
        Scalar::Whole(whole) => {
            number = whole.to_string();
            &number
        }
        Scalar::Number(float) => {
            number = float.to_string();
            &number
        }
    };
    if text.len() > 200 {
        return Err(format!("expected a time, found `{}`", told(text)));
    }
    times.read(text).map_err(|error| error.to_string())
}

/// The start of somebody else's text.
fn told(text: &str) -> String {
    start_of(text.as_bytes()).chars().take(50).collect()
}

fn final_refusal(message: String) -> Refused {
    Refused {
        message,
        may_pass: false,
    }
}

/// JSON that ends early was cut on its way; anything else is of another kind.
fn refuse_json(body: &[u8], error: &serde_json::Error, place: Option<String>) -> Refused {
    use serde_json::error::Category;
    let message = match (error.classify(), place) {
        (Category::Eof, _) => format!("the answer ends early: {error}"),
        (Category::Data, Some(place)) => format!("{place}: {error}"),
        (Category::Data, None) => format!("{error}; received: {}", start_of(body)),
        _ => format!("expected JSON ({error}), received: {}", start_of(body)),
    };
    Refused {
        message,
        may_pass: error.is_eof(),
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

/// The time of the row that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Unread,
    Skipped,
    At(i64),
}

/// What is known of a body while it is read.
struct State<'r, 'a> {
    reader: &'r Reader<'a>,
    times: TimeReader<'a>,
    page: Page,
    /// Whether a column stands in any row; with lists for columns, whether there is one.
    seen: Vec<bool>,
    rows_seen: bool,
    total_seen: bool,
    /// The row that is being read, from 0.
    row: Option<usize>,
    /// The pointer that is being read.
    field: Option<usize>,
    time: When,
    /// With lists for columns, of each row.
    row_times: Vec<Option<i64>>,
    values: Vec<f64>,
}

impl<'r, 'a> State<'r, 'a> {
    fn new(reader: &'r Reader<'a>) -> Self {
        let columns = reader.params.columns.len();
        Self {
            reader,
            times: TimeReader::new(&reader.params.time_format),
            page: Page {
                rows: Rows::empty(columns),
                ..Page::default()
            },
            seen: vec![false; columns],
            rows_seen: false,
            total_seen: false,
            row: None,
            field: None,
            time: When::Unread,
            row_times: Vec::new(),
            values: vec![f64::NAN; columns],
        }
    }

    /// The pointer of a field: the time is 0, then come the columns.
    fn pointer(&self, field: usize) -> &str {
        match field.checked_sub(1) {
            None => &self.reader.params.time,
            Some(column) => &self.reader.params.columns[column].from,
        }
    }

    /// Where an error happened.
    fn place(&self) -> Option<String> {
        let row = self.row?;
        Some(match self.field {
            Some(field) => format!("row {row}, {}", self.pointer(field)),
            None => format!("row {row}"),
        })
    }

    fn finish(mut self, layout: &Layout, body: &[u8]) -> Result<Page, Refused> {
        let lacks =
            |what: String| final_refusal(format!("expected {what}, received: {}", start_of(body)));
        if matches!(layout, Layout::Columns) {
            self.finish_columns(&lacks)?;
        } else if !self.rows_seen {
            let Layout::Rows(at) = layout else {
                return Ok(self.page);
            };
            return Err(lacks(format!("a list of rows at {}", at.as_str())));
        }
        let fields = self.reader.params.columns.iter().zip(&self.seen);
        let lost = fields
            .into_iter()
            .find(|(field, seen)| !**seen && !field.optional);
        if let (Some((field, _)), true) = (lost, self.page.received > 0) {
            return Err(lacks(format!("{} in some row", field.from)));
        }
        if self.reader.total.is_some() && !self.total_seen {
            return Err(lacks("the number of all rows".to_owned()));
        }
        Ok(self.page)
    }

    fn finish_columns(&mut self, lacks: &dyn Fn(String) -> Refused) -> Result<(), Refused> {
        if !self.rows_seen {
            return Err(lacks(format!("a list of times at {}", self.pointer(0))));
        }
        let rows = self.row_times.len();
        self.page.received = rows;
        let is_kept: Vec<bool> = self.row_times.iter().map(Option::is_some).collect();
        for (field, column) in self
            .reader
            .params
            .columns
            .iter()
            .zip(&mut self.page.rows.columns)
        {
            // A list that is null or not there has no values.
            if column.is_empty() {
                column.resize(rows, f64::NAN);
            }
            if column.len() != rows {
                let (found, from) = (column.len(), &field.from);
                return Err(lacks(format!("{rows} values at {from}, not {found}")));
            }
            let mut kept = is_kept.iter();
            column.retain(|_| kept.next().copied().unwrap_or(false));
        }
        self.page.rows.times = self.row_times.iter().copied().flatten().collect();
        Ok(())
    }

    fn take(&mut self, field: usize, scalar: Scalar<'_>) -> Result<(), String> {
        match field.checked_sub(1) {
            None => {
                let time = read_time(&mut self.times, scalar)?;
                self.time = time.map_or(When::Skipped, When::At);
            }
            Some(column) => {
                self.values[column] = self.reader.value(column, scalar)?;
                self.seen[column] = true;
            }
        }
        Ok(())
    }

    fn scalar<'de, D: Deserializer<'de>>(&mut self, field: usize, from: D) -> Result<(), D::Error> {
        self.field = Some(field);
        let expected = if field == 0 { "a time" } else { "a number" };
        let take = |scalar: Scalar<'_>| self.take(field, scalar);
        ScalarTo { expected, take }.deserialize(from)?;
        self.field = None;
        Ok(())
    }
}

/// The pointers of an answer.
impl Leaves for State<'_, '_> {
    fn read<'de, D: Deserializer<'de>>(&mut self, leaf: usize, from: D) -> Result<(), D::Error> {
        if Some(leaf) == self.reader.total {
            let take = |scalar: Scalar<'_>| {
                let number = match scalar {
                    Scalar::Whole(number) => usize::try_from(number).ok(),
                    Scalar::Text(text) => text.trim().parse().ok(),
                    _ => None,
                };
                number.ok_or_else(|| "expected the number of all rows".to_owned())
            };
            let expected = "the number of all rows";
            self.page.total = Some(ScalarTo { expected, take }.deserialize(from)?);
            self.total_seen = true;
            return Ok(());
        }
        if Some(leaf) == self.reader.next {
            let take = |scalar: Scalar<'_>| {
                Ok(match scalar {
                    Scalar::Null => None,
                    Scalar::Whole(number) => Some(number.to_string()),
                    Scalar::Number(number) => Some(number.to_string()),
                    Scalar::Text(text) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
                })
            };
            let expected = "a link or a cursor";
            self.page.next = ScalarTo { expected, take }.deserialize(from)?;
            return Ok(());
        }
        if matches!(
            self.reader.params.format,
            AnswerFormat::Json(Layout::Columns)
        ) {
            return self.read_column(leaf, from);
        }
        // A key that comes twice means what it says last.
        self.page.rows = Rows::empty(self.values.len());
        self.page.received = 0;
        self.rows_seen = true;
        // A null in place of all rows mostly comes with an error beside it.
        Each {
            element: RowOf(self),
            or_null: false,
        }
        .deserialize(from)
    }

    fn null(&mut self, _: usize) {}
}

impl State<'_, '_> {
    fn read_column<'de, D: Deserializer<'de>>(
        &mut self,
        field: usize,
        from: D,
    ) -> Result<(), D::Error> {
        match field.checked_sub(1) {
            None => {
                self.rows_seen = true;
                self.row_times.clear();
            }
            Some(column) => {
                self.seen[column] = true;
                self.page.rows.columns[column].clear();
            }
        }
        let element = ValueOf {
            state: self,
            field,
            row: 0,
        };
        Each {
            element,
            or_null: field > 0,
        }
        .deserialize(from)
    }
}

/// A row of a list of rows.
struct RowOf<'s, 'r, 'a>(&'s mut State<'r, 'a>);

/// A value of a list of values.
struct ValueOf<'s, 'r, 'a> {
    state: &'s mut State<'r, 'a>,
    field: usize,
    row: usize,
}

impl Element for RowOf<'_, '_, '_> {
    fn next<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error> {
        use serde::de::Error as _;
        let reader = self.0.reader;
        let row = self.0.page.received;
        self.0.row = Some(row);
        self.0.time = When::Unread;
        self.0.values.fill(f64::NAN);
        let leaves = &mut Fields(&mut *self.0);
        let walk = Walk {
            tree: &reader.inner,
            leaves,
        };
        if list.next_element_seed(walk)?.is_none() {
            self.0.row = None;
            return Ok(None);
        }
        let state = &mut *self.0;
        if state.time == When::Unread {
            state.field = Some(0);
            return Err(A::Error::custom("expected a time, found none"));
        }
        state.page.received += 1;
        state.row = None;
        if let When::At(time) = state.time {
            state.page.rows.times.push(time);
            for (column, value) in state.page.rows.columns.iter_mut().zip(&state.values) {
                column.push(*value);
            }
        }
        Ok(Some(()))
    }
}

/// The pointers of a row.
struct Fields<'s, 'r, 'a>(&'s mut State<'r, 'a>);

impl Leaves for Fields<'_, '_, '_> {
    fn read<'de, D: Deserializer<'de>>(&mut self, leaf: usize, from: D) -> Result<(), D::Error> {
        self.0.scalar(leaf, from)
    }

    fn null(&mut self, leaf: usize) {
        if let Some(column) = leaf.checked_sub(1) {
            self.0.seen[column] = true;
        }
    }
}

impl Element for ValueOf<'_, '_, '_> {
    fn next<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error> {
        let (state, field) = (&mut *self.state, self.field);
        state.row = Some(self.row);
        state.field = Some(field);
        let expected = if field == 0 { "a time" } else { "a number" };
        let take = |scalar: Scalar<'_>| state.take(field, scalar);
        let more = list.next_element_seed(ScalarTo { expected, take })?;
        state.row = None;
        state.field = None;
        if more.is_some() {
            match field.checked_sub(1) {
                None => state.row_times.push(match state.time {
                    When::At(time) => Some(time),
                    _ => None,
                }),
                Some(column) => state.page.rows.columns[column].push(state.values[column]),
            }
            self.row += 1;
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests;
