//! Where tensors live, and the threads that work on them.
//!
//! This back end is linked against the CPU part of libtorch alone, so that it starts on any host.
//! The CUDA part registers itself when its library is opened, which has to happen before the first
//! call into libtorch; it costs 0.3 s and 350 MB, so it is opened only where it can be of use.

use std::path::Path;
use std::sync::{Once, OnceLock};

use krammerti::model::NoDevice;
use krammerti::params::{Device as Wanted, Precision};
use tch::{Device, Kind};

/// Why there is no CUDA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCuda {
    /// This libtorch has no CUDA part, or the part cannot be opened.
    #[error("libtorch_cuda.so cannot be opened: {0}")]
    Library(String),
    /// It was opened and found nothing to run on.
    #[error("libtorch finds no usable GPU (is the driver installed?)")]
    Gpu,
}

/// The device that parameters ask for, and where it is not the GPU that this host has, why.
pub(crate) fn choose(wanted: Wanted) -> Result<(Device, Option<NoCuda>), NoDevice> {
    match wanted {
        Wanted::Cuda => open_cuda()
            .map(|device| (device, None))
            .map_err(|reason| asked_for(&reason)),
        Wanted::Auto if has_nvidia_driver() => Ok(match open_cuda() {
            Ok(device) => (device, None),
            Err(reason) => (Device::Cpu, Some(reason)),
        }),
        Wanted::Auto | Wanted::Cpu => Ok((Device::Cpu, None)),
    }
}

fn asked_for(reason: &NoCuda) -> NoDevice {
    NoDevice {
        asked: "cuda",
        why: reason.to_string(),
    }
}

/// The numbers that a body computes in on a device.
pub(crate) fn kind(precision: Precision, device: Device) -> Kind {
    match precision {
        Precision::Bfloat16 => Kind::BFloat16,
        Precision::Auto if device.is_cuda() && has_bfloat16() => Kind::BFloat16,
        Precision::Auto | Precision::Float32 => Kind::Float,
    }
}

/// A kind of numbers as `train.precision` names it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bfloat16",
        _ => "float32",
    }
}

/// Whether the first GPU multiplies 16 bit numbers in units of its own: compute capability 8 and up.
/// libtorch's C interface does not say, the driver does.
#[expect(unsafe_code, reason = "three calls of the driver's C interface")]
fn has_bfloat16() -> bool {
    type Init = unsafe extern "C" fn(u32) -> i32;
    type Get = unsafe extern "C" fn(*mut i32, i32) -> i32;
    type Attribute = unsafe extern "C" fn(*mut i32, i32, i32) -> i32;
    /// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`.
    const MAJOR: i32 = 75;
    let (mut device, mut major) = (0, 0);
    // SAFETY: the driver's library, which libtorch has opened; the signatures are those of its
    // documentation, and every pointer is to a number that lives until the call returns.
    unsafe {
        let Ok(driver) = libloading::Library::new("libcuda.so.1") else {
            return false;
        };
        let found = (
            driver.get::<Init>(b"cuInit"),
            driver.get::<Get>(b"cuDeviceGet"),
            driver.get::<Attribute>(b"cuDeviceGetAttribute"),
        );
        let (Ok(init), Ok(get), Ok(attribute)) = found else {
            return false;
        };
        init(0) == 0
            && get(&raw mut device, 0) == 0
            && attribute(&raw mut major, MAJOR, device) == 0
            && major >= 8
    }
}

/// Has libtorch share out nothing by itself: on the CPU that is done by [`crate::team`].
pub(crate) fn use_one_thread() {
    // libtorch allows the number for operations beside each other to be set once in a process.
    static INTER_OP: Once = Once::new();
    INTER_OP.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(1);
}

/// Threads that are of use: on the CPU those that are asked for here or in the environment, otherwise
/// as many as the cores that this process may use.
pub(crate) fn useful_threads(device: Device, asked: Option<usize>) -> usize {
    if device != Device::Cpu {
        return 1;
    }
    let said = || std::env::var("OMP_NUM_THREADS").ok()?.parse().ok();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.or_else(said).unwrap_or_else(cores).max(1)
}

fn has_nvidia_driver() -> bool {
    ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"]
        .iter()
        .any(|device| Path::new(device).exists())
}

fn open_cuda() -> Result<Device, NoCuda> {
    open_cuda_library()?;
    if tch::Cuda::is_available() {
        Ok(Device::Cuda(0))
    } else {
        Err(NoCuda::Gpu)
    }
}

/// Opens the library once in a process and never closes it: libtorch keeps pointers into it.
fn open_cuda_library() -> Result<(), NoCuda> {
    static OPENED: OnceLock<Result<(), NoCuda>> = OnceLock::new();
    OPENED
        .get_or_init(|| dlopen_globally("libtorch_cuda.so"))
        .clone()
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "dlopen runs the initialisers of the library")]
fn dlopen_globally(name: &str) -> Result<(), NoCuda> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: libtorch's own library, of the version that this crate is linked against; its
    // initialisers only register kernels.
    let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(NoCuda::Library(cause(&error))),
    }
}

/// What the loader said; the error itself says only that it failed.
#[cfg(unix)]
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(not(unix))]
fn dlopen_globally(_: &str) -> Result<(), NoCuda> {
    Err(NoCuda::Library("only done on Unix".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(choose(Wanted::Cpu), Ok((Device::Cpu, None)));
    }

    #[test]
    fn an_absent_library_is_named() {
        let error = dlopen_globally("libkrammerti_no_such_thing.so").unwrap_err();
        assert!(!error.to_string().contains("asked for"), "nobody did");
        let message = asked_for(&error).to_string();
        assert!(
            message.contains("device: cuda") && message.contains("no_such_thing"),
            "{message}"
        );
    }
}
