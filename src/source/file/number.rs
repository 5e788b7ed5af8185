//! Numbers as text: fast where they are plain.

/// 10^0 to 10^15, which `f64` has exactly.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Reads a number with this character before its decimals. Infinities are none.
pub(super) fn read(text: &[u8], decimal: u8) -> Option<f64> {
    plain(text, decimal).or_else(|| any(text, decimal))
}

/// Up to fifteen digits: a whole number and a power of ten that `f64` has exactly, so that their
/// quotient is rounded once and is the nearest number (Clinger 1990, "How to read floating point
/// numbers accurately").
fn plain(text: &[u8], decimal: u8) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 16 {
        return None;
    }
    let (mut whole, mut count) = (0_u64, 0);
    let mut behind: Option<usize> = None;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + u64::from(byte - b'0');
                count += 1;
                behind = behind.map(|behind| behind + 1);
            }
            byte if byte == decimal && behind.is_none() => behind = Some(0),
            _ => return None,
        }
    }
    if count == 0 || count > 15 {
        return None;
    }
    let number = whole as f64 / POWERS[behind.unwrap_or(0)];
    Some(if negative { -number } else { number })
}

fn any(text: &[u8], decimal: u8) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: f64 = if decimal == b'.' {
        text.parse().ok()?
    } else if text.contains('.') {
        // A point that parts thousands, or a decimal one: nobody knows which.
        return None;
    } else {
        text.replace(char::from(decimal), ".").parse().ok()?
    };
    (!number.is_infinite()).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_with_a_comma() {
        assert_eq!(read(b"-1,5", b','), Some(-1.5));
        assert_eq!(read(b"1,5e3", b','), Some(1500.0));
        for text in ["1.5", "1.234,5", "1,2,3", ",", "", "-", "inf", "1e999", "x"] {
            assert_eq!(read(text.as_bytes(), b','), None, "{text}");
        }
        assert!(read(b"NaN", b'.').is_some_and(f64::is_nan));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn plain_numbers_are_the_nearest(text in "-?[0-9]{0,17}\\.?[0-9]{0,17}|[0-9.eE+-]{0,12}") {
            if let Some(number) = plain(text.as_bytes(), b'.') {
                let nearest: f64 = text.parse().unwrap();
                prop_assert_eq!(number.to_bits(), nearest.to_bits(), "{}", text);
            }
        }
    }
}
