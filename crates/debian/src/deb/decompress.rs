//! The compressions of package parts, by the ending of their names.

use std::io::{BufReader, Read};

/// How much a data archive of this many compressed bytes may unpack to. xz reaches about 7000 on zeros; packages of
/// text and programs stay under 20. Small packages may hold a sparse image.
pub(super) fn limit(size: u64) -> u64 {
    size.saturating_mul(500).max(1 << 30)
}

pub(super) fn reader<'a>(name: &str, member: impl Read + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    let member = BufReader::with_capacity(1 << 16, member);
    Ok(match name.rsplit('.').next().unwrap_or_default() {
        "xz" => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(member)),
        "zst" => Box::new(zstd::stream::read::Decoder::with_buffer(member)?),
        "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(member)),
        "tar" => Box::new(member),
        other => return Err(std::io::Error::other(format!("it is compressed by the unknown {other:?}"))),
    })
}
