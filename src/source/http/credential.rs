//! The token in a request: in a header, or in the query of the URL.

use std::path::Path;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::super::SourceError;
use super::super::percent;
use super::super::secret::Secret;
use super::link::without_parameter;
use crate::params::{Token, TokenCarrier};

/// A token and what carries it.
pub(in crate::source) struct Credential {
    pub(in crate::source) carrier: TokenCarrier,
    pub(in crate::source) secret: Secret,
}

impl Credential {
    /// The token from where the parameters say it is.
    pub(in crate::source) fn find(token: &Token, root: &Path) -> Result<Self, SourceError> {
        Ok(Self {
            carrier: token.carrier.clone(),
            secret: Secret::find(token, root)?,
        })
    }
}

/// The header that carries a token; none where the query does.
pub(super) fn header_of(
    credential: &Credential,
) -> Result<Option<(HeaderName, HeaderValue)>, SourceError> {
    let token = credential.secret.reveal();
    let (name, text) = match &credential.carrier {
        TokenCarrier::Bearer => ("authorization", format!("Bearer {token}")),
        TokenCarrier::Header(name) => (name.as_str(), token.to_owned()),
        TokenCarrier::Query(_) => return Ok(None),
    };
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_str(&text);
    match (name, value) {
        (Ok(name), Ok(mut value)) => {
            value.set_sensitive(true);
            Ok(Some((name, value)))
        }
        _ => Err(SourceError::BadToken),
    }
}

pub(super) fn add_to_query(url: &mut Url, credential: &Credential) {
    if let TokenCarrier::Query(name) = &credential.carrier {
        *url = without_parameter(url, name);
        // Written in a form that the secret knows again, whoever sends it back.
        let token = percent::encode(credential.secret.reveal());
        let pair = format!("{}={token}", percent::encode(name));
        let query = match url.query() {
            None | Some("") => pair,
            Some(query) => format!("{query}&{pair}"),
        };
        url.set_query(Some(&query));
    }
}
