//! What of a data set was observed, and until when.

use std::ops::Range;

use super::{Dataset, without_filled};
use crate::data::{Block, Column, ColumnSource, Panel, Role, SeriesError, Table};
use crate::time::parse_time;

impl Dataset {
    /// The last row of a series, from its first on, in which anything was observed, where gaps were filled.
    pub fn observed_until(&self, block: &Block) -> Option<usize> {
        let mut series = self.meta.series.iter();
        let series = series.find(|series| series.name == block.name)?;
        let until = parse_time(series.observed_until.as_ref()?, None, 0)?;
        usize::try_from((until - block.start) / self.meta.step.seconds()).ok()
    }

    /// The columns that were observed, and not made from others, without what is known to be filled.
    pub fn observations(&self) -> Result<Table, SeriesError> {
        let blocks = self.panel.layout().blocks().iter();
        let silent = blocks.filter_map(|block| {
            let until = self.observed_until(block)?;
            Some(block.rows.start + until + 1..block.rows.end)
        });
        let silent: Vec<Range<usize>> = silent.collect();
        let pairs = self.meta.columns.iter().zip(self.panel.columns());
        let observed = pairs.filter(|(meta, _)| {
            use ColumnSource::{Observed, Wind};
            matches!(meta.source, Observed { .. } | Wind { .. })
        });
        let columns = observed.map(|(meta, column)| {
            let mask = self.mask_of(Some(&column.name));
            let mut values = without_filled(column, mask).into_owned();
            for rows in silent.iter().filter(|_| meta.role != Role::Future) {
                values[rows.clone()].fill(f64::NAN);
            }
            Column {
                name: column.name.clone(),
                unit: column.unit.clone(),
                values,
            }
        });
        let panel = Panel::new(self.panel.layout().clone(), columns.collect())?;
        Ok(panel.into_table())
    }
}
