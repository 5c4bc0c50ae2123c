//! The head of a NumPy file: of one length whatever the number of rows, so that this can be set last.
//!
//! The format is that of NumPy's `numpy/lib/format.py`, version 1.0: a magic number, the length of a
//! Python dictionary, and that dictionary, filled with spaces such that the data begins at a multiple of
//! 64 bytes and can be memory-mapped.

/// What the values of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 16 bits, without sign.
    U16,
    /// 32 bits, without sign.
    U32,
}

impl Element {
    /// Bytes of a value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Element::U16 => 2,
            Element::U32 => 4,
        }
    }

    /// NumPy's name for it: values lie in the machine's own order of bytes.
    #[must_use]
    pub fn descr(self) -> &'static str {
        match (self, cfg!(target_endian = "little")) {
            (Element::U16, true) => "<u2",
            (Element::U32, true) => "<u4",
            (Element::U16, false) => ">u2",
            (Element::U32, false) => ">u4",
        }
    }
}

/// Bytes before the first value.
pub(crate) const HEAD: usize = 128;

/// The head of an array of `rows` times `width` values.
pub(crate) fn head(element: Element, rows: u64, width: usize) -> [u8; HEAD] {
    const BEFORE: usize = 10;
    let mut head = [b' '; HEAD];
    head[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    head[8..BEFORE].copy_from_slice(&((HEAD - BEFORE) as u16).to_le_bytes());
    let words = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({rows}, {width}), }}",
        element.descr()
    );
    // At most 58 letters and two numbers of 20 digits.
    head[BEFORE..BEFORE + words.len()].copy_from_slice(words.as_bytes());
    head[HEAD - 1] = b'\n';
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NumPy would refuse the file, or find other rows in it.
    #[test]
    fn heads_are_those_of_numpy() {
        let head_of = |rows, width| head(Element::U16, rows, width);
        let small = head_of(3, 4);
        // numpy.lib.format.write_array_header_1_0, as NumPy 2.3 writes it.
        let numpy =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<u2', 'fortran_order': False, 'shape': (3, 4), }";
        assert_eq!(&small[..numpy.len()], numpy);
        assert!(
            small[numpy.len()..HEAD - 1]
                .iter()
                .all(|byte| *byte == b' ')
        );
        assert_eq!(small[HEAD - 1], b'\n');
        assert_eq!(head(Element::U32, u64::MAX, usize::MAX)[HEAD - 1], b'\n');
    }
}
