//! How often something was measured, where that changed over the years or is not as often as other columns.
//!
//! A station that gave a value each hour and gives one each 10 minutes since is one series all the same. Held
//! against six values an hour, its early years would be missing for lack of values, and a sum of them six times
//! what fell. So long stretches of another step count by that step.

use std::ops::Range;

use crate::data::regular::Regular;

/// How many values make up a bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// As a rule.
    usual: usize,
    /// Where it is another number, in order of time.
    stretches: Vec<Stretch>,
}

/// A time in which no two values are closer than its gap.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    /// When its values were measured, seconds; without its first moment, as a bin.
    span: Range<i64>,
    /// Values in a step.
    expected: usize,
}

/// Values one gap apart but for lost ones, as many as make a stretch; indices of their times.
struct Seed {
    first: usize,
    last: usize,
    gap: i64,
}

impl Cadence {
    /// As often everywhere.
    pub fn uniform(usual: usize) -> Self {
        Self {
            usual,
            stretches: Vec::new(),
        }
    }

    /// By the times at which there is a value, in order, for bins of `step` seconds.
    pub(super) fn of(times: &[i64], step: i64, usual: usize) -> Self {
        let mut seeds = seeds(times, step);
        for at in 0..seeds.len() {
            let (before, rest) = seeds.split_at_mut(at);
            let [before, seed] = [before.last_mut(), rest.first_mut()];
            match (before, seed) {
                // What was measured less often may have the more gaps.
                (Some(before), Some(seed)) if before.gap >= seed.gap => {
                    before.go_on(times, seed.first);
                    seed.go_back(times, before.last);
                }
                (before, Some(seed)) => {
                    seed.go_back(times, before.as_ref().map_or(0, |before| before.last));
                    if let Some(before) = before {
                        before.go_on(times, seed.first);
                    }
                }
                _ => {}
            }
        }
        if let Some(last) = seeds.last_mut() {
            last.go_on(times, times.len().saturating_sub(1));
        }
        let stretch = |seed: Seed| {
            // Before the first value and after the last one there is nothing else that their bins could hold.
            let start = match seed.first {
                0 => times[0] - step,
                first => times[first],
            };
            let end = match seed.last + 1 {
                all if all == times.len() => times[seed.last] + step - 1,
                _ => times[seed.last],
            };
            Stretch {
                span: start..end,
                expected: usize::try_from(step / seed.gap).unwrap_or(usual),
            }
        };
        let stretches = seeds.into_iter().map(stretch);
        let mut stretches: Vec<Stretch> = stretches.filter(|one| one.expected != usual).collect();
        stretches.dedup_by(|next, before| {
            let is_more = next.expected == before.expected && next.span.start == before.span.end;
            if is_more {
                before.span.end = next.span.end;
            }
            is_more
        });
        Self { usual, stretches }
    }

    /// The bins of `step` seconds of which the first ends at `start`, in pieces of one number each: the bins, and how
    /// many values make up one of them.
    pub(super) fn pieces(&self, start: i64, step: i64, bins: usize) -> Vec<(Range<usize>, usize)> {
        let mut pieces = Vec::with_capacity(2 * self.stretches.len() + 1);
        let mut done = 0;
        for stretch in &self.stretches {
            // The first bin begins within the stretch, and the last one ends there.
            let first = (stretch.span.start + step - start + step - 1).div_euclid(step);
            let last = (stretch.span.end - start).div_euclid(step);
            let place = |bin: i64| usize::try_from(bin).unwrap_or(0).clamp(done, bins);
            let (first, end) = (place(first), place(last + 1));
            if first < end {
                pieces.push((done..first, self.usual));
                pieces.push((first..end, stretch.expected));
                done = end;
            }
        }
        pieces.push((done..bins, self.usual));
        pieces.retain(|(bins, _)| !bins.is_empty());
        pieces
    }
}

impl Seed {
    /// To later values, up to one, as long as none is closer to the one before it.
    fn go_on(&mut self, times: &[i64], until: usize) {
        while self.last < until && times[self.last + 1] - times[self.last] >= self.gap {
            self.last += 1;
        }
    }

    /// To earlier values, down to one.
    fn go_back(&mut self, times: &[i64], until: usize) {
        while self.first > until && times[self.first] - times[self.first - 1] >= self.gap {
            self.first -= 1;
        }
    }
}

/// Each as long as it goes, in order of time.
fn seeds(times: &[i64], step: i64) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut first = 0;
    while first + 1 < times.len() {
        let mut regular = Regular::begin(times[first + 1] - times[first]);
        let mut last = first + 1;
        let mut whole = regular;
        for next in last + 1..times.len() {
            if !regular.go_on(times[next] - times[next - 1]) {
                break;
            }
            // What is lost at its end is not known to be of it.
            if regular.is_exact() {
                (last, whole) = (next, regular);
            }
        }
        if whole.is_long(step) {
            let gap = whole.gap();
            seeds.push(Seed { first, last, gap });
        }
        first = last;
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3600;
    const TEN_MINUTES: i64 = 600;

    /// Each `gap` after `from`, up to `until`.
    fn each(gap: i64, span: Range<i64>) -> impl Iterator<Item = i64> {
        (1..=(span.end - span.start) / gap).map(move |row| span.start + row * gap)
    }

    #[test]
    fn hours_before_and_after_ten_minutes() {
        let day = 24 * HOUR;
        let times = each(HOUR, 0..day)
            .chain(each(TEN_MINUTES, day..5 * day))
            .chain(each(HOUR, 5 * day..6 * day));
        let times: Vec<i64> = times.collect();
        let cadence = Cadence::of(&times, HOUR, 6);
        let pieces = cadence.pieces(HOUR, HOUR, 144);
        assert_eq!(pieces, [(0..24, 1), (24..120, 6), (120..144, 1)]);
        // Bins that begin later, and end sooner.
        assert_eq!(cadence.pieces(31 * HOUR, HOUR, 20), [(0..20, 6)]);
    }

    #[test]
    fn a_finer_stretch_counts_too_where_most_are_hours() {
        let day = 24 * HOUR;
        let times = each(HOUR, 0..5 * day).chain(each(TEN_MINUTES, 5 * day..6 * day));
        let times: Vec<i64> = times.collect();
        let cadence = Cadence::of(&times, HOUR, 1);
        let pieces = cadence.pieces(HOUR, HOUR, 144);
        assert_eq!(pieces, [(0..120, 1), (120..144, 6)]);
    }

    #[test]
    fn gaps_in_a_stretch_are_of_it_and_an_outage_is_none() {
        let hours = (1..=60).filter(|hour| ![4, 20, 21, 40, 58].contains(hour));
        let times = hours
            .map(|hour| hour * HOUR)
            .chain(each(TEN_MINUTES, 60 * HOUR..90 * HOUR));
        let times: Vec<i64> = times.collect();
        let pieces = Cadence::of(&times, HOUR, 6).pieces(HOUR, HOUR, 90);
        assert_eq!(pieces, [(0..60, 1), (60..90, 6)]);
        // One of six is always lost, and for eight hours all but one: no other step.
        let lost = each(TEN_MINUTES, 0..90 * HOUR).filter(|time| {
            let (hour, minute) = (time / HOUR, time % HOUR);
            minute != TEN_MINUTES && (!(40..48).contains(&hour) || minute == 0)
        });
        let lost: Vec<i64> = lost.collect();
        assert_eq!(Cadence::of(&lost, HOUR, 6), Cadence::uniform(6));
    }

    #[test]
    fn lost_values_make_no_stretch_another_one() {
        let day = 24 * HOUR;
        // Each eleventh, or about each sixth.
        for is_lost in [|hour| hour % 264 == 13, |hour: i64| hour * hour % 17 < 3] {
            let hours = (1..=200 * 24).filter(|&hour| !is_lost(hour));
            let times: Vec<i64> = hours
                .map(|hour| hour * HOUR)
                .chain(each(TEN_MINUTES, 200 * day..300 * day).filter(|time| time % 7 != 0))
                .collect();
            let pieces = Cadence::of(&times, day, 144).pieces(day, day, 300);
            assert_eq!(pieces, [(0..200, 24), (200..300, 144)]);
        }
    }

    proptest! {
        #[test]
        fn pieces_are_all_bins_in_order(
            gaps in prop::collection::vec((prop::sample::select(vec![600_i64, 1200, 3600]), 1..40_usize), 0..12),
            start in -5..20_i64,
            bins in 0..300_usize,
        ) {
            let mut time = 0;
            let times = gaps.iter().flat_map(|&(gap, count)| std::iter::repeat_n(gap, count));
            let times: Vec<i64> = times.map(|gap| { time += gap; time }).collect();
            let pieces = Cadence::of(&times, HOUR, 6).pieces(start * HOUR, HOUR, bins);
            let mut next = 0;
            for (piece, expected) in pieces {
                prop_assert_eq!(piece.start, next);
                prop_assert!(piece.end > piece.start && [1, 3, 6].contains(&expected));
                next = piece.end;
            }
            prop_assert_eq!(next, bins);
        }
    }
}
