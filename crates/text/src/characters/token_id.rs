//! The integers that ids are written as.

use super::lookup::{ByteIds, Run};

/// An integer that holds ids: `u16` or `u32`.
pub trait TokenId: Copy + Send + Sync + sealed::Sealed + 'static {
    /// Whether ids below `vocabulary` fit.
    fn fits(vocabulary: usize) -> bool;

    /// An id that is known to fit.
    fn of(id: u32) -> Self;

    /// The table of this width.
    #[doc(hidden)]
    fn ascii<'a>(narrow: &'a [u16; 128], wide: &'a [u32; 128]) -> &'a [Self; 128];

    /// Writes the ids of a text of ASCII; false where that is not possible.
    #[doc(hidden)]
    fn write_ascii(ids: &ByteIds, text: &str, slots: &mut [Self]) -> bool;

    /// Writes the ids of the ASCII with which a text begins, by as many as there is room for at once. What it leaves
    /// behind them is of no use.
    #[doc(hidden)]
    fn write_run(ids: &ByteIds, text: &str, slots: &mut [Self]) -> Run;
}

impl TokenId for u16 {
    fn fits(vocabulary: usize) -> bool {
        vocabulary <= 1 << 16
    }

    #[inline]
    fn of(id: u32) -> u16 {
        id as u16
    }

    #[inline]
    fn ascii<'a>(narrow: &'a [u16; 128], _: &'a [u32; 128]) -> &'a [u16; 128] {
        narrow
    }

    #[inline]
    fn write_ascii(ids: &ByteIds, text: &str, slots: &mut [u16]) -> bool {
        ids.write(text.as_bytes(), slots)
    }

    #[inline]
    fn write_run(ids: &ByteIds, text: &str, slots: &mut [u16]) -> Run {
        ids.write_run(text.as_bytes(), slots)
    }
}

impl TokenId for u32 {
    fn fits(vocabulary: usize) -> bool {
        u32::try_from(vocabulary).is_ok()
    }

    #[inline]
    fn of(id: u32) -> u32 {
        id
    }

    #[inline]
    fn ascii<'a>(_: &'a [u16; 128], wide: &'a [u32; 128]) -> &'a [u32; 128] {
        wide
    }

    #[inline]
    fn write_ascii(_: &ByteIds, _: &str, _: &mut [u32]) -> bool {
        false
    }

    #[inline]
    fn write_run(_: &ByteIds, _: &str, _: &mut [u32]) -> Run {
        Run::TooShort(0)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}
