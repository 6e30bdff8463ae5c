//! One file from an HTTP server: asked for only when it changed, resumed where it broke off, checked before it is read.
//!
//! What arrived of an unfinished download stays in `download/` with the entity tag it belongs to. It is gone on with
//! only under that tag (`If-Range`, RFC 9110 section 13.1.5), so two states of a file never mix.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use reqwest::{Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Step, UpdateOptions};
use crate::advisories::AdvisoryError;

/// A finished download.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) path: PathBuf,
    pub(super) etag: Option<String>,
    pub(super) served: Option<Timestamp>,
}

/// Downloads into one folder.
pub(super) struct Downloader<'a> {
    client: reqwest::Client,
    dir: PathBuf,
    options: &'a UpdateOptions,
}

/// Why one attempt failed, and whether another may do better.
struct Fault {
    reason: String,
    passes: bool,
}

/// What lies beside a part: the entity tag under which it may be gone on with.
#[derive(Serialize, Deserialize)]
struct Note {
    url: String,
    etag: String,
}

/// The answer to one question.
enum Answer {
    Unchanged,
    Whole(Fetched),
}

impl<'a> Downloader<'a> {
    pub(super) fn new(dir: PathBuf, options: &'a UpdateOptions) -> Result<Self, AdvisoryError> {
        let error = |error: &dyn std::error::Error| AdvisoryError::Client { reason: innermost(error) };
        let client = kiln_outbound::client()
            .map_err(|source| error(&source))?
            .connect_timeout(options.timeout)
            .read_timeout(options.timeout)
            .build()
            .map_err(|source| error(&source))?;
        std::fs::create_dir_all(&dir).map_err(AdvisoryError::file("create", &dir))?;
        Ok(Self { client, dir, options })
    }

    /// Fetches a file; `None` when it is still the one of that tag.
    pub(super) async fn fetch(
        &self,
        url: &str,
        known: Option<&str>,
    ) -> Result<Option<Fetched>, AdvisoryError> {
        let part = self.part(url);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.ask(url, known, &part).await {
                Ok(Answer::Unchanged) => return Ok(None),
                Ok(Answer::Whole(fetched)) => return Ok(Some(fetched)),
                Err(fault) if fault.passes && attempt < self.options.attempts => {
                    // A server that is restarting is back in a moment.
                    tokio::time::sleep(Duration::from_millis(100 << attempt.min(5))).await;
                }
                Err(fault) => {
                    return Err(AdvisoryError::Download { url: url.to_owned(), reason: fault.reason });
                }
            }
        }
    }

    fn part(&self, url: &str) -> PathBuf {
        let name = <Sha256 as sha2::Digest>::digest(url);
        self.dir.join(format!("{}.part", hex::encode(&name[..16])))
    }

    async fn ask(&self, url: &str, known: Option<&str>, part: &Path) -> Result<Answer, Fault> {
        let begun = begun(part, url);
        let mut request = self.client.get(url);
        if let Some((length, etag)) = &begun {
            request =
                request.header(header::RANGE, format!("bytes={length}-")).header(header::IF_RANGE, etag);
        } else if let Some(etag) = known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| Fault::network(&error))?;
        let offset = match response.status() {
            StatusCode::NOT_MODIFIED if known.is_some() && begun.is_none() => return Ok(Answer::Unchanged),
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT
                if range_start(&response) == begun.as_ref().map(|(length, _)| *length) =>
            {
                begun.map_or(0, |(length, _)| length)
            }
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
                discard(part);
                return Err(Fault::passing("its answer does not go on where the download broke off"));
            }
            status => return Err(Fault::status(status)),
        };
        self.receive(url, response, offset, part).await.map(Answer::Whole)
    }

    async fn receive(
        &self,
        url: &str,
        mut response: Response,
        offset: u64,
        part: &Path,
    ) -> Result<Fetched, Fault> {
        let text =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(Fault::lasting("it sent a web page, not data"));
        }
        let etag = text(header::ETAG);
        let served = text(header::LAST_MODIFIED).and_then(|date| http_date(&date));
        let sum = text(header::HeaderName::from_static("x-goog-hash")).as_deref().and_then(md5_of);
        let total = response.content_length().map(|rest| rest.saturating_add(offset));
        let limit = self.options.limits.file;
        if total.is_some_and(|total| total > limit) {
            return Err(Fault::lasting(format!("it has more than {limit} bytes")));
        }
        let mut file = open_part(part, url, offset, etag.as_deref())?;
        let mut length = offset;
        while let Some(piece) = response.chunk().await.map_err(|error| Fault::network(&error))? {
            length += piece.len() as u64;
            if length > limit {
                discard(part);
                return Err(Fault::lasting(format!("it has more than {limit} bytes")));
            }
            file.write_all(&piece).map_err(|error| Fault::local(&error))?;
            (self.options.step)(Step::Downloaded(url, length));
        }
        drop(file);
        if let Some(total) = total.filter(|total| *total != length) {
            return Err(Fault::passing(format!("it sent {length} of {total} bytes")));
        }
        if let Some(expected) = sum {
            check(part, &expected)?;
        }
        Ok(Fetched { path: part.to_owned(), etag, served })
    }
}

/// Removes a download that was read or is of no use.
pub(super) fn discard(part: &Path) {
    // What cannot be removed is overwritten by the next download of the same address.
    let _ = std::fs::remove_file(part);
    let _ = std::fs::remove_file(part.with_extension("json"));
}

/// How much of the file is there, and under which tag it may be gone on with.
fn begun(part: &Path, url: &str) -> Option<(u64, String)> {
    let length = std::fs::metadata(part).ok()?.len();
    let note: Note = serde_json::from_slice(&std::fs::read(part.with_extension("json")).ok()?).ok()?;
    (length > 0 && note.url == url).then_some((length, note.etag))
}

fn open_part(part: &Path, url: &str, offset: u64, etag: Option<&str>) -> Result<std::fs::File, Fault> {
    if offset > 0 {
        return std::fs::OpenOptions::new().append(true).open(part).map_err(|error| Fault::local(&error));
    }
    discard(part);
    let file = std::fs::File::create(part).map_err(|error| Fault::local(&error))?;
    // Weak tags promise no equality of bytes.
    if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/")) {
        let note = Note { url: url.to_owned(), etag: etag.to_owned() };
        let note = serde_json::to_vec(&note).unwrap_or_default();
        std::fs::write(part.with_extension("json"), note).map_err(|error| Fault::local(&error))?;
    }
    Ok(file)
}

/// Google's servers, where OSV's export lies, send `crc32c=…,md5=<base64>` of the whole file.
fn md5_of(header: &str) -> Option<Vec<u8>> {
    let text = header.split(',').find_map(|part| part.trim().strip_prefix("md5="))?;
    base64(text)
}

/// The standard alphabet with padding (RFC 4648 section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xFF_FFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    Some(bytes)
}

fn check(part: &Path, expected: &[u8]) -> Result<(), Fault> {
    let mut hash = Md5::new();
    let mut file = std::fs::File::open(part).map_err(|error| Fault::local(&error))?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut piece).map_err(|error| Fault::local(&error))? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    if hash.finalize().as_slice() == expected {
        return Ok(());
    }
    discard(part);
    Err(Fault::passing("it sent other bytes than its checksum says"))
}

/// `bytes 100-199/200` begins at 100.
fn range_start(response: &Response) -> Option<u64> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

impl Fault {
    fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), passes: true }
    }

    fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), passes: false }
    }

    fn network(error: &reqwest::Error) -> Self {
        Self::passing(innermost(error))
    }

    fn local(error: &std::io::Error) -> Self {
        Self::lasting(format!("cannot keep what arrived: {error}"))
    }

    fn status(status: StatusCode) -> Self {
        let passes = matches!(status.as_u16(), 408 | 425 | 429 | 500..=599);
        let hint = if matches!(status.as_u16(), 403 | 404) { ": there is no such file" } else { "" };
        Self { reason: format!("it answered {}{hint}", status.as_u16()), passes }
    }
}

/// The innermost cause: the outer ones only repeat the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
