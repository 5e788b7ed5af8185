//! Lines for the shell: values put in so that each stays what it is, and the files that a line names.
//!
//! Only as much of the shell's grammar is known as that takes: quotes, comments, `$(…)`, backquotes, the patterns of
//! `case`, here-documents and lines that go on after a backslash.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Result, ensure};

/// What one stands in, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// `( … )`, also behind a `$`.
    Parenthesis {
        /// Each `case` that is open in it has patterns that end with a `)` of their own.
        cases: usize,
    },
    /// The inner one of `(( … ))`, where `<<` is a shift.
    Arithmetic,
    Backquotes,
    Single,
    Double,
    Comment,
    /// The lines of a here-document.
    Here,
}

impl Within {
    const PARENTHESIS: Self = Self::Parenthesis { cases: 0 };
}

/// What a character does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It belongs to a word.
    Part,
    /// It is a mark around a part of a word: a quote, a backslash.
    Mark,
    /// It is nothing: of a line that goes on in the next one.
    Nothing,
    /// It ends a word.
    Break,
}

/// A here-document: `<<END` and the lines up to `END`.
#[derive(Clone, Debug, Default)]
struct HereDocument {
    /// The line that ends it.
    end: String,
    /// Whether tabs before that line do not count (`<<-`).
    tabs: bool,
    /// Whether the shell puts in no variables (`<<'END'`).
    plain: bool,
}

/// How far `<<END` has been read.
#[derive(Clone, Debug, Default)]
enum Opening {
    #[default]
    None,
    /// So many `<`; three begin a string, not a document.
    Less(usize),
    /// `<<` or `<<-`, and a part of the word behind it.
    Word(HereDocument),
}

/// Follows the quotes of a line.
#[derive(Clone, Debug, Default)]
struct Reader {
    within: Vec<Within>,
    /// The last character was a backslash that speaks of the next one.
    escaped: bool,
    /// The last character was a part of a word, or a mark in it.
    in_word: bool,
    /// The same before the last backslash.
    in_word_before: bool,
    last: char,
    /// The word that is being read, as far as no quote stands in it.
    word: String,
    /// A command may begin here, and so may `case`.
    at_command: bool,
    opening: Opening,
    /// Documents whose lines begin with the next line, and the one that is being read.
    documents: VecDeque<HereDocument>,
    /// The line of a document.
    line: String,
}

impl Reader {
    fn read(&mut self, c: char) -> Step {
        let was_escaped = self.escaped;
        let of_document = self.within.contains(&Within::Here);
        let step = self.step(c);
        self.in_word = match step {
            Step::Nothing => self.in_word_before,
            step => step != Step::Break,
        };
        if of_document {
            self.follow_document(c);
        } else {
            self.follow_opening(c, step);
        }
        self.follow_words(c, step);
        let opens = matches!(self.within.last(), Some(Within::Single | Within::Double));
        if c == '\n' && !opens && !of_document && !self.documents.is_empty() {
            self.within.push(Within::Here);
        }
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
                if c == '\n' { Step::Nothing } else { Step::Part }
            }
            (_, '\\') => {
                self.escaped = true;
                self.in_word_before = self.in_word;
                Step::Mark
            }
            (Some(Within::Parenthesis { cases }), ')') if cases > 0 => Step::Break,
            (Some(Within::Backquotes), '`')
            | (Some(Within::Double), '"')
            | (Some(Within::Parenthesis { .. } | Within::Arithmetic), ')') => {
                self.within.pop();
                if c == '"' { Step::Mark } else { Step::Break }
            }
            (_, '`') => self.enter(Within::Backquotes, Step::Break),
            (Some(Within::Double | Within::Here), '(') if self.last == '$' => {
                self.enter(Within::PARENTHESIS, Step::Break)
            }
            (Some(Within::Double), _) => Step::Part,
            (Some(Within::Here), _) => Step::Break,
            (_, '\'') => self.enter(Within::Single, Step::Mark),
            (_, '"') => self.enter(Within::Double, Step::Mark),
            (Some(Within::Parenthesis { .. }), '(') if self.last == '(' => {
                self.enter(Within::Arithmetic, Step::Break)
            }
            (_, '(') => self.enter(Within::PARENTHESIS, Step::Break),
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

    /// Reads `<<END` up to its end.
    fn follow_opening(&mut self, c: char, step: Step) {
        let shifts = self.within.contains(&Within::Arithmetic);
        let quoted = matches!(self.within.last(), Some(Within::Single | Within::Double));
        self.opening = match (std::mem::take(&mut self.opening), c, step) {
            (Opening::None, '<', Step::Break) if !shifts => Opening::Less(1),
            (Opening::Less(count), '<', Step::Break) => Opening::Less(count + 1),
            (Opening::Less(2), '-', _) => Opening::Word(HereDocument {
                tabs: true,
                ..HereDocument::default()
            }),
            (Opening::Less(2), ' ' | '\t', _) => Opening::Less(2),
            (Opening::Less(2), c, Step::Part) => Opening::Word(HereDocument {
                end: c.to_string(),
                ..HereDocument::default()
            }),
            (Opening::Less(2), _, Step::Mark) => Opening::Word(HereDocument {
                plain: true,
                ..HereDocument::default()
            }),
            (Opening::Word(mut document), c, Step::Part) => {
                document.end.push(c);
                Opening::Word(document)
            }
            (Opening::Word(mut document), _, Step::Mark) => {
                document.plain = true;
                Opening::Word(document)
            }
            (Opening::Word(document), ' ' | '\t', Step::Break)
                if document.end.is_empty() && !document.plain && !quoted =>
            {
                Opening::Word(document)
            }
            (Opening::Word(document), ..) => {
                self.documents.push_back(document);
                Opening::None
            }
            _ => Opening::None,
        };
    }

    /// Reads the lines of a document up to the one that ends it.
    fn follow_document(&mut self, c: char) {
        if c != '\n' {
            self.line.push(c);
            return;
        }
        let line = std::mem::take(&mut self.line);
        let Some(document) = self.documents.front() else {
            return;
        };
        let line = match document.tabs {
            true => line.trim_start_matches('\t'),
            false => &line,
        };
        if line == document.end {
            self.documents.pop_front();
            if self.documents.is_empty() {
                let begun = self.within.iter().position(|w| *w == Within::Here);
                self.within.truncate(begun.unwrap_or(0));
                self.escaped = false;
            }
        }
    }

    /// Knows `case` and `esac` where they are words of the shell.
    fn follow_words(&mut self, c: char, step: Step) {
        match step {
            Step::Part => self.word.push(c),
            // With a quote in it, it is no word of the shell.
            Step::Mark => self.word.push('\0'),
            Step::Nothing => {}
            Step::Break => {
                let word = std::mem::take(&mut self.word);
                let opened = c == '(';
                let place = self.within.len().saturating_sub(1 + usize::from(opened));
                if let Some(Within::Parenthesis { cases }) = self.within.get_mut(place) {
                    match word.as_str() {
                        "case" if self.at_command => *cases += 1,
                        "esac" => *cases = cases.saturating_sub(1),
                        _ => {}
                    }
                }
                let leads_on = matches!(
                    word.as_str(),
                    "then" | "else" | "elif" | "if" | "do" | "while" | "until" | "{" | "!"
                );
                self.at_command = match c {
                    ';' | '|' | '&' | '(' | ')' | '`' | '\n' => true,
                    _ if word.is_empty() => self.at_command,
                    _ => self.at_command && leads_on,
                };
            }
        }
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
            Some(Within::Here) => {
                ensure!(
                    !value.contains('\n'),
                    "a value with several lines cannot stand in a here-document: {value:?}"
                );
                let plain = self.reader.documents.front().is_some_and(|d| d.plain);
                let special = |c: char| !plain && matches!(c, '$' | '`' | '\\');
                let escape = |c: char| special(c).then_some('\\').into_iter().chain([c]);
                value.chars().flat_map(escape).collect()
            }
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
        self.reader.word.push('\0');
        if self.reader.within.contains(&Within::Here) {
            self.reader.line.push_str(&text);
        }
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
            Step::Mark | Step::Nothing => {}
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
                ("printf %s \\\n", ""),
                ("printf \\\n%s \"", "\\\n\""),
                (
                    "n=\"$(case 0 in 0) printf %s ",
                    ";; esac)\"; printf %s \"$n\"",
                ),
                (
                    "n=$( (case 1 in (1) :;; esac); if case 0 in 0) ;; esac; then printf %s ",
                    "; fi); printf %s \"$n\"",
                ),
                ("cat >&2 <<EOF\ndon't \" ( $x\nEOF\nprintf %s ", ""),
                (
                    "cat >&2 <<-'E F' | cat; cat >&2 <<\\X\n(\n\tE F\n`\nX\nprintf %s ",
                    "",
                ),
                ("echo $((1 << 2)) case >&2; printf %s ", " # <<EOF"),
                ("n=$(echo case >&2; printf %s ", "); printf %s \"$n\""),
            ] {
                assert_eq!(said(before, value, after), value, "{before}…{after}");
            }
        }
    }

    #[test]
    fn a_value_in_a_here_document_is_itself() {
        for value in [
            "plain", "a b", "it's", "$HOME", "`id`", "\"q\"", "\\", "$(id)", "*", "#", "",
        ] {
            for (before, after) in [
                ("cat <<EOF\n", "\nEOF\n"),
                ("cat <<'EOF'\n", "\nEOF\n"),
                ("cat <<-EOF; true\n\t", "\n\tEOF\n"),
            ] {
                let found = said(before, value, after);
                assert_eq!(found.lines().next(), Some(value), "{before}");
            }
        }
        let mut line = Line::default();
        line.write("cat <<EOF\n");
        assert!(line.value("a\nEOF").is_err());
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
        assert_eq!(told("cat z.csv \\\nin.csv > out"), "cat|in.csv|z.csv");
        assert_eq!(told("cat a\\\nb"), "ab|cat");
        let text = "cat <<EOF > out\nit's no.csv\n$(cat in.csv)\nEOF\nsh s.sh";
        assert_eq!(told(text), "EOF|cat|in.csv|s.sh|sh");
        assert_eq!(told("cat <<<x; sort a"), "a|cat|sort|x");
    }
}
