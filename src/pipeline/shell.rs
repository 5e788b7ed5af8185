//! Lines for the shell: values put in so that each stays what it is, and the files that a line names.

mod reader;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use reader::{Reader, Step, Within};

/// A word of a line that only a shell knows the meaning of, such as `&&` or `>file`: no quote and no backslash stands in it.
pub(super) fn operator_in(line: &str) -> Option<&str> {
    const OPERATORS: [&str; 10] = ["&&", "||", "|", "|&", ";", "&", "<", "<<", "&>", "1>"];
    let is_operator = |word: &&str| {
        OPERATORS.contains(word)
            || word.starts_with('>')
            || word.starts_with("2>")
            || word.ends_with(';')
    };
    bare_words(line).into_iter().find(is_operator)
}

/// The words of a line in which nothing is quoted.
fn bare_words(line: &str) -> Vec<&str> {
    let mut reader = Reader::default();
    let mut words = Vec::new();
    let (mut start, mut is_bare) = (0, true);
    for (at, c) in line.char_indices() {
        let step = reader.read(c);
        let is_outside = reader.within.is_empty();
        is_bare &= is_outside && step != Step::Mark;
        if is_outside && step == Step::Break && c.is_whitespace() {
            words.extend(line.get(start..at).filter(|_| is_bare));
            (start, is_bare) = (at + c.len_utf8(), true);
        }
    }
    words.extend(line.get(start..).filter(|_| is_bare));
    words
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
        self.reader.is_escaped()
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
                let plain = self.reader.document().is_some_and(|d| d.plain);
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
        self.reader.skip(&text);
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
    let mut documents = String::new();
    for c in line.chars().chain(['\n']) {
        if reader.document().is_some() {
            documents.push(c);
        }
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
    // What a here-document says is a program or a list for another one, whatever its grammar.
    let ends = |c: char| c.is_whitespace() || "\"'`()[]{}<>|&;,=$".contains(c);
    let of_documents = documents.split(ends).filter(|word| !word.is_empty());
    read.extend(of_documents.map(str::to_owned));
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
    fn what_only_a_shell_knows_is_found_where_nothing_is_quoted() {
        for (line, operator) in [
            ("python3 a.py && python3 b.py", Some("&&")),
            ("python3 a.py > log", Some(">")),
            ("python3 a.py 2>&1", Some("2>&1")),
            ("python3 a.py >>log", Some(">>log")),
            ("make a; make b", Some("a;")),
            ("cat a | sort", Some("|")),
            ("a ' && ' b", None),
            (r#"a "x \" > " ';'"#, None),
            (r"find . -exec touch {} \;", None),
            ("select --where=a>5 b|c", None),
            (r#"say "$(a && b)" # && c"#, None),
            ("", None),
        ] {
            assert_eq!(operator_in(line), operator, "{line}");
        }
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
                ("sed 1d <<'EOF'\n`wc $(x \\\n", "\n`)\nEOF\n"),
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
        assert_eq!(told(text), "EOF|cat|in.csv|it|no.csv|s|s.sh|sh");
        let text = "python3 <<EOF > out\nprint(open(\"in.csv\").read())\nEOF\n";
        assert!(words(text).contains("in.csv") && !words(text).contains("out"));
        assert_eq!(told("cat <<<x; sort a"), "a|cat|sort|x");
    }
}
