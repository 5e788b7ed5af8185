//! Follows the quotes of a line.
//!
//! Only as much of the shell's grammar is known as that takes: quotes, comments, `$(…)`, backquotes, the patterns of
//! `case`, here-documents and lines that go on after a backslash.

use std::collections::VecDeque;

/// What one stands in, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
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
pub(super) enum Step {
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
pub(super) struct HereDocument {
    /// The line that ends it.
    end: String,
    /// Whether tabs before that line do not count (`<<-`).
    tabs: bool,
    /// Whether the shell puts in no variables (`<<'END'`).
    pub(super) plain: bool,
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
pub(super) struct Reader {
    pub(super) within: Vec<Within>,
    /// The last character was a backslash that speaks of the next one; whether a word was there before it.
    escaped: Option<bool>,
    /// The last character was a part of a word, or a mark in it.
    in_word: bool,
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
    pub(super) fn read(&mut self, c: char) -> Step {
        let was_escaped = self.escaped;
        let of_document = self.within.contains(&Within::Here);
        let step = self.step(c);
        self.in_word = match step {
            Step::Nothing => was_escaped.unwrap_or_default(),
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
        self.last = if was_escaped.is_some() { '\0' } else { c };
        step
    }

    /// Whether what comes next has a backslash before it.
    pub(super) fn is_escaped(&self) -> bool {
        self.escaped.is_some()
    }

    /// The here-document whose lines are being read.
    pub(super) fn document(&self) -> Option<&HereDocument> {
        self.documents
            .front()
            .filter(|_| self.within.contains(&Within::Here))
    }

    /// Takes note of a text that was put in, which is a part of a word whatever is in it.
    pub(super) fn skip(&mut self, text: &str) {
        self.in_word = true;
        self.last = '\0';
        self.word.push('\0');
        if self.document().is_some() {
            self.line.push_str(text);
        }
    }

    fn step(&mut self, c: char) -> Step {
        let top = self.within.last().copied();
        if self.document().is_some_and(|document| document.plain) {
            return Step::Break;
        }
        match (top, c) {
            (Some(Within::Comment), '\n') | (Some(Within::Single), '\'') => {
                self.within.pop();
                if c == '\n' { Step::Break } else { Step::Mark }
            }
            (Some(Within::Comment), _) => Step::Break,
            (Some(Within::Single), _) => Step::Part,
            _ if self.escaped.take().is_some() => {
                if c == '\n' {
                    Step::Nothing
                } else {
                    Step::Part
                }
            }
            (_, '\\') => {
                self.escaped = Some(self.in_word);
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
            (Some(Within::Here), _) | (_, ';' | '|' | '&' | '<' | '>' | ')') => Step::Break,
            (_, '\'') => self.enter(Within::Single, Step::Mark),
            (_, '"') => self.enter(Within::Double, Step::Mark),
            (Some(Within::Parenthesis { .. }), '(') if self.last == '(' => {
                self.enter(Within::Arithmetic, Step::Break)
            }
            (_, '(') => self.enter(Within::PARENTHESIS, Step::Break),
            (_, '#') if !self.in_word => self.enter(Within::Comment, Step::Break),
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
        let line = if document.tabs {
            line.trim_start_matches('\t')
        } else {
            &line
        };
        if line == document.end {
            self.documents.pop_front();
            if self.documents.is_empty() {
                let begun = self.within.iter().position(|w| *w == Within::Here);
                self.within.truncate(begun.unwrap_or(0));
                self.escaped = None;
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
