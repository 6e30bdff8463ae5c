//! Taking over from a running data plane without refusing a connection.
//!
//! On the old process's control socket the new one sends one byte 0 instead of HTTP. The old answers with messages, each
//! a length (four bytes, big endian) and JSON:
//!
//! 1. old → new: [`Offer`], then one byte for every [`fdpass::MOST`](crate::fdpass::MOST) descriptors, with them attached:
//!    first the folder's lock, then the listeners in the offer's order.
//! 2. new → old: one byte 1, as soon as it accepts connections and its control socket is in place. The old stops
//!    accepting and says goodbye to its connections. Until then it can go on as if nothing had happened.
//! 3. old → new: [`Remains`], at every change, until its last request has ended and it exits.
//! 4. new → old: every further route table, so that requests on the old one's last connections go by it too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_model::InstanceId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;

use crate::InFlight;
use crate::fdpass;
use crate::shared::Shared;
use crate::table::{Bind, RouteTable};
use crate::unixpath::ShortPath;

/// The first byte of a take-over; no HTTP method begins with it.
pub(crate) const TAKE_OVER: u8 = 0;
/// The new process is ready.
pub(crate) const READY: u8 = 1;
/// Messages are tables at most.
const LONGEST: u32 = 64 << 20;
/// The old process follows a table within microseconds; this only guards against one that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the old process hands over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The listeners whose descriptors follow.
    pub(crate) listeners: Vec<Bind>,
}

/// What the old process still does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remains {
    /// Version of the table it goes by.
    pub(crate) version: u64,
    /// Its work.
    pub(crate) in_flight: BTreeMap<InstanceId, InFlight>,
}

/// What was taken over, before the old process has let go.
pub(crate) struct Inheritance {
    pub(crate) lock: File,
    pub(crate) listeners: Vec<(Bind, TcpListener)>,
    stream: UnixStream,
}

/// The old process, as long as it has work.
pub(crate) struct Predecessor {
    remains: watch::Receiver<Option<Remains>>,
    writer: OwnedWriteHalf,
}

/// Asks the process behind a control socket for its listeners.
pub(crate) async fn inherit(control_socket: &Path) -> io::Result<Inheritance> {
    let short = ShortPath::new(control_socket)?;
    let mut stream = UnixStream::connect(short.path()).await?;
    stream.write_all(&[TAKE_OVER]).await?;
    let offer: Offer = read_message(&mut stream).await?;
    let mut descriptors = Vec::new();
    while descriptors.len() < offer.listeners.len() + 1 {
        let (length, more) = fdpass::receive(&stream, &mut [0]).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        descriptors.extend(more);
    }
    let mut descriptors = descriptors.into_iter();
    let lock = descriptors.next().map(File::from).ok_or(io::ErrorKind::InvalidData)?;
    let listeners = offer.listeners.into_iter().zip(descriptors.map(TcpListener::from)).collect();
    Ok(Inheritance { lock, listeners, stream })
}

impl Inheritance {
    /// Tells the old process to let go, and watches it until it has ended.
    pub(crate) async fn ready(mut stream: UnixStream, shared: Arc<Shared>) -> io::Result<Predecessor> {
        stream.write_all(&[READY]).await?;
        let (mut reader, writer) = stream.into_split();
        let (sender, remains) = watch::channel(Some(Remains::default()));
        // The first word says that it has let go.
        sender.send_replace(Some(read_message(&mut reader).await?));
        tokio::spawn(async move {
            while let Ok(now) = read_message(&mut reader).await {
                sender.send_replace(Some(now));
                shared.news();
            }
            sender.send_replace(None);
            shared.news();
        });
        Ok(Predecessor { remains, writer })
    }

    /// Splits off the connection to the old process.
    pub(crate) fn into_parts(self) -> (File, Vec<(Bind, TcpListener)>, UnixStream) {
        (self.lock, self.listeners, self.stream)
    }
}

impl Predecessor {
    /// Its work.
    pub(crate) fn in_flight(&self) -> BTreeMap<InstanceId, InFlight> {
        self.remains.borrow().as_ref().map(|remains| remains.in_flight.clone()).unwrap_or_default()
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.remains.borrow().is_none()
    }

    /// Makes it go by a new table too.
    pub(crate) async fn follow(&mut self, table: &RouteTable) {
        let follow = async {
            if write_message(&mut self.writer, table).await.is_err() {
                return;
            }
            let there = |now: &Option<Remains>| now.as_ref().is_none_or(|now| now.version >= table.version);
            let _ = self.remains.wait_for(there).await;
        };
        if tokio::time::timeout(PATIENCE, follow).await.is_err() {
            tracing::warn!("the data plane this one took over from does not follow the new route table");
        }
    }
}

/// Writes one message.
pub(crate) async fn write_message(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    to.write_all(&[&length.to_be_bytes()[..], &json].concat()).await
}

/// Reads one message.
pub(crate) async fn read_message<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = from.read_u32().await?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = vec![0; length as usize];
    from.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}
