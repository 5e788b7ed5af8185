//! The decoder of an encoder–decoder net: one lead after the other, each from the value that was
//! forecast for the one before (Cho et al. 2014, arXiv 1406.1078v3).
//!
//! It feeds on its own means in training too. Fed with the truth there, as is often done, it would
//! never meet an error of its own before it has to live with them.

use tch::Tensor;

use crate::layers::{Dense, Layers, masked, unit_mask};
use crate::pass::Pass;

/// The parameters of a decoder.
pub(crate) struct Decoder<'a> {
    pub(crate) cells: Layers<'a>,
    /// `[targets, hidden]`, of one target `[hidden]`: what the values before add to a lead.
    pub(crate) feedback: &'a Tensor,
    pub(crate) mix: Dense<'a>,
    pub(crate) out: Dense<'a>,
    pub(crate) dropout: f64,
}

/// What outputs are relative to.
pub(crate) struct Units {
    /// `[issues, targets, horizon]`: the base of each lead, relative to the last value that was seen.
    pub(crate) base: Tensor,
    /// `[targets, horizon]`.
    pub(crate) spread: Tensor,
}

impl Decoder<'_> {
    /// `[issues, horizon, outputs]` from what is known of each lead, `[issues, horizon, hidden]`, and
    /// the state of the encoder after its last step. The first output of each target is its mean.
    pub(crate) fn walk(
        &self,
        leads: &Tensor,
        mut state: Vec<Tensor>,
        units: &Units,
        pass: Pass<'_>,
    ) -> Tensor {
        let (issues, horizon) = (leads.size()[0], leads.size()[1]);
        // The same units at every lead.
        let masks = [(); 2].map(|()| unit_mask(leads, self.dropout, pass));
        let targets = units.spread.size()[0];
        let feedback = self.feedback.view([targets, -1]);
        let mut before = Tensor::zeros([issues, targets], (leads.kind(), leads.device()));
        let mut made = Vec::new();
        for lead in 0..horizon {
            let fed_back = |read: Tensor, target: i64| {
                let before = before.narrow(1, target, 1).unsqueeze(2);
                read + before * feedback.get(target)
            };
            let read = (0..targets).fold(leads.narrow(1, lead, 1), fed_back);
            let read = masked(read.relu(), masks[0].as_ref());
            let (top, next) = self.cells.forward(&read, Some(&state), self.dropout, pass);
            let mixed = masked(self.mix.forward(&top).relu(), masks[1].as_ref());
            let outputs = self.out.forward(&mixed);
            let means = outputs.view([issues, targets, -1]).select(2, 0);
            before = units.base.select(2, lead) + means * units.spread.select(1, lead);
            state = next;
            made.push(outputs);
        }
        Tensor::cat(&made, 1)
    }
}
