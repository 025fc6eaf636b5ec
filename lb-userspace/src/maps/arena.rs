//! Edge file: arrays that the agent and the kernel share as memory (`BPF_F_MMAPABLE`, Linux 5.5).
//!
//! The kernel rounds every element of an array up to eight bytes. Slots are four bytes each and packed into elements
//! of sixteen, so that as memory they are an array of words.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// An array map as memory.
#[derive(Debug)]
pub struct MappedArray<T: Pod> {
    start: NonNull<u8>,
    bytes: usize,
    length: u32,
    element: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone, and every access is volatile; the kernel, the other side, does
// not care which thread of the agent it is.
unsafe impl<T: Pod> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// Bytes from one element to the next: words are packed, all else is rounded up.
    const STRIDE: usize = if size_of::<T>() == 4 { 4 } else { size_of::<T>().next_multiple_of(8) };

    /// Maps an array of `length` elements.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, as for an array that was made without `BPF_F_MMAPABLE`.
    pub fn new(map: BorrowedFd<'_>, length: u32, writable: bool) -> io::Result<Self> {
        let bytes = Self::STRIDE * length as usize;
        let write = if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        // SAFETY: a new mapping at an address that the kernel chooses aliases nothing of this process.
        let start =
            unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | write, MapFlags::SHARED, map, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap answered null"))?;
        Ok(Self { start, bytes, length, element: PhantomData })
    }

    /// Number of elements.
    pub const fn len(&self) -> u32 {
        self.length
    }

    /// Whether there is no element.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The element at `index`, or `None` beyond the end.
    pub fn get(&self, index: u32) -> Option<T> {
        let at = self.element(index)?;
        // SAFETY: the element lies within the mapping, which is page-aligned and whose stride keeps the alignment of
        // `T`; every bit pattern is a `T`; the kernel may write at the same time, hence volatile.
        Some(unsafe { at.read_volatile() })
    }

    /// Writes the element at `index`; `false` beyond the end. The mapping must be writable.
    pub fn set(&mut self, index: u32, value: T) -> bool {
        let Some(at) = self.element(index) else { return false };
        // SAFETY: as for `get`; an aligned word of four bytes is written at once.
        unsafe { at.write_volatile(value) };
        true
    }

    fn element(&self, index: u32) -> Option<*mut T> {
        if index >= self.length {
            return None;
        }
        // SAFETY: the offset is less than the mapping's length.
        Some(unsafe { self.start.as_ptr().add(index as usize * Self::STRIDE) }.cast())
    }
}

impl<T: Pod> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference into it exists.
        // A failure leaves the mapping, which ends with the process.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
