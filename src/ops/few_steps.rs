//! Whether a training has steps enough to come anywhere.

use crate::params::TrainParams;

/// With fewer steps than this of the default rate the weights of a net are still near those that it began with.
const FEW: usize = 300;

/// No batch is worth being smaller: a step of few windows goes hardly faster, and each sees less of the whole.
const SMALL: usize = 16;

/// What to tell of a training with so many windows in an epoch that has few steps in all.
pub(super) fn few_steps(windows: usize, train: &TrainParams) -> Option<String> {
    let steps = |batch: usize| windows.div_ceil(batch) * train.epochs;
    let has = steps(train.batch);
    if has >= FEW || windows == 0 {
        return None;
    }
    let halved = std::iter::successors(Some(train.batch), |batch| Some(batch / 2));
    let mut smaller = halved.take_while(|batch| *batch >= SMALL);
    let better = match smaller.find(|&batch| steps(batch) >= 2 * FEW) {
        Some(batch) => format!("a train.batch of {batch} makes {}", steps(batch)),
        None => "a smaller train.batch and more train.epochs make more".to_owned(),
    };
    Some(format!(
        "the training takes {has} steps in all, in which a net hardly gets anywhere: {better}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(windows: usize, batch: usize, epochs: usize) -> Option<String> {
        let params = TrainParams {
            epochs,
            batch,
            ..TrainParams::default()
        };
        few_steps(windows, &params)
    }

    #[test]
    fn few_steps_are_told_with_what_makes_more() {
        let weekly = told(1520, 256, 20).unwrap();
        let expected = "the training takes 120 steps in all, in which a net hardly gets anywhere: \
                        a train.batch of 32 makes 960";
        assert_eq!(weekly, expected);
        let tiny = told(40, 64, 3).unwrap();
        assert!(
            tiny.ends_with("a smaller train.batch and more train.epochs make more"),
            "{tiny}"
        );
        assert_eq!(told(4000, 256, 20), None);
        assert_eq!(told(0, 256, 20), None);
    }
}
