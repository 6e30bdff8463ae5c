//! From a blob's bytes to a layer's, whatever it is compressed with.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::source::Source;

/// zstd windows above this are refused (2^27 bytes, what zstd itself calls the limit without `--long`).
const ZSTD_WINDOW_LOG: u32 = 27;

/// A decompressor and what it reads.
pub(super) enum Decoder {
    Gzip(Box<MultiGzDecoder<Source>>),
    Zstd(Box<zstd::Decoder<'static, Source>>),
    Plain(Source),
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(inner) => inner.read(buffer),
            Self::Zstd(inner) => inner.read(buffer),
            Self::Plain(inner) => inner.read(buffer),
        }
    }
}

impl Decoder {
    /// The compression is told by the bytes, not by the media type.
    pub(super) fn new(mut source: Source) -> io::Result<Self> {
        let start = source.fill_buf()?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self::gzip(source));
        }
        if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let mut inner = zstd::Decoder::with_buffer(source)?;
            inner.window_log_max(ZSTD_WINDOW_LOG)?;
            return Ok(Self::Zstd(Box::new(inner)));
        }
        Ok(Self::Plain(source))
    }

    /// What follows the members of a gzip file that were read already.
    pub(super) fn after_members(mut source: Source) -> io::Result<Self> {
        Ok(if source.fill_buf()?.is_empty() { Self::Plain(source) } else { Self::gzip(source) })
    }

    fn gzip(source: Source) -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(source)))
    }

    pub(super) fn source(&self) -> &Source {
        match self {
            Self::Gzip(inner) => inner.get_ref(),
            Self::Zstd(inner) => inner.get_ref(),
            Self::Plain(inner) => inner,
        }
    }

    pub(super) fn into_source(self) -> Source {
        match self {
            Self::Gzip(inner) => inner.into_inner(),
            Self::Zstd(inner) => inner.finish(),
            Self::Plain(inner) => inner,
        }
    }
}
