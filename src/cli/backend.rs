//! Finds, opens and enters the torch back end. The only place that knows there is one.
//!
//! libtorch costs 0.26 s and 115 MB in every process that loads it, so only a command that needs a
//! torch model does. The back end is this same command line with the torch models registered: it
//! gets our arguments, and its exit code is ours.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};

use crate::fs;

const FILE: &str = "libkrammerti_torch.so";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const VARIABLE: &str = "KRAMMERTI_BACKEND";

type Version = unsafe extern "C" fn() -> *const c_char;
type Main = unsafe extern "C" fn(c_int, *const *const c_char) -> c_int;

/// The back end is not there or does not load.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    /// Not where it is looked for.
    #[error("{FILE} was not found in {}", .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    NotFound {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// It is there, but it or libtorch cannot be loaded.
    #[error("{} does not load: {message}", .file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What the loader says.
        message: String,
    },
}

/// Hands a command line over, and ends the process with the exit code that comes of it.
pub(super) fn enter(args: &[OsString]) -> Result<Infallible> {
    let file = find()?;
    let broken = |error: &dyn std::fmt::Display| BackendError::Broken {
        file: file.clone(),
        message: error.to_string(),
    };
    let args = args
        .iter()
        .map(|arg| CString::new(arg.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .context("an argument holds a zero byte")?;
    let pointers: Vec<*const c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    let code = call(&file, &pointers)
        .map_err(|error| broken(&cause(&error)))?
        .map_err(|error| broken(&error))?;
    leave(code)
}

/// In `KRAMMERTI_BACKEND`, beside the binary, then in `../lib/krammerti`.
fn find() -> Result<PathBuf> {
    let looked = if let Some(named) = std::env::var_os(VARIABLE) {
        vec![PathBuf::from(named)]
    } else {
        let binary = std::env::current_exe().context("cannot tell where krammerti is")?;
        let folder = fs::parent(&binary);
        vec![
            folder.join(FILE),
            fs::parent(folder).join("lib/krammerti").join(FILE),
        ]
    };
    match looked.iter().find(|path| fs::exists(path)) {
        Some(found) => Ok(found.clone()),
        None => Err(BackendError::NotFound { looked }.into()),
    }
}

#[expect(
    unsafe_code,
    reason = "opening a shared library and calling into it has no safe form"
)]
fn call(
    file: &std::path::Path,
    args: &[*const c_char],
) -> Result<Result<c_int, String>, libloading::Error> {
    let count = c_int::try_from(args.len()).unwrap_or(c_int::MAX);
    // SAFETY: the file is krammerti's own back end, whose initialisers only set up libtorch, and
    // which exports these functions with these signatures. The arguments outlive the call.
    unsafe {
        // Global, so that libtorch_cuda finds the symbols of libtorch_cpu when it is opened later.
        // Lazily, for libtorch calls far more functions than any command needs; the back end is
        // linked so that all that it calls itself is there at once.
        let library = Library::open(Some(file), RTLD_LAZY | RTLD_GLOBAL)?;
        let version = library.get::<Version>(b"krammerti_torch_version\0")?;
        let version = CStr::from_ptr(version()).to_string_lossy();
        if version != VERSION {
            return Ok(Err(format!(
                "it is version {version}, this krammerti is {VERSION}"
            )));
        }
        let main = library.get::<Main>(b"krammerti_torch_main\0")?;
        let code = main(count, args.as_ptr());
        // libtorch's threads may still be ending; unloading it under them would crash.
        std::mem::forget(library);
        Ok(Ok(code))
    }
}

/// Ends the process without giving libtorch a chance to take back all that it has registered, which
/// would be a tenth of a second for nothing: what a command has written, it has flushed.
#[expect(unsafe_code, reason = "ends the process before its destructors")]
fn leave(code: c_int) -> ! {
    // SAFETY: no thread of ours is at work any more but on what nobody waits for and no file will hold, and
    // the system takes back everything else.
    unsafe { libc::_exit(code) }
}

/// What the loader said; the error itself says only that it failed.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
