//! A body as it was before its content codings (RFC 9110 §8.4): for who reads what it says, never for clients.
//!
//! Invariant: what comes out is all that went in, or nothing: a stream that is cut, damaged, or followed by anything else
//! is an error, and nothing grows beyond [`MAX_DECODED`] or [`MAX_RATIO`]. It refuses to know what the body says.

use std::borrow::Cow;
use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use thiserror::Error;

/// Longest body that is read, decoded, in bytes.
pub const MAX_DECODED: usize = 8 << 20;

/// Most decoded bytes for each coded one, once there are more than [`UNMEASURED`].
pub const MAX_RATIO: usize = 256;

/// Decoded bytes for which no ratio is looked at.
const UNMEASURED: usize = 64 << 10;

/// Most codings of one body.
const MAX_CODINGS: usize = 2;

/// Most members of a gzip file (RFC 1952 §2.2), or frames of a zstd one (RFC 8878 §3), one behind the other.
const MAX_MEMBERS: usize = 64;

/// RFC 9659: no encoder of a content coding asks for more, in bytes.
const ZSTD_WINDOW: u64 = 8 << 20;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, and no bare RFC 1951 (RFC 9110 §8.4.1.2).
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Undecodable {
    /// A coding that is not known, or more than [`MAX_CODINGS`].
    #[error("its Content-Encoding is not known")]
    Unknown,
    /// It is not, or not completely, what its codings say.
    #[error("it is not what its Content-Encoding says")]
    Broken,
    /// It has more than [`MAX_DECODED`] bytes, or more than [`MAX_RATIO`] for each coded one.
    #[error("decoded it is too large")]
    TooLarge,
}

/// The codings of a body, in the order in which they were applied; `identity` is none.
///
/// # Errors
/// [`Undecodable::Unknown`].
pub fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Undecodable> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = members.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut codings = Vec::new();
    for name in names.filter(|name| !name.eq_ignore_ascii_case(b"identity")) {
        codings.push(match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"deflate" => Coding::Deflate,
            b"br" => Coding::Brotli,
            b"zstd" => Coding::Zstd,
            _ => return Err(Undecodable::Unknown),
        });
    }
    if codings.len() > MAX_CODINGS { Err(Undecodable::Unknown) } else { Ok(codings) }
}

/// Undoes `codings`. An empty body is empty, whatever it is said to be.
///
/// # Errors
/// Why it cannot be read.
pub fn decoded<'b>(codings: &[Coding], body: &'b [u8]) -> Result<Cow<'b, [u8]>, Undecodable> {
    let mut plain = Cow::Borrowed(body);
    if body.is_empty() {
        return Ok(plain);
    }
    let room = body.len().saturating_mul(MAX_RATIO).clamp(UNMEASURED, MAX_DECODED);
    for coding in codings.iter().rev() {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => gunzip(&plain, room, &mut out)?,
            Coding::Deflate => inflate(&plain, room, &mut out)?,
            Coding::Brotli => unbrotli(&plain, room, &mut out)?,
            Coding::Zstd => unzstd(&plain, room, &mut out)?,
        }
        plain = Cow::Owned(out);
    }
    if plain.len() > MAX_DECODED { Err(Undecodable::TooLarge) } else { Ok(plain) }
}

fn gunzip(mut rest: &[u8], room: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    for _ in 0..MAX_MEMBERS {
        read_all(GzDecoder::new(&mut rest), room, out)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(Undecodable::Broken)
}

/// By hand: a reader of a stream that is cut ends as if it were whole.
fn inflate(body: &[u8], room: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let mut stream = Decompress::new(true);
    loop {
        if out.len() > room {
            return Err(Undecodable::TooLarge);
        }
        out.reserve((room + 1 - out.len()).min(out.len().max(4 << 10)));
        let read = usize::try_from(stream.total_in()).map_err(|_| Undecodable::Broken)?;
        let before = (read, out.len());
        let status = stream.decompress_vec(&body[read..], out, FlushDecompress::None);
        let read = usize::try_from(stream.total_in()).map_err(|_| Undecodable::Broken)?;
        match status.map_err(|_| Undecodable::Broken)? {
            Status::StreamEnd if read < body.len() => return Err(Undecodable::Broken),
            Status::StreamEnd if out.len() > room => return Err(Undecodable::TooLarge),
            Status::StreamEnd => return Ok(()),
            Status::Ok | Status::BufError if before == (read, out.len()) => return Err(Undecodable::Broken),
            Status::Ok | Status::BufError => {}
        }
    }
}

fn unbrotli(mut body: &[u8], room: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    // RFC 7932 §9.1 reserves it; elsewhere it asks for a window of up to 1 GiB.
    const LARGE_WINDOW: u8 = 0x11;
    if body.first().is_some_and(|first| first & 0x7f == LARGE_WINDOW) {
        return Err(Undecodable::Broken);
    }
    let mut stream = Decompressor::new(&mut body, 4 << 10);
    read_all(&mut stream, room, out)?;
    // It holds against us what it has read too much, when it is asked again.
    let more = stream.read(&mut [0]).map_err(|_| Undecodable::Broken)?;
    drop(stream);
    if more == 0 && body.is_empty() { Ok(()) } else { Err(Undecodable::Broken) }
}

fn unzstd(mut rest: &[u8], room: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    for _ in 0..MAX_MEMBERS {
        match StreamingDecoder::new_with_max_window_size(&mut rest, ZSTD_WINDOW) {
            Ok(mut frame) => {
                read_all(&mut frame, room, out)?;
                let frame = frame.into_frame_decoder();
                let said = frame.get_checksum_from_data();
                if said.is_some() && said != frame.get_calculated_checksum() {
                    return Err(Undecodable::Broken);
                }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = usize::try_from(length).map_err(|_| Undecodable::Broken)?;
                rest = rest.get(length..).ok_or(Undecodable::Broken)?;
            }
            Err(_) => return Err(Undecodable::Broken),
        }
        if rest.is_empty() {
            return Ok(());
        }
    }
    Err(Undecodable::Broken)
}

/// Appends all that `stream` gives, if `out` then has no more than `room`.
fn read_all(stream: impl Read, room: usize, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let left = (room - out.len()) as u64;
    let read: io::Result<usize> = stream.take(left + 1).read_to_end(out);
    let read = read.map_err(|_| Undecodable::Broken)? as u64;
    if read > left { Err(Undecodable::TooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use http::HeaderValue;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Compression::default());
                out.write_all(body).unwrap();
                out.finish().unwrap()
            }
            Coding::Deflate => {
                let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
                out.write_all(body).unwrap();
                out.finish().unwrap()
            }
            Coding::Brotli => brotli(body),
            Coding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
        }
    }

    /// Uncompressed meta-blocks of RFC 7932 §9.2 under a window of 16 bits: what only wraps is coded too.
    fn brotli(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (nth, part) in body.chunks(1 << 16).enumerate() {
            // WBITS 0 (first only); ISLAST 0, MNIBBLES 0 (two bits), MLEN - 1 (16 bits), ISUNCOMPRESSED 1.
            let header = ((part.len() as u32 - 1) << 3) | (1 << 19);
            let header = if nth == 0 { header << 1 } else { header };
            out.extend_from_slice(&header.to_le_bytes()[..3]);
            out.extend_from_slice(part);
        }
        // ISLAST and ISLASTEMPTY, behind WBITS if nothing was before.
        out.push(if body.is_empty() { 0b110 } else { 0b11 });
        out
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn head(lines: &[&str]) -> HeaderMap {
        let values = lines.iter().map(|line| HeaderValue::from_str(line).unwrap());
        values.map(|value| (CONTENT_ENCODING, value)).collect()
    }

    #[test]
    fn codings_are_known_by_all_their_names_and_no_more_than_two() {
        assert_eq!(codings(&head(&[])), Ok(vec![]));
        assert_eq!(codings(&head(&["identity", ""])), Ok(vec![]));
        assert_eq!(codings(&head(&["GZip , br"])), Ok(vec![Coding::Gzip, Coding::Brotli]));
        assert_eq!(codings(&head(&["x-gzip", "zstd"])), Ok(vec![Coding::Gzip, Coding::Zstd]));
        for unknown in ["compress", "gzip, dcb", "gzip, gzip, gzip", "gzip;q=1"] {
            assert_eq!(codings(&head(&[unknown])), Err(Undecodable::Unknown), "{unknown}");
        }
    }

    #[test]
    fn what_other_encoders_made_is_read() {
        let plain = format!("[{}{{\"id\":2}}]", "{\"id\":1},".repeat(50));
        for (coding, body) in [
            (
                Coding::Brotli,
                "1bcb01f89d07b68decf66634f8b0b3136b912db234d9b7a7532c5d1523539a10180c24cf398202",
            ),
            (Coding::Gzip, "1f8b08000000000000038bae56ca4c51b232acd519650c6986516d2c0087fa3350cc010000"),
            (Coding::Deflate, "789c8bae56ca4c51b232acd519650c6986516d2c001b1a866e"),
        ] {
            let body = unhex(body);
            assert_eq!(decoded(&[coding], &body).as_deref(), Ok(plain.as_bytes()), "{coding:?}");
        }
    }

    #[test]
    fn codings_are_undone_from_the_last() {
        let twice = coded(Coding::Zstd, &coded(Coding::Gzip, b"body"));
        assert_eq!(decoded(&[Coding::Gzip, Coding::Zstd], &twice).as_deref(), Ok(&b"body"[..]));
        assert_eq!(decoded(&[Coding::Zstd, Coding::Gzip], &twice), Err(Undecodable::Broken));
    }

    #[test]
    fn several_members_are_one_body_and_too_many_are_none() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let (one, other) = (coded(coding, b"[1,"), coded(coding, b"2]"));
            assert_eq!(decoded(&[coding], &[one.clone(), other].concat()).as_deref(), Ok(&b"[1,2]"[..]));
            assert_eq!(decoded(&[coding], &one.repeat(MAX_MEMBERS + 1)), Err(Undecodable::Broken));
        }
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, b'x', b'y'][..], &coded(Coding::Zstd, b"1")];
        assert_eq!(decoded(&[Coding::Zstd], &skipped.concat()).as_deref(), Ok(&b"1"[..]));
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; MAX_DECODED + 1];
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let bomb = coded(coding, &zeros);
            assert_eq!(decoded(&[coding], &bomb), Err(Undecodable::TooLarge), "{coding:?}");
            let twice = coded(Coding::Gzip, &bomb);
            assert_eq!(decoded(&[coding, Coding::Gzip], &twice), Err(Undecodable::TooLarge), "{coding:?}");
        }
        // 16 MiB of zeros.
        let bomb = unhex("cbffff3ff82700e2b14020f7fe2ffffffff04f00c4611180eefd1f");
        assert_eq!(decoded(&[Coding::Brotli], &bomb), Err(Undecodable::TooLarge));
        // A window of 1 GiB.
        assert_eq!(decoded(&[Coding::Brotli], &[0x11, 0x1e, 0x03]), Err(Undecodable::Broken));
    }

    #[test]
    fn nothing_is_longer_than_what_is_read() {
        assert_eq!(decoded(&[], &vec![0; MAX_DECODED + 1]), Err(Undecodable::TooLarge));
        assert!(decoded(&[], &vec![0; MAX_DECODED]).is_ok());
        assert_eq!(decoded(&ALL, b"").as_deref(), Ok(&b""[..]), "a 204 has no body to be coded");
    }

    proptest! {
        #[test]
        fn what_was_coded_comes_out_again(body in prop::collection::vec(any::<u8>(), 1..2000), twice in any::<bool>()) {
            for coding in ALL {
                let mut sent = coded(coding, &body);
                if twice {
                    sent = coded(Coding::Gzip, &sent);
                }
                let codings = [coding, Coding::Gzip];
                let codings = &codings[..1 + usize::from(twice)];
                prop_assert_eq!(decoded(codings, &sent), Ok(Cow::Borrowed(&body[..])));
            }
        }

        #[test]
        fn what_is_cut_or_followed_by_more_is_refused(
            body in prop::collection::vec(any::<u8>(), 1..500), cut in any::<prop::sample::Index>(),
        ) {
            for coding in ALL {
                let mut sent = coded(coding, &body);
                let rest = sent.split_off(1 + cut.index(sent.len() - 1));
                prop_assert!(decoded(&[coding], &sent).is_err(), "{:?}", coding);
                sent.extend(rest);
                sent.push(7);
                prop_assert!(decoded(&[coding], &sent).is_err(), "{:?}", coding);
            }
        }

        #[test]
        fn noise_never_panics(body in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
            for coding in ALL {
                let _ = decoded(&[coding], &body);
                let mut sent = coded(coding, &body);
                let at = at.index(sent.len());
                sent[at] ^= 0x55;
                let _ = decoded(&[coding], &sent);
            }
        }
    }
}
