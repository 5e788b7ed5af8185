//! From one page of an answer to the next, and to an end in any case.
//!
//! A service that gives a link or a cursor twice, a full page twice, or more pages than are allowed
//! is an error: it would be asked for ever.
//!
//! Values in, values out: it must not know of requests.

use std::collections::BTreeSet;

use super::answer::{Page, Rows};
use crate::params::Paging;

/// What to ask for, besides what all pages have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// From 0.
    pub(super) number: usize,
    /// A link that stands for the URL, as it came.
    pub(super) link: Option<String>,
    /// Parameters that are added to the query.
    pub(super) parameters: Vec<(String, Value)>,
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The way through the pages of one answer.
pub(super) struct Pages<'a> {
    paging: Option<&'a Paging>,
    at_most: usize,
    done: usize,
    seen: BTreeSet<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(paging: Option<&'a Paging>, at_most: usize) -> Self {
        Self {
            paging,
            at_most,
            done: 0,
            seen: BTreeSet::new(),
        }
    }

    /// What the first page is asked for with.
    pub(super) fn first(&self) -> Target {
        self.target(0, None)
    }

    /// What comes after a page; none where it was the last.
    pub(super) fn next(&mut self, page: &Page) -> Result<Option<Target>, String> {
        self.done += 1;
        let (mark, next) = match self.paging {
            None => return Ok(None),
            Some(Paging::Next(_) | Paging::Cursor { .. }) => match &page.next {
                None => return Ok(None),
                Some(next) => (next.clone(), Some(next)),
            },
            Some(Paging::Number { of, .. }) => {
                if page.received > *of {
                    return Err(format!(
                        "expected at most {of} rows on a page, received {}",
                        page.received
                    ));
                }
                if page.received < *of {
                    return Ok(None);
                }
                (digest(&page.rows), None)
            }
        };
        if !self.seen.insert(mark) {
            return Err(match self.paging {
                Some(Paging::Next(_)) => "a page with a link that an earlier page has".to_owned(),
                Some(Paging::Cursor { .. }) => {
                    "a page with a cursor that an earlier page has".to_owned()
                }
                _ => "a page with the rows of an earlier page".to_owned(),
            });
        }
        if self.done >= self.at_most {
            return Err(format!("more than {} pages", self.at_most));
        }
        Ok(Some(self.target(self.done, next)))
    }

    fn target(&self, number: usize, next: Option<&String>) -> Target {
        let mut target = Target {
            number,
            ..Target::default()
        };
        match self.paging {
            Some(Paging::Next(_)) => target.link = next.cloned(),
            Some(Paging::Cursor { parameter, .. }) => {
                let cursor = next.cloned().map(Value::Text);
                target.parameters = cursor
                    .map(|cursor| (parameter.clone(), cursor))
                    .into_iter()
                    .collect();
            }
            Some(Paging::Number {
                page,
                size,
                of,
                first,
            }) => {
                let number = first.saturating_add(number as u64);
                target
                    .parameters
                    .push((page.clone(), Value::Number(number)));
                if let Some(size) = size {
                    target
                        .parameters
                        .push((size.clone(), Value::Number(*of as u64)));
                }
            }
            None => {}
        }
        target
    }
}

fn digest(rows: &Rows) -> String {
    let mut hasher = blake3::Hasher::new();
    for time in &rows.times {
        hasher.update(&time.to_le_bytes());
    }
    for value in rows.columns.iter().flatten() {
        hasher.update(&value.to_bits().to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::params::Pointer;

    fn page(received: usize, value: f64, next: Option<&str>) -> Page {
        Page {
            rows: Rows {
                times: (0..received as i64).collect(),
                columns: vec![vec![value; received]],
            },
            received,
            total: None,
            next: next.map(str::to_owned),
        }
    }

    fn number() -> Paging {
        Paging::Number {
            page: "page".into(),
            size: Some("per_page".into()),
            of: 2,
            first: 1,
        }
    }

    fn cursor() -> Paging {
        Paging::Cursor {
            at: Pointer::parse("/next").unwrap(),
            parameter: "cursor".into(),
        }
    }

    fn links() -> Paging {
        Paging::Next(Pointer::parse("/next").unwrap())
    }

    #[test]
    fn each_kind_goes_on_to_its_end() {
        let (paging, asked) = (number(), |target: &Target| {
            let text = |(name, value): &(String, Value)| format!("{name}={value}");
            target.parameters.iter().map(text).collect::<Vec<_>>()
        });
        let mut pages = Pages::new(Some(&paging), 10);
        assert_eq!(asked(&pages.first()), ["page=1", "per_page=2"]);
        let second = pages.next(&page(2, 1.0, None)).unwrap().unwrap();
        assert_eq!(asked(&second), ["page=2", "per_page=2"]);
        assert_eq!(pages.next(&page(1, 2.0, None)), Ok(None));

        let paging = cursor();
        let mut pages = Pages::new(Some(&paging), 10);
        assert_eq!(pages.first(), Target::default());
        let second = pages.next(&page(2, 1.0, Some("c1"))).unwrap().unwrap();
        assert_eq!(
            (second.number, asked(&second)),
            (1, vec!["cursor=c1".to_owned()])
        );
        assert_eq!(pages.next(&page(2, 1.0, None)), Ok(None));

        let paging = links();
        let mut pages = Pages::new(Some(&paging), 10);
        let second = pages.next(&page(0, 1.0, Some("/p2"))).unwrap().unwrap();
        assert_eq!(second.link.as_deref(), Some("/p2"));
        assert_eq!(
            Pages::new(None, 10).next(&page(5, 1.0, Some("/p2"))),
            Ok(None)
        );
    }

    #[test]
    fn what_would_go_on_for_ever_is_an_error() {
        let (paging, full) = (number(), page(2, 1.0, None));
        let mut pages = Pages::new(Some(&paging), 10);
        pages.next(&full).unwrap();
        assert_eq!(
            pages.next(&full).unwrap_err(),
            "a page with the rows of an earlier page"
        );
        let error = Pages::new(Some(&paging), 10)
            .next(&page(3, 1.0, None))
            .unwrap_err();
        assert_eq!(error, "expected at most 2 rows on a page, received 3");
        for paging in [cursor(), links()] {
            let mut pages = Pages::new(Some(&paging), 10);
            pages.next(&page(1, 1.0, Some("a"))).unwrap();
            pages.next(&page(1, 2.0, Some("b"))).unwrap();
            let error = pages.next(&page(1, 3.0, Some("a"))).unwrap_err();
            assert!(error.ends_with("that an earlier page has"), "{error}");
            let mut pages = Pages::new(Some(&paging), 3);
            let mut told = None;
            for i in 0..5 {
                told = pages.next(&page(1, 1.0, Some(&i.to_string()))).err();
                if told.is_some() {
                    break;
                }
            }
            assert_eq!(told.as_deref(), Some("more than 3 pages"));
        }
    }

    proptest! {
        /// Whatever a service answers, it is not asked for more pages than allowed, and none twice.
        #[test]
        fn any_service_is_asked_for_so_many_pages_only(
            kind in 0..4,
            at_most in 1_usize..20,
            answers in prop::collection::vec((0_usize..4, 0_u8..5, prop::option::of("[ab/?&=é]{0,2}")), 40),
        ) {
            let paging = match kind {
                0 => None,
                1 => Some(number()),
                2 => Some(cursor()),
                _ => Some(links()),
            };
            let mut pages = Pages::new(paging.as_ref(), at_most);
            let mut target = pages.first();
            let mut asked: Vec<Target> = Vec::new();
            for (received, value, next) in answers {
                prop_assert!(!asked.contains(&target));
                prop_assert_eq!(target.number, asked.len());
                asked.push(target);
                let next = pages.next(&page(received, f64::from(value), next.as_deref()));
                let Ok(Some(next)) = next else {
                    target = Target::default();
                    break;
                };
                target = next;
            }
            prop_assert!(asked.len() <= at_most, "{} pages", asked.len());
            prop_assert_eq!(target, Target::default());
        }
    }
}
