//! A layer's uncompressed bytes, hashed on both sides of the decompression and limited in number.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

use super::{LayerError, LayerRef, Limits};
use crate::error::at;
use crate::{Store, StoreError};

/// zstd windows above this are refused (2^27 bytes, what zstd itself calls the limit without `--long`).
const ZSTD_WINDOW_LOG: u32 = 27;

struct Hashing<R> {
    source: R,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.count += read as u64;
        Ok(read)
    }
}

type Source = BufReader<Hashing<File>>;

enum Decoder {
    Gzip(Box<MultiGzDecoder<Source>>),
    Zstd(zstd::Decoder<'static, Source>),
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
    fn source(&self) -> &Hashing<File> {
        match self {
            Self::Gzip(inner) => inner.get_ref().get_ref(),
            Self::Zstd(inner) => inner.get_ref().get_ref(),
            Self::Plain(inner) => inner.get_ref(),
        }
    }

    fn into_source(self) -> Source {
        match self {
            Self::Gzip(inner) => inner.into_inner(),
            Self::Zstd(inner) => inner.finish(),
            Self::Plain(inner) => inner,
        }
    }
}

/// Reads a layer uncompressed. [`LayerStream::finish`] must be called to know that the bytes were the right
/// ones.
pub struct LayerStream {
    decoder: Hashing<Decoder>,
    limits: Limits,
    tripped: Option<LayerError>,
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        let (outside, inside) = (self.decoder.source.source().count, self.decoder.count);
        let trip = if inside > self.limits.layer_bytes {
            Some(LayerError::TooLarge { limit: self.limits.layer_bytes })
        } else if inside > self.limits.ratio_after && inside / outside.max(1) > self.limits.ratio {
            Some(LayerError::Bomb { ratio: self.limits.ratio })
        } else {
            None
        };
        if trip.is_some() {
            self.tripped = trip;
            return Err(io::Error::other("the layer passed a limit"));
        }
        Ok(read)
    }
}

impl LayerStream {
    /// The limit that stopped the reading, when one did.
    pub fn tripped(&mut self) -> Option<LayerError> {
        self.tripped.take()
    }

    /// Reads what is left and checks both digests and the blob's length.
    pub fn finish(mut self, store: &Store, layer: &LayerRef) -> Result<(), StoreError> {
        let refuse = |source| StoreError::Layer { digest: layer.blob.digest, source };
        let path = store.blob_path(&layer.blob.digest);
        if let Err(error) = io::copy(&mut self, &mut io::sink()) {
            return Err(match self.tripped() {
                Some(trip) => refuse(trip),
                None => at("read", &path)(error),
            });
        }
        let actual = Digest::from_bytes(self.decoder.hash.finalize().into());
        let mut source = self.decoder.source.into_source();
        io::copy(&mut source, &mut io::sink()).map_err(at("read", &path))?;
        let source = source.into_inner();
        let blob = Digest::from_bytes(source.hash.finalize().into());
        if blob != layer.blob.digest {
            return Err(store.damaged(&layer.blob.digest, format!("its content has the digest {blob}")));
        }
        if source.count != layer.blob.size {
            let reason = format!("it has {} bytes, its manifest says {}", source.count, layer.blob.size);
            return Err(store.damaged(&layer.blob.digest, reason));
        }
        if actual != layer.diff_id {
            return Err(refuse(LayerError::DiffId { expected: layer.diff_id, actual }));
        }
        Ok(())
    }
}

impl Store {
    /// Opens a layer's uncompressed bytes; the compression is told by the bytes, not by the media type.
    pub fn open_layer(&self, layer: &LayerRef) -> Result<LayerStream, StoreError> {
        let path = self.blob_path(&layer.blob.digest);
        let file = self.open_blob(&layer.blob.digest)?;
        let hashing = Hashing { source: file, hash: Sha256::new(), count: 0 };
        let mut source = BufReader::with_capacity(1 << 17, hashing);
        let start = source.fill_buf().map_err(at("read", &path))?;
        let decoder = if start.starts_with(&[0x1f, 0x8b]) {
            Decoder::Gzip(Box::new(MultiGzDecoder::new(source)))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let mut inner = zstd::Decoder::with_buffer(source).map_err(at("read", &path))?;
            inner.window_log_max(ZSTD_WINDOW_LOG).map_err(at("read", &path))?;
            Decoder::Zstd(inner)
        } else {
            Decoder::Plain(source)
        };
        let decoder = Hashing { source: decoder, hash: Sha256::new(), count: 0 };
        Ok(LayerStream { decoder, limits: self.limits().clone(), tripped: None })
    }
}
