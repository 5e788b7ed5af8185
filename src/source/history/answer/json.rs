//! JSON, read in one pass without a tree in memory: a list of rows, or lists for columns, where pointers say.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess};

use super::super::super::http::{Refused, start_of};
use super::super::super::times::TimeReader;
use super::super::json::{Each, Element, Leaves, Scalar, ScalarTo, Walk};
use super::{Page, Reader, Rows, final_refusal, read_time};
use crate::params::{AnswerFormat, Layout};

impl Reader<'_> {
    pub(super) fn read_json(&self, body: &[u8], layout: &Layout) -> Result<Page, Refused> {
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
