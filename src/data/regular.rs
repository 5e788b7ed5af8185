//! Values that follow each other by one gap, as far as none was lost.

/// For so many steps of a data set the gap must hold for it to be no chance: in less a sensor may have failed in a
/// regular way.
const LONG_STEPS: i64 = 12;

/// So many other gaps in a row, and it is the gap no longer.
const MOST_OTHERS: usize = 12;

/// Some values one gap apart, or a multiple of it where some between them were lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Regular {
    gap: i64,
    /// How often the gap itself was seen.
    exact: i64,
    /// Multiples of it, up to the last time it was seen and since.
    multiples: i64,
    others: usize,
}

impl Regular {
    /// Two values.
    pub(super) fn begin(gap: i64) -> Self {
        Self {
            gap,
            exact: 1,
            ..Self::default()
        }
    }

    pub(super) fn gap(&self) -> i64 {
        self.gap
    }

    /// One value more, so long after the last one; false where it does not belong to these.
    pub(super) fn go_on(&mut self, gap: i64) -> bool {
        if gap == self.gap {
            self.exact += 1;
            self.multiples += self.others as i64;
            self.others = 0;
            return true;
        }
        let is_multiple = self.gap > 0 && gap > self.gap && gap % self.gap == 0;
        self.others += 1;
        is_multiple && self.others < MOST_OTHERS
    }

    /// Whether the last gap was the one of these.
    pub(super) fn is_exact(&self) -> bool {
        self.others == 0
    }

    /// Whether these are so many that values of a step of `step` seconds are made of them.
    pub(super) fn is_long(&self, step: i64) -> bool {
        self.gap > 0
            && step % self.gap == 0
            && self.exact >= self.multiples
            && self.exact * self.gap >= LONG_STEPS * step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these gaps belong together, and whether the last was exact.
    fn run(gaps: &[i64]) -> (usize, Regular) {
        let mut regular = Regular::begin(gaps[0]);
        let more = gaps[1..].iter().take_while(|gap| regular.go_on(**gap));
        (1 + more.count(), regular)
    }

    #[test]
    fn lost_values_do_not_end_it_and_another_gap_does() {
        let lossy = [10, 20, 10, 10, 60, 10, 10_000, 10];
        let (count, regular) = run(&lossy);
        assert!(count == lossy.len() && regular.is_exact());
        assert_eq!(run(&[10, 10, 5, 10]).0, 2);
        assert_eq!(run(&[10, 10, 25]).0, 2);
        let hours: Vec<i64> = [vec![10; 5], vec![60; 40]].concat();
        let (count, regular) = run(&hours);
        assert!(count == 5 + MOST_OTHERS - 1 && !regular.is_exact());
        // Stamps that jitter, and two rows of one time.
        assert_eq!(run(&[0, 0, 10]).0, 2);
    }

    #[test]
    fn long_is_what_was_seen_often_enough() {
        let long = |gaps: &[i64], step| run(gaps).1.is_long(step);
        assert!(long(&[60; 12], 60) && !long(&[60; 11], 60));
        assert!(long(&[10; 72], 60) && !long(&[10; 71], 60));
        // A year between two values is no year of values.
        assert!(!long(&[10, 10, 1_000_000, 10], 60));
        // More were lost than not.
        let most_lost = [10, 20, 20].repeat(100);
        assert!(!long(&most_lost, 60));
        // No step is made of such.
        assert!(!long(&[7; 1000], 60) && !long(&[0; 1000], 60));
    }
}
