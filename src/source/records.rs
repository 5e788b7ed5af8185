//! Records of CSV, and whether the text ended within a quotation.
//!
//! The csv crate takes the end of the text for the end of a quotation, so a quotation mark that is never closed
//! makes one field of all that follows, without a word. Here one line more is read behind the text: where
//! it comes out as a record of its own, nothing was open. That asks the crate itself, whatever its rules for
//! quotation marks, and costs nothing but reading one record ahead.

use std::io::{Chain, Cursor, Read};
use std::mem;

use csv::{ByteRecord, Reader, ReaderBuilder};

/// The line behind the text: a line break, in case that the last line has none, one character, a line break.
type Probe = Cursor<[u8; 3]>;

/// One record after another.
pub(super) struct Records<R> {
    reader: Reader<Chain<R, Probe>>,
    ahead: ByteRecord,
    state: State,
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Within,
    Over,
}

/// What came of asking for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is one.
    Record,
    /// The text is over.
    End,
    /// The text is over within a quotation, which begins so many line breaks before its end.
    Open { lines: u64 },
}

impl<R: Read> Records<R> {
    /// The records of a text; lines that begin with `comment` are none.
    pub(super) fn new(from: R, delimiter: u8, comment: Option<u8>) -> Self {
        // It must be a field, and the line no comment.
        let is_plain = |byte: &u8| *byte != delimiter && Some(*byte) != comment;
        let probe = (b'A'..=b'C').find(is_plain).unwrap_or(b'A');
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .comment(comment)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(from.chain(Cursor::new([b'\n', probe, b'\n'])));
        Self {
            reader,
            ahead: ByteRecord::new(),
            state: State::Unread,
            end: 0,
        }
    }

    /// The next record, with any number of fields.
    pub(super) fn next(&mut self, record: &mut ByteRecord) -> csv::Result<Next> {
        if self.state == State::Unread {
            self.state = State::Within;
            self.reader.read_byte_record(&mut self.ahead)?;
        }
        if self.state == State::Over {
            record.clear();
            return Ok(Next::End);
        }
        mem::swap(record, &mut self.ahead);
        self.end = self.reader.position().byte();
        if self.reader.read_byte_record(&mut self.ahead)? {
            return Ok(Next::Record);
        }
        self.state = State::Over;
        // The last record is the line behind the text, or has that in its last field, with both line breaks.
        let lines = record.iter().next_back().map_or(0, line_breaks);
        record.clear();
        Ok(match lines.checked_sub(2) {
            Some(lines) => Next::Open { lines },
            None => Next::End,
        })
    }

    /// How many bytes of the text end with the last record.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

pub(super) fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as `a|b`, and how the text ends.
    fn read(text: &str, delimiter: u8, comment: Option<u8>) -> (Vec<String>, Next) {
        let mut records = Records::new(text.as_bytes(), delimiter, comment);
        let (mut all, mut record) = (Vec::new(), ByteRecord::new());
        loop {
            match records.next(&mut record).unwrap() {
                Next::Record => {
                    let fields = record.iter().map(String::from_utf8_lossy);
                    all.push(fields.collect::<Vec<_>>().join("|"));
                }
                end => {
                    assert_eq!(records.next(&mut record).unwrap(), Next::End);
                    return (all, end);
                }
            }
        }
    }

    #[test]
    fn records_are_those_of_the_crate_and_a_text_ends_without_a_quotation() {
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n", vec![]),
            ("a,b", vec!["a|b"]),
            ("a,b\r\nA\n", vec!["a|b", "A"]),
            ("a,\"b\nA\n\"", vec!["a|b\nA\n"]),
            ("\"a\",\"b\"\r", vec!["a|b"]),
            ("a,b\"\n\"\"\n", vec!["a|b\"", ""]),
            ("a,\"b\"c\"\n", vec!["a|bc\""]),
            ("\"a\"\"\"\n# \"\n", vec!["a\""]),
        ] {
            let (all, end) = read(text, b',', Some(b'#'));
            assert_eq!(
                (all, end),
                (
                    expected.iter().map(|&text| text.to_owned()).collect(),
                    Next::End
                ),
                "{text:?}"
            );
        }
        let (all, end) = read("AaA\nA", b'A', Some(b'B'));
        assert_eq!(
            (all, end),
            (vec!["|a|".to_owned(), "|".to_owned()], Next::End)
        );
    }

    #[test]
    fn a_quotation_that_nothing_closes_is_told_by_its_lines() {
        for (text, lines) in [
            ("\"", 0),
            ("a,b\nc,\"d\n", 1),
            ("a,\"x\ny\",\"z\n1,2\n3,4", 2),
            ("a,\"d\"\"\n", 1),
            ("\"A\n", 1),
        ] {
            let (_, end) = read(text, b',', None);
            assert_eq!(end, Next::Open { lines }, "{text:?}");
        }
        assert_eq!(read("aA\"", b'A', Some(b'B')).1, Next::Open { lines: 0 });
    }
}
