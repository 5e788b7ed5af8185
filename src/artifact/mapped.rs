//! A file as memory, for as long as a closure looks at it, that survives whoever cuts it short.
//!
//! Touching a mapped page that the file no longer has, or that the disk cannot give, raises SIGBUS,
//! which ends a process. Here a handler puts zeros in the place of what is gone and remembers it, so
//! the closure ends on wrong bytes and its result is thrown away. A SIGBUS from anywhere else goes
//! to whoever handled it before.
//!
//! Rejected: a lease on the file (`F_SETLEASE`), which makes whoever writes it wait for us; a child
//! process that may die, which a library cannot start without knowing its program.

#![expect(
    unsafe_code,
    reason = "mapping a file and handling a signal have no safe form"
)]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use libc::{
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, SA_ONSTACK,
    SA_SIGINFO, SIG_DFL, SIG_IGN, SIGBUS, sigaction, siginfo_t,
};

/// How many files may be mapped at once. Who finds no room reads the file in another way.
const SLOTS: usize = 64;

/// A part of the address space that is a file.
struct Slot {
    taken: AtomicBool,
    start: AtomicPtr<c_void>,
    length: AtomicUsize,
    /// Whether some of it was not there.
    torn: AtomicBool,
}

static MAPPED: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicPtr::new(ptr::null_mut()),
        length: AtomicUsize::new(0),
        torn: AtomicBool::new(false),
    }
}; SLOTS];

/// Whom SIGBUS belonged to before.
static BEFORE: OnceLock<sigaction> = OnceLock::new();

/// Shows a file of some length to a closure. `None` where it cannot be mapped, or was not all there:
/// then the closure has not run, or what it saw was wrong.
pub(super) fn look<T>(file: &File, length: u64, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let map = Map::new(file, usize::try_from(length).ok()?)?;
    let seen = look(map.bytes());
    map.is_whole().then_some(seen)
}

/// A mapped file. Its slot is ours until it is dropped.
struct Map {
    slot: &'static Slot,
}

impl Map {
    fn new(file: &File, length: usize) -> Option<Self> {
        if length == 0 || !handled() {
            return None;
        }
        let slot = MAPPED.iter().find(|slot| {
            let free =
                slot.taken
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            free.is_ok()
        })?;
        // SAFETY: a new mapping, chosen by the kernel, of a descriptor that is open.
        let start = unsafe {
            let file = file.as_raw_fd();
            libc::mmap(ptr::null_mut(), length, PROT_READ, MAP_SHARED, file, 0)
        };
        if start == MAP_FAILED {
            slot.taken.store(false, Ordering::Release);
            return None;
        }
        slot.torn.store(false, Ordering::Relaxed);
        slot.length.store(length, Ordering::Relaxed);
        // From here on the handler knows of it.
        slot.start.store(start, Ordering::Release);
        Some(Self { slot })
    }

    fn bytes(&self) -> &[u8] {
        let start = self.slot.start.load(Ordering::Acquire).cast::<u8>();
        // SAFETY: mapped for reading until the drop, and no byte of it is missing, thanks to the
        // handler. Others may change the file; whoever looks tells by its times, and no decision
        // here depends on two reads of one byte being equal.
        unsafe { std::slice::from_raw_parts(start, self.slot.length.load(Ordering::Relaxed)) }
    }

    fn is_whole(&self) -> bool {
        !self.slot.torn.load(Ordering::Acquire)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let length = self.slot.length.load(Ordering::Relaxed);
        let start = self.slot.start.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: the mapping that `new` made, with whatever the handler put into it; nobody has a
        // reference to it any more.
        unsafe { libc::munmap(start, length) };
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once. Whether it is there.
fn handled() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let mut before = MaybeUninit::<sigaction>::uninit();
        // SAFETY: asks for the present action, then replaces it. Nobody else in this process
        // changes SIGBUS later; the standard library does so before `main`.
        unsafe {
            if libc::sigaction(SIGBUS, ptr::null(), before.as_mut_ptr()) != 0 {
                return false;
            }
            let _ = BEFORE.set(before.assume_init());
            let mut ours: sigaction = std::mem::zeroed();
            ours.sa_sigaction = on_sigbus as *const () as usize;
            ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
            libc::sigaction(SIGBUS, &raw const ours, ptr::null_mut()) == 0
        }
    })
}

/// Runs in place of whatever touched the page: only system calls and atomics are allowed here.
extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a valid description of a SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    if !MAPPED.iter().any(|slot| slot.mend(address)) {
        pass_on(signal, info, context);
    }
}

impl Slot {
    /// Puts zeros from a missing page to the end, if the page is in here.
    fn mend(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire) as usize;
        let end = start + self.length.load(Ordering::Acquire);
        // If the slot changed hands meanwhile, the two do not belong together.
        let same = self.start.load(Ordering::Acquire) as usize == start;
        if start == 0 || !same || !(start..end).contains(&address) {
            return false;
        }
        self.torn.store(true, Ordering::Release);
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let from = address & !(page - 1);
        // SAFETY: replaces pages of our own mapping, which stays mapped and readable; `errno` is
        // that of code that was interrupted and may not change.
        unsafe {
            let errno = *libc::__errno_location();
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
            let zeros = libc::mmap(from as *mut c_void, end - from, PROT_READ, flags, -1, 0);
            *libc::__errno_location() = errno;
            zeros != MAP_FAILED
        }
    }
}

/// Does what would have been done without us.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get();
    let handler = before.map_or(SIG_DFL, |before| before.sa_sigaction);
    // SAFETY: the action that was in force before ours, called as it asked to be called. The default
    // one ends the process when the access is tried again.
    unsafe {
        match before {
            Some(before) if handler != SIG_DFL && handler != SIG_IGN => {
                if before.sa_flags & SA_SIGINFO != 0 {
                    let call: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(handler);
                    call(signal, info, context);
                } else {
                    let call: extern "C" fn(c_int) = std::mem::transmute(handler);
                    call(signal);
                }
            }
            _ => {
                let mut default: sigaction = std::mem::zeroed();
                default.sa_sigaction = SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    const LENGTH: u64 = 1 << 22;

    /// One test takes all slots, so they take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn turn() -> MutexGuard<'static, ()> {
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file() -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; LENGTH as usize]).unwrap();
        file
    }

    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().map(|&byte| u64::from(byte)).sum()
    }

    #[test]
    fn a_file_is_seen_as_it_is() {
        let _turn = turn();
        assert_eq!(look(&file(), LENGTH, sum), Some(7 * LENGTH));
        assert_eq!(look(&file(), 0, sum), None);
    }

    #[test]
    fn a_file_that_is_cut_short_is_no_end_of_the_process() {
        let _turn = turn();
        for left in [0, 5000, LENGTH - 1] {
            let file = file();
            let seen = look(&file, LENGTH, |bytes| {
                file.set_len(left).unwrap();
                sum(bytes)
            });
            // Within the last page the kernel itself puts zeros.
            let expected = (left == LENGTH - 1).then_some(7 * left);
            assert_eq!(seen, expected, "{left}");
        }
    }

    #[test]
    fn many_files_are_cut_short_at_once() {
        let _turn = turn();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let file = file();
                        let seen = look(&file, LENGTH, |bytes| {
                            file.set_len(4096).unwrap();
                            sum(bytes)
                        });
                        assert_eq!(seen, None);
                    }
                });
            }
        });
    }

    #[test]
    fn there_are_only_so_many_and_then_none() {
        let _turn = turn();
        let file = file();
        let all: Vec<Map> = std::iter::from_fn(|| Map::new(&file, LENGTH as usize))
            .take(SLOTS + 1)
            .collect();
        assert!(all.len() <= SLOTS);
        drop(all);
        assert!(Map::new(&file, LENGTH as usize).is_some());
    }
}
