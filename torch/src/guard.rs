//! Turns a panic of tch into an error.
//!
//! tch's short methods panic where libtorch reports an error, and a net written with the long ones
//! is not readable. So the nets are written with the short ones, and every way into this crate goes
//! through [`guarded`]. A C++ stack trace is in the message; only its first line is of use.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use anyhow::Result;
use krammerti::model::Fault;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it becomes an error and prints nothing.
pub(crate) fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(work).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        Err(Fault {
            by: if text.contains("Torch(") {
                "libtorch"
            } else {
                "internal error"
            },
            doing: doing.to_owned(),
            message: first_line(&text),
        }
        .into())
    })
}

/// Runs `work`; a panic in it is given back and prints nothing.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    quieten_guarded_panics();
    let outer = GUARDED.replace(true);
    // Whatever `work` had borrowed mutably is not used after an error.
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result
}

/// Panics as tch does where a function of C++ tells an error, which is null where there is none.
///
/// # Safety
///
/// The error is null or a text that ends with a zero and stays until this returns.
#[expect(unsafe_code, reason = "reads a text of C++")]
pub(crate) unsafe fn raise(error: *const c_char) {
    if error.is_null() {
        return;
    }
    // SAFETY: as the caller says.
    let error = unsafe { CStr::from_ptr(error) }.to_string_lossy();
    panic!("Torch(\"{}", error.lines().next().unwrap_or("it failed"));
}

/// The panic hook is one for the process; panics elsewhere keep the hook that was there before.
fn quieten_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "a panic without a message".to_owned(),
    }
}

/// What libtorch said, of the debug form of tch's error: line ends in it are written `\n`.
fn first_line(text: &str) -> String {
    let said = text
        .split_once("Torch(\"")
        .map_or(text, |(_, message)| message);
    let line = said.split("\\n").next().unwrap_or(said);
    line.lines().next().unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn an_error_of_libtorch_is_one_line() {
        let wrong = || -> Result<Tensor> {
            let (a, b) = (
                Tensor::from_slice(&[1.0, 2.0]),
                Tensor::from_slice(&[1.0, 2.0, 3.0]),
            );
            Ok(a + b)
        };
        let message = guarded("adding", wrong).unwrap_err().to_string();
        assert!(
            message.starts_with("adding: libtorch: The size"),
            "{message}"
        );
        assert!(
            !message.contains("\\n") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn errors_and_values_pass() {
        assert_eq!(guarded("x", || Ok(3)).unwrap(), 3);
        let error = guarded::<()>("x", || Err(anyhow::anyhow!("plain"))).unwrap_err();
        assert_eq!(error.to_string(), "plain");
    }
}
