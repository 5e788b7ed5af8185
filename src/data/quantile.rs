//! The quantile of a sample.

/// Of sorted values, by linear interpolation between order statistics: definition 7 of R. J. Hyndman
/// and Y. Fan, "Sample quantiles in statistical packages", The American Statistician 50, 1996. `level` is
/// between 0 and 1, and there is a value.
pub fn quantile<T: Copy + Into<f64>>(sorted: &[T], level: f64) -> f64 {
    let position = level * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high): (f64, f64) = (sorted[below].into(), sorted[above].into());
    low + (high - low) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_quantiles_interpolate() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.9, 1])
        let sorted = [1.0_f32, 2.0, 4.0, 8.0];
        for (level, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&sorted, level) - expected).abs() < 1e-12);
            let doubles = sorted.map(f64::from);
            assert!((quantile(&doubles, level) - expected).abs() < 1e-12);
        }
        assert!((quantile(&[5.0], 0.9) - 5.0).abs() < 1e-12);
    }
}
