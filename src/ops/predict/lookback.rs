//! What a model looks back over must be complete; where it is not, what helps.

use std::path::Path;

use anyhow::{Result, bail};

use super::newest::Newest;
use crate::data::{Dataset, FillMeta, Frame, Role};
use crate::model::ModelFile;
use crate::params::FillMethod;
use crate::time::format_short;

impl Newest {
    pub(super) fn require_lookback(
        &self,
        (dataset, frame): (&Dataset, &Frame),
        file: &ModelFile,
        data: &Path,
    ) -> Result<()> {
        let (issue, lookback) = (self.issue, file.model.lookback);
        let of = self.of_series();
        if issue + 1 < self.first + lookback {
            bail!(
                "{} has {} rows{of}, the model looks back over {lookback}",
                data.display(),
                issue + 1 - self.first
            );
        }
        let is_read =
            |c: &usize| file.model.reads_covariates() || frame.columns[*c].role == Role::Target;
        let read: Vec<usize> = (0..frame.width()).filter(is_read).collect();
        let rows = issue + 1 - lookback..=issue;
        let absent = |row: usize| read.iter().copied().find(|&c| frame.at(row, c).is_nan());
        let incomplete: Vec<usize> = rows.filter(|&row| absent(row).is_some()).collect();
        let Some((&row, others)) = incomplete.split_last() else {
            return Ok(());
        };
        let Some(column) = absent(row) else {
            return Ok(());
        };
        let others = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more of these rows are not complete)"),
        };
        let begins = (self.first..row).all(|row| frame.at(row, column).is_nan());
        let helps = if begins {
            let first = frame.time(row) + lookback as i64 * frame.step().seconds();
            format!(
                "the series begins without it, which nothing fills: it can be forecast from {} on",
                format_short(first)
            )
        } else {
            what_helps(frame.columns[column].role, dataset.meta().fill)
        };
        bail!(
            "{} has no {}{of} at {}, within the {lookback} rows that the model looks back over{others}; {helps}",
            data.display(),
            frame.columns[column].name,
            format_short(frame.time(row))
        )
    }
}

/// Against a hole in a column with this role.
fn what_helps(role: Role, fill: Option<FillMeta>) -> String {
    if role == Role::Forecast {
        return "prepare.fill does not fill forecasts from outside: their archive has a hole, which older issues close \
                (`earlier` of the source, or another source of kind `previous-runs`)"
            .to_owned();
    }
    match fill {
        Some(fill) if fill.method != FillMethod::Linear => format!(
            "prepare.fill fills the first {} of a gap: a larger `up_to` fills all of it",
            fill.up_to
        ),
        _ => "prepare.fill with `method: last` fills gaps up to any `up_to`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Step;

    #[test]
    fn what_helps_goes_by_what_is_missing_and_how_gaps_are_filled() {
        let fill = |method| {
            let up_to = Step::HOUR;
            Some(FillMeta { up_to, method })
        };
        for (role, fill, told) in [
            (
                Role::Forecast,
                fill(FillMethod::Last),
                "`earlier` of the source",
            ),
            (Role::Past, fill(FillMethod::Last), "the first 1h of a gap"),
            (Role::Past, fill(FillMethod::Linear), "with `method: last`"),
            (Role::Target, None, "with `method: last`"),
        ] {
            let helps = what_helps(role, fill);
            assert!(helps.contains(told), "{helps}");
        }
    }
}
