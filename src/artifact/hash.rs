//! BLAKE3 of an open file, on all cores where it is large.
//!
//! A very large file is [mapped](super::mapped) into memory, as `b3sum` does, which saves the copy
//! out of the page cache: with 4 GB in it and two cores, reading reaches 77 % of `b3sum` on a file
//! with large folios, 85 to 90 % on one just written. Any other file, and one that cannot be mapped
//! or is cut short meanwhile, is read in pieces, and each piece is hashed on the core that read it
//! while it is still in that core's cache. BLAKE3 is a tree over chunks of 1 KiB whose shape follows
//! from the length alone; a piece is a subtree of it. Rejected: one reader that feeds
//! `Hasher::update_rayon`, which idles whenever the other works. Pieces of 128 KiB to 1 MiB differ by
//! less than the noise, larger ones are slower.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::{Digest, mapped, stop};

/// The bytes of a piece: fits a core's cache, is far more than the cost of handing it to a thread.
const PIECE: u64 = 1 << 19;

/// From here on a map pays for its making.
const VERY_LARGE: u64 = 1 << 26;

/// The bytes of a map between two looks whether to stop: a power of two, a second's work of a slow disk.
const LOOKED_AT_ONCE: usize = 1 << 27;

thread_local! {
    /// Where a thread reads a piece.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The digest of a file of some length. One that is shorter by now is an `UnexpectedEof`; one that
/// is longer may be hashed to the length or to its end, so ask for its length again.
pub(super) fn hash(file: &File, length: u64) -> io::Result<Digest> {
    stop::go_on()?;
    if length >= VERY_LARGE
        && let Some(digest) = mapped::look(file, length, hash_bytes)
    {
        return digest;
    }
    hash_in_pieces(file, length, PIECE)
}

fn hash_bytes(bytes: &[u8]) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    for piece in bytes.chunks(LOOKED_AT_ONCE) {
        stop::go_on()?;
        hasher.update_rayon(piece);
    }
    Ok(hasher.finalize().into())
}

/// `piece` is a power of two of at least one chunk.
fn hash_in_pieces(file: &File, length: u64, piece: u64) -> io::Result<Digest> {
    if length <= piece {
        return hash_plainly(file);
    }
    let (left, right) = halves(file, 0, length, piece)?;
    Ok(merge_subtrees_root(&left, &right, Mode::Hash).into())
}

/// To its end, whatever that is now: what lies under `/proc` has no length.
fn hash_plainly(mut file: &File) -> io::Result<Digest> {
    file.rewind()?;
    let mut hasher = Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().into())
}

/// The two subtrees of one that is larger than a piece.
fn halves(
    file: &File,
    offset: u64,
    length: u64,
    piece: u64,
) -> io::Result<(ChainingValue, ChainingValue)> {
    let middle = left_subtree_len(length);
    let (left, right) = rayon::join(
        || subtree(file, offset, middle, piece),
        || subtree(file, offset + middle, length - middle, piece),
    );
    Ok((left?, right?))
}

fn subtree(file: &File, offset: u64, length: u64, piece: u64) -> io::Result<ChainingValue> {
    if length > piece {
        let (left, right) = halves(file, offset, length, piece)?;
        return Ok(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    // Nothing below hands work to other threads, so no second piece can want the buffer.
    BUFFER.with_borrow_mut(|buffer| {
        let length = length as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let bytes = &mut buffer[..length];
        stop::go_on()?;
        file.read_exact_at(bytes, offset)?;
        let mut hasher = Hasher::new();
        hasher.set_input_offset(offset).update(bytes);
        Ok(hasher.finalize_non_root())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Bytes that do not repeat at any border of the tree.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn every_border_gives_blake3s_digest() {
        const MIB: usize = 1 << 20;
        let lengths = [
            0,
            1,
            1023,
            1024,
            1025,
            2048,
            MIB - 1,
            MIB,
            MIB + 1,
            MIB + 1024,
            MIB + 1025,
            2 * MIB - 1,
            2 * MIB,
            2 * MIB + 1,
            3 * MIB + 7,
            4 * MIB - 1,
            4 * MIB + 1,
            9 * MIB + 1023,
        ];
        let all = bytes(10 * MIB);
        for length in lengths {
            let bytes = &all[..length];
            let found = hash(&file_of(bytes), length as u64).unwrap();
            assert_eq!(found, Digest::of(bytes), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_tree_has_the_shape_of_blake3s(
            chunks in 0..200_usize,
            rest in 0..1025_usize,
            size in 0..5_u32,
        ) {
            let bytes = bytes(chunks * 1024 + rest);
            let found = hash_in_pieces(&file_of(&bytes), bytes.len() as u64, 1024 << size).unwrap();
            prop_assert_eq!(found, Digest::of(&bytes));
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_it_was_is_an_error_and_no_panic() {
        let file = file_of(&bytes(3 << 20));
        for length in [(3 << 20) + 1, 5 << 20, 64 << 20] {
            let error = hash(&file, length).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
