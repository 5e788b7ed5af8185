//! A recurrent layer in one operation, in 32 bits: the door to `cpp/recurrent.cpp`, and on a GPU to
//! `cpp/recurrent_gpu.cpp`.
//!
//! It stands for `Tensor::lstm` and `Tensor::gru` of one layer, several times as fast; why, and how
//! it computes, is told there. Gradients go back through it as through any operation.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::guard;
use crate::layers::Cell;

/// What a layer gives.
pub(crate) struct Outputs {
    /// `[issues, steps, hidden]`; absent unless they were asked for or a gradient needs them.
    pub(crate) steps: Option<Tensor>,
    /// After the last step, each `[issues, hidden]`: what is passed on, and the cell of an LSTM.
    pub(crate) state: Vec<Tensor>,
}

/// What a GPU's compiler makes its functions of.
const SOURCE: &CStr = match CStr::from_bytes_with_nul(
    concat!(
        include_str!("../cuda/layer.h"),
        include_str!("../cuda/recurrent.cu"),
        "\0"
    )
    .as_bytes(),
) {
    Ok(source) => source,
    // While this is compiled.
    Err(_) => panic!("a zero in the source"),
};

#[expect(unsafe_code, reason = "functions of C++")]
unsafe extern "C" {
    fn krammerti_recurrent(
        lstm: bool,
        outputs: bool,
        given: *const *const C_tensor,
        made: *mut *mut C_tensor,
    ) -> *const c_char;
    fn krammerti_recurrent_fits(
        lstm: bool,
        hidden: i64,
        batch: i64,
        device: c_int,
        source: *const c_char,
        why: *mut *const c_char,
    ) -> bool;
}

thread_local! {
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why [`fits`] said no where it could have said yes, once.
pub(crate) fn failure() -> Option<String> {
    FAILURE.take()
}

/// Whether [`recurrent`] can run a layer of so many units over these steps: in 32 bits, on the CPU
/// always, on a GPU up to 128 units, where its memory near the processors suffices and NVIDIA's
/// compiler is there.
#[expect(unsafe_code, reason = "calls a function of C++")]
pub(crate) fn fits(cell: Cell, steps: &Tensor, hidden: i64) -> bool {
    if steps.kind() != Kind::Float {
        return false;
    }
    let Device::Cuda(gpu) = steps.device() else {
        return steps.device() == Device::Cpu;
    };
    let (lstm, batch) = (cell == Cell::Lstm, steps.size()[0]);
    let gpu = c_int::try_from(gpu).unwrap_or(c_int::MAX);
    let mut why = null();
    // SAFETY: it lets no exception through, the source stays for ever, and its text lives until the
    // next call on this thread.
    unsafe {
        let fits =
            krammerti_recurrent_fits(lstm, hidden, batch, gpu, SOURCE.as_ptr(), &raw mut why);
        if !why.is_null() {
            let why = CStr::from_ptr(why).to_string_lossy();
            let line = why.lines().next().unwrap_or_default().to_owned();
            FAILURE.replace(Some(line));
        }
        fits
    }
}

/// Runs a layer over `[issues, steps, inputs]` from a state, or from zeros. The weights are those of
/// the input, of the hidden state, and the biases of both, laid out as PyTorch does.
///
/// Panics where libtorch reports an error, as tch's short methods do.
pub(crate) fn recurrent(
    cell: Cell,
    steps: &Tensor,
    state: Option<&[Tensor]>,
    weights: &[&Tensor],
    outputs: bool,
) -> Outputs {
    let of_state = |part: usize| state.and_then(|state| state.get(part));
    let read = [Some(steps), of_state(0), of_state(1)];
    let weights = [weights[0], weights[1], weights[2], weights[3]].map(Some);
    let pointer = |tensor: Option<&Tensor>| tensor.map_or(null(), Tensor::as_ptr);
    let given: Vec<*const C_tensor> = read.into_iter().chain(weights).map(pointer).collect();
    let mut made = [null_mut::<C_tensor>(); 3];
    call(cell == Cell::Lstm, outputs, &given, &mut made);
    let [steps, hidden, cell] = made.map(own);
    Outputs {
        steps,
        state: [hidden, cell].into_iter().flatten().collect(),
    }
}

#[expect(unsafe_code, reason = "calls a function of C++")]
fn call(lstm: bool, outputs: bool, given: &[*const C_tensor], made: &mut [*mut C_tensor; 3]) {
    assert_eq!(given.len(), 7, "tensors that a layer reads");
    // SAFETY: it reads seven pointers, each null or to a tensor that the caller borrows, writes at
    // most three, and lets no exception through. Its text lives until the next call on this thread.
    unsafe {
        let error = krammerti_recurrent(lstm, outputs, given.as_ptr(), made.as_mut_ptr());
        guard::raise(error);
    }
}

#[expect(unsafe_code, reason = "takes over a tensor of C++")]
fn own(tensor: *mut C_tensor) -> Option<Tensor> {
    // SAFETY: null or a tensor that was made for this one owner.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) })
}

/// What a GPU would compute, computed on the CPU.
#[cfg(test)]
pub(crate) mod emulated {
    #[expect(unsafe_code, reason = "a function of C++")]
    unsafe extern "C" {
        fn krammerti_emulate(on: bool);
    }

    /// Runs `work` with all layers of this thread as on a GPU. `cpp/emulated.cpp` says which sizes.
    #[expect(unsafe_code, reason = "calls a function of C++")]
    pub(crate) fn emulated<T>(work: impl FnOnce() -> T) -> T {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                // SAFETY: it sets a pointer of this thread.
                unsafe { krammerti_emulate(false) }
            }
        }
        let _off = Off;
        // SAFETY: as above.
        unsafe { krammerti_emulate(true) }
        work()
    }
}
