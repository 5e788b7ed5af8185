//! A request as the service wants it, and the slot of its answer in the store.

use super::pages::{Target, Value};
use super::ranges::Part;
use super::{DAY, History};
use crate::params::{Body, Piece, Template, TokenCarrier};
use crate::source::SourceError;
use crate::source::http::{self, Ask, Client};
use crate::source::percent;

impl History<'_> {
    /// Asks for a page: for a link as it came, for others with parameters.
    pub(super) fn ask_page(
        &self,
        client: &Client<'_>,
        part: Part<'_>,
        target: &Target,
        from: Option<&str>,
        final_since: Option<i64>,
    ) -> Result<Ask, SourceError> {
        let ask = self.ask(part, target, final_since);
        let (Some(link), Some(from)) = (&target.link, from) else {
            return Ok(ask);
        };
        let query = match self.params.token.as_ref().map(|token| &token.carrier) {
            Some(TokenCarrier::Query(name)) => Some(name.as_str()),
            _ => None,
        };
        let url =
            http::follow_link(from, link, query).map_err(|message| client.error(&ask, message))?;
        Ok(Ask {
            home: Some(ask.url),
            url,
            // What a link leads to is got, whatever led there.
            post: None,
            ..ask
        })
    }

    pub(super) fn ask(&self, part: Part<'_>, target: &Target, final_since: Option<i64>) -> Ask {
        let place = |open: bool| {
            move |piece: &Piece| match (piece, part.station, part.range) {
                (Piece::Station, Some(station), _) => station.id.clone(),
                (Piece::From, _, Some(span)) => self.params.time_text.write(span.from),
                (Piece::To, _, Some(_)) if open => "*".to_owned(),
                (Piece::To, _, Some(span)) => {
                    // Of days the last one is meant; of anything finer, the end itself brings one
                    // row too many at most, and a step back might bring one too few.
                    let is_day = self.params.time_text.unit_s() == DAY;
                    let back = i64::from(is_day && self.params.end_is_inside);
                    self.params.time_text.write(span.to - back)
                }
                _ => String::new(),
            }
        };
        let url = |open: bool| {
            let place = place(open);
            let url = self.params.url.fill(|piece| percent::encode(&place(piece)));
            match &self.params.body {
                Some(_) => url,
                None => with_parameters(url, &target.parameters),
            }
        };
        let body = |open: bool| {
            let body = self.params.body.as_ref()?;
            let mut json = self.fill(body, &place(open));
            for (name, value) in &target.parameters {
                json[name.as_str()] = match value {
                    Value::Number(number) => (*number).into(),
                    Value::Text(text) => text.as_str().into(),
                };
            }
            Some(json.to_string())
        };
        // A range that grows keeps its slot. A link is told by its place, because it may change.
        let mut slot = url(true);
        if let Some(body) = body(true) {
            slot = format!("{slot} {body}");
        }
        for (name, value) in &self.params.headers {
            slot = format!("{slot} {name}: {value}");
        }
        // Who asks may decide what comes; the token itself is in no file.
        if let Some(token) = &self.params.token {
            slot = format!("{slot} token of {}", token.place);
        }
        if target.number > 0 {
            slot = format!("{slot} page {}", target.number + 1);
        }
        Ask {
            slot,
            url: url(false),
            final_since,
            post: body(false),
            ..Ask::default()
        }
    }

    fn fill(&self, body: &Body, place: &dyn Fn(&Piece) -> String) -> serde_json::Value {
        match body {
            Body::Text(template) => self.fill_text(template, place),
            Body::List(all) => all.iter().map(|body| self.fill(body, place)).collect(),
            Body::Object(all) => {
                let fields = all
                    .iter()
                    .map(|(key, body)| (key.clone(), self.fill(body, place)));
                serde_json::Value::Object(fields.collect())
            }
            Body::Plain(plain) => plain.clone(),
        }
    }

    /// A text; a number where it is nothing but a time that is told in numbers.
    fn fill_text(
        &self,
        template: &Template,
        place: &dyn Fn(&Piece) -> String,
    ) -> serde_json::Value {
        let text = template.fill(place);
        match template.0.as_slice() {
            [Piece::From | Piece::To] if self.params.time_text.is_number() => {
                text.parse::<i64>().map_or_else(|_| text.into(), Into::into)
            }
            _ => text.into(),
        }
    }
}

fn with_parameters(url: String, parameters: &[(String, Value)]) -> String {
    parameters.iter().fold(url, |url, (name, value)| {
        let mark = if url.contains('?') { '&' } else { '?' };
        let value = percent::encode(&value.to_string());
        format!("{url}{mark}{}={value}", percent::encode(name))
    })
}
