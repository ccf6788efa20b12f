//! Body compression, done by producers and undone by consumers; brokers keep bodies as they are.
//!
//! zlib is always there. A program built without the feature `lz4` or `zstd` refuses bodies of that type
//! and says which feature it lacks.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::ZlibEncoder;
#[cfg(feature = "lz4")]
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::sys_flag;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
    /// zlib, the default.
    Zlib,
}

/// Why a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// More bytes came out than allowed.
    #[error("body decompresses to more than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are not of the type that the flag names.
    #[error("body is not {compression:?} data")]
    Corrupt {
        /// The type that the flag names.
        compression: CompressionType,
        /// What the decoder said.
        source: io::Error,
    },
    /// This program was built without that type.
    #[error(
        "body is {compression:?} data, and this program was built without: enable the feature `{}`",
        compression.feature()
    )]
    NotBuilt {
        /// The type that the flag names.
        compression: CompressionType,
    },
    /// The flag names a type that nobody defined.
    #[error("unknown compression type in system flag {sys_flag:#x}")]
    UnknownType {
        /// The flag.
        sys_flag: i32,
    },
}

impl CompressionType {
    /// The type that a flag names: 0 is zlib, as before types existed.
    pub fn of(flag: i32) -> Option<Self> {
        match flag & sys_flag::COMPRESSION_MASK {
            sys_flag::COMPRESSION_LZ4 => Some(Self::Lz4),
            sys_flag::COMPRESSION_ZSTD => Some(Self::Zstd),
            sys_flag::COMPRESSION_ZLIB | 0 => Some(Self::Zlib),
            _ => None,
        }
    }

    /// Whether this program was built with it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Zlib => true,
        }
    }

    /// The feature of Cargo that it takes; empty for what is always there.
    pub const fn feature(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Zlib => "",
        }
    }

    /// The bits to set in the flag of a body compressed so, [`sys_flag::COMPRESSED`] included.
    pub const fn sys_flag_bits(self) -> i32 {
        let kind = match self {
            Self::Lz4 => sys_flag::COMPRESSION_LZ4,
            Self::Zstd => sys_flag::COMPRESSION_ZSTD,
            Self::Zlib => sys_flag::COMPRESSION_ZLIB,
        };
        kind | sys_flag::COMPRESSED
    }
}

/// Compresses a body; `level` runs from 1 to 9 as in zlib, LZ4 has none.
///
/// # Errors
/// The program was built without the type, or the encoder failed; in memory that means the level is out of
/// its range.
pub fn compress(body: &[u8], compression: CompressionType, level: u32) -> io::Result<Vec<u8>> {
    match compression {
        #[cfg(feature = "lz4")]
        CompressionType::Lz4 => {
            let mut encoder = FrameEncoder::new(Vec::new());
            encoder.write_all(body)?;
            Ok(encoder.finish()?)
        }
        #[cfg(feature = "zstd")]
        CompressionType::Zstd => zstd::bulk::compress(body, level.min(22) as i32),
        CompressionType::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level.min(9)));
            encoder.write_all(body)?;
            encoder.finish()
        }
        #[cfg(not(all(feature = "lz4", feature = "zstd")))]
        _ => Err(io::Error::other(DecompressError::NotBuilt { compression })),
    }
}

/// Decompresses a body by its message's flag, to at most `bytes_max` bytes.
///
/// # Errors
/// The flag names no known type or one that the program was built without, the bytes are not of it, or there
/// are too many.
pub fn decompress(
    body: &[u8],
    sys_flag: i32,
    bytes_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    let compression =
        CompressionType::of(sys_flag).ok_or(DecompressError::UnknownType { sys_flag })?;
    let corrupt = |source| DecompressError::Corrupt {
        compression,
        source,
    };
    let read = match compression {
        #[cfg(feature = "lz4")]
        CompressionType::Lz4 => read_bounded(FrameDecoder::new(body), bytes_max),
        #[cfg(feature = "zstd")]
        CompressionType::Zstd => {
            let decoder = zstd::stream::Decoder::new(body).map_err(corrupt)?;
            read_bounded(decoder, bytes_max)
        }
        // gRPC's GZIP bodies are stored with type 0.
        CompressionType::Zlib if body.starts_with(&[0x1F, 0x8B]) => {
            read_bounded(MultiGzDecoder::new(body), bytes_max)
        }
        CompressionType::Zlib => read_bounded(ZlibDecoder::new(body), bytes_max),
        #[cfg(not(all(feature = "lz4", feature = "zstd")))]
        _ => return Err(DecompressError::NotBuilt { compression }),
    };
    let bytes = read.map_err(corrupt)?;
    if bytes.len() > bytes_max {
        return Err(DecompressError::TooLong { bytes_max });
    }
    Ok(bytes)
}

/// Reads to the end, but at most one byte more than allowed, by which the caller sees the excess.
fn read_bounded(decoder: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    decoder.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [CompressionType; 3] = [
        CompressionType::Lz4,
        CompressionType::Zstd,
        CompressionType::Zlib,
    ];

    fn built() -> impl Iterator<Item = CompressionType> {
        ALL.into_iter().filter(|compression| compression.is_built())
    }

    fn body() -> Vec<u8> {
        (0..20_000_u32)
            .flat_map(|n| (n / 7).to_be_bytes())
            .collect()
    }

    #[test]
    fn every_type_restores_the_body() {
        for compression in built() {
            let packed = compress(&body(), compression, 5).unwrap();
            assert!(packed.len() < body().len());
            let flag = compression.sys_flag_bits();
            assert!(sys_flag::is_compressed(flag));
            assert_eq!(decompress(&packed, flag, body().len()).unwrap(), body());
        }
    }

    #[test]
    fn a_body_that_unpacks_beyond_the_limit_is_refused() {
        for compression in built() {
            let packed = compress(&vec![0; 1 << 20], compression, 5).unwrap();
            let result = decompress(&packed, compression.sys_flag_bits(), 1_000);
            assert!(matches!(
                result,
                Err(DecompressError::TooLong { bytes_max: 1_000 })
            ));
        }
    }

    /// `.ci/run` tests a build without features, too.
    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for compression in ALL
            .into_iter()
            .filter(|compression| !compression.is_built())
        {
            let feature = format!("enable the feature `{}`", compression.feature());
            let packing = compress(b"body", compression, 5).unwrap_err().to_string();
            assert!(packing.contains(&feature), "{packing}");
            let unpacking = decompress(b"body", compression.sys_flag_bits(), 9).unwrap_err();
            assert!(unpacking.to_string().contains(&feature), "{unpacking}");
        }
        assert!(CompressionType::Zlib.is_built());
    }

    #[test]
    fn type_zero_is_zlib_or_gzip() {
        let zlib = compress(b"old", CompressionType::Zlib, 5).unwrap();
        assert_eq!(decompress(&zlib, sys_flag::COMPRESSED, 10).unwrap(), b"old");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(5));
        encoder.write_all(b"grpc").unwrap();
        let gzip = encoder.finish().unwrap();
        assert_eq!(
            decompress(&gzip, sys_flag::COMPRESSED, 10).unwrap(),
            b"grpc"
        );
    }

    #[test]
    fn foreign_bytes_and_types_are_errors() {
        for compression in built() {
            let result = decompress(b"no such data", compression.sys_flag_bits(), 100);
            assert!(
                matches!(result, Err(DecompressError::Corrupt { .. })),
                "{compression:?}"
            );
        }
        let result = decompress(b"", sys_flag::COMPRESSED | 0x400, 100);
        assert!(matches!(result, Err(DecompressError::UnknownType { .. })));
    }
}
