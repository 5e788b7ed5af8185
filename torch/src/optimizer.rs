//! `AdamW` (Loshchilov and Hutter 2019, algorithm 2) over one flat tensor.
//!
//! tch's own has no state that can be read or written, and one operation a parameter and moment.

use tch::Tensor;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The moments of the gradient.
pub(crate) struct AdamW {
    first: Tensor,
    second: Tensor,
}

/// What a step multiplies with and adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors<T> {
    /// Of the parameters; none where nothing decays.
    pub(crate) decay: Option<T>,
    /// Beside the root of the second moment.
    pub(crate) epsilon: T,
    /// Of the first moment over that.
    pub(crate) rate: T,
    /// Of the way from the average of the parameters to them.
    pub(crate) share: T,
}

/// A number of a step. On a GPU, where a step is recorded once, it lies in memory and changes there.
pub(crate) trait Factor {
    /// `x + self`, in place.
    fn add_to(&self, x: &mut Tensor);
    /// `x · self`, in place.
    fn scale(&self, x: &mut Tensor);
    /// `x + self · (to - x)`, in place.
    fn move_to(&self, x: &mut Tensor, to: &Tensor);
}

impl Factor for f64 {
    fn add_to(&self, x: &mut Tensor) {
        *x += *self;
    }

    fn scale(&self, x: &mut Tensor) {
        *x *= *self;
    }

    fn move_to(&self, x: &mut Tensor, to: &Tensor) {
        let _ = x.lerp_(to, *self);
    }
}

impl Factor for Tensor {
    fn add_to(&self, x: &mut Tensor) {
        *x += self;
    }

    fn scale(&self, x: &mut Tensor) {
        *x *= self;
    }

    fn move_to(&self, x: &mut Tensor, to: &Tensor) {
        let _ = x.lerp_tensor_(to, self);
    }
}

impl Factors<f64> {
    /// For a step, counted from 1, and an average that reaches so many steps back; early on it forgets
    /// the first draws faster.
    pub(crate) fn of(step: usize, learning_rate: f64, weight_decay: f64, reach: f64) -> Self {
        let share = 1.0 / reach.min(step as f64 / 5.0).max(1.0);
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        // The bias corrections c of both moments, taken out of the tensors:
        // (m/c₁) / (√(v/c₂) + ε) = √c₂/c₁ · m / (√v + ε√c₂).
        let first_correction = 1.0 - BETA_1.powi(step);
        let second_correction = (1.0 - BETA_2.powi(step)).sqrt();
        Self {
            decay: (weight_decay > 0.0).then_some(1.0 - learning_rate * weight_decay),
            epsilon: EPSILON * second_correction,
            rate: learning_rate * second_correction / first_correction,
            share,
        }
    }
}

impl AdamW {
    /// For parameters of this shape and device.
    pub(crate) fn new(flat: &Tensor) -> Self {
        Self {
            first: flat.zeros_like(),
            second: flat.zeros_like(),
        }
    }

    /// The averages of the gradient and of its square.
    pub(crate) fn moments(&self) -> [&Tensor; 2] {
        [&self.first, &self.second]
    }

    /// One step: decay the parameters, then move them against the gradient. Every call is a launch
    /// on a GPU, so factors are folded into numbers and intermediate values are changed in place.
    pub(crate) fn step<T: Factor>(&mut self, flat: &Tensor, gradient: &Tensor, by: &Factors<T>) {
        let _no_grad = tch::no_grad_guard();
        let _ = self.first.lerp_(gradient, 1.0 - BETA_1);
        let _ = self.second.lerp_(&gradient.square(), 1.0 - BETA_2);
        let mut denominator = self.second.sqrt();
        by.epsilon.add_to(&mut denominator);
        let mut change = &self.first / denominator;
        by.rate.scale(&mut change);
        let mut flat = flat.shallow_clone();
        if let Some(decay) = &by.decay {
            decay.scale(&mut flat);
        }
        flat -= change;
    }
}

/// Scales a gradient so that its norm is at most `most`. The norm stays on the device: reading it
/// would make the processor wait for a GPU at each step.
pub(crate) fn clip(gradient: Tensor, most: f64) -> Tensor {
    let mut excess = gradient.norm() * (1.0 / most);
    let excess = excess.clamp_min_(1.0);
    gradient / excess
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn near(tensor: &Tensor, expected: &[f64]) {
        let values = Vec::<f64>::try_from(tensor).unwrap();
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{values:?}");
        }
    }

    /// By hand, in 64 bits: lr 0.1, decay 0.5, x = (1, -2), gradients (0.2, -4) and (0.4, 1).
    ///
    /// Step 1: both moments correct to g and g², so x·(1 - 0.05) - 0.1·sign(g), but for epsilon:
    /// 0.95 - 0.1·0.2/(0.2 + 1e-8) = 0.850000005; -1.9 + 0.1·4/(4 + 1e-8) = -1.80000000025.
    /// Step 2: m = (0.9·0.02 + 0.04, 0.9·-0.4 + 0.1)/0.19 = (0.058, -0.26)/0.19,
    /// v = (0.999·4e-5 + 1.6e-4, 0.999·0.016 + 0.001)/0.001999 = (1.9996e-4, 0.016984)/0.001999.
    #[test]
    fn two_steps_by_hand() {
        let flat = Tensor::from_slice(&[1.0_f64, -2.0]);
        let mut adam = AdamW::new(&flat);
        let by = |step| Factors::of(step, 0.1, 0.5, 1.0);
        adam.step(&flat, &Tensor::from_slice(&[0.2_f64, -4.0]), &by(1));
        let first = [
            0.95 - 0.1 * 0.2 / (0.2 + 1e-8),
            -1.9 + 0.1 * 4.0 / (4.0 + 1e-8),
        ];
        near(&flat, &first);
        adam.step(&flat, &Tensor::from_slice(&[0.4_f64, 1.0]), &by(2));
        let roots = [
            (1.9996e-4_f64 / 0.001_999).sqrt(),
            (0.016_984_f64 / 0.001_999).sqrt(),
        ];
        near(
            &flat,
            &[
                first[0] * 0.95 - 0.1 * (0.058 / 0.19) / (roots[0] + 1e-8),
                first[1] * 0.95 + 0.1 * (0.26 / 0.19) / (roots[1] + 1e-8),
            ],
        );
    }

    #[test]
    fn a_long_gradient_is_cut_and_a_short_one_is_not() {
        let long = clip(Tensor::from_slice(&[3.0_f64, 4.0]), 1.0);
        assert!((long.norm().double_value(&[]) - 1.0).abs() < 1e-6);
        near(&clip(Tensor::from_slice(&[0.3, 0.4]), 1.0), &[0.3, 0.4]);
    }

    /// By numbers, and by numbers in memory as on a GPU.
    #[test]
    fn three_steps_of_pytorch() {
        let gradients = golden::tensor("adamw.gradients");
        for in_memory in [false, true] {
            let flat = golden::tensor("adamw.start").copy();
            let mut adam = AdamW::new(&flat);
            for step in 1..=3 {
                let by = Factors::of(step, 0.1, 0.3, 1.0);
                let gradient = gradients.get(step as i64 - 1);
                if in_memory {
                    let by = Factors {
                        decay: by.decay.map(Tensor::from),
                        epsilon: by.epsilon.into(),
                        rate: by.rate.into(),
                        share: by.share.into(),
                    };
                    adam.step(&flat, &gradient, &by);
                } else {
                    adam.step(&flat, &gradient, &by);
                }
                golden::assert_golden(&flat, &format!("adamw.step{step}"), 1e-12);
            }
            let [first, second] = adam.moments();
            golden::assert_golden(first, "adamw.first_moment", 1e-12);
            golden::assert_golden(second, "adamw.second_moment", 1e-12);
        }
    }

    #[test]
    fn nothing_decays_where_none_is_wanted() {
        assert_eq!(Factors::of(1, 0.1, 0.0, 1.0).decay, None);
    }

    #[test]
    fn an_average_forgets_the_first_draws_faster() {
        let share = |step| Factors::of(step, 0.1, 0.0, 4.0).share;
        assert_eq!([1, 5, 10, 20, 500].map(share), [1.0, 1.0, 0.5, 0.25, 0.25]);
    }

    /// PyTorch adds 1e-6 to the norm that it divides by; we do not.
    #[test]
    fn clipped_as_by_pytorch() {
        let [long, short] = ["clip.long", "clip.short"].map(golden::tensor);
        let norm = golden::tensor("clip.long.norm");
        let expected = golden::tensor("clip.long.clipped") * (&norm + 1e-6) / &norm;
        golden::assert_near(&clip(long, 1.0), &expected, 1e-12);
        golden::assert_golden(&clip(short, 1.0), "clip.short.clipped", 1e-12);
    }

    #[test]
    fn no_gradient_is_not_cut() {
        near(&clip(Tensor::from_slice(&[0.0_f64, 0.0]), 1.0), &[0.0, 0.0]);
    }
}
