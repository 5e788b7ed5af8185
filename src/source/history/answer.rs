//! Rows from the body of an answer, JSON or CSV.
//!
//! A value is a number, or text that is one; null, an empty text and the texts that the parameters
//! list mean "no value". Anything else is an error that says where it stands and what was found. A
//! row may lack a value, but where all rows of an answer lack a column it is not the answer that the
//! parameters describe.
//!
//! Values in, values out: it must not know of requests.

mod csv;
mod json;
mod rows;

pub(super) use self::rows::Rows;
use super::super::file::{converted, numbers_of};
use super::super::http::{Refused, start_of};
use super::super::times::TimeReader;
use super::json::{Scalar, Tree};
use crate::params::{AnswerFormat, AnswerParams, Layout, Paging, Pointer, Reading};
use crate::physics::compass_degrees;

/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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

#[cfg(test)]
mod tests;
