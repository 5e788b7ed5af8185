//! Bodies that come packed.

use std::borrow::Cow;
use std::io::{self, Read};

use reqwest::blocking::Response;

use super::words::start_of;

/// The one way of packing a body that is asked for.
pub(super) const GZIP: &str = "gzip";

/// How much of a body that is an error is read.
const READ_OF_ERROR: u64 = 64 << 10;

/// Why a packed body cannot be used.
pub(super) enum Packed {
    TooLong,
    Damaged(io::Error),
}

/// How a body is packed; none where it is not.
pub(super) fn known_encoding(text: &str) -> Option<String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => None,
        "gzip" | "x-gzip" => Some(GZIP.to_owned()),
        _ => Some(start_of(text.as_bytes())),
    }
}

/// The beginning of what a server says is wrong. Whatever ends early or is damaged here was an error
/// before.
pub(super) fn start_of_error(response: Response, encoding: Option<&str>) -> Vec<u8> {
    let mut raw = Vec::new();
    let _ = response.take(READ_OF_ERROR).read_to_end(&mut raw);
    if encoding != Some(GZIP) {
        return raw;
    }
    let mut body = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(&*raw);
    let _ = unpacked.take(READ_OF_ERROR).read_to_end(&mut body);
    body
}

/// A body of at most `limit` bytes.
pub(super) fn unpacked<'b>(
    encoding: Option<&str>,
    raw: &'b [u8],
    limit: u64,
) -> Result<Cow<'b, [u8]>, Packed> {
    if encoding != Some(GZIP) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut body = Vec::new();
    flate2::read::MultiGzDecoder::new(raw)
        .take(limit + 1)
        .read_to_end(&mut body)
        .map_err(Packed::Damaged)?;
    if body.len() as u64 > limit {
        return Err(Packed::TooLong);
    }
    Ok(Cow::Owned(body))
}
