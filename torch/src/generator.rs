//! torch's generator of random numbers, from which dropout and noise are drawn.
//!
//! There is one for the process. Whoever seeds it claims it, so that nothing that runs beside takes
//! numbers from the middle of a sequence that is to be the same each time.

use std::sync::{Mutex, MutexGuard, PoisonError};

static CLAIMED: Mutex<()> = Mutex::new(());

/// The generator, claimed until this is dropped.
pub(crate) struct Generator(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Generator {
    /// Waits until no one else has it.
    pub(crate) fn claim() -> Self {
        Self(CLAIMED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that seeds it")]
    #[expect(clippy::unused_self, reason = "whoever has it has claimed it")]
    pub(crate) fn seed(&self, seed: u64) {
        tch::manual_seed(seed.cast_signed());
    }

    /// Makes what is drawn next that of one step of a training.
    pub(crate) fn seed_step(&self, seed: u64, step: usize) {
        // SplitMix64: neighbouring steps have unrelated streams.
        let mut mixed = seed.wrapping_add(
            (step as u64)
                .wrapping_add(1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.seed(mixed ^ (mixed >> 31));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn what_is_drawn_is_that_of_the_seed_and_the_step() {
        let generator = Generator::claim();
        let drawn = |seed, step| {
            generator.seed_step(seed, step);
            Vec::<f32>::try_from(Tensor::randn([8], (Kind::Float, Device::Cpu))).unwrap()
        };
        assert_eq!(drawn(1, 2), drawn(1, 2));
        assert_ne!(drawn(1, 2), drawn(1, 3));
        assert_ne!(drawn(1, 2), drawn(2, 2));
    }
}
