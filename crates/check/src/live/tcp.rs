//! Conversations over TCP.

use std::time::Duration;

use kiln_model::{Span, TcpCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::{place, slow};
use crate::finding::{Finding, Judge};
use crate::{Connector, Target};

/// What is read at most before the answer is judged.
const LONGEST_ANSWER: usize = 1 << 20;

pub(crate) async fn run<C: Connector>(
    wanted: &TcpCheck,
    target: &Target<'_>,
    connector: &C,
    limit: Span,
) -> Result<(), Finding> {
    let what = match &wanted.port {
        Some(port) => format!("a connection to port {port}"),
        None => "a connection".to_owned(),
    };
    let (_, _, endpoint) = place(&what, wanted.port.as_ref(), target, |_| true)?;
    let deadline = Instant::now() + limit.duration();
    let stream = timeout_at(deadline, connector.connect(endpoint)).await;
    let stream = stream.map_err(|_| slow(&what, limit))?;
    let mut stream = stream.map_err(|error| Finding::failed(&what, "to be accepted", &error))?;
    if let Some(text) = &wanted.send {
        let sent = timeout_at(deadline, stream.write_all(text.as_bytes())).await;
        sent.map_err(|_| slow(&what, limit))?
            .map_err(|error| Finding::failed(&what, "to take what is sent", &error))?;
    }
    if wanted.expect.is_empty() {
        return Ok(());
    }
    answer(&what, wanted, &mut stream, deadline).await
}

/// Reads until the answer is as wanted, the other side ends, or the time is over.
async fn answer<S: crate::Stream>(
    what: &str,
    wanted: &TcpCheck,
    stream: &mut S,
    deadline: Instant,
) -> Result<(), Finding> {
    let mut bytes = Vec::new();
    loop {
        let read = timeout_at(deadline, stream.read_buf(&mut bytes)).await;
        let ended = !matches!(read, Ok(Ok(1..))) || bytes.len() > LONGEST_ANSWER;
        let mut judge = Judge::new(what);
        judge.text("the answer", &wanted.expect, &String::from_utf8_lossy(&bytes));
        let verdict = judge.verdict();
        // Something equal may still go on: only the end, or a moment of silence, says that it does not.
        let silent = verdict.is_ok() && (wanted.expect.equals.is_none() || quiet(stream, &mut bytes).await);
        if ended || silent {
            return verdict;
        }
    }
}

/// Whether nothing more comes for a moment.
async fn quiet<S: crate::Stream>(stream: &mut S, bytes: &mut Vec<u8>) -> bool {
    !matches!(tokio::time::timeout(Duration::from_millis(50), stream.read_buf(bytes)).await, Ok(Ok(1..)))
}
