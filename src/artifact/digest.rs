//! The identity of an artifact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A BLAKE3 hash, written as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ParseDigestError {
    expected: &'static str,
    found: String,
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// The digest of large parts that follow one another, on all cores.
    pub fn of_parts(parts: &[impl AsRef<[u8]>]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update_rayon(part.as_ref());
        }
        hasher.finalize().into()
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first eight digits, for a person to compare.
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        blake3::Hash::from_hex(text)
            .ok()
            .filter(|_| lower)
            .map(Self::from)
            .ok_or_else(|| ParseDigestError {
                expected: "64 lowercase hexadecimal digits",
                found: text.to_owned(),
            })
    }
}

/// What an artifact is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file that its owner may execute.
    Executable,
    /// A folder with all that is in it.
    Folder,
}

/// What an artifact is, wherever it lies: written `file:DIGEST`, `executable:DIGEST` or `folder:DIGEST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Artifact {
    /// File or folder.
    pub kind: Kind,
    /// Of its content.
    pub digest: Digest,
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File => "file",
            Kind::Executable => "executable",
            Kind::Folder => "folder",
        };
        write!(f, "{kind}:{}", self.digest)
    }
}

impl FromStr for Artifact {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, digest) = match text.split_once(':') {
            Some(("file", digest)) => (Kind::File, digest),
            Some(("executable", digest)) => (Kind::Executable, digest),
            Some(("folder", digest)) => (Kind::Folder, digest),
            _ => {
                return Err(ParseDigestError {
                    expected: "file:DIGEST, executable:DIGEST or folder:DIGEST",
                    found: text.to_owned(),
                });
            }
        };
        Ok(Self {
            kind,
            digest: digest.parse()?,
        })
    }
}

macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_as_text!(Digest);
serde_as_text!(Artifact);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_blake3s() {
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = Digest::of(b"").to_string();
        for bad in [
            "",
            "af",
            &good.to_uppercase(),
            &format!("{good}0"),
            &good.replace('a', "g"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert!(format!("dir:{good}").parse::<Artifact>().is_err());
        let artifact = Artifact {
            kind: Kind::Folder,
            digest: Digest::of(b"x"),
        };
        assert_eq!(artifact.to_string().parse(), Ok(artifact));
    }
}
