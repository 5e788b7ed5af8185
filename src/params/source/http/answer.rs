//! What a station answers, and how one page leads to the next.

use super::request::looks_secret;
use super::{AnswerFormat, AnswerParams, Field, Layout, Paging, Pointer, RawAnswer, RawPaging};
use crate::params::source::file::check_unit;
use crate::params::source::times::{TimePlace, check as check_time};
use crate::params::{Invalid, invalid};

pub(super) fn check_paging(key: &str, raw: RawPaging) -> Result<Paging, Invalid> {
    let pointer = |name: &str, text: String| check_pointer(&format!("{key}.{name}"), text);
    let parameter = |name: &str, text: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.[]".contains(c);
        if text.is_empty()
            || !text.chars().all(plain)
            || looks_secret(&text.to_ascii_lowercase().replace("token", ""))
        {
            let key = format!("{key}.{name}");
            return Err(invalid(key, "the name of a parameter", text));
        }
        Ok(text)
    };
    match raw {
        RawPaging {
            next: Some(next),
            page: None,
            size: None,
            of: None,
            first: None,
            cursor: None,
            parameter: None,
            ..
        } => Ok(Paging::Next(pointer("next", next)?)),
        RawPaging {
            next: None,
            page: Some(page),
            size,
            of: Some(of),
            first,
            cursor: None,
            parameter: None,
            ..
        } => {
            if !(1..=1_000_000).contains(&of) {
                let expected = "between 1 and 1000000";
                return Err(invalid(format!("{key}.of"), expected, of));
            }
            Ok(Paging::Number {
                page: parameter("page", page)?,
                size: size.map(|size| parameter("size", size)).transpose()?,
                of,
                first: first.unwrap_or(1),
            })
        }
        RawPaging {
            next: None,
            page: None,
            size: None,
            of: None,
            first: None,
            cursor: Some(cursor),
            parameter: Some(name),
            ..
        } => Ok(Paging::Cursor {
            at: pointer("cursor", cursor)?,
            parameter: parameter("parameter", name)?,
        }),
        _ => {
            let expected = "`next`; or `page` and `of` with or without `size` and `first`; or \
                            `cursor` and `parameter`";
            Err(invalid(key, expected, "something else"))
        }
    }
}

fn check_pointer(key: &str, text: String) -> Result<Pointer, Invalid> {
    Pointer::parse(&text).ok_or_else(|| invalid(key, "a JSON pointer such as /data/rows", text))
}

pub(super) fn check_answer(
    key: &str,
    raw: RawAnswer,
    paging: Option<&Paging>,
) -> Result<AnswerParams, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    let is_json = match raw.format.as_str() {
        "json" => true,
        "csv" => false,
        other => return Err(invalid(key("format"), "json or csv", other)),
    };
    let format = match (is_json, raw.layout.as_deref(), raw.rows, raw.delimiter) {
        (true, None | Some("rows"), rows, None) => {
            let rows = check_pointer(&key("rows"), rows.unwrap_or_default())?;
            AnswerFormat::Json(Layout::Rows(rows))
        }
        (true, Some("columns"), None, None) => AnswerFormat::Json(Layout::Columns),
        (true, Some("columns"), Some(rows), _) => {
            return Err(invalid(key("rows"), "absent with `layout: columns`", rows));
        }
        (true, Some(other), _, None) => {
            return Err(invalid(key("layout"), "rows or columns", other));
        }
        (true, _, _, Some(delimiter)) => {
            return Err(invalid(
                key("delimiter"),
                "absent with `format: json`",
                delimiter,
            ));
        }
        (false, None, None, delimiter) => {
            let delimiter = delimiter.unwrap_or(',');
            let ascii = u8::try_from(delimiter).ok().filter(u8::is_ascii);
            let delimiter =
                ascii.ok_or_else(|| invalid(key("delimiter"), "one ASCII character", delimiter))?;
            AnswerFormat::Csv { delimiter }
        }
        (false, ..) => {
            let expected = "neither `layout` nor `rows` with `format: csv`";
            return Err(invalid(key("format"), expected, "one"));
        }
    };
    if !is_json
        && (raw.total.is_some() || matches!(paging, Some(Paging::Next(_) | Paging::Cursor { .. })))
    {
        let expected = "json, where a pointer leads to a total, a link or a cursor";
        return Err(invalid(key("format"), expected, "csv"));
    }
    if raw.columns.is_empty() {
        return Err(invalid(key("columns"), "at least one column", "none"));
    }
    let mut columns = Vec::new();
    for (name, column) in raw.columns {
        if crate::params::RESERVED_COLUMNS.contains(&name.as_str()) || name.is_empty() {
            let expected = "names other than `time`, `series` and `issue_time`";
            return Err(invalid(key("columns"), expected, name));
        }
        let otherwise = if is_json {
            format!("/{name}")
        } else {
            name.clone()
        };
        let key = format!("{}.{name}", key("columns"));
        let (reading, unit) = check_unit(&key, column.unit, column.to)?;
        columns.push(Field {
            from: column.from.unwrap_or(otherwise),
            unit,
            reading,
            optional: column.optional,
            name,
        });
    }
    let time = check_time(&key("time"), raw.time)?;
    let TimePlace::Column(place) = time.place else {
        return Err(invalid(key("time"), "one `column`", "`columns`"));
    };
    let total = raw
        .total
        .map(|text| check_pointer(&key("total"), text))
        .transpose()?;
    let answer = AnswerParams {
        format,
        time: place,
        time_format: time.format,
        columns,
        missing: raw.missing,
        total,
    };
    check_places(&key, &answer, paging)?;
    Ok(answer)
}

/// Each place once, and in JSON none inside of another: a value is a number or it holds others.
fn check_places(
    key: &dyn Fn(&str) -> String,
    answer: &AnswerParams,
    paging: Option<&Paging>,
) -> Result<(), Invalid> {
    let fields = answer.columns.iter().map(|field| &field.from);
    let fields: Vec<&String> = [&answer.time].into_iter().chain(fields).collect();
    let AnswerFormat::Json(layout) = &answer.format else {
        let twice = fields
            .iter()
            .enumerate()
            .find(|(i, name)| fields[..*i].contains(name));
        return match twice {
            Some((_, name)) => Err(invalid(key("columns"), "each column once", name)),
            None => Ok(()),
        };
    };
    let fields: Vec<Pointer> = fields
        .into_iter()
        .map(|text| check_pointer(&key("columns"), text.clone()))
        .collect::<Result<_, _>>()?;
    let mut outer: Vec<&Pointer> = answer.total.iter().collect();
    outer.extend(match paging {
        Some(Paging::Next(at) | Paging::Cursor { at, .. }) => Some(at),
        _ => None,
    });
    match layout {
        Layout::Rows(rows) => {
            outer.push(rows);
            check_apart(&key("columns"), &fields.iter().collect::<Vec<_>>())?;
        }
        Layout::Columns => outer.extend(&fields),
    }
    check_apart(&key("rows"), &outer)
}

fn check_apart(key: &str, pointers: &[&Pointer]) -> Result<(), Invalid> {
    for (i, one) in pointers.iter().enumerate() {
        let overlaps = |other: &&&Pointer| {
            other.parts.starts_with(&one.parts) || one.parts.starts_with(&other.parts)
        };
        if let Some(other) = pointers[..i].iter().find(overlaps) {
            let found = format!("`{}` and `{}`", other.text, one.text);
            return Err(invalid(
                key,
                "pointers of which none leads into another",
                found,
            ));
        }
    }
    Ok(())
}
