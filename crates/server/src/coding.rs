//! Compressed bodies: read as gzip, deflate and zstd, written as gzip and zstd.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::problem::Problem;

/// Most bytes that are unpacked at a time.
const PIECE: usize = 64 << 10;
/// The widest window that zstd may ask to be kept, as RFC 8878 recommends for what strangers send: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;
/// As large as deflate's window can be.
const DEFLATE_WINDOW_BITS: u8 = 15;
/// Members or frames of a body that may be empty.
const MOST_EMPTY: usize = 1_000;
/// The fastest: bodies are written once and read once.
const LEVEL: i32 = 1;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

impl Coding {
    /// By its name in a header.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes());
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// The one of those that are written here that the lines of `Accept-Encoding` like best; zstd where they like
    /// both, and none where they would rather have the answer as it is.
    pub(crate) fn accepted<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let (mut gzip, mut zstd, mut plain, mut any) = (None, None, 0.0, 0.0);
        let parts = lines.into_iter();
        for part in parts.flat_map(|line| line.split(|&byte| byte == b',')) {
            let mut words = part.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = words.next().unwrap_or_default();
            let weight = weight(words);
            match Self::named(name) {
                Some(Self::Gzip) => gzip = Some(weight),
                Some(Self::Zstd) => zstd = Some(weight),
                Some(Self::Deflate) => {}
                None if name.eq_ignore_ascii_case(b"identity") => plain = weight,
                None if name == b"*" => any = weight,
                None => {}
            }
        }
        // Whoever takes anything was written before zstd was.
        let (gzip, zstd) = (gzip.unwrap_or(any), zstd.unwrap_or(0.0));
        let (best, coding) = match zstd >= gzip {
            true => (zstd, Self::Zstd),
            false => (gzip, Self::Gzip),
        };
        (best > 0.0 && best >= plain).then_some(coding)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// The bytes, compressed.
    pub(crate) fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let into = Vec::with_capacity(bytes.len() / 2);
        match self {
            Self::Zstd => zstd::stream::encode_all(bytes, LEVEL),
            Self::Gzip => {
                let level = flate2::Compression::new(LEVEL as u32);
                let mut packer = flate2::write::GzEncoder::new(into, level);
                packer.write_all(bytes)?;
                packer.finish()
            }
            Self::Deflate => {
                let level = flate2::Compression::new(LEVEL as u32);
                let mut packer = flate2::write::ZlibEncoder::new(into, level);
                packer.write_all(bytes)?;
                packer.finish()
            }
        }
    }
}

/// How much a coding is liked, by its parameters: from 0 to 1. What is no weight is no liking.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> f32 {
    let weight = parameters.find_map(|word| {
        word.strip_prefix(b"q=")
            .or_else(|| word.strip_prefix(b"Q="))
    });
    let Some(weight) = weight else { return 1.0 };
    let weight = std::str::from_utf8(weight).ok().map(str::trim);
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
    weight
        .filter(|weight| (0.0..=1.0).contains(weight))
        .unwrap_or(0.0)
}

/// Unpacks a body piece by piece: what comes out is bounded by whoever asks for it.
pub(crate) struct Unpacker {
    coding: Coding,
    how: How,
    /// Between two members or frames, where a body may end.
    is_whole: bool,
    /// More may come out without anything going in.
    is_full: bool,
    /// Whether anything came out of this member.
    has_given: bool,
    /// Members so far of which nothing came.
    empty: usize,
    piece: Vec<u8>,
}

enum How {
    Deflate(Decompress),
    Zstd(ZstdDecoder<'static>),
    /// The library refused to begin.
    Broken,
}

impl Unpacker {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            coding,
            how: How::new(coding),
            // Nothing at all is no compressed body.
            is_whole: false,
            is_full: false,
            has_given: false,
            empty: 0,
            piece: vec![0; PIECE],
        }
    }

    /// Unpacks some of the bytes and takes them off; nothing comes out where more are needed first.
    pub(crate) fn next(&mut self, packed: &mut Bytes) -> Result<Bytes, Problem> {
        if self.is_whole && !packed.is_empty() {
            // Another member: some programs write several. What gives nothing meets no limit of what comes out.
            self.empty += usize::from(!self.has_given);
            if self.empty > MOST_EMPTY {
                let words = format!("more than {MOST_EMPTY} parts of it are empty");
                return Err(damaged(self.coding, &words));
            }
            self.has_given = false;
            self.how = How::new(self.coding);
            self.is_whole = false;
        }
        let (read, written) = match &mut self.how {
            How::Deflate(unpacker) => {
                let before = (unpacker.total_in(), unpacker.total_out());
                let status = unpacker
                    .decompress(packed, &mut self.piece, FlushDecompress::None)
                    .map_err(|error| damaged(self.coding, &error))?;
                self.is_whole = status == Status::StreamEnd;
                (
                    (unpacker.total_in() - before.0) as usize,
                    (unpacker.total_out() - before.1) as usize,
                )
            }
            How::Zstd(unpacker) => {
                let status = unpacker
                    .run_on_buffers(packed, &mut self.piece)
                    .map_err(|error| damaged(self.coding, &error))?;
                self.is_whole = status.remaining == 0;
                (status.bytes_read, status.bytes_written)
            }
            How::Broken => return Err(damaged(self.coding, &"it cannot be unpacked")),
        };
        self.has_given |= written > 0;
        self.is_full = written == self.piece.len() && !self.is_whole;
        if read == 0 && written == 0 && !self.is_whole && !packed.is_empty() {
            return Err(damaged(self.coding, &"it makes no sense"));
        }
        let _ = packed.split_to(read.min(packed.len()));
        Ok(Bytes::copy_from_slice(&self.piece[..written]))
    }

    /// Whether it has something to give without being given more.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether a body may end here.
    pub(crate) fn end(&self) -> Result<(), Problem> {
        if self.is_whole {
            Ok(())
        } else {
            Err(damaged(self.coding, &"it ends too early"))
        }
    }
}

impl How {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Deflate(Decompress::new_gzip(DEFLATE_WINDOW_BITS)),
            Coding::Deflate => Self::Deflate(Decompress::new(true)),
            Coding::Zstd => {
                let begun = ZstdDecoder::new().and_then(|mut unpacker| {
                    unpacker.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                    Ok(unpacker)
                });
                begun.map_or(Self::Broken, Self::Zstd)
            }
        }
    }
}

fn damaged(coding: Coding, why: &dyn std::fmt::Display) -> Problem {
    Problem::bad_request(format!("the body is no {}: {why}", coding.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Deflate, Coding::Zstd];

    /// An endless body that comes to nothing would keep a thread busy with beginning anew.
    #[test]
    fn empty_members_without_end_are_refused() {
        for coding in ALL {
            let empty = coding.pack(b"").unwrap();
            let some = coding.pack(b"some").unwrap();
            let few = [empty.repeat(MOST_EMPTY), some.clone()].concat();
            assert_eq!(unpack(coding, &few, few.len()).unwrap(), b"some");
            let many = [empty.repeat(MOST_EMPTY + 1), some].concat();
            let problem = unpack(coding, &many, many.len()).unwrap_err();
            assert!(problem.message.contains("are empty"), "{problem}");
        }
    }

    fn unpack(coding: Coding, packed: &[u8], step: usize) -> Result<Vec<u8>, Problem> {
        let mut unpacker = Unpacker::new(coding);
        let mut all = Vec::new();
        for part in packed.chunks(step) {
            let mut part = Bytes::copy_from_slice(part);
            while !part.is_empty() || unpacker.is_full() {
                let piece = unpacker.next(&mut part)?;
                assert!(piece.len() <= PIECE);
                all.extend_from_slice(&piece);
            }
        }
        unpacker.end().map(|()| all)
    }

    /// Other texts would be answered than were sent, or damage be taken for a whole body.
    #[test]
    fn what_was_packed_comes_back_and_damage_is_an_error() {
        let mut text = b"turn on the lights, ".repeat(20_000);
        text.extend((0..2_000_u32).flat_map(u32::to_le_bytes));
        for coding in ALL {
            let packed = coding.pack(&text).unwrap();
            assert!(packed.len() < text.len() / 4);
            for step in [1, 7, 4_096, usize::MAX] {
                assert_eq!(unpack(coding, &packed, step).unwrap(), text, "{coding:?}");
            }
            for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
                assert!(
                    unpack(coding, &packed[..cut], 1_000).is_err(),
                    "{coding:?} {cut}"
                );
            }
            assert!(unpack(coding, b"{\"text\": \"a\"}", 100).is_err());
            let twice = [packed.clone(), packed].concat();
            let whole = [text.clone(), text.clone()].concat();
            assert_eq!(unpack(coding, &twice, 1_000).unwrap(), whole, "{coding:?}");
        }
    }

    /// A small body would fill the memory before anybody looks at its size.
    #[test]
    fn a_bomb_comes_out_in_pieces() {
        for coding in ALL {
            let mut packed = Bytes::from(coding.pack(&vec![0; 8 << 20]).unwrap());
            let piece = Unpacker::new(coding).next(&mut packed).unwrap();
            assert!(piece.len() <= PIECE, "{coding:?}");
        }
    }

    /// A client would get what it cannot read.
    #[test]
    fn the_best_accepted_coding_is_found() {
        for (lines, coding) in [
            (&["gzip, deflate"][..], Some(Coding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Coding::Zstd)),
            (&["deflate", "gzip"], Some(Coding::Gzip)),
            (&["gzip;q=1.0, zstd;q=0.5"], Some(Coding::Gzip)),
            (&["*"], Some(Coding::Gzip)),
            (&["*;q=0.5, zstd"], Some(Coding::Zstd)),
            (&["gzip;q=0, *"], None),
            (&["identity, gzip;q=0.1"], None),
            (&["identity;q=0.5, gzip; Q=0.6"], Some(Coding::Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=nan"], None),
            (&["identity"], None),
            (&["zstd;q=x"], None),
            (&[""], None),
            (&[], None),
        ] {
            let found = Coding::accepted(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, coding, "{lines:?}");
        }
    }
}
