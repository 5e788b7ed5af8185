//! What every column has changed by until the issue row.
//!
//! That the wind has turned within three hours, or how fast the pressure falls, says more of tomorrow
//! than where they stand; a mean over a segment hides it. A change within an hour is small beside what
//! a column spans in a year, so each is measured in its own unit: the root of its mean square over the
//! training windows.

use tch::{Kind, Tensor};

use crate::shape::Shape;
use crate::windows::{Inputs, Windows};

/// Over how many rows a net reads them.
const LAGS: [i64; 5] = [1, 3, 6, 12, 24];
/// The least unit, in scaled units of the column, so that one that stood still throughout the
/// training says nothing overwhelming when it moves.
const LEAST_UNIT: f64 = 0.01;
/// Windows in memory at once.
const CHUNK: usize = 4096;

/// The shape of the changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Changes {
    lookback: i64,
    columns: i64,
    lags: Vec<i64>,
}

impl Changes {
    /// Those that a net reads.
    pub(crate) fn new(shape: &Shape) -> Self {
        Self::over(shape.lookback, shape.columns, &LAGS)
    }

    /// Over these numbers of rows, as far as a lookback has them.
    pub(crate) fn over(lookback: i64, columns: i64, lags: &[i64]) -> Self {
        let fits = |lag: &i64| *lag < lookback;
        Self {
            lookback,
            columns,
            lags: lags.iter().copied().filter(fits).collect(),
        }
    }

    /// How many numbers they are for a window.
    pub(crate) fn count(&self) -> i64 {
        self.lags.len() as i64 * self.columns
    }

    /// `[count]`: one over their units.
    pub(crate) fn scale(&self, windows: &Windows, train: &[usize]) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let squares = train.chunks(windows.at_once(CHUNK)).map(|chunk| {
            let changes = self.raw(&windows.inputs(&windows.issues(chunk)));
            let squares = changes.to_kind(Kind::Double).square();
            squares.sum_dim_intlist([0_i64].as_slice(), false, Kind::Double)
        });
        let zeros = Tensor::zeros([self.count()], (Kind::Double, windows.device()));
        let sum = squares.fold(zeros, |sum, part| sum + part);
        let unit = (sum / train.len() as f64).sqrt().clamp_min(LEAST_UNIT);
        unit.reciprocal().to_kind(Kind::Float)
    }

    /// `[issues, count]` in their units.
    pub(crate) fn read(&self, inputs: &Inputs, scale: &Tensor) -> Tensor {
        self.raw(inputs) * scale
    }

    /// `[issues, count]` as the columns are.
    pub(crate) fn raw(&self, inputs: &Inputs) -> Tensor {
        let row = |lag: i64| inputs.past.select(1, self.lookback - 1 - lag);
        let last = row(0);
        let mut changes = vec![last.narrow(1, 0, 0)];
        changes.extend(self.lags.iter().map(|&lag| &last - row(lag)));
        Tensor::cat(&changes, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::shape;
    use krammerti::data::{Frame, FrameColumn, Role};
    use krammerti::time::Step;
    use tch::Device;

    /// A column of squares and one that stands still, a lookback of 4 rows: lags of 1 and 3. The
    /// square of row t changes by 2t - 1 and by 6t - 9.
    #[test]
    fn changes_by_hand() {
        let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
        let columns = vec![column("t", Role::Target), column("still", Role::Past)];
        let values = (0..9).flat_map(|row| [(row * row) as f32, 0.7]).collect();
        let frame = Frame::single(0, Step::HOUR, columns, values);
        let windows = Windows::new(&frame, 4, 1, &[], Device::Cpu);
        let changes = Changes::new(&Shape {
            columns: 2,
            ..shape(4, 1)
        });
        assert_eq!(changes.count(), 4);
        let scale = Vec::<f32>::try_from(changes.scale(&windows, &[3, 5])).unwrap();
        let one_over = |a: f32, b: f32| 1.0 / f32::midpoint(a * a, b * b).sqrt();
        let expected = [one_over(5.0, 9.0), 100.0, one_over(9.0, 21.0), 100.0];
        for (scale, expected) in scale.iter().zip(expected) {
            assert!((scale / expected - 1.0).abs() < 1e-6, "{scale} {expected}");
        }
        let scale = Tensor::from_slice(&[1.0_f32, 1.0, 0.5, 1.0]);
        let read = changes.read(&windows.inputs(&windows.issues(&[6])), &scale);
        let read = Vec::<f32>::try_from(read.view([-1])).unwrap();
        assert_eq!(read, [11.0, 0.0, 13.5, 0.0]);
        assert_eq!(Changes::over(4, 1, &[]).count(), 0);
    }
}
