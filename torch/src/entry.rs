//! The exported functions: the command line with the torch models registered, and its version.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;

use krammerti::cli::{self, Place};

/// The exit code where something went wrong that nobody foresaw.
const PANICKED: c_int = 1;

/// The version that this was built as, with a zero byte: binary and back end are one program.
#[expect(
    unsafe_code,
    reason = "the border between the binary and the back end is a C function"
)]
#[unsafe(no_mangle)]
pub extern "C" fn krammerti_torch_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Runs a command line; called by the `krammerti` binary after it has opened this library.
/// Gives back the exit code.
///
/// # Safety
/// `argv` points to `argc` pointers to texts that end with a zero byte and outlive the call.
#[expect(
    unsafe_code,
    reason = "the border between the binary and the back end is a C function"
)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krammerti_torch_main(argc: c_int, argv: *const *const c_char) -> c_int {
    // A panic must not cross the border.
    catch_unwind(|| {
        let count = usize::try_from(argc).unwrap_or(0);
        let args: Vec<OsString> = (0..count)
            .map(|i| {
                // SAFETY: the caller promises `argc` valid texts.
                let text = unsafe { CStr::from_ptr(*argv.add(i)) };
                OsStr::from_bytes(text.to_bytes()).to_owned()
            })
            .collect();
        cli::main(&args, &crate::registry(), Place::Backend)
    })
    .map_or(PANICKED, c_int::from)
}
