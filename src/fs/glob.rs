//! Files by a pattern.

use std::io;
use std::path::Path;

/// What makes a path a pattern of [`glob()`].
pub const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The files below a folder that match a pattern, by their paths from there, sorted. `*` stands for
/// no hidden name and crosses no folder; `**` does. An absolute pattern finds files anywhere.
pub fn glob(root: &Path, pattern: &str) -> io::Result<Vec<String>> {
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    if let Err(error) = glob::Pattern::new(pattern) {
        let (what, at) = (error.msg, error.pos);
        return Err(wrong(format!("`{pattern}` is no pattern: {what} at {at}")));
    }
    let whole = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        let Some(folder) = root.to_str() else {
            let message = format!(
                "`{pattern}` finds no file in {}, whose name is not plain UTF-8 text: rename that folder",
                root.display()
            );
            return Err(wrong(message));
        };
        format!("{}/{pattern}", glob::Pattern::escape(folder))
    };
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let paths = glob::glob_with(&whole, options);
    let mut files = Vec::new();
    for path in paths.map_err(|error| wrong(error.to_string()))? {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_str();
        let Some(name) = name else {
            let message = format!("{} is not plain UTF-8 text", path.display());
            return Err(wrong(message));
        };
        if path.is_file() {
            files.push(name.to_owned());
        }
    }
    files.sort();
    Ok(files)
}
