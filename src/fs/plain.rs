//! Paths made plain by their names alone, whether or not anything lies there.

use std::path::{Component, Path, PathBuf};

/// Without `.`, `..` and a `/` too many. A path that is not absolute keeps those `..` that lead out of where it begins;
/// one that comes to nothing is empty. What a link on the way names is not asked.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match plain.components().next_back() {
                Some(Component::Normal(_)) => {
                    plain.pop();
                }
                // There is nothing above the root.
                Some(Component::RootDir) => {}
                _ => plain.push(".."),
            },
            component => plain.push(component),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn made_plain() {
        for (path, expected) in [
            ("./a//b/../c/", "a/c"),
            ("a/..", ""),
            ("", ""),
            ("../a/../../b", "../../b"),
            ("/a/./b/..", "/a"),
            ("/../a", "/a"),
            ("/..", "/"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_stays_so(path in "(/|\\./|\\.\\./|a/|b|\\.){0,8}") {
            let once = plain(Path::new(&path));
            prop_assert_eq!(&plain(&once), &once);
            let up = once.components().skip_while(|part| *part == Component::ParentDir);
            prop_assert!(up.into_iter().all(|part| part != Component::ParentDir));
            prop_assert_eq!(once.is_absolute(), path.starts_with('/'));
        }
    }
}
