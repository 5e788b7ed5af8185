//! Windows of a series that lies on the device once.
//!
//! A batch is gathered by the issue rows alone: a strided view of the series that holds every
//! window, of which the wanted ones are copied. Nothing after an issue row is ever gathered but
//! the columns known in the future; the truth has a way of its own.

use krammerti::data::{Frame, Role};
use tch::{Device, Tensor};

/// A scaled series on the device.
pub(crate) struct Windows {
    series: Tensor,
    /// `[rows, targets]`.
    targets: Tensor,
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
        Self {
            outlook: outlook.view([rows, forecasts]).to(device),
            bases: Tensor::from_slice(&frame.outlook.bases).to(device),
            targets: columns(Role::Target),
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
    pub(crate) fn truth(&self, issues: &Tensor) -> Tensor {
        let rows = gather(&self.targets, &(issues + 1), self.horizon);
        rows.transpose(1, 2).flatten(1, 2)
    }
}

/// The place of each row's series among the known ones, where some are; 0 for one that is not known,
/// which is never asked for.
fn places(frame: &Frame, known: &[String]) -> Option<Vec<i64>> {
    if known.is_empty() {
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
        let column = |name: &str, role| FrameColumn {
            name: name.to_owned(),
            role,
        };
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

    #[test]
    fn a_window_sees_the_forecast_that_was_known() {
        let column = |name: &str, role| FrameColumn {
            name: name.to_owned(),
            role,
        };
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
