//! Work of a GPU as one launch: CUDA graphs.
//!
//! A step of the training is a few hundred small operations, each of which takes the processor longer
//! to ask for than the GPU to do. Recorded once, all of them are asked for at once. A graph works on
//! the memory that was recorded; whoever replays it puts there what it is to read. It needs a stream
//! that nothing else works on.

use std::ffi::c_char;
use std::ptr::null_mut;

use anyhow::{Result, ensure};
use tch::Device;

use crate::guard;

/// Where it is set, libtorch takes memory from the driver for each tensor and gives it back with it. While
/// something is recorded the driver refuses that, and libtorch ends the process.
const UNCACHED: &str = "PYTORCH_NO_CUDA_MEMORY_CACHING";

/// What was recorded.
pub(crate) struct Graph(*mut Opaque);

/// The stream of trainings for this thread, until it is dropped.
pub(crate) struct Stream {
    before: i64,
}

#[repr(C)]
struct Opaque([u8; 0]);

#[expect(unsafe_code, reason = "functions of C++")]
unsafe extern "C" {
    fn krammerti_graph_begin(made: *mut *mut Opaque) -> *const c_char;
    fn krammerti_graph_end(graph: *mut Opaque) -> *const c_char;
    fn krammerti_graph_replay(graph: *mut Opaque) -> *const c_char;
    fn krammerti_graph_free(graph: *mut Opaque);
    fn krammerti_stream_enter(before: *mut i64) -> *const c_char;
    fn krammerti_stream_leave(before: i64) -> *const c_char;
}

impl Graph {
    /// Records what `work` asks of the GPU on the stream of this thread. Nothing of it is done yet, and
    /// tensors that it gives hold what the last [`Self::replay`] made.
    ///
    /// # Errors
    ///
    /// Where `work` panics, for one because it waits for the GPU, the GPU refuses, or libtorch keeps no memory.
    pub(crate) fn record<T>(work: impl FnOnce() -> T) -> Result<(Self, T)> {
        let is_cached = std::env::var_os(UNCACHED).is_none();
        ensure!(is_cached, "the environment has {UNCACHED}; unset it");
        let graph = recording(Self::begin)?;
        let made = recording(work);
        // Also where it failed, or the stream would go on recording.
        if let Err(error) = recording(|| graph.end()) {
            // libtorch still refers to it.
            std::mem::forget(graph);
            return Err(made.err().unwrap_or(error));
        }
        Ok((graph, made?))
    }

    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn begin() -> Self {
        let mut made = null_mut();
        // SAFETY: it makes a graph, which is then ours, or tells an error; its text lives until the
        // next call on this thread.
        unsafe { guard::raise(krammerti_graph_begin(&raw mut made)) };
        Self(made)
    }

    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn end(&self) {
        // SAFETY: the graph lives; its text as above.
        unsafe { guard::raise(krammerti_graph_end(self.0)) }
    }

    /// Asks the GPU for all of it once more. Panics where it refuses.
    #[expect(unsafe_code, reason = "calls a function of C++")]
    pub(crate) fn replay(&self) {
        // SAFETY: as above.
        unsafe { guard::raise(krammerti_graph_replay(self.0)) }
    }
}

fn recording<T>(work: impl FnOnce() -> T) -> Result<T> {
    guard::guarded("recording a step", || Ok(work()))
}

impl Drop for Graph {
    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function that this one is for, and is not used any more.
        unsafe { krammerti_graph_free(self.0) }
    }
}

impl Stream {
    /// Enters it; none on the CPU.
    #[expect(unsafe_code, reason = "calls a function of C++")]
    pub(crate) fn enter(device: Device) -> Option<Self> {
        let mut before = 0;
        device.is_cuda().then(|| {
            // SAFETY: it writes a number, or tells an error; its text as above.
            unsafe { guard::raise(krammerti_stream_enter(&raw mut before)) };
            Self { before }
        })
    }
}

impl Drop for Stream {
    #[expect(unsafe_code, reason = "calls a function of C++")]
    fn drop(&mut self) {
        // Whoever asks the GPU for something next is told of an error.
        // SAFETY: it reads a number.
        let _ = unsafe { krammerti_stream_leave(self.before) };
    }
}
