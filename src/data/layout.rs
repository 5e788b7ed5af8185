//! Where the rows of one or several series stand: one series after the other, each on the same
//! step from a start of its own.

use std::ops::Range;

use crate::time::Step;

/// The rows of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name of the series; empty where there is only one, which has none.
    pub name: String,
    /// The time of its first row, in seconds since 1970 UTC.
    pub start: i64,
    /// Its rows.
    pub rows: Range<usize>,
}

/// The rows of all series: the blocks adjoin, and none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    step: Step,
    blocks: Vec<Block>,
}

impl Layout {
    /// From the name, the start and the number of rows of each series.
    pub fn new(step: Step, series: impl IntoIterator<Item = (String, i64, usize)>) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        for (name, start, rows) in series {
            let first = blocks.last().map_or(0, |block| block.rows.end);
            if rows > 0 {
                blocks.push(Block {
                    name,
                    start,
                    rows: first..first + rows,
                });
            }
        }
        Self { step, blocks }
    }

    /// One series without a name.
    pub fn single(start: i64, step: Step, rows: usize) -> Self {
        Self::new(step, [(String::new(), start, rows)])
    }

    /// The time between two rows of a series.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The series, in the order of their rows.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// How many rows there are in all.
    pub fn rows(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.rows.end)
    }

    /// Whether series have names, so that rows must say which they belong to.
    pub fn is_named(&self) -> bool {
        self.blocks.iter().any(|block| !block.name.is_empty())
    }

    /// The names of all series; empty where there is one without a name.
    pub fn names(&self) -> Vec<String> {
        if self.is_named() {
            self.blocks.iter().map(|block| block.name.clone()).collect()
        } else {
            Vec::new()
        }
    }

    /// The series that something without a name speaks of, where there is only one.
    pub fn spoken_of<'a>(&'a self, name: &'a str) -> &'a str {
        match &self.blocks[..] {
            [only] if name.is_empty() => &only.name,
            _ => name,
        }
    }

    /// The names of those series that some rows, in increasing order, are of.
    pub fn names_of(&self, rows: &[usize]) -> Vec<&str> {
        let with_some = self.blocks.iter().filter(|block| has_some(block, rows));
        with_some.map(|block| block.name.as_str()).collect()
    }

    /// The names of the other series.
    pub fn names_without(&self, rows: &[usize]) -> Vec<&str> {
        let without = self.blocks.iter().filter(|block| !has_some(block, rows));
        without.map(|block| block.name.as_str()).collect()
    }

    /// The series that a row belongs to; past the last row, the last one. `None` without any.
    pub fn block_of(&self, row: usize) -> Option<&Block> {
        let place = self.blocks.partition_point(|block| block.rows.end <= row);
        self.blocks.get(place).or(self.blocks.last())
    }

    /// The first row of the series that a row belongs to.
    pub fn start_of(&self, row: usize) -> usize {
        self.block_of(row).map_or(0, |block| block.rows.start)
    }

    /// The time of a row, in seconds since 1970 UTC; also past the last row.
    pub fn time(&self, row: usize) -> i64 {
        self.block_of(row)
            .map_or(0, |block| block.time(row, self.step))
    }

    /// The times of all rows.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.blocks.iter().flat_map(|block| {
            let step = self.step.seconds();
            (0..block.rows.len() as i64).map(move |row| block.start + row * step)
        })
    }

    /// How far its times lie after multiples of the step, in seconds, as far as the first series
    /// tells.
    pub fn phase(&self) -> i64 {
        let start = self.blocks.first().map_or(0, |block| block.start);
        start.rem_euclid(self.step.seconds())
    }

    /// The same series with more rows at the end of each.
    #[must_use]
    pub fn extended(&self, rows: usize) -> Self {
        let longer = |block: &Block| (block.name.clone(), block.start, block.rows.len() + rows);
        Self::new(self.step, self.blocks.iter().map(longer))
    }
}

impl Block {
    /// The time of one of its rows, or of one past its last.
    pub fn time(&self, row: usize, step: Step) -> i64 {
        self.start + (row as i64 - self.rows.start as i64) * step.seconds()
    }

    /// The first of its rows at or after a time; one past its last where there is none.
    pub fn row_at(&self, time: i64, step: Step) -> usize {
        let steps = (time - self.start).max(0) as u64;
        let row = steps.div_ceil(step.seconds().unsigned_abs()) as usize;
        self.rows.start + row.min(self.rows.len())
    }
}

/// Whether some of the rows, in increasing order, are of a series.
fn has_some(block: &Block, rows: &[usize]) -> bool {
    let first = rows.partition_point(|&row| row < block.rows.start);
    rows.get(first).is_some_and(|&row| row < block.rows.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_times_of_their_series() {
        let series = [
            ("a".into(), 0, 3),
            ("b".into(), 7200, 0),
            ("c".into(), 36_000, 2),
        ];
        let layout = Layout::new(Step::HOUR, series);
        assert_eq!((layout.rows(), layout.blocks().len()), (5, 2));
        let times: Vec<i64> = layout.times().collect();
        assert_eq!(times, [0, 3600, 7200, 36_000, 39_600]);
        assert!(
            times
                .iter()
                .enumerate()
                .all(|(row, &time)| layout.time(row) == time)
        );
        assert_eq!(layout.time(5), 43_200);
        assert_eq!(
            layout.block_of(3).map(|block| block.name.as_str()),
            Some("c")
        );
        let longer = layout.extended(1);
        assert_eq!(
            (longer.rows(), longer.time(3), longer.time(4)),
            (7, 10_800, 36_000)
        );
        let block = &layout.blocks()[1];
        let rows = [-1, 36_000, 36_001, 39_600, 99_999].map(|t| block.row_at(t, Step::HOUR));
        assert_eq!(rows, [3, 3, 4, 4, 5]);
    }
}
