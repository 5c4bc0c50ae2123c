//! Buffers that vector code likes: aligned to cache lines, on huge pages when large.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// One cache line, and one AVX-512 vector.
const LINE: usize = 64;

/// From here on the kernel is asked for huge pages. A layer's weights (7 MB in MiniLM) lie on 1,700
/// small pages, more than the second-level TLB holds.
const HUGE: usize = 2 << 20;

mod sealed {
    /// # Safety
    /// Every bit pattern, all zeroes among them, is a value; there is nothing to drop.
    pub unsafe trait Plain: Copy + Send + Sync + 'static {}
    macro_rules! plain {
        ($($number:ty)*) => { $(
            // SAFETY: a primitive number has no invalid bit pattern.
            unsafe impl Plain for $number {}
        )* };
    }
    plain!(f32 f64 u8 i8 u16 i16 u32 i32 u64 i64 usize);
}

/// A number that a buffer can hold: the primitive integers and floats.
pub trait Number: sealed::Plain {}
impl<T: sealed::Plain> Number for T {}

/// A slice on the heap, aligned to 64 bytes; from 2 MiB on it asks Linux for huge pages.
///
/// It is made for buffers that are used again and again: [`AlignedVec::ensure`] grows without
/// copying, and nothing shrinks.
///
/// ```
/// let mut buffer = batchwright_kernels::AlignedVec::<f32>::new_zeroed(3);
/// buffer[1] = 2.0;
/// assert_eq!(&buffer[..], [0.0, 2.0, 0.0]);
/// buffer.ensure(100); // what was in it is forgotten
/// assert!(buffer.len() >= 100);
/// ```
pub struct AlignedVec<T: Number> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: the buffer owns its memory, and numbers may be sent and shared.
unsafe impl<T: Number> Send for AlignedVec<T> {}
// SAFETY: as above; `&AlignedVec` gives only `&[T]`.
unsafe impl<T: Number> Sync for AlignedVec<T> {}

impl<T: Number> AlignedVec<T> {
    /// `length` zeroes. Ends the process, as `Vec` does, where memory is exhausted.
    #[must_use]
    pub fn new_zeroed(length: usize) -> Self {
        if length == 0 {
            return AlignedVec {
                start: NonNull::dangling(),
                length,
            };
        }
        let layout = Self::layout(length);
        // SAFETY: `layout` has a size above zero, as `length` and the size of a number have.
        let memory = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(memory.cast::<T>()) else {
            handle_alloc_error(layout)
        };
        if layout.size() >= HUGE {
            // Before the first touch: a page that exists already stays small.
            advise_huge_pages(memory, layout.size());
        }
        // SAFETY: the allocation is that long, and zero bytes are numbers.
        unsafe { memory.write_bytes(0, layout.size()) };
        AlignedVec { start, length }
    }

    /// Makes room for `length` values. What was there is forgotten if it has to grow: afterwards
    /// the buffer holds zeroes then, else whatever it held.
    pub fn ensure(&mut self, length: usize) {
        if length > self.length {
            // Free first: the old contents are not wanted, so both need not exist at once.
            *self = AlignedVec {
                start: NonNull::dangling(),
                length: 0,
            };
            *self = AlignedVec::new_zeroed(length);
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.length * size_of::<T>()
    }

    fn layout(length: usize) -> Layout {
        let bytes = length.checked_mul(size_of::<T>());
        let align = if bytes >= Some(HUGE) { HUGE } else { LINE };
        match bytes.and_then(|bytes| Layout::from_size_align(bytes, align).ok()) {
            Some(layout) => layout,
            // More than the address space: what the allocator would say of it.
            None => handle_alloc_error(Layout::new::<T>()),
        }
    }
}

/// Asks for huge pages. Only advice: where it is refused, the buffer works all the same.
#[cfg(target_os = "linux")]
fn advise_huge_pages(memory: *mut u8, bytes: usize) {
    // SAFETY: the range is one allocation of ours; this advice changes no contents.
    unsafe { libc::madvise(memory.cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_memory: *mut u8, _bytes: usize) {}

impl<T: Number> Drop for AlignedVec<T> {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: allocated by `new_zeroed` with this very layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.length)) };
        }
    }
}

impl<T: Number> Deref for AlignedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised values lie at `start` (none where it dangles).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Number> DerefMut for AlignedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T: Number> Default for AlignedVec<T> {
    fn default() -> Self {
        AlignedVec::new_zeroed(0)
    }
}

impl<T: Number> Clone for AlignedVec<T> {
    fn clone(&self) -> Self {
        AlignedVec::from(&self[..])
    }
}

impl<T: Number> From<&[T]> for AlignedVec<T> {
    fn from(values: &[T]) -> Self {
        let mut copy = AlignedVec::new_zeroed(values.len());
        copy.copy_from_slice(values);
        copy
    }
}

impl<T: Number + fmt::Debug> fmt::Debug for AlignedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose speed (split cache lines) or correctness (a buffer that is not zero).
    #[test]
    fn buffers_are_aligned_zeroed_and_grow() {
        for length in [0, 1, 15, 16, 17, 1000, HUGE / 4 - 1, HUGE / 4, HUGE / 4 + 1] {
            let mut buffer = AlignedVec::<f32>::new_zeroed(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.bytes(), 4 * length);
            assert!(buffer.iter().all(|&value| value == 0.0), "{length}");
            if length > 0 {
                assert_eq!(buffer.as_ptr() as usize % LINE, 0, "{length}");
                buffer[length - 1] = 1.0;
                let before = buffer.as_ptr();
                buffer.ensure(length);
                assert_eq!(before, buffer.as_ptr(), "large enough: kept");
                assert_eq!(buffer[length - 1], 1.0);
            }
            buffer.ensure(length + 1);
            assert_eq!(buffer.len(), length + 1);
        }
        let copy = AlignedVec::from(&[1u8, 2, 3][..]).clone();
        assert_eq!(&copy[..], [1, 2, 3]);
        assert_eq!(format!("{copy:?}"), "[1, 2, 3]");
    }
}
