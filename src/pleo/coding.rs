//! Content codings (RFC 9110 section 8.4): undoes what a gateway did to a response although it was asked not to. A token in
//! a compressed response exists nowhere else, so as much is decoded as possible, within the size of any response.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use zeroize::Zeroizing;

use super::answer::MAX_BODY;

/// No gateway applies more codings than this to one answer.
const MAX_CODINGS: usize = 4;
/// The largest window of a zstd frame, in bytes: what RFC 9659 asks of every decoder.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;
/// Magic number and length of a frame that is to be skipped, in bytes (RFC 8878 section 3.1.2).
const SKIPPABLE_HEADER: usize = 8;
/// The buffer of the brotli decoder, in bytes.
const BROTLI_BUFFER: usize = 4096;

/// A body after its content codings were undone.
pub struct Decoded {
    /// What could be decoded, up to [`MAX_BODY`].
    pub body: Zeroizing<Vec<u8>>,
    pub end: End,
}

/// How far a body could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// To its end.
    Complete,
    /// The compressed data is cut off or damaged.
    Damaged,
    /// A coding is unknown, or there are too many of them.
    Unsupported,
    /// It is longer than any answer.
    TooLong,
}

/// Undoes the codings that `Content-Encoding` names. A body that is JSON as it stands was only labeled so.
pub fn decode(body: Zeroizing<Vec<u8>>, content_encoding: &str) -> Decoded {
    let mut decoded = Decoded { body, end: End::Complete };
    let codings: Vec<&str> = content_encoding.split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
    // They are listed in the order in which they were applied.
    for (count, coding) in codings.into_iter().rev().enumerate() {
        if decoded.body.is_empty() || is_json_object(&decoded.body) {
            break;
        }
        match undo(coding, &decoded.body).filter(|_| count < MAX_CODINGS) {
            Some(plain) => {
                let outer = decoded.end;
                decoded = plain;
                // What was cut off outside is cut off inside.
                if outer != End::Complete {
                    decoded.end = outer;
                }
            }
            None => {
                decoded.end = End::Unsupported;
                break;
            }
        }
    }
    decoded
}

/// No coding of a JSON text begins with a brace.
fn is_json_object(body: &[u8]) -> bool {
    let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    text.trim_ascii_start().first() == Some(&b'{')
}

fn undo(coding: &str, body: &[u8]) -> Option<Decoded> {
    let decoded = match coding.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body)),
        // RFC 9110 means zlib; some servers leave its header out.
        "deflate" if has_zlib_header(body) => read(ZlibDecoder::new(body)),
        "deflate" => read(DeflateDecoder::new(body)),
        "br" => read(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER)),
        "zstd" => read(ZstdFrames { rest: body, frame: None }),
        "identity" => return Some(Decoded { body: Zeroizing::new(body.to_vec()), end: End::Complete }),
        _unknown => return None,
    };
    Some(decoded)
}

/// RFC 1950 section 2.2: method 8, a window of 32 KiB at most, and a checksum of both bytes.
fn has_zlib_header(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// A body in zstd is one frame or several, some of which are to be skipped (RFC 8878 section 3.1).
struct ZstdFrames<'a> {
    /// What comes after the frame at work.
    rest: &'a [u8],
    frame: Option<StreamingDecoder<&'a [u8], FrameDecoder>>,
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                match frame.read(room)? {
                    0 => self.rest = frame.get_ref(),
                    read => return Ok(read),
                }
                self.frame = None;
            }
            if self.rest.is_empty() {
                return Ok(0);
            }
            match StreamingDecoder::new_with_max_window_size(self.rest, MAX_ZSTD_WINDOW) {
                Ok(frame) => self.frame = Some(frame),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(SKIPPABLE_HEADER);
                    self.rest = self.rest.get(skipped..).unwrap_or_default();
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

fn read(mut decoder: impl Read) -> Decoded {
    // In one piece from the beginning: a buffer that grows would leave copies of the tokens behind.
    let mut body = Zeroizing::new(vec![0; MAX_BODY]);
    let (mut length, mut end) = (0, End::TooLong);
    while let Some(room) = body.get_mut(length..).filter(|room| !room.is_empty()) {
        match decoder.read(room) {
            Ok(0) => {
                end = End::Complete;
                break;
            }
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                end = End::Damaged;
                break;
            }
        }
    }
    if end == End::TooLong && matches!(decoder.read(&mut [0]), Ok(0)) {
        end = End::Complete;
    }
    body.truncate(length);
    Decoded { body, end }
}
