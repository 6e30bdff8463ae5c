//! The threads behind a [`super::LayerStream`]: one reads and decompresses, the other takes the digest of what comes
//! out, while whoever has the stream looks at the same bytes.
//!
//! ```text
//! file ─ Reader ─┬─ pieces ──> LayerStream        both give a piece back when they have done with it;
//!                └─ digest ──> the hashing thread  the last one's goes to the Reader, to be filled again
//! ```
//!
//! Both channels hold only a few pieces, so memory is bounded however slow one side is. A side that goes away closes
//! its channel, and the reader ends with its next piece.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

use super::decode::Decoder;
use super::members::Members;
use super::source::Source;
use super::{LayerError, Limits};

/// Bytes that are decompressed before they are handed on. Only a member of gzip that is longer comes in one piece.
const PIECE: usize = 1 << 18;

/// Pieces that may wait for one side: 4 MiB of the longest that Kiln's own layers have.
const WAITING: usize = 4;

/// Decompressed bytes, which two threads look at.
pub(super) type Piece = Arc<Vec<u8>>;

/// What the reader tells.
pub(super) enum Told {
    Piece(Piece),
    /// The last: the digest and the number of the blob's own bytes.
    End(Digest, u64),
    Unreadable(io::Error),
    Refused(LayerError),
}

/// The two threads, and how to hear of them.
pub(super) struct Threads {
    pub(super) told: Receiver<Told>,
    pub(super) spare: Sender<Vec<u8>>,
    pub(super) reader: JoinHandle<()>,
    pub(super) digest: JoinHandle<Digest>,
}

/// Starts reading.
pub(super) fn start(file: File, limits: Limits) -> io::Result<Threads> {
    let (pieces, told) = sync_channel(WAITING);
    let (copies, hashed) = sync_channel(WAITING);
    let (spare, used) = channel();
    let back = spare.clone();
    let digest = Builder::new().name("kiln-digest".into()).spawn(move || hash(&hashed, &back))?;
    let mut reader = Reader { limits, inside: 0, pieces, copies, used };
    let reader = Builder::new().name("kiln-layer".into()).spawn(move || reader.run(Source::new(file)))?;
    Ok(Threads { told, spare, reader, digest })
}

/// Gives a piece back when nobody else looks at it any more.
pub(super) fn give_back(piece: Piece, spare: &Sender<Vec<u8>>) {
    if let Some(room) = Arc::into_inner(piece) {
        // A reader that has ended needs no room.
        let _ = spare.send(room);
    }
}

fn hash(pieces: &Receiver<Piece>, spare: &Sender<Vec<u8>>) -> Digest {
    let mut hash = Sha256::new();
    while let Ok(piece) = pieces.recv() {
        hash.update(piece.as_slice());
        give_back(piece, spare);
    }
    Digest::from_bytes(hash.finalize().into())
}

struct Reader {
    limits: Limits,
    /// Decompressed bytes until now.
    inside: u64,
    pieces: SyncSender<Told>,
    copies: SyncSender<Piece>,
    used: Receiver<Vec<u8>>,
}

/// Why the reader ends before the end.
enum Stop {
    Unreadable(io::Error),
    Refused(LayerError),
    /// Nobody listens any more.
    Unheard,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Reader {
    fn run(&mut self, source: Source) {
        let last = match self.read(source) {
            Ok((digest, count)) => Told::End(digest, count),
            Err(Stop::Unreadable(error)) => Told::Unreadable(error),
            Err(Stop::Refused(error)) => Told::Refused(error),
            Err(Stop::Unheard) => return,
        };
        let _ = self.pieces.send(last);
    }

    fn read(&mut self, mut source: Source) -> Result<(Digest, u64), Stop> {
        source.fill_buf()?;
        let mut decoder = match Members::new(&source) {
            Some(members) => {
                self.members(members, &mut source)?;
                Decoder::after_members(source)?
            }
            None => Decoder::new(source)?,
        };
        self.rest(&mut decoder)?;
        Ok(decoder.into_source().finish()?)
    }

    fn members(&mut self, mut members: Members, source: &mut Source) -> Result<(), Stop> {
        loop {
            let mut piece = self.used.try_recv().unwrap_or_default();
            let mut filled = 0;
            let mut more = true;
            while more && filled < PIECE {
                match members.read(source, &mut piece, filled)? {
                    Some(end) => filled = end,
                    None => more = false,
                }
            }
            self.hand_on(piece, filled, source.count())?;
            if !more {
                return Ok(());
            }
        }
    }

    fn rest(&mut self, decoder: &mut Decoder) -> Result<(), Stop> {
        loop {
            let mut piece = self.used.try_recv().unwrap_or_default();
            piece.resize(PIECE, 0);
            let mut filled = 0;
            let mut result = Ok(1);
            while filled < PIECE && matches!(result, Ok(read) if read > 0) {
                result = decoder.read(&mut piece[filled..]);
                filled += result.as_ref().unwrap_or(&0);
            }
            // What came before an error may say more about what is wrong than the error.
            self.hand_on(piece, filled, decoder.source().count())?;
            if result? == 0 {
                return Ok(());
            }
        }
    }

    fn hand_on(&mut self, mut piece: Vec<u8>, filled: usize, outside: u64) -> Result<(), Stop> {
        piece.truncate(filled);
        if piece.is_empty() {
            return Ok(());
        }
        self.inside += filled as u64;
        let Limits { layer_bytes, ratio, ratio_after, .. } = self.limits;
        if self.inside > layer_bytes {
            return Err(Stop::Refused(LayerError::TooLarge { limit: layer_bytes }));
        }
        if self.inside > ratio_after && self.inside / outside.max(1) > ratio {
            return Err(Stop::Refused(LayerError::Bomb { ratio }));
        }
        let piece = Arc::new(piece);
        self.copies.send(Arc::clone(&piece)).map_err(|_| Stop::Unheard)?;
        self.pieces.send(Told::Piece(piece)).map_err(|_| Stop::Unheard)
    }
}
