//! Tables of ASCII, asked for 32 bytes at once where the machine can.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_adds_epu8, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi16, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_xor_si256,
};

/// Bytes at once.
const AT_ONCE: usize = 32;

/// The ids of ASCII, each one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteIds([u8; 128]);

/// How many bytes of ASCII a text begins with, as far as they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many, and then another character.
    UpToAnother(usize),
    /// So many; behind them is too little text or room to look at as much at once.
    TooShort(usize),
}

impl ByteIds {
    /// `None` where an id takes more, or the machine is not made for it.
    pub(crate) fn new(ids: &[u32; 128]) -> Option<Box<ByteIds>> {
        if !is_fast() {
            return None;
        }
        let mut bytes = [0; 128];
        for (byte, id) in bytes.iter_mut().zip(ids) {
            *byte = u8::try_from(*id).ok()?;
        }
        Some(Box::new(ByteIds(bytes)))
    }

    /// Writes the ids of a text's bytes, as many as there is room for. False where it is not for certain ASCII
    /// or too short, and what is written then is of no use.
    pub(crate) fn write(&self, text: &[u8], slots: &mut [u16]) -> bool {
        let count = text.len().min(slots.len());
        if count < AT_ONCE {
            return false;
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `new` found AVX2, and both slices have `AT_ONCE` values at least, as many as one another.
        return unsafe { self.write_avx2(&text[..count], &mut slots[..count]) }
            && text[count..].is_ascii();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Writes the ids of the ASCII that a text begins with. What it leaves in the slots behind them is of no use.
    pub(crate) fn write_run(&self, text: &[u8], slots: &mut [u16]) -> Run {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `new` found AVX2.
        return unsafe { self.write_run_avx2(text, slots) };
        #[cfg(not(target_arch = "x86_64"))]
        Run::TooShort(0)
    }

    /// # Safety
    /// AVX2 is there; `text` and `slots` have the same length, which is `AT_ONCE` or more.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn write_avx2(&self, text: &[u8], slots: &mut [u16]) -> bool {
        let tables = self.tables();
        let mut other = 0;
        let last = text.len() - AT_ONCE;
        let mut at = 0;
        loop {
            // SAFETY: `at` is at most `last`, and there are as many slots as bytes.
            other |=
                unsafe { write_32(&tables, text.as_ptr().add(at), slots.as_mut_ptr().add(at)) };
            if at == last {
                break;
            }
            // The last overlaps with the one before.
            at = (at + AT_ONCE).min(last);
        }
        other == 0
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_run_avx2(&self, text: &[u8], slots: &mut [u16]) -> Run {
        let tables = self.tables();
        let texts = text.as_chunks::<AT_ONCE>().0.iter();
        let slots = slots.as_chunks_mut::<AT_ONCE>().0.iter_mut();
        let mut at = 0;
        for (text, slots) in texts.zip(slots) {
            // SAFETY: there are as many of both as are read and written.
            let other = unsafe { write_32(&tables, text.as_ptr(), slots.as_mut_ptr()) };
            if other != 0 {
                return Run::UpToAnother(at + other.trailing_zeros() as usize);
            }
            at += AT_ONCE;
        }
        Run::TooShort(at)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn tables(&self) -> [__m256i; 8] {
        let mut tables = [_mm256_setzero_si256(); 8];
        for (table, sixteen) in tables.iter_mut().zip(self.0.as_chunks::<16>().0) {
            // SAFETY: sixteen bytes are read.
            *table =
                _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) });
        }
        tables
    }
}

/// Writes the ids of 32 bytes; a bit for each that is not ASCII, whose id is of no use.
///
/// # Safety
/// 32 bytes are read, and 32 values written.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn write_32(tables: &[__m256i; 8], text: *const u8, slots: *mut u16) -> u32 {
    // SAFETY: as the function's.
    let bytes: __m256i = unsafe { _mm256_loadu_si256(text.cast()) };
    let mut ids = _mm256_setzero_si256();
    for (sixteen, table) in tables.iter().enumerate() {
        // Below 16 where the byte is one of these; else its highest bit is set, which gives zero.
        let within = _mm256_xor_si256(bytes, _mm256_set1_epi8((sixteen << 4) as i8));
        let within = _mm256_adds_epu8(within, _mm256_set1_epi8(0x70));
        ids = _mm256_or_si256(ids, _mm256_shuffle_epi8(*table, within));
    }
    let low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(ids));
    let high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(ids));
    // SAFETY: as the function's.
    unsafe {
        _mm256_storeu_si256(slots.cast(), low);
        _mm256_storeu_si256(slots.add(16).cast(), high);
    }
    _mm256_movemask_epi8(bytes) as u32
}

/// Marks the bytes of an ASCII text in `seen`. Most are there already, which many bytes are asked for at once.
pub(crate) fn mark(seen: &mut [bool; 256], text: &[u8]) {
    /// Shorter ones are not worth making the tables for.
    const WORTH: usize = 4 << 10;
    #[cfg(target_arch = "x86_64")]
    if text.len() >= WORTH && is_fast() {
        // SAFETY: AVX2 is there.
        return unsafe { mark_avx2(seen, text) };
    }
    for &byte in text {
        seen[usize::from(byte)] = true;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn mark_avx2(seen: &mut [bool; 256], text: &[u8]) {
    // For each lower half of a byte a bit for each upper half.
    let mut known = [0_u8; 16];
    for byte in (0..128_usize).filter(|byte| seen[*byte]) {
        known[byte % 16] |= 1 << (byte / 16);
    }
    let bits: [u8; 16] = std::array::from_fn(|half| if half < 8 { 1 << half } else { 0 });
    // SAFETY: sixteen bytes are read, here and below.
    let bits = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bits.as_ptr().cast()) });
    let (blocks, rest) = text.as_chunks::<AT_ONCE>();
    for block in blocks {
        // SAFETY: as above; and 32 bytes.
        let (known_now, bytes) = unsafe {
            let known = _mm256_broadcastsi128_si256(_mm_loadu_si128(known.as_ptr().cast()));
            (known, _mm256_loadu_si256(block.as_ptr().cast()))
        };
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
        let of_lower = _mm256_shuffle_epi8(known_now, bytes);
        let is_known = _mm256_and_si256(of_lower, _mm256_shuffle_epi8(bits, upper));
        let unknown = _mm256_cmpeq_epi8(is_known, _mm256_setzero_si256());
        if _mm256_movemask_epi8(unknown) != 0 {
            for &byte in block {
                seen[usize::from(byte)] = true;
                known[usize::from(byte) % 16] |=
                    1_u8.checked_shl(u32::from(byte / 16)).unwrap_or(0);
            }
        }
    }
    for &byte in rest {
        seen[usize::from(byte)] = true;
    }
}

fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Rows would have other ids on machines with AVX2, or those of the row before.
        #[test]
        fn ids_are_those_of_the_table(
            text in prop::collection::vec(0..130_u8, 0..200), width in 0..200_usize, first in 0..200_u32,
        ) {
            let ids = std::array::from_fn(|byte| (first + 7 * byte as u32) % 256);
            if let Some(table) = ByteIds::new(&ids) {
                let mut slots = vec![0xffff; width];
                let is_done = table.write(&text, &mut slots);
                let mut run_slots = vec![0xffff; width];
                let run = table.write_run(&text, &mut run_slots);
                let (Run::UpToAnother(count) | Run::TooShort(count)) = run;
                let ascii = text.iter().take_while(|byte| byte.is_ascii()).count();
                match run {
                    Run::UpToAnother(count) => prop_assert_eq!(count, ascii),
                    Run::TooShort(count) => {
                        prop_assert!(count <= ascii && text.len().min(width) - count < AT_ONCE);
                    }
                }
                for (slot, byte) in run_slots.iter().zip(&text[..count]) {
                    prop_assert_eq!(u32::from(*slot), ids[usize::from(*byte)]);
                }
                prop_assert_eq!(is_done, text.is_ascii() && text.len().min(width) >= AT_ONCE);
                if is_done {
                    for (slot, byte) in slots.iter().zip(&text) {
                        prop_assert_eq!(u32::from(*slot), ids[usize::from(*byte)]);
                    }
                    prop_assert!(slots.iter().skip(text.len()).all(|slot| *slot == 0xffff));
                }
            }
        }

        /// A vocabulary would lack characters that the rows have.
        #[test]
        fn every_byte_is_marked(text in "[ -~\\n\\t]{0,300}", odd in 0..128_u8, at in 0..5000_usize) {
            let mut long = text.repeat(5000 / text.len().max(1) + 1).into_bytes();
            if let Some(byte) = long.get_mut(at) {
                *byte = odd;
            }
            let (mut seen, mut expected) = ([false; 256], [false; 256]);
            mark(&mut seen, &long);
            long.iter().for_each(|byte| expected[usize::from(*byte)] = true);
            prop_assert_eq!(seen, expected);
        }
    }
}
