//! Numbers as a person reads them: how many decimals a value needs, and which unit.

/// How many decimals leave so many digits of a value; none of one that is no number, or nothing.
pub fn decimals(value: f64, significant: usize) -> usize {
    const MOST: usize = 15;
    let value = value.abs();
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let before = value.log10().floor() as i64 + 1;
    usize::try_from(significant as i64 - before)
        .unwrap_or(0)
        .min(MOST)
}

/// With so many decimals. What rounds to nothing has no sign.
pub fn rounded(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        _ => text,
    }
}

/// With up to two decimals, as many as there are: `3`, `0.17`.
pub fn brief(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A unit as it is told; `1` is that of a number without one.
pub fn shown_unit(unit: &str) -> Option<&str> {
    (!matches!(unit, "" | "1")).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_no_unit() {
        assert_eq!(["", "1", "m/s"].map(shown_unit), [None, None, Some("m/s")]);
    }

    #[test]
    fn small_values_have_more_decimals() {
        let told = [
            1234.5,
            12.0,
            1.0,
            0.99,
            -0.02,
            8.3e-6,
            0.0,
            f64::NAN,
            1e-300,
        ];
        let digits = told.map(|value| decimals(value, 3));
        assert_eq!(digits, [0, 1, 2, 3, 4, 8, 0, 0, 15]);
    }

    #[test]
    fn what_rounds_to_nothing_has_no_sign() {
        let told = [-0.04, -0.0, 0.04, -0.06, -10.04].map(|value| rounded(value, 1));
        assert_eq!(told, ["0.0", "0.0", "0.0", "-0.1", "-10.0"]);
    }
}
