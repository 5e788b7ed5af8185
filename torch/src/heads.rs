//! Direct heads: from what is known at the issue row straight to all leads, beside the decoder.
//!
//! The decoder makes all leads by the same weights, and far leads, of which little can be known, want
//! them few and much disturbed in training; so it hardly learns what the next hours hang on. A head
//! has weights for each lead. It reaches a part of the horizon, what it says fading out exponentially:
//! the first a sixteenth, the next a quarter, the last one all of it (of three heads; fewer are the
//! last ones). The less far a head reaches, the less it is disturbed: exact values matter there.
//!
//! On the Calais data, with 168 rows seen and 32 units, in trials of one run each that also read the
//! changes of all columns: no head 2.116 °C over all leads (weight decay 1), one 2.093 (decay 0.1, as
//! those after it), two 2.075, three 2.068 to 2.080; at 6 h 1.33, 1.26, 1.22 and 1.22. Without the
//! changes it was 2.137. With 72 rows, 48 units and more dropout four are as good as three over all
//! leads, and better at the near ones.

use tch::{Device, Kind, Tensor};

use crate::architecture::Taken;
use crate::layers::{Dense, drop_units, noisy};
use crate::parameters::Spec;
use crate::pass::Pass;

/// A head reaches so many times as far as the one before.
const REACH_GROWS: f64 = 4.0;
/// The share of the net's dropout in every head but the last.
const NEAR_DROPOUT: f64 = 1.0 / 3.0;
/// Their width in units of the net's.
const WIDTH: i64 = 2;

/// The shapes of the heads of a net.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) horizon: i64,
    /// Numbers for each lead.
    pub(crate) outputs: i64,
    /// Units of the state.
    pub(crate) hidden: i64,
    /// Numbers that are read beside it.
    pub(crate) recent: i64,
    /// Those of the last head.
    pub(crate) dropout: f64,
    pub(crate) noise: f64,
}

/// The parameters of a head.
struct Head<'a> {
    layers: [Dense<'a>; 2],
    out: Dense<'a>,
}

impl Heads {
    /// Their parameters.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        let width = WIDTH * self.hidden;
        let leads = self.horizon * self.outputs;
        let of_head = |head: usize| {
            let dense =
                |part: &str, from, to| Dense::specs(&format!("head{head}.{part}"), from, to);
            [
                dense("first", self.hidden + self.recent, width),
                dense("second", width, width),
                dense("out", width, leads),
            ]
        };
        (0..self.count).flat_map(of_head).flatten().collect()
    }

    /// How much of what a head says counts at each lead, `[horizon, 1]`.
    pub(crate) fn reaches(&self, options: (Kind, Device)) -> Vec<Tensor> {
        let leads = Tensor::arange(self.horizon, (Kind::Float, options.1)).unsqueeze(1);
        let of_head = |head: usize| {
            let before_last = (self.count - 1 - head) as i32;
            if before_last == 0 {
                return leads.ones_like().to_kind(options.0);
            }
            let reach = self.horizon as f64 / REACH_GROWS.powi(before_last);
            (&leads / -reach).exp().to_kind(options.0)
        };
        (0..self.count).map(of_head).collect()
    }

    /// What they add to the outputs of a member, `[issues, horizon, outputs]`, from the state,
    /// `[issues, hidden]`, and what is read beside it; none where there are no heads. `reaches` are
    /// [`Self::reaches`].
    pub(crate) fn forward(
        &self,
        taken: &mut Taken<'_>,
        state: &Tensor,
        recent: &Tensor,
        reaches: &[Tensor],
        pass: Pass<'_>,
    ) -> Option<Tensor> {
        let said = reaches.iter().enumerate().map(|(place, reach)| {
            let head = Head::take(taken);
            let (dropout, noise) = self.disturbance(place);
            let recent = noisy(recent, noise, pass);
            let mut x = Tensor::cat(&[state, &recent], 1);
            for layer in &head.layers {
                x = drop_units(layer.forward(&x).relu(), dropout, pass);
            }
            let leads = head.out.forward(&x);
            leads.view([-1, self.horizon, self.outputs]) * reach
        });
        said.reduce(|sum, said| sum + said)
    }

    /// Dropout and noise of a head.
    fn disturbance(&self, head: usize) -> (f64, f64) {
        let last = self.count - 1;
        if head == last {
            return (self.dropout, self.noise);
        }
        let noise = self.noise * head as f64 / last as f64;
        (self.dropout * NEAR_DROPOUT, noise)
    }
}

impl<'a> Head<'a> {
    fn take(taken: &mut Taken<'a>) -> Self {
        Self {
            layers: [(); 2].map(|()| Dense::take(taken)),
            out: Dense::take(taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads {
        count: 3,
        horizon: 48,
        outputs: 4,
        hidden: 32,
        recent: 10,
        dropout: 0.3,
        noise: 0.4,
    };

    #[test]
    fn reaches_by_hand() {
        let reaches = HEADS.reaches((Kind::Double, Device::Cpu));
        let at = |head: usize, lead: i64| reaches[head].double_value(&[lead, 0]);
        for head in 0..3 {
            assert!((at(head, 0) - 1.0).abs() < 1e-6);
        }
        // A sixteenth of 48 leads are 3, a quarter 12.
        assert!((at(0, 6) - (-2.0_f64).exp()).abs() < 1e-6);
        assert!((at(1, 6) - (-0.5_f64).exp()).abs() < 1e-6);
        assert!((at(2, 47) - 1.0).abs() < 1e-6);
        let one = Heads { count: 1, ..HEADS };
        let reaches = one.reaches((Kind::Float, Device::Cpu));
        assert!((reaches[0].double_value(&[47, 0]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_nearest_is_the_least_disturbed() {
        let near = |value: (f64, f64), dropout: f64, noise: f64| {
            assert!((value.0 - dropout).abs() < 1e-12 && (value.1 - noise).abs() < 1e-12);
        };
        near(HEADS.disturbance(0), 0.1, 0.0);
        near(HEADS.disturbance(1), 0.1, 0.2);
        near(HEADS.disturbance(2), 0.3, 0.4);
        near(Heads { count: 1, ..HEADS }.disturbance(0), 0.3, 0.4);
    }
}
