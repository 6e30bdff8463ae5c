//! Reading ahead: one thread decompresses and hashes while another writes files.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::LayerStream;

/// Bytes handed over at a time.
const PIECE: usize = 1 << 18;

/// Pieces that may wait: 2 MiB with the one above.
const WAITING: usize = 8;

/// What the other thread has read.
pub(crate) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.used) = (piece?, 0),
                Err(_) => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.piece.len() - self.used);
        buffer[..taken].copy_from_slice(&self.piece[self.used..self.used + taken]);
        self.used += taken;
        Ok(taken)
    }
}

/// Lets `act` read a layer that another thread reads ahead. Gives the stream back, wherever it stands.
pub(crate) fn with_ahead<T>(
    mut stream: LayerStream,
    act: impl FnOnce(Ahead) -> T,
) -> io::Result<(T, LayerStream)> {
    let (sender, pieces) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            read_all(&mut stream, &sender);
            stream
        });
        let result = act(Ahead { pieces, piece: Vec::new(), used: 0 });
        let stream = reader.join().map_err(|_| io::Error::other("the thread that reads the layer died"))?;
        Ok((result, stream))
    })
}

/// Ends with the stream, with an error, or when nobody listens any more.
fn read_all(stream: &mut LayerStream, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let result = stream.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let last = piece.is_empty();
        if !last && sender.send(Ok(piece)).is_err() {
            return;
        }
        if let Err(error) = result {
            let _ = sender.send(Err(error));
            return;
        }
        if last {
            return;
        }
    }
}
