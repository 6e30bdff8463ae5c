//! The control plane's own record of what happened, read over its socket as a tool would.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::{Project, SOON};

/// The stream of events.
pub(crate) struct Events(BufReader<UnixStream>);

impl Events {
    /// What happens after event number `after`; `None` when nobody serves.
    pub(crate) fn follow(project: &Project, after: i64) -> Option<Self> {
        Self::open(project, &format!("/v1/events?after={after}&follow=true"))
    }

    fn open(project: &Project, path: &str) -> Option<Self> {
        let mut stream = UnixStream::connect(project.env.kiln_home().join("run/serve.sock")).ok()?;
        stream.set_read_timeout(Some(SOON)).ok()?;
        // HTTP/1.0 knows no chunks: the answer is the lines alone, to the end of the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: kiln\r\n\r\n").as_bytes()).ok()?;
        let mut events = Self(BufReader::new(stream));
        while !events.line()?.is_empty() {}
        Some(events)
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.line()?;
            if !line.is_empty() {
                return serde_json::from_str(&line).ok();
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

/// Everything that has happened.
pub(crate) fn all(project: &Project) -> Vec<Value> {
    let mut events = Events::open(project, "/v1/events?after=0&follow=false").expect("a control plane");
    std::iter::from_fn(|| events.next()).collect()
}

/// The number of the last event.
pub(crate) fn last(project: &Project) -> i64 {
    let status = project.env.kiln(["status", "--json"]).success().json();
    status["last_event"].as_i64().expect("a number")
}

/// The last event of a kind.
pub(crate) fn latest<'a>(events: &'a [Value], kind: &str) -> Option<&'a Value> {
    events.iter().rev().find(|event| event["kind"] == kind)
}
