//! The bytes of a file as UTF-8 text: unpacked, decoded, without a byte order mark.
//!
//! Only as much as a buffer of it is in memory at a time. Text that is said to be UTF-8, or of
//! which nothing is said, is passed on as it is: whoever needs a field as text checks that one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use encoding_rs::{Decoder, Encoding, UTF_8};

use super::wrong;
use crate::fs;
use crate::source::{GZIPPED, SourceError};

const BUFFER: usize = 1 << 18;

/// A file as text.
pub(super) struct Text<'a> {
    file: &'a str,
    inner: BufReader<Box<dyn Read>>,
    is_packed: bool,
}

impl<'a> Text<'a> {
    pub(super) fn open(
        path: &Path,
        file: &'a str,
        encoding: Option<&'static Encoding>,
    ) -> Result<Self, SourceError> {
        let mut raw = BufReader::with_capacity(BUFFER, fs::open(path)?);
        let start = raw
            .fill_buf()
            .map_err(|error| wrong(file, error.to_string()))?;
        let is_packed = start.starts_with(GZIPPED);
        let plain = Plain::new(raw, is_packed);
        let mut plain = BufReader::with_capacity(BUFFER, plain);
        let told = |error: &io::Error| wrong(file, reason(is_packed, error));
        let start = plain.fill_buf().map_err(|error| told(&error))?;
        let mark = Encoding::for_bom(start);
        let marked = mark.map(|(encoding, _)| encoding);
        let encoding = encoding.or(marked).unwrap_or(UTF_8);
        let inner: Box<dyn Read> = if encoding == UTF_8 {
            let length = mark.filter(|(encoding, _)| *encoding == UTF_8);
            plain.consume(length.map_or(0, |(_, length)| length));
            Box::new(plain)
        } else {
            Box::new(Decoded::new(plain, encoding))
        };
        Ok(Self {
            file,
            inner: BufReader::with_capacity(BUFFER, inner),
            is_packed,
        })
    }

    /// How it begins, or what is left of it; empty at its end.
    pub(super) fn peek(&mut self) -> Result<&[u8], SourceError> {
        let (file, is_packed) = (self.file, self.is_packed);
        let start = self.inner.fill_buf();
        start.map_err(|error| wrong(file, reason(is_packed, &error)))
    }

    /// What went wrong while it was read.
    pub(super) fn fault(file: &str, is_packed: bool, error: &io::Error) -> SourceError {
        wrong(file, reason(is_packed, error))
    }

    pub(super) fn is_packed(&self) -> bool {
        self.is_packed
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Text<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

fn reason(is_packed: bool, error: &io::Error) -> String {
    if is_packed {
        format!("damaged gzip file: {error}")
    } else {
        error.to_string()
    }
}

/// A file, unpacked where it is packed.
enum Plain {
    AsItIs(BufReader<File>),
    Packed(Box<flate2::bufread::MultiGzDecoder<BufReader<File>>>),
}

impl Plain {
    fn new(raw: BufReader<File>, is_packed: bool) -> Self {
        if is_packed {
            Self::Packed(Box::new(flate2::bufread::MultiGzDecoder::new(raw)))
        } else {
            Self::AsItIs(raw)
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::AsItIs(raw) => raw.read(buffer),
            Self::Packed(packed) => packed.read(buffer),
        }
    }
}

/// Text of another encoding as UTF-8. What is no text in it becomes U+FFFD.
struct Decoded<R> {
    from: R,
    decoder: Decoder,
    /// UTF-8 that is not yet taken.
    ready: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl<R: BufRead> Decoded<R> {
    fn new(from: R, encoding: &'static Encoding) -> Self {
        Self {
            from,
            // A byte order mark knows better.
            decoder: encoding.new_decoder(),
            ready: Vec::new(),
            taken: 0,
            is_over: false,
        }
    }

    fn decode_more(&mut self) -> io::Result<()> {
        self.taken = 0;
        self.ready.clear();
        while self.ready.is_empty() && !self.is_over {
            let bytes = self.from.fill_buf()?;
            let last = bytes.is_empty();
            self.ready.resize(BUFFER, 0);
            let (_, read, written, _) = self.decoder.decode_to_utf8(bytes, &mut self.ready, last);
            self.ready.truncate(written);
            self.from.consume(read);
            self.is_over = last;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ready.len() {
            self.decode_more()?;
        }
        let count = (&self.ready[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}
