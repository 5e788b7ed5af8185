//! What the members of a `deepar` read of windows, and the paths that come of it.

use tch::Tensor;

/// Sample paths, both `[issues, paths, cells]`.
pub(super) struct Paths {
    /// In scaled units, within the bounds.
    pub(super) values: Tensor,
    /// The mean of the distribution that each value was drawn from, in its unit, as its bounds let it be seen.
    pub(super) expected: Tensor,
}

/// What all members read.
pub(super) struct Read {
    pub(super) targets: Vec<Target>,
    /// `[issues, conditioning + horizon, inputs - 2 × targets]`.
    pub(super) rest: Tensor,
    /// As [`super::Deepar::causes`] gives it, where more than the time is known ahead.
    pub(super) causes: Option<Tensor>,
    pub(super) horizon: i64,
}

/// What is known of a target.
pub(super) struct Target {
    /// `[issues, lookback]`.
    pub(super) observed: Tensor,
    /// `[issues, 1 + conditioning + horizon]`, as [`super::Deepar::usual`] gives it.
    pub(super) usual: Tensor,
    /// `[issues, 1]`: as [`crate::emission::Emission::typical`] gives it, and as [`crate::emission::Emission::unit_of`] does.
    pub(super) typical: Tensor,
    pub(super) unit: Option<Tensor>,
}

impl Read {
    /// Of some of the windows.
    pub(super) fn narrow(&self, first: i64, count: i64) -> Self {
        let part = |of: &Tensor| of.narrow(0, first, count);
        let targets = self.targets.iter().map(|target| Target {
            observed: part(&target.observed),
            usual: part(&target.usual),
            typical: part(&target.typical),
            unit: target.unit.as_ref().map(part),
        });
        Self {
            targets: targets.collect(),
            rest: part(&self.rest),
            causes: self.causes.as_ref().map(part),
            horizon: self.horizon,
        }
    }
}

/// What became of a target on the paths of one member: `[issues, paths]` at each lead that was walked.
pub(super) type Course = Vec<Tensor>;

/// Of so many targets, before the first lead.
pub(super) fn courses(targets: usize) -> Vec<Course> {
    std::iter::repeat_with(Course::new).take(targets).collect()
}

/// `[issues, paths, cells]`: all leads of the first target, then those of the next one.
pub(super) fn cells(courses: &[Course]) -> Tensor {
    let cells: Vec<&Tensor> = courses.iter().flatten().collect();
    Tensor::stack(&cells, 2)
}

impl Target {
    /// A difference of values, as a net reads it.
    pub(super) fn in_unit(&self, difference: Tensor) -> Tensor {
        match &self.unit {
            Some(unit) => difference / unit,
            None => difference,
        }
    }

    /// `[issues, paths]`: the value at a row, the first of the lookback being 0, as observed or as it became.
    pub(super) fn value_at(&self, course: &[Tensor], row: i64, paths: i64) -> Tensor {
        let [issues, lookback] = [0, 1].map(|dimension| self.observed.size()[dimension]);
        if row < lookback {
            let value = self.observed.narrow(1, row, 1);
            value.expand([issues, paths], false)
        } else {
            course[(row - lookback) as usize].shallow_clone()
        }
    }

    /// `[issues, 1]`: the usual value of a row, counted as [`super::Deepar::usual`] does.
    pub(super) fn usual_at(&self, row: i64) -> Tensor {
        self.usual.narrow(1, row, 1)
    }
}
