//! A token that no log, error or file may hold: it shows itself as `***`.

use std::fmt;
use std::path::Path;

use memchr::memmem;

use super::{SourceError, percent};
use crate::fs;
use crate::params::{Token, TokenPlace};

/// What takes the place of a token in every text.
const HIDDEN: &str = "***";

/// The text of a token, and what it becomes in a URL and in JSON. Only [`super::http`] looks inside.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret {
    text: String,
    /// The longest first, so that none is hidden in part.
    forms: Vec<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Secret {
    /// Takes the token from where the parameters say it is.
    pub(super) fn find(token: &Token, root: &Path) -> Result<Self, SourceError> {
        let text = match &token.place {
            TokenPlace::Env(name) => std::env::var(name).ok(),
            TokenPlace::File(path) => fs::read_if_exists(&root.join(path))?,
        };
        match text.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => Ok(Self::of(text)),
            _ => Err(SourceError::NoToken {
                place: token.place.to_string(),
            }),
        }
    }

    /// A token that is not empty.
    pub(super) fn of(text: &str) -> Self {
        let encoded = percent::encode(text);
        // As forms of HTML are sent, which many servers write again.
        let form = encoded
            .replace("%20", "+")
            .replace("%2A", "*")
            .replace('~', "%7E");
        let in_url = [encoded.replace("%20", "+"), encoded, form];
        // As a JSON string without its quotation marks; some write a slash with a backslash too.
        let json = serde_json::Value::from(text).to_string();
        let json = json[1..json.len() - 1].to_owned();
        let mut forms = vec![text.to_owned(), json.replace('/', "\\/"), json];
        forms.extend(in_url.iter().map(|text| lower_hex(text)));
        forms.extend(in_url);
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        let text = text.to_owned();
        Self { text, forms }
    }

    /// The token itself, for the request that carries it.
    pub(super) fn reveal(&self) -> &str {
        &self.text
    }

    /// A text of somebody else's without the token.
    pub(super) fn redact(&self, text: &str) -> String {
        let hide = |text: String, form: &String| text.replace(form, HIDDEN);
        self.forms.iter().fold(text.to_owned(), hide)
    }

    /// Bytes of somebody else's without the token.
    pub(super) fn hide_in(&self, bytes: &[u8]) -> Vec<u8> {
        let hide = |bytes: Vec<u8>, form: &String| {
            let mut hidden = Vec::with_capacity(bytes.len());
            let mut rest = 0;
            for at in memmem::find_iter(&bytes, form) {
                hidden.extend_from_slice(&bytes[rest..at]);
                hidden.extend_from_slice(HIDDEN.as_bytes());
                rest = at + form.len();
            }
            hidden.extend_from_slice(&bytes[rest..]);
            hidden
        };
        self.forms.iter().fold(bytes.to_vec(), hide)
    }

    /// Whether bytes of somebody else's hold the token.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let has = |form: &String| memmem::find(bytes, form.as_bytes()).is_some();
        self.forms.iter().any(has)
    }
}

/// Percent-encoded text with small digits; the letters of the text itself stay as they are.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| {
        let is_digit = digits > 0;
        digits = if c == '%' { 2 } else { digits.max(1) - 1 };
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_itself_nowhere() {
        let secret = Secret::of("s3cr3t");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.redact("no s3cr3t here"), "no *** here");
        assert!(secret.is_in(b"a s3cr3t b") && !secret.is_in(b"s3cr3") && !secret.is_in(b""));
    }

    #[test]
    fn large_letters_of_a_token_stay_large() {
        let secret = Secret::of("aB/c~*= D");
        for form in [
            "aB%2Fc~%2A%3D%20D",
            "aB%2fc~%2a%3d%20D",
            "aB%2fc~%2a%3d+D",
            "aB%2Fc%7E*%3D+D",
            "aB%2fc%7e*%3d+D",
        ] {
            assert_eq!(secret.redact(form), HIDDEN);
        }
    }

    #[test]
    fn a_token_is_known_in_a_url_and_in_json() {
        let secret = Secret::of("a/b \"c\"+d=");
        for form in [
            "a/b \"c\"+d=",
            "a%2Fb%20%22c%22%2Bd%3D",
            "a%2fb%20%22c%22%2bd%3d",
            "a%2Fb+%22c%22%2Bd%3D",
            r#"a/b \"c\"+d="#,
            r#"a\/b \"c\"+d="#,
        ] {
            let text = format!("x{form}y{form}");
            assert_eq!(secret.redact(&text), "x***y***");
            assert_eq!(secret.hide_in(text.as_bytes()), b"x***y***");
            assert!(secret.is_in(text.as_bytes()), "{form}");
        }
    }
}
