//! The algorithms, behind one pair of functions.
#![cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]

use crate::{Algorithm, Compression, Dictionary, Error, ErrorKind, Result, workspace};

/// The envelope's name for what the settings ask for.
pub(crate) fn algorithm(compression: Compression) -> Algorithm {
    match compression {
        Compression::None => Algorithm::None,
        Compression::Lz4 => Algorithm::Lz4,
        Compression::Snappy => Algorithm::Snappy,
        Compression::Zstd { .. } => Algorithm::Zstd,
    }
}

/// Compresses `value` into a buffer that is reused, and gives `take` a look at the result.
pub(crate) fn with_compressed<R>(
    compression: Compression,
    dictionary: Option<&Dictionary>,
    value: &[u8],
    take: impl FnOnce(&[u8]) -> R,
) -> Result<R> {
    workspace::with(|workspace| {
        let bound = compressed_bound(compression, value.len());
        let (buffer, contexts) = workspace.split(bound);
        let written = match compression {
            Compression::None => return Ok(take(value)),
            #[cfg(feature = "lz4")]
            Compression::Lz4 => {
                lz4::block::compress_to_buffer(value, None, false, buffer).map_err(internal)?
            }
            #[cfg(feature = "snappy")]
            Compression::Snappy => contexts.snappy().compress(value, buffer).map_err(internal)?,
            #[cfg(feature = "zstd")]
            Compression::Zstd { level } => {
                let context = contexts.compressor(level, dictionary).map_err(internal)?;
                context.compress_to_buffer(value, buffer).map_err(internal)?
            }
            #[cfg(not(all(feature = "lz4", feature = "snappy", feature = "zstd")))]
            _ => return Err(unsupported(algorithm(compression))),
        };
        Ok(take(&buffer[..written]))
    })
}

/// Refuses lengths that no writer can have produced, before anything is allocated for them.
pub(crate) fn check_lengths(algorithm: Algorithm, payload_len: usize, raw_len: usize) -> Result<()> {
    let possible = match algorithm {
        Algorithm::None => payload_len == raw_len,
        // The same as `raw_len / max_ratio <= payload_len`, and cheaper.
        _ => payload_len < raw_len && raw_len < (payload_len + 1).saturating_mul(max_ratio(algorithm)),
    };
    if possible { Ok(()) } else { Err(Error::corrupt("the stated length does not fit the payload")) }
}

/// Decompresses `payload` to exactly `raw_len` bytes, and never writes a byte more.
pub(crate) fn decompress(
    algorithm: Algorithm,
    dictionary: Option<&Dictionary>,
    payload: &[u8],
    raw_len: usize,
) -> Result<Vec<u8>> {
    let value = match algorithm {
        Algorithm::None => payload.to_vec(),
        #[cfg(feature = "lz4")]
        Algorithm::Lz4 => decompress_lz4(payload, raw_len)?,
        #[cfg(feature = "snappy")]
        Algorithm::Snappy => decompress_snappy(payload, raw_len)?,
        #[cfg(feature = "zstd")]
        Algorithm::Zstd => decompress_zstd(dictionary, payload, raw_len)?,
        #[cfg(not(all(feature = "lz4", feature = "snappy", feature = "zstd")))]
        _ => return Err(unsupported(algorithm)),
    };
    if value.len() == raw_len { Ok(value) } else { Err(length_mismatch()) }
}

#[cfg(feature = "lz4")]
fn decompress_lz4(payload: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let len = i32::try_from(raw_len).map_err(|_| length_mismatch())?;
    lz4::block::decompress(payload, Some(len)).map_err(damaged)
}

#[cfg(feature = "snappy")]
fn decompress_snappy(payload: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    if snap::raw::decompress_len(payload).map_err(damaged)? != raw_len {
        return Err(length_mismatch());
    }
    snap::raw::Decoder::new().decompress_vec(payload).map_err(damaged)
}

/// The payload has to be one frame of the stated size: zstd itself would also take several, skippable
/// ones, and frames that do not state their size.
#[cfg(feature = "zstd")]
fn decompress_zstd(dictionary: Option<&Dictionary>, payload: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

    let stated = get_frame_content_size(payload).ok().flatten();
    if stated != Some(raw_len as u64) || find_frame_compressed_size(payload) != Ok(payload.len()) {
        return Err(Error::corrupt("not one Zstandard frame of the stated length"));
    }
    let mut value = Vec::with_capacity(raw_len);
    workspace::with(|workspace| {
        let (_, contexts) = workspace.split(0);
        let context = contexts.decompressor(dictionary).map_err(internal)?;
        context.decompress_to_buffer(payload, &mut value).map_err(damaged)
    })?;
    Ok(value)
}

/// The most bytes that one byte of payload can stand for.
///
/// LZ4 adds up to 255 to a match's length with each byte. Snappy copies up to 64 bytes with three.
/// A Zstandard block of 128 KiB takes at least four bytes.
fn max_ratio(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::None => 1,
        Algorithm::Lz4 => 255,
        Algorithm::Snappy => 22,
        Algorithm::Zstd => 128 * 1024 / 4,
    }
}

/// How long the buffer has to be so that compressing cannot fail for lack of room.
fn compressed_bound(compression: Compression, len: usize) -> usize {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => len + len / 255 + 16,
        Compression::Snappy => 32 + len + len / 6,
        Compression::Zstd { .. } => len + len / 256 + 512,
    }
}

fn damaged(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::corrupt("the payload does not decompress").with_source(source)
}

fn length_mismatch() -> Error {
    Error::corrupt("the payload is not as long as stated")
}

fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "compression").with_source(source)
}

#[cfg(not(all(feature = "lz4", feature = "snappy", feature = "zstd")))]
fn unsupported(algorithm: Algorithm) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the feature for {algorithm:?} is off"))
}
