//! Content codings (RFC 9110 section 8.4), as a gateway applies them to an answer that it was not asked to compress. Pure.

use std::io::{self, Read};

use flate2::{
    Compression,
    read::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde::{Deserialize, Serialize};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// `gzip`.
    Gzip,
    /// `deflate` with a zlib header, as RFC 9110 means it.
    Deflate,
    /// `deflate` without one, as some servers send it.
    RawDeflate,
    /// `br`.
    Br,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Deflate, Self::RawDeflate, Self::Br, Self::Zstd];

    /// As `Content-Encoding` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate | Self::RawDeflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// A body with this coding applied.
    ///
    /// # Errors
    /// None occur: it reads from memory.
    pub fn apply(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let level = Compression::default();
        match self {
            Self::Gzip => whole(GzEncoder::new(body, level)),
            Self::Deflate => whole(ZlibEncoder::new(body, level)),
            Self::RawDeflate => whole(DeflateEncoder::new(body, level)),
            Self::Br => whole(brotli::CompressorReader::new(body, 4096, 5, 22)),
            Self::Zstd => Ok(compress_to_vec(body, CompressionLevel::Fastest)),
        }
    }
}

fn whole(mut encoder: impl Read) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    encoder.read_to_end(&mut encoded)?;
    Ok(encoded)
}
