//! Bodies that are read from a file while they are sent.
//!
//! One piece is always being read on another thread while the one before it is on its way, so that neither the
//! disk nor the network waits for the other, and no more than two pieces are in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::server::metrics::Metrics;

/// Bytes read at once.
const PIECE: u64 = 256 << 10;

type Read1 = (File, io::Result<Bytes>);

/// A part of a file.
pub(crate) struct FileBody {
    reading: Option<JoinHandle<Read1>>,
    /// Bytes that were not handed on yet.
    left: u64,
    metrics: Arc<Metrics>,
}

impl FileBody {
    /// The bytes of a file in a range that it has.
    pub(crate) fn new(mut file: File, range: &Range<u64>, metrics: Arc<Metrics>) -> io::Result<Self> {
        file.seek(SeekFrom::Start(range.start))?;
        let left = range.end - range.start;
        let reading = (left > 0).then(|| read(file, left));
        Ok(Self { reading, left, metrics })
    }
}

fn read(mut file: File, left: u64) -> JoinHandle<Read1> {
    tokio::task::spawn_blocking(move || {
        let wanted = left.min(PIECE);
        let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let result = (&mut file).take(wanted).read_to_end(&mut piece);
        let result = result.and_then(|read| match read as u64 == wanted {
            true => Ok(Bytes::from(piece)),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a blob became shorter")),
        });
        (file, result)
    })
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let joined = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece =
            joined.map_err(io::Error::other).and_then(|(file, piece)| piece.map(|piece| (file, piece)));
        Poll::Ready(Some(piece.map(|(file, piece)| {
            self.left -= piece.len() as u64;
            self.metrics.sent(piece.len() as u64);
            if self.left > 0 {
                self.reading = Some(read(file, self.left));
            }
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
