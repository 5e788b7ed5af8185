//! Percent encoding: text as a part of a URL, and back.

/// Everything but letters, digits and `-._~` becomes `%XX`, byte by byte.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The bytes that a part of a query stands for; what is no encoding stays as it is.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (*byte, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(16 * high + low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (byte, _) => decoded.push(byte),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        assert_eq!(
            encode("2024-06-01T00:00+02 é~"),
            "2024-06-01T00%3A00%2B02%20%C3%A9~"
        );
        for text in ["", "a b", "%", "%4", "%zz", "é&=?/#", "100%25"] {
            assert_eq!(decode(&encode(text)), text.as_bytes());
        }
        assert_eq!(decode("a+b%2Bc%4%"), b"a b+c%4%");
    }
}
