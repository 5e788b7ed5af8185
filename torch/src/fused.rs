//! A recurrent layer in one operation, in 32 bits on the CPU: the door to `cpp/recurrent.cpp`.
//!
//! It stands for `Tensor::lstm` and `Tensor::gru` of one layer, several times as fast; why, and how
//! it computes, is told there. Gradients go back through it as through any operation.

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::layers::Cell;

/// What a layer gives.
pub(crate) struct Outputs {
    /// `[issues, steps, hidden]`; absent unless they were asked for or a gradient needs them.
    pub(crate) steps: Option<Tensor>,
    /// After the last step, each `[issues, hidden]`: what is passed on, and the cell of an LSTM.
    pub(crate) state: Vec<Tensor>,
}

#[expect(unsafe_code, reason = "functions of C++")]
unsafe extern "C" {
    safe fn krammerti_keep_memory();
    safe fn krammerti_libtorch_version() -> *const c_char;
    safe fn krammerti_instructions() -> *const c_char;
    fn krammerti_recurrent(
        lstm: bool,
        outputs: bool,
        given: *const *const C_tensor,
        made: *mut *mut C_tensor,
    ) -> *const c_char;
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

/// From now on the memory of large tensors stays with the process when they are dropped. A step of a
/// training asks for the same hundreds of megabytes as the one before, and each time the system would
/// have to clear them anew.
pub(crate) fn keep_memory() {
    krammerti_keep_memory();
}

/// The version of libtorch.
pub(crate) fn libtorch_version() -> String {
    text(krammerti_libtorch_version())
}

/// The instructions of the CPU that libtorch's kernels use, such as `AVX2`.
pub(crate) fn instructions() -> String {
    text(krammerti_instructions())
}

#[expect(unsafe_code, reason = "a text of C++")]
fn text(of: *const c_char) -> String {
    // SAFETY: both functions give a text that ends with a zero and is never freed.
    let text = unsafe { CStr::from_ptr(of) };
    text.to_string_lossy().into_owned()
}

#[expect(unsafe_code, reason = "calls a function of C++")]
fn call(lstm: bool, outputs: bool, given: &[*const C_tensor], made: &mut [*mut C_tensor; 3]) {
    assert_eq!(given.len(), 7, "tensors that a layer reads");
    // SAFETY: it reads seven pointers, each null or to a tensor that the caller borrows, writes at
    // most three, and lets no exception through. Its text lives until the next call on this thread.
    let error = unsafe {
        let error = krammerti_recurrent(lstm, outputs, given.as_ptr(), made.as_mut_ptr());
        (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned())
    };
    if let Some(error) = error {
        // In the form of tch's own, by which `guard` knows whose error it is.
        panic!("Torch(\"{}", error.lines().next().unwrap_or("it failed"));
    }
}

#[expect(unsafe_code, reason = "takes over a tensor of C++")]
fn own(tensor: *mut C_tensor) -> Option<Tensor> {
    // SAFETY: null or a tensor that was made for this one owner.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) })
}
