//! What the whole process has of libtorch and of its memory: the door to `cpp/process.cpp`.

use std::ffi::{CStr, c_char};

#[expect(unsafe_code, reason = "functions of C++")]
unsafe extern "C" {
    safe fn krammerti_keep_memory();
    safe fn krammerti_libtorch_version() -> *const c_char;
    safe fn krammerti_instructions() -> *const c_char;
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
