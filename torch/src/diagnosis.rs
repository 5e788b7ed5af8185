//! What to tell where a training cannot go on.

use krammerti::data::{FrameColumn, Role, columns_with};
use tch::Tensor;

use crate::windows::Inputs;

/// Scaled values beyond this are told as a likely cause: forty standard deviations.
const EXTREME: f64 = 40.0;

/// A loss that is not a finite number: the rate was too high, or the data hold something odd.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the {what} became {value} in epoch {epoch}, {place}; {}",
    advice(.columns, *.learning_rate)
)]
pub(crate) struct NotFinite {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) epoch: usize,
    pub(crate) place: Place,
    pub(crate) learning_rate: f64,
    /// Columns with odd values in the batch, and what is odd.
    pub(crate) columns: Vec<(String, f64)>,
}

/// Where in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A step of the training, from 1.
    Batch {
        /// Which.
        batch: usize,
        /// Of how many.
        of: usize,
    },
    /// The validation after it.
    Validation,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch { batch, of } => write!(f, "batch {batch} of {of}"),
            Self::Validation => write!(f, "on the validation part"),
        }
    }
}

fn advice(columns: &[(String, f64)], learning_rate: f64) -> String {
    if columns.is_empty() {
        return format!(
            "no column of these windows holds an extreme value, so the weights ran away: \
             try a lower train.learning_rate (now {learning_rate}) or train.clip"
        );
    }
    let told: Vec<String> = columns
        .iter()
        .map(|(name, value)| format!("`{name}` (up to {value:.3e})"))
        .collect();
    format!(
        "columns with extreme scaled values there: {}; look at them with `krammerti check`, set \
         prepare.scaling to robust for them, or try a lower train.learning_rate (now {learning_rate})",
        told.join(", ")
    )
}

/// The columns that hold values which are not finite, or extreme, in some windows, with the largest.
pub(crate) fn odd_columns(
    inputs: &Inputs,
    truth: &Tensor,
    columns: &[FrameColumn],
) -> Vec<(String, f64)> {
    let _no_grad = tch::no_grad_guard();
    let over = |tensor: &Tensor| tensor.abs().amax([0_i64, 1].as_slice(), false);
    let past = over(&inputs.past);
    let ahead = (inputs.future.numel() > 0).then(|| over(&inputs.future));
    let targets = columns_with(columns, Role::Target);
    let of_targets = truth.abs().chunk(targets.len().max(1) as i64, 1);
    // In the order in which the inputs have what is known ahead.
    let known: Vec<usize> = [Role::Future, Role::Forecast]
        .into_iter()
        .flat_map(|role| columns_with(columns, role))
        .collect();
    let largest = |place: usize| {
        let mut largest = past.double_value(&[place as i64]);
        let also = known.iter().position(|&known| known == place);
        if let (Some(also), Some(ahead)) = (also, &ahead) {
            largest = larger(largest, ahead.double_value(&[also as i64]));
        }
        if let Some(target) = targets.iter().position(|&target| target == place) {
            largest = larger(largest, of_targets[target].max().double_value(&[]));
        }
        largest
    };
    columns
        .iter()
        .enumerate()
        .map(|(place, column)| (column.name.clone(), largest(place)))
        .filter(|(_, value)| value.is_nan() || *value > EXTREME)
        .collect()
}

/// The larger of two; a NaN is larger than any.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Memory did not suffice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory of the {device} does not suffice for steps of {windows} windows{}: lower {}",
    more(.asked.as_deref()), parameters_of(.kind)
)]
pub(crate) struct OutOfMemory {
    /// `GPU` or `CPU`.
    pub(crate) device: &'static str,
    /// Windows in a step.
    pub(crate) windows: usize,
    /// As libtorch tells it.
    pub(crate) asked: Option<String>,
    /// Of the model.
    pub(crate) kind: &'static str,
}

/// The same where a net forecasts on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory of the GPU does not suffice for forecasts{}: set evaluate.device to cpu, or wait until \
     others have left the GPU",
    more(.asked.as_deref())
)]
pub(crate) struct NoMemoryToForecast {
    /// As libtorch tells it.
    pub(crate) asked: Option<String>,
}

fn more(asked: Option<&str>) -> String {
    asked.map_or(String::new(), |asked| {
        format!(" ({asked} more were asked for)")
    })
}

/// Those by which the memory of a step grows.
fn parameters_of(kind: &str) -> &'static str {
    match kind {
        "linear" => "train.batch, model.lookback, model.horizon or model.members",
        _ => "train.batch, model.lookback, model.horizon, model.hidden or model.members",
    }
}

/// Whether a message of libtorch is of memory that does not suffice.
pub(crate) fn is_of_memory(message: &str) -> bool {
    let known = [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "ALLOC_FAILED",
        // Of cuDNN 9, on the host or on the device.
        "ALLOCATION_FAILED",
    ];
    known.iter().any(|words| message.contains(words))
}

/// What it says that was asked for in vain: "Tried to allocate 2.00 GiB", "you tried to allocate
/// 2147483648 bytes".
pub(crate) fn memory_asked(message: &str) -> Option<String> {
    const ASKED: &str = "tried to allocate ";
    let at = message.to_ascii_lowercase().find(ASKED)?;
    let mut words = message[at + ASKED.len()..].split_whitespace();
    let (number, unit) = (words.next()?, words.next()?);
    Some(format!("{number} {}", unit.trim_end_matches(['.', ','])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use krammerti::data::Role;

    #[test]
    fn odd_columns_are_named_with_their_largest_value() {
        let column = |name: &str| FrameColumn::new(name.to_owned(), Role::Past);
        let values = [0.0_f32, 1.0, -80.0, 2.0, f32::NAN, 3.0];
        let inputs = Inputs {
            past: Tensor::from_slice(&values).view([1, 2, 3]),
            future: Tensor::zeros([1, 2, 0], (tch::Kind::Float, tch::Device::Cpu)),
            series: None,
            seeds: Vec::new(),
        };
        let truth = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 2]);
        let odd = odd_columns(&inputs, &truth, &["a", "b", "c"].map(column));
        assert_eq!(odd.len(), 2);
        assert!(odd[0].0 == "b" && odd[0].1.is_nan());
        assert_eq!(odd[1], ("c".to_owned(), 80.0));
        let told = advice(&odd[1..], 0.1);
        assert!(told.contains("`c` (up to 8.000e1)"), "{told}");
    }

    #[test]
    fn an_odd_horizon_is_told_too() {
        let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
        let columns = [column("t", Role::Target), column("sun", Role::Future)];
        let inputs = Inputs {
            past: Tensor::zeros([1, 2, 2], (tch::Kind::Float, tch::Device::Cpu)),
            future: Tensor::from_slice(&[0.0_f32, f32::INFINITY]).view([1, 2, 1]),
            series: None,
            seeds: Vec::new(),
        };
        let truth = Tensor::from_slice(&[1e9_f32, 2.0]).view([1, 2]);
        let names: Vec<String> = odd_columns(&inputs, &truth, &columns)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["t", "sun"]);
    }

    #[test]
    fn messages_of_memory_are_known() {
        let gpu = "CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has a total capacity";
        assert_eq!(memory_asked(gpu), Some("12.50 GiB".to_owned()));
        let cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12";
        assert_eq!(memory_asked(cpu), Some("99 bytes".to_owned()));
        assert_eq!(memory_asked("CUDA out of memory"), None);
        let cudnn = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
        assert!(
            [gpu, cpu, cudnn, "CUDA out of memory"]
                .into_iter()
                .all(is_of_memory)
        );
        assert!(!is_of_memory("The size of tensor a"));
    }
}
