//! The random numbers of dropout and noise.
//!
//! On the CPU each part of a step has a generator of its own, seeded by the step and the part: what
//! is drawn depends neither on the thread that works on the part nor on what else draws. On a GPU,
//! where a step has one part, they come from torch's own generator. There is one for the process;
//! whoever seeds it claims it, so that nothing that runs beside takes numbers from the middle of a
//! sequence that is to be the same each time.

use std::ffi::c_char;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::{draws, guard};

/// Where the generators of a training's steps come from.
pub(crate) enum Randomness {
    /// The CPU.
    Own,
    /// A GPU. torch's generator stays claimed until this is dropped.
    Torch(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>),
}

/// Random numbers for one part of a step.
pub(crate) enum Generator {
    Own(Own),
    Torch,
}

/// A generator of libtorch's on the CPU.
pub(crate) struct Own(*mut Opaque);

/// `at::Generator`.
#[repr(C)]
struct Opaque([u8; 0]);

#[expect(unsafe_code, reason = "functions of C++")]
unsafe extern "C" {
    fn krammerti_generator(seed: u64, made: *mut *mut Opaque) -> *const c_char;
    fn krammerti_generator_free(generator: *mut Opaque);
    fn krammerti_draw_ones(g: *mut Opaque, into: *mut C_tensor, ones: f64) -> *const c_char;
    fn krammerti_draw_normal(g: *mut Opaque, into: *mut C_tensor) -> *const c_char;
}

impl Randomness {
    /// For a training on this device; on a GPU, waits until no other training is under way.
    pub(crate) fn of(device: Device) -> Self {
        static CLAIMED: Mutex<()> = Mutex::new(());
        if device == Device::Cpu {
            return Self::Own;
        }
        Self::Torch(CLAIMED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For a part of a step; on a GPU the one before is not to be used any more.
    pub(crate) fn part(&self, seed: u64, step: usize, part: usize) -> Generator {
        let seed = seed_of(seed_of(seed, step as u64 + 1), part as u64);
        match self {
            Self::Own => Generator::seeded(seed),
            Self::Torch(_) => {
                seed_torch(seed);
                Generator::Torch
            }
        }
    }
}

/// Neighbouring numbers have unrelated seeds.
fn seed_of(seed: u64, number: u64) -> u64 {
    draws::mixed(seed.wrapping_add(number.wrapping_mul(draws::GOLDEN)))
}

#[expect(clippy::disallowed_methods, reason = "whoever calls it has claimed it")]
fn seed_torch(seed: u64) {
    tch::manual_seed(seed.cast_signed());
}

impl Generator {
    /// For the CPU.
    #[expect(unsafe_code, reason = "calls a function of C++")]
    pub(crate) fn seeded(seed: u64) -> Self {
        let mut made = null_mut();
        // SAFETY: it makes a generator, which is then ours, or tells an error; its text lives until
        // the next call on this thread.
        unsafe { guard::raise(krammerti_generator(seed, &raw mut made)) };
        Self::Own(Own(made))
    }

    /// A share of the values becomes 0, and the others larger, so that the mean stays.
    pub(crate) fn dropout(&self, x: &Tensor, share: f64) -> Tensor {
        match self {
            Self::Own(_) => x * self.mask(&x.size(), share, (x.kind(), x.device())),
            Self::Torch => x.dropout(share, true),
        }
    }

    /// What [`Self::dropout`] multiplies with.
    pub(crate) fn mask(&self, shape: &[i64], share: f64, options: (Kind, Device)) -> Tensor {
        match self {
            Self::Own(own) => {
                let mut mask = Tensor::empty(shape, options);
                own.draw_ones(&mask, 1.0 - share);
                mask /= 1.0 - share;
                mask
            }
            Self::Torch => Tensor::ones(shape, options).dropout(share, true),
        }
    }

    /// From the standard normal distribution, as many as another tensor has values.
    pub(crate) fn normal(&self, like: &Tensor) -> Tensor {
        match self {
            Self::Own(own) => {
                let drawn = Tensor::empty(like.size(), (like.kind(), like.device()));
                own.draw_normal(&drawn);
                drawn
            }
            Self::Torch => like.randn_like(),
        }
    }
}

// SAFETY: a generator of libtorch's is bound to no thread.
#[expect(unsafe_code, reason = "a pointer is Send only where somebody says so")]
unsafe impl Send for Own {}

impl Own {
    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn draw_ones(&self, into: &Tensor, ones: f64) {
        // SAFETY: the generator is ours alone, and the tensor lives; its text lives until the next
        // call on this thread.
        unsafe { guard::raise(krammerti_draw_ones(self.0, tensor(into), ones)) }
    }

    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn draw_normal(&self, into: &Tensor) {
        // SAFETY: as above.
        unsafe { guard::raise(krammerti_draw_normal(self.0, tensor(into))) }
    }
}

impl Drop for Own {
    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function that this one is for, and is not used any more.
        unsafe { krammerti_generator_free(self.0) }
    }
}

fn tensor(of: &Tensor) -> *mut C_tensor {
    of.as_ptr().cast_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.reshape([-1])).unwrap()
    }

    #[test]
    fn what_is_drawn_is_that_of_the_seed_the_step_and_the_part() {
        let zeros = Tensor::zeros([40], OPTIONS);
        let drawn = |seed, step, part| {
            let generator = Randomness::of(Device::Cpu).part(seed, step, part);
            let mask = generator.mask(&[40], 0.5, OPTIONS);
            (values(&generator.normal(&zeros)), values(&mask))
        };
        let one = drawn(1, 2, 3);
        assert_eq!(one, drawn(1, 2, 3));
        for other in [drawn(2, 2, 3), drawn(1, 3, 3), drawn(1, 2, 4)] {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1, other.1);
        }
    }

    /// Of 100,000 draws the bounds are five standard deviations away and more.
    #[test]
    fn dropout_and_noise_are_what_they_are_said_to_be() {
        let generator = Generator::seeded(7);
        let ones = Tensor::ones([100_000], OPTIONS);
        let dropped = values(&generator.dropout(&ones, 0.2));
        assert!(dropped.iter().all(|&x| x == 0.0 || x == 1.25));
        let share = dropped.iter().filter(|&&x| x == 0.0).count();
        assert!((19_300..20_700).contains(&share), "{share}");
        let normal = generator.normal(&ones).to_kind(Kind::Double);
        let mean = normal.mean(Kind::Double).double_value(&[]);
        let spread = normal.std(true).double_value(&[]);
        assert!(mean.abs() < 0.017 && (spread - 1.0).abs() < 0.012);
    }

    #[test]
    fn a_gradient_goes_through_what_was_not_dropped() {
        let x = Tensor::ones([50], OPTIONS).set_requires_grad(true);
        let dropped = Generator::seeded(1).dropout(&x, 0.5);
        let gradient = Tensor::run_backward(&[dropped.sum(Kind::Float)], &[&x], false, false);
        assert_eq!(values(&gradient[0]), values(&dropped));
    }
}
