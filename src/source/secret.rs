//! A token that no log, error or file may hold: it shows itself as `***`.

use std::fmt;
use std::path::Path;

use super::SourceError;
use crate::fs;
use crate::params::{Token, TokenPlace};

/// What takes the place of a token in every text.
const HIDDEN: &str = "***";

/// The text of a token. Only [`super::http`] looks inside.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

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
        let (text, place) = match &token.place {
            TokenPlace::Env(name) => {
                let place = format!("the environment variable {name}");
                (std::env::var(name).ok(), place)
            }
            TokenPlace::File(path) => {
                let text = fs::read_if_exists(&root.join(path))?;
                (text, format!("the file {path}"))
            }
        };
        match text.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(SourceError::NoToken { place }),
        }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The token itself, for the header that carries it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// A text of somebody else's without the token.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN)
    }

    /// Whether bytes of somebody else's hold the token.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let token = self.0.as_bytes();
        bytes.windows(token.len()).any(|part| part == token)
    }
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
}
