//! Writing hundreds of megabytes that nobody reads soon.
//!
//! Through the page cache the system has to find and clear memory for every page, which can take as long
//! as the disk several times over, and throws out what others read. Past it the bytes go from a buffer of
//! ours to the disk. The kernel wants whole blocks at whole blocks of the file and of memory for that, and
//! not every file system can; so the end of a file, and any file elsewhere, is written as always.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// What blocks of disks and of memory are multiples of, in bytes.
const BLOCK: usize = 1 << 12;

/// Bytes that are written at once.
const AT_ONCE: usize = 1 << 23;

/// Writes an empty file, from its beginning. What was not flushed is not written.
pub(super) struct PastCache {
    file: File,
    /// Whether it is written past the cache.
    is_direct: bool,
    /// Larger by a block than what is written at once.
    buffer: Vec<u8>,
    /// Where a block of memory begins in it.
    start: usize,
    filled: usize,
}

impl PastCache {
    pub(super) fn new(file: File) -> Self {
        Self::with_blocks(file, AT_ONCE / BLOCK)
    }

    fn with_blocks(file: File, blocks: usize) -> Self {
        let buffer = vec![0; (blocks + 1) * BLOCK];
        Self {
            is_direct: go_past_cache(&file, true).is_ok(),
            start: buffer.as_ptr().align_offset(BLOCK),
            file,
            buffer,
            filled: 0,
        }
    }

    /// Writes all of the buffer, which begins at a whole block of the file.
    fn drain(&mut self) -> io::Result<()> {
        let mut left = &self.buffer[self.start..self.start + self.filled];
        if !left.len().is_multiple_of(BLOCK) {
            through_cache(&self.file, &mut self.is_direct)?;
        }
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Its blocks are larger, or it took less than was given.
                Err(error) if self.is_direct && is_invalid(&error) => {
                    through_cache(&self.file, &mut self.is_direct)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.filled = 0;
        Ok(())
    }
}

impl Write for PastCache {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.buffer.len() - BLOCK - self.filled;
        let taken = bytes.len().min(room);
        let place = self.start + self.filled;
        self.buffer[place..place + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if taken == room {
            self.drain()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

fn through_cache(file: &File, is_direct: &mut bool) -> io::Result<()> {
    if *is_direct {
        go_past_cache(file, false)?;
        *is_direct = false;
    }
    Ok(())
}

fn go_past_cache(file: &File, wanted: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, wanted);
    Ok(fcntl_setfl(file, flags)?)
}

fn is_invalid(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Seek as _};
    use std::path::Path;

    fn written(folder: &Path, parts: &[Vec<u8>]) -> Vec<u8> {
        let path = folder.join("file");
        let mut past_cache = PastCache::with_blocks(File::create(&path).unwrap(), 2);
        for part in parts {
            past_cache.write_all(part).unwrap();
        }
        past_cache.flush().unwrap();
        std::fs::read(path).unwrap()
    }

    /// Parts that end before, at and behind the blocks of a buffer of two.
    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let length = prop_oneof![0..9_usize, BLOCK - 2..BLOCK + 3, 0..5 * BLOCK];
        let part = (length, any::<u8>()).prop_map(|(length, first)| {
            let values = (0..length).map(|place| first.wrapping_add((place % 251) as u8));
            values.collect()
        });
        prop::collection::vec(part, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_file_holds_the_parts_in_order(parts in parts()) {
            let folder = tempfile::tempdir().unwrap();
            prop_assert_eq!(written(folder.path(), &parts), parts.concat());
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_written_as_always() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"x").unwrap();
        let mut past_cache = PastCache::with_blocks(file.try_clone().unwrap(), 2);
        let large = vec![1; 3 * BLOCK];
        past_cache.write_all(&large).unwrap();
        past_cache.flush().unwrap();
        let mut found = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut found).unwrap();
        assert_eq!(found, [b"x", &large[..]].concat());
    }
}
