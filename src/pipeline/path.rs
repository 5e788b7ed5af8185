//! Paths of a project: relative to its root, with `/`, without `.` and `..`.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::fs;

/// A path relative to the project's root. One that an input has outside of the project is absolute
/// or starts with `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ProjectPath(String);

/// A path that cannot be part of a project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is empty.
    #[error("a path is empty")]
    Empty,
    /// An output would lie outside of the project, or be the project.
    #[error("output {0} is not inside the project")]
    Outside(String),
    /// An output would replace what makes the project one.
    #[error("output {0} belongs to the project itself")]
    Protected(String),
}

/// What no stage may write.
const PROTECTED: [&str; 4] = [
    ".krammerti",
    "pipeline.yaml",
    "pipeline.lock",
    "params.yaml",
];

impl ProjectPath {
    /// An input path, made plain: `./a//b/../c` is `a/c`.
    pub fn new(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        let plain = fs::plain(Path::new(path));
        let plain = plain.to_string_lossy();
        Ok(Self(if plain.is_empty() {
            ".".to_owned()
        } else {
            plain.into_owned()
        }))
    }

    /// An output path, which lies in the project.
    pub fn output(path: &str) -> Result<Self, PathError> {
        let plain = Self::new(path)?;
        let outside = plain.0.starts_with('/')
            || plain
                .0
                .split('/')
                .next()
                .is_some_and(|p| p == ".." || p == ".");
        let first = plain.0.split('/').next().unwrap_or_default();
        if outside {
            Err(PathError::Outside(path.to_owned()))
        } else if PROTECTED.contains(&first) || first.starts_with(".git") {
            Err(PathError::Protected(path.to_owned()))
        } else {
            Ok(plain)
        }
    }

    /// An input path, relative to a folder of the project or to its root.
    pub fn within(folder: Option<&Self>, path: &str) -> Result<Self, PathError> {
        match folder {
            Some(folder) if !path.is_empty() && !path.starts_with('/') => {
                Self::new(&format!("{folder}/{path}"))
            }
            _ => Self::new(path),
        }
    }

    /// Its place in a project at some root, which is absolute; itself where it lies outside.
    #[must_use]
    pub fn inside(self, root: &str) -> Self {
        let absolute = match self.0.split('/').next() {
            Some("") => self.clone(),
            Some("..") => match Self::new(&format!("{root}/{self}")) {
                Ok(absolute) => absolute,
                Err(_) => return self,
            },
            _ => return self,
        };
        let Some(rest) = absolute.0.strip_prefix(root.trim_end_matches('/')) else {
            return self;
        };
        match rest.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => Self(rest.to_owned()),
            None if rest.is_empty() => Self(".".to_owned()),
            _ => self,
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it lies in the project, and is not krammerti's own.
    pub fn is_inside(&self) -> bool {
        let first = self.0.split('/').next().unwrap_or_default();
        !matches!(first, "" | "." | ".." | ".krammerti" | "pipeline.lock")
    }

    /// It, and the folders of the project that it lies in, from the inside out.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let folders = self.0.rmatch_indices('/').map(|(end, _)| &self.0[..end]);
        let folders = folders.filter(|folder| !folder.is_empty());
        std::iter::once(self.0.as_str())
            .chain(folders)
            .map(|path| Self(path.to_owned()))
    }

    /// Where it lies.
    pub fn in_root(&self, root: &Path) -> std::path::PathBuf {
        root.join(&self.0)
    }

    /// Whether one of the two is the other or lies in it.
    pub fn overlaps(&self, other: &Self) -> bool {
        Path::new(&self.0).starts_with(&other.0) || Path::new(&other.0).starts_with(&self.0)
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        let plain = |path| ProjectPath::new(path).unwrap().0;
        assert_eq!(plain("./a//b/../c/"), "a/c");
        assert_eq!(plain("../a"), "../a");
        assert_eq!(plain("a/../../b"), "../b");
        assert_eq!(plain("/a/./b"), "/a/b");
        assert_eq!(ProjectPath::new(""), Err(PathError::Empty));
        let folder = ProjectPath::new("a").unwrap();
        let within = |path| ProjectPath::within(Some(&folder), path).unwrap().0;
        assert_eq!(
            [within("b"), within("../b"), within("/b")],
            ["a/b", "b", "/b"]
        );
        for outside in [
            "..",
            "a/../..",
            "/a",
            ".",
            ".krammerti/x",
            "pipeline.lock",
            ".git/x",
        ] {
            assert!(ProjectPath::output(outside).is_err(), "{outside}");
        }
    }

    #[test]
    fn a_path_from_outside_into_the_project_is_one_of_it() {
        let inside = |path: &str| ProjectPath::new(path).unwrap().inside("/home/a/project").0;
        for (path, expected) in [
            ("/home/a/project/x/y", "x/y"),
            ("/home/a/project", "."),
            ("../project/x", "x"),
            ("../../a/project/x", "x"),
            ("/home/a/projects/x", "/home/a/projects/x"),
            ("../x", "../x"),
            ("x", "x"),
            (".", "."),
        ] {
            assert_eq!(inside(path), expected, "{path}");
        }
    }

    #[test]
    fn overlap_is_by_component() {
        let path = |path| ProjectPath::new(path).unwrap();
        assert!(path("a").overlaps(&path("a/b")) && path("a/b").overlaps(&path("a")));
        assert!(!path("a").overlaps(&path("ab")));
    }
}
