//! A layer's uncompressed bytes, hashed on both sides of the decompression and limited in number.

use std::io::{self, BufRead, Read};

use kiln_model::Digest;

use super::reader::{self, Piece, Threads, Told, give_back};
use super::{LayerError, LayerRef};
use crate::error::at;
use crate::{Store, StoreError};

/// Reads a layer uncompressed. [`LayerStream::finish`] must be called to know that the bytes were the right
/// ones.
///
/// Decompressing and hashing happen on threads of their own, which read a little ahead. Dropping the stream ends
/// them: they are gone when `drop` returns.
pub struct LayerStream {
    /// `None` once they have ended.
    threads: Option<Threads>,
    piece: Option<Piece>,
    /// How much of the piece was read.
    used: usize,
    /// Digest and length of the blob, when all of it was read.
    blob: Option<(Digest, u64)>,
    tripped: Option<LayerError>,
}

impl BufRead for LayerStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.as_ref().is_none_or(|piece| piece.len() == self.used) {
            self.advance()?;
        }
        Ok(self.piece.as_deref().map_or(&[], |piece| &piece[self.used..]))
    }

    fn consume(&mut self, used: usize) {
        self.used += used;
    }
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl LayerStream {
    /// The limit that stopped the reading, when one did.
    pub fn tripped(&mut self) -> Option<LayerError> {
        self.tripped.take()
    }

    /// Takes the next piece; false at the end. Only the reader's own word is the end: when it is gone without a word
    /// it died.
    fn advance(&mut self) -> io::Result<bool> {
        self.used = 0;
        let unread = || io::Error::other("the layer was not read to its end");
        let Some(threads) = &self.threads else { return Err(unread()) };
        if let Some(piece) = self.piece.take() {
            give_back(piece, &threads.spare);
        }
        if self.blob.is_some() {
            return Ok(false);
        }
        match threads.told.recv() {
            Ok(Told::Piece(piece)) => self.piece = Some(piece),
            Ok(Told::End(digest, count)) => self.blob = Some((digest, count)),
            Ok(Told::Unreadable(error)) => return Err(error),
            Ok(Told::Refused(error)) => {
                self.tripped = Some(error);
                return Err(io::Error::other("the layer passed a limit"));
            }
            Err(_) => return Err(unread()),
        }
        Ok(self.piece.is_some())
    }

    /// Reads what is left and checks both digests and the blob's length.
    pub fn finish(mut self, store: &Store, layer: &LayerRef) -> Result<(), StoreError> {
        let refuse = |source| StoreError::Layer { digest: layer.blob.digest, source };
        let path = store.blob_path(&layer.blob.digest);
        let (blob, size, actual) = match self.digests() {
            Ok(found) => found,
            Err(error) => {
                return Err(match self.tripped() {
                    Some(trip) => refuse(trip),
                    None => at("read", &path)(error),
                });
            }
        };
        if blob != layer.blob.digest {
            return Err(store.damaged(&layer.blob.digest, format!("its content has the digest {blob}")));
        }
        if size != layer.blob.size {
            let reason = format!("it has {size} bytes, its manifest says {}", layer.blob.size);
            return Err(store.damaged(&layer.blob.digest, reason));
        }
        if actual != layer.diff_id {
            return Err(refuse(LayerError::DiffId { expected: layer.diff_id, actual }));
        }
        Ok(())
    }

    /// Digest and length of the blob, and the digest of what is in it.
    fn digests(&mut self) -> io::Result<(Digest, u64, Digest)> {
        while self.advance()? {}
        let died = || io::Error::other("a thread that reads the layer died");
        let threads = self.threads.take().ok_or_else(died)?;
        let (digest, size) = self.blob.ok_or_else(died)?;
        threads.reader.join().map_err(|_| died())?;
        let inside = threads.digest.join().map_err(|_| died())?;
        Ok((digest, size, inside))
    }
}

impl Drop for LayerStream {
    fn drop(&mut self) {
        let Some(Threads { told, spare, reader, digest }) = self.threads.take() else { return };
        // The reader stops when it finds nobody listening, and the hashing thread with it.
        drop((told, spare));
        let _ = reader.join();
        let _ = digest.join();
    }
}

impl Store {
    /// Begins to read a layer's uncompressed bytes; the compression is told by the bytes, not by the media type.
    pub fn open_layer(&self, layer: &LayerRef) -> Result<LayerStream, StoreError> {
        let file = self.open_blob(&layer.blob.digest)?;
        let threads = reader::start(file, self.limits().clone())
            .map_err(at("start reading", &self.blob_path(&layer.blob.digest)))?;
        Ok(LayerStream { threads: Some(threads), piece: None, used: 0, blob: None, tripped: None })
    }
}
