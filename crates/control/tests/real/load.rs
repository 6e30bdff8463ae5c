//! Constant load: a request at a time, each on a connection of its own, and every answer kept.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Asks once; the body, or what went wrong.
pub(crate) fn get(port: u16, path: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(body.into()) } else { Err(format!("{status}: {body}")) }
}

/// How often which answer came, and what went wrong.
type Told = (BTreeMap<String, u64>, Vec<String>);

/// Load until it is ended.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Told>>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let run = |stop: Arc<AtomicBool>| {
            move || {
                let (mut answers, mut failures) = (BTreeMap::new(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match get(port, "/") {
                        Ok(body) => *answers.entry(body).or_insert(0) += 1,
                        Err(error) => failures.push(error),
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                (answers, failures)
            }
        };
        let threads = (0..3).map(|_| std::thread::spawn(run(stop.clone()))).collect();
        Self { stop, threads }
    }

    /// Ends it; how often which answer came. Any failure fails the test.
    pub(crate) fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for thread in self.threads {
            let (answers, failures) = thread.join().unwrap();
            assert!(failures.is_empty(), "{} requests lost: {:?}", failures.len(), failures.first());
            for (answer, times) in answers {
                *all.entry(answer).or_insert(0) += times;
            }
        }
        all
    }
}
