//! Windows of a series that lies on the device once.
//!
//! A batch is gathered by the issue rows alone: a strided view of the series that holds every
//! window, of which the wanted ones are copied. Nothing after an issue row is ever gathered but
//! the columns known in the future; the truth has a way of its own.

use krammerti::data::{Frame, Role};
use tch::{Device, Kind, Tensor};

/// Windows in memory at once where their truth is looked at.
const CHUNK: usize = 4096;
/// Numbers of the lookbacks of windows that are looked at together: 64 MiB.
const NUMBERS: i64 = 1 << 24;

/// A scaled series on the device.
pub(crate) struct Windows {
    series: Tensor,
    /// `[rows, targets]`: what they became; where nobody observed it what was filled in, or else the
    /// last value before.
    targets: Tensor,
    /// `[rows, targets]`: 1 where they were observed, 0 elsewhere; absent where they always were.
    observed: Option<Tensor>,
    /// `[rows]`: how much a window of the training counts, at its issue row; absent where all count the
    /// same.
    weights: Option<Tensor>,
    future: Tensor,
    /// `[rows of all runs, forecast columns]`, and for each row of the series where the newest run
    /// known then stands.
    outlook: Tensor,
    bases: Tensor,
    /// `[rows]`: the place of a row's series among those that the net knows; absent where it tells
    /// none from another.
    places: Option<Tensor>,
    lookback: i64,
    horizon: i64,
}

/// What a net may see of some windows.
pub(crate) struct Inputs {
    /// `[issues, lookback, columns]`, up to the issue row.
    pub(crate) past: Tensor,
    /// `[issues, horizon, columns]`, after it: those known in the future, and those that somebody
    /// else forecast, as they were known at the issue row.
    pub(crate) future: Tensor,
    /// `[issues]`: the place of the series among those that the net knows; absent where it tells none
    /// from another.
    pub(crate) series: Option<Tensor>,
    /// A number for each window that is the same wherever the window is forecast, for sample paths;
    /// empty in training.
    pub(crate) seeds: Vec<u64>,
}

impl Windows {
    /// Brings a frame to the device, for a net that knows these series; without any it tells none
    /// from another.
    pub(crate) fn new(
        frame: &Frame,
        lookback: i64,
        horizon: i64,
        known: &[String],
        device: Device,
    ) -> Self {
        let size = [frame.rows() as i64, frame.width() as i64];
        let series = Tensor::from_slice(&frame.values).view(size).to(device);
        let columns = |role| {
            let places = frame.columns_with(role).into_iter();
            let places: Vec<i64> = places.map(|column| column as i64).collect();
            series.index_select(1, &Tensor::from_slice(&places).to(device))
        };
        let forecasts = frame.columns_with(Role::Forecast).len() as i64;
        // A view of no rows cannot be told its width by -1.
        let rows = frame.outlook.values.len() as i64 / forecasts.max(1);
        let outlook = Tensor::from_slice(&frame.outlook.values);
        let truth = Truth::of(frame);
        let by_row = |values: &[f32]| {
            let targets = frame.targets().len() as i64;
            Tensor::from_slice(values).view([-1, targets]).to(device)
        };
        Self {
            outlook: outlook.view([rows, forecasts]).to(device),
            bases: Tensor::from_slice(&frame.outlook.bases).to(device),
            targets: match &truth {
                Some(truth) => by_row(&truth.values),
                None => columns(Role::Target),
            },
            observed: truth.map(|truth| by_row(&truth.observed)),
            weights: None,
            future: columns(Role::Future),
            places: places(frame, known).map(|places| Tensor::from_slice(&places).to(device)),
            series,
            lookback,
            horizon,
        }
    }

    /// The same for another thread; it shares the memory.
    pub(crate) fn share(&self) -> Self {
        Self {
            series: self.series.shallow_clone(),
            targets: self.targets.shallow_clone(),
            observed: self.observed.as_ref().map(Tensor::shallow_clone),
            weights: self.weights.as_ref().map(Tensor::shallow_clone),
            future: self.future.shallow_clone(),
            outlook: self.outlook.shallow_clone(),
            bases: self.bases.shallow_clone(),
            places: self.places.as_ref().map(Tensor::shallow_clone),
            lookback: self.lookback,
            horizon: self.horizon,
        }
    }

    /// Where the series lies.
    pub(crate) fn device(&self) -> Device {
        self.series.device()
    }

    /// Issue rows as a tensor beside the series.
    pub(crate) fn issues(&self, issues: &[usize]) -> Tensor {
        let rows: Vec<i64> = issues.iter().map(|&issue| issue as i64).collect();
        Tensor::from_slice(&rows).to(self.series.device())
    }

    /// How many windows may be looked at together: `most`, fewer where a lookback is long.
    pub(crate) fn at_once(&self, most: usize) -> usize {
        let numbers = self.lookback * self.series.size()[1];
        most.min((NUMBERS / numbers.max(1)) as usize).max(1)
    }

    /// What a net may see at some issue rows.
    pub(crate) fn inputs(&self, issues: &Tensor) -> Inputs {
        let future = gather(&self.future, &(issues + 1), self.horizon);
        let future = if self.outlook.size()[1] == 0 {
            future
        } else {
            let starts = self.bases.index_select(0, issues) + 1;
            Tensor::cat(&[future, gather(&self.outlook, &starts, self.horizon)], 2)
        };
        Inputs {
            past: gather(&self.series, &(issues - (self.lookback - 1)), self.lookback),
            future,
            series: (self.places.as_ref()).map(|places| places.index_select(0, issues)),
            seeds: Vec::new(),
        }
    }

    /// What the targets became, `[issues, cells]`: the leads of the first one, then those of the next.
    /// Where nobody observed it, something that does not count stands there.
    pub(crate) fn truth(&self, issues: &Tensor) -> Tensor {
        self.ahead(&self.targets, issues)
    }

    /// `[issues, cells]`: 1 where the truth was observed and 0 elsewhere; none where all of it was.
    pub(crate) fn observed(&self, issues: &Tensor) -> Option<Tensor> {
        let observed = self.observed.as_ref();
        observed.map(|observed| self.ahead(observed, issues))
    }

    /// Says for which windows the training is, and how much each counts, where they do not all count
    /// the same. What was observed counts once on average.
    pub(crate) fn count_by(&mut self, train: &[usize], weights: Option<&[f32]>) {
        if weights.is_none() && self.observed.is_none() {
            return;
        }
        let share = self.observed_share(train);
        let mut rows = vec![0.0_f32; self.series.size()[0] as usize];
        for (place, &issue) in train.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| f64::from(weights[place]));
            rows[issue] = (weight / share) as f32;
        }
        self.weights = Some(Tensor::from_slice(&rows).to(self.device()));
    }

    /// How much each cell of windows of the training counts, `[issues, cells]` or `[issues, 1]`; none
    /// where all count the same.
    pub(crate) fn counts(&self, issues: &Tensor) -> Option<Tensor> {
        let weights = self.weights.as_ref()?.index_select(0, issues).unsqueeze(1);
        Some(match self.observed(issues) {
            Some(observed) => observed * weights,
            None => weights,
        })
    }

    /// Of the truth of some windows.
    fn observed_share(&self, issues: &[usize]) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let parts = issues.chunks(CHUNK).map(|chunk| {
            let observed = self.observed(&self.issues(chunk));
            let share = observed.map_or(1.0, |o| o.mean(Kind::Double).double_value(&[]));
            share * chunk.len() as f64
        });
        parts.sum::<f64>() / issues.len() as f64
    }

    fn ahead(&self, of_targets: &Tensor, issues: &Tensor) -> Tensor {
        let rows = gather(of_targets, &(issues + 1), self.horizon);
        rows.transpose(1, 2).flatten(1, 2)
    }
}

/// What targets became where not all of it was observed, `[rows × targets]`.
struct Truth {
    values: Vec<f32>,
    observed: Vec<f32>,
}

impl Truth {
    /// None where all was observed.
    fn of(frame: &Frame) -> Option<Self> {
        let targets = frame.targets();
        let mut rows = 0..frame.rows();
        if rows.all(|row| targets.iter().all(|&t| !frame.truth(row, t).is_nan())) {
            return None;
        }
        let mut truth = Self {
            values: Vec::with_capacity(frame.rows() * targets.len()),
            observed: Vec::with_capacity(frame.rows() * targets.len()),
        };
        for block in frame.layout.blocks() {
            let mut last = vec![0.0; targets.len()];
            for row in block.rows.clone() {
                for (last, &target) in last.iter_mut().zip(&targets) {
                    let value = frame.at(row, target);
                    if !value.is_nan() {
                        *last = value;
                    }
                    let is_observed = !frame.truth(row, target).is_nan();
                    truth.values.push(*last);
                    truth.observed.push(f32::from(u8::from(is_observed)));
                }
            }
        }
        Some(truth)
    }
}

/// The place of each row's series among the known ones, where some are; 0 for one that is not known,
/// which is never asked for.
fn places(frame: &Frame, known: &[String]) -> Option<Vec<i64>> {
    // One series need not be told apart from others.
    if known.len() < 2 {
        return None;
    }
    let mut places = vec![0; frame.rows()];
    for block in frame.layout.blocks() {
        let place = known.iter().position(|name| *name == block.name);
        places[block.rows.clone()].fill(place.unwrap_or(0) as i64);
    }
    Some(places)
}

/// What the random draws of each window begin with: its issue time and series alone, so that a
/// forecast does not depend on those beside it.
pub(crate) fn seeds(frame: &Frame, issues: &[usize]) -> Vec<u64> {
    let seed = |&issue: &usize| {
        let name = frame.layout.block_of(issue).map_or("", |block| &block.name);
        // FNV-1a: the seed of a stream needs to differ, no more.
        let bytes = frame.time(issue).to_le_bytes();
        let bytes = bytes.iter().chain(name.as_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    issues.iter().map(seed).collect()
}

/// `[starts, rows, columns]`: so many rows of a `[rows, columns]` tensor from each start.
fn gather(table: &Tensor, starts: &Tensor, rows: i64) -> Tensor {
    let (height, width) = (table.size()[0], table.size()[1]);
    let count = starts.size()[0];
    if width == 0 {
        return table.new_zeros([count, rows, 0], (table.kind(), table.device()));
    }
    table
        .as_strided([height - rows + 1, rows * width], [width, 1], None)
        .index_select(0, starts)
        .view([count, rows, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use krammerti::data::FrameColumn;
    use krammerti::time::Step;

    #[test]
    fn a_window_by_hand() {
        let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
        let columns = vec![column("known", Role::Future), column("t", Role::Target)];
        let values = (0..12).map(|value| value as f32).collect();
        let frame = Frame::single(0, Step::HOUR, columns, values);
        let windows = Windows::new(&frame, 2, 3, &[], Device::Cpu);
        let issues = windows.issues(&[1, 2]);
        let (inputs, truth) = (windows.inputs(&issues), windows.truth(&issues));
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.reshape([-1])).unwrap();
        assert_eq!(inputs.past.size(), [2, 2, 2]);
        assert_eq!(values(&inputs.past), [0., 1., 2., 3., 2., 3., 4., 5.]);
        assert_eq!(values(&inputs.future), [4., 6., 8., 6., 8., 10.]);
        assert_eq!(values(&truth), [5., 7., 9., 7., 9., 11.]);
    }

    /// Two targets: a gap in the one, and a value of the other that was filled.
    #[test]
    fn what_was_not_observed_does_not_count() {
        let column = |name: &str| FrameColumn::new(name.to_owned(), Role::Target);
        let mut values: Vec<f32> = (0..12).map(|value| value as f32).collect();
        values[4] = f32::NAN;
        let mut frame = Frame::single(0, Step::HOUR, vec![column("a"), column("b")], values);
        frame
            .filled
            .insert(1, vec![false, false, false, true, false, false]);
        let mut windows = Windows::new(&frame, 1, 2, &[], Device::Cpu);
        let issues = windows.issues(&[0, 1, 3]);
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.reshape([-1])).unwrap();
        let truth = [
            [2.0, 2.0, 3.0, 5.0],
            [2.0, 6.0, 5.0, 7.0],
            [8.0, 10.0, 9.0, 11.0],
        ];
        assert_eq!(values(&windows.truth(&issues)), truth.concat());
        let observed = [[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [1.0; 4]];
        let told = windows.observed(&issues).unwrap();
        assert_eq!(values(&told), observed.concat());
        // Three quarters were observed of the windows of the training.
        assert!(windows.counts(&issues).is_none());
        windows.count_by(&[0, 1, 3], Some(&[1.5, 0.75, 0.0]));
        let counts = windows.counts(&issues).unwrap();
        let expected = [[2.0, 0.0, 2.0, 2.0], [0.0, 1.0, 1.0, 0.0], [0.0; 4]];
        assert_eq!(values(&counts), expected.concat());
        let whole = Frame::single(0, Step::HOUR, vec![column("a")], vec![0.0; 6]);
        let mut windows = Windows::new(&whole, 1, 2, &[], Device::Cpu);
        windows.count_by(&[0, 1], None);
        assert!(windows.observed(&issues).is_none() && windows.counts(&issues).is_none());
        windows.count_by(&[0, 1], Some(&[0.5, 1.5]));
        let counts = windows.counts(&windows.issues(&[1, 0])).unwrap();
        assert_eq!(
            (values(&counts), counts.size()),
            (vec![1.5, 0.5], vec![2, 1])
        );
    }

    #[test]
    fn a_window_sees_the_forecast_that_was_known() {
        let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
        let columns = vec![column("t", Role::Target), column("f", Role::Forecast)];
        let mut frame = Frame::single(0, Step::HOUR, columns, vec![0.0; 12]);
        // Two runs of four rows; the second is known from row 3 on.
        frame.outlook = krammerti::data::Outlook {
            values: vec![10., 11., 12., 13., 20., 21., 22., 23.],
            bases: vec![-1, 0, 1, 3, 4, 5],
            reach: vec![4, 3, 2, 4, 3, 2],
        };
        let windows = Windows::new(&frame, 1, 2, &[], Device::Cpu);
        let future = windows.inputs(&windows.issues(&[0, 2, 3])).future;
        assert_eq!(future.size(), [3, 2, 1]);
        let values = Vec::<f32>::try_from(future.reshape([-1])).unwrap();
        assert_eq!(values, [10., 11., 12., 13., 20., 21.]);
    }
}
