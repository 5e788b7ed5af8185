//! Lines for the shell: values put in so that each stays what it is, and the files that a line names.
//!
//! Only as much of the shell's grammar is known as that takes: quotes, comments, `$(…)` and
//! backquotes. A here-document is taken for lines of its own.

use std::collections::BTreeSet;

use anyhow::Result;

/// What one stands in, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// `( … )`, also behind a `$`.
    Parenthesis,
    Backquotes,
    Single,
    Double,
    Comment,
}

/// What a character does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It belongs to a word.
    Part,
    /// It is a mark around a part of a word: a quote, a backslash.
    Mark,
    /// It ends a word.
    Break,
}

/// Follows the quotes of a line.
#[derive(Clone, Debug, Default)]
struct Reader {
    within: Vec<Within>,
    /// The last character was a backslash that speaks of the next one.
    escaped: bool,
    /// The last character was a part of a word, or a mark in it.
    in_word: bool,
    last: char,
}

impl Reader {
    fn read(&mut self, c: char) -> Step {
        let was_escaped = self.escaped;
        let step = self.step(c);
        self.in_word = step != Step::Break;
        self.last = if was_escaped { '\0' } else { c };
        step
    }

    fn step(&mut self, c: char) -> Step {
        let top = self.within.last().copied();
        match (top, c) {
            (Some(Within::Comment), '\n') | (Some(Within::Single), '\'') => {
                self.within.pop();
                if c == '\n' { Step::Break } else { Step::Mark }
            }
            (Some(Within::Comment), _) => Step::Break,
            (Some(Within::Single), _) => Step::Part,
            _ if self.escaped => {
                self.escaped = false;
                Step::Part
            }
            (_, '\\') => {
                self.escaped = true;
                Step::Mark
            }
            (Some(Within::Backquotes), '`')
            | (Some(Within::Double), '"')
            | (Some(Within::Parenthesis), ')') => {
                self.within.pop();
                if c == '"' { Step::Mark } else { Step::Break }
            }
            (_, '`') => self.enter(Within::Backquotes, Step::Break),
            (Some(Within::Double), '(') if self.last == '$' => {
                self.enter(Within::Parenthesis, Step::Break)
            }
            (Some(Within::Double), _) => Step::Part,
            (_, '\'') => self.enter(Within::Single, Step::Mark),
            (_, '"') => self.enter(Within::Double, Step::Mark),
            (_, '(') => self.enter(Within::Parenthesis, Step::Break),
            (_, '#') if !self.in_word => self.enter(Within::Comment, Step::Break),
            (_, ';' | '|' | '&' | '<' | '>' | ')') => Step::Break,
            (_, c) if c.is_whitespace() => Step::Break,
            _ => Step::Part,
        }
    }

    fn enter(&mut self, within: Within, step: Step) -> Step {
        self.within.push(within);
        step
    }
}

/// A line that is being put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    text: String,
    reader: Reader,
}

impl Line {
    /// Adds what a person wrote.
    pub(super) fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.reader.read(c);
        }
        self.text.push_str(text);
    }

    /// Whether what comes next is the shell's own, because a backslash stands before it.
    pub(super) fn escaped(&self) -> bool {
        self.reader.escaped
    }

    /// Adds a value: whatever is in it, and whatever quotes stand around it, the shell takes it as
    /// it is.
    pub(super) fn value(&mut self, value: &str) -> Result<()> {
        let text = match self.reader.within.last() {
            Some(Within::Single) => value.replace('\'', r"'\''"),
            Some(Within::Double) => {
                let special = |c: char| matches!(c, '"' | '$' | '`' | '\\');
                let escape = |c: char| special(c).then_some('\\').into_iter().chain([c]);
                value.chars().flat_map(escape).collect()
            }
            Some(Within::Comment) => value.replace('\n', " "),
            _ => shlex::try_quote(value)?.into_owned(),
        };
        // Backquotes take off one layer of backslashes before anything else is read.
        let backquotes = self
            .reader
            .within
            .iter()
            .filter(|w| **w == Within::Backquotes);
        let text = backquotes.fold(text, |text, _| {
            text.replace('\\', r"\\").replace('`', r"\`")
        });
        self.reader.in_word = true;
        self.reader.last = '\0';
        self.text.push_str(&text);
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// The words of a line that may name a file which it reads: all but those behind a `>`.
pub(super) fn words(line: &str) -> BTreeSet<String> {
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    let (mut reader, mut word, mut writes) = (Reader::default(), String::new(), false);
    for c in line.chars().chain(['\n']) {
        match reader.read(c) {
            Step::Part => word.push(c),
            Step::Mark => {}
            Step::Break => {
                if !word.is_empty() {
                    let all = if writes { &mut written } else { &mut read };
                    all.insert(std::mem::take(&mut word));
                    writes = false;
                }
                writes |= c == '>';
            }
        }
    }
    // What it writes first and reads afterwards is its own.
    read.difference(&written).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What the shell makes of a value between two pieces of a line.
    fn said(before: &str, value: &str, after: &str) -> String {
        let mut line = Line::default();
        line.write(before);
        line.value(value).unwrap();
        line.write(after);
        let line = line.finish();
        let output = Command::new("sh").args(["-ec", &line]).output().unwrap();
        assert!(output.status.success(), "{line}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_value_is_itself_between_any_quotes() {
        for value in [
            "plain", "a b", "it's", "$HOME", "`id`", "\"q\"", "\\", "a\nb", "$(id)", "*", "", "-n",
            "~", "é", "#", "\\'\"$x",
        ] {
            for (before, after) in [
                ("printf %s ", ""),
                ("printf %s '", "'"),
                ("printf %s \"", "\""),
                ("printf %s \"$(printf %s ", ")\""),
                ("printf %s \"$(printf %s \"", "\")\""),
                ("# it's\nprintf %s ", " # don't"),
                ("printf %s `#'\n`", ""),
                ("x=`printf %s ", "`; printf %s \"$x\""),
                ("x=`printf %s \"", "\"`; printf %s \"$x\""),
                ("printf %s \"\\$(\" >&2; printf %s ", ""),
                ("x=", "; printf %s \"$x\""),
            ] {
                assert_eq!(said(before, value, after), value, "{before}…{after}");
            }
        }
    }

    #[test]
    fn a_comment_stays_one() {
        assert_eq!(said("echo a # ", "b\necho c", "\necho d"), "a\nd\n");
    }

    #[test]
    fn files_that_a_line_reads() {
        let told = |line: &str| words(line).into_iter().collect::<Vec<_>>().join("|");
        assert_eq!(
            told("wc -w <'a b' >out 2>>err; cat x\\ y"),
            "-w|2|a b|cat|wc|x y"
        );
        assert_eq!(
            told("n=$(cat in) && echo \"$(cat \"in 2\")\""),
            "$|cat|echo|in|in 2|n=$"
        );
        assert_eq!(told("sort a > tmp; uniq tmp > b # from c"), "a|sort|uniq");
        assert_eq!(told("a>b"), "a");
        assert_eq!(told("cat 'unclosed"), "cat");
    }
}
