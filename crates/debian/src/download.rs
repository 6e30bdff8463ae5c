//! Getting one file from any of several addresses: repeats what may pass, continues what broke off, believes
//! nothing but size and digest, and tells at the end what each address said.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::Attempt;
use crate::request::{Event, Progress};
use crate::transport::{Fault, Transport};

/// What is to be had: the promise of a signed index or a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// What to call it before people: `package dash`, `index of bookworm`.
    pub(crate) what: &'a str,
    /// Its path below an archive's root, for messages.
    pub(crate) path: &'a str,
    /// Addresses in the order they are asked.
    pub(crate) urls: &'a [String],
    /// Number of bytes.
    pub(crate) size: u64,
    /// 64 lower-case hex digits.
    pub(crate) sha256: &'a str,
}

/// Downloads to `partial`, or continues it, and hands back the verified file, at its start.
///
/// `received` is told the number of new bytes.
pub(crate) async fn to_file(
    transport: &Transport,
    wanted: Wanted<'_>,
    partial: &Path,
    progress: &dyn Progress,
    received: &(dyn Fn(u64) + Sync),
) -> Result<File, Error> {
    let (mut file, partial) = open(partial)?;
    let mut attempts = Vec::new();
    for url in wanted.urls {
        match from_one(transport, wanted, url, &mut file, &partial, progress, received).await? {
            Ok(()) => {
                let rewound = file.seek(SeekFrom::Start(0));
                rewound.map_err(|source| Error::file("read", &partial, source))?;
                return Ok(file);
            }
            Err(fault) => {
                progress.event(Event::Retry { url, why: &fault.to_string() });
                attempts.push(Attempt { url: url.clone(), fault });
            }
        }
    }
    Err(Error::download(wanted.what, wanted.path, &attempts))
}

/// Downloads into memory.
pub(crate) async fn to_memory(
    transport: &Transport,
    wanted: Wanted<'_>,
    progress: &dyn Progress,
    partial: &Path,
) -> Result<Vec<u8>, Error> {
    let mut file = to_file(transport, wanted, partial, progress, &|_| ()).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(wanted.size).unwrap_or_default());
    file.read_to_end(&mut bytes).map_err(|source| Error::file("read", partial, source))?;
    fs::remove_file(partial).ok();
    Ok(bytes)
}

/// Opens a partial file for ourselves alone; when another process has it, a file of our own.
fn open(partial: &Path) -> Result<(File, std::path::PathBuf), Error> {
    let open = |path: &Path| {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|source| Error::file("create", path, source))
    };
    let file = open(partial)?;
    if file.try_lock().is_ok() {
        return Ok((file, partial.to_owned()));
    }
    let own = crate::cache::temporary(partial);
    let file = open(&own)?;
    // The open file is all that is needed of it.
    fs::remove_file(&own).ok();
    Ok((file, own))
}

/// Asks one address until it gives the file or a fault that does not pass. The outer error is about our own disk.
async fn from_one(
    transport: &Transport,
    wanted: Wanted<'_>,
    url: &str,
    file: &mut File,
    path: &Path,
    progress: &dyn Progress,
    received: &(dyn Fn(u64) + Sync),
) -> Result<Result<(), Fault>, Error> {
    let mut wait = transport.timeouts.back_off;
    let mut attempt = 1;
    loop {
        let resumed = file.metadata().map_err(|source| Error::file("read", path, source))?.len();
        let fault = match once(transport, wanted, url, file, received).await {
            Ok(()) => return Ok(Ok(())),
            Err(Failure::Disk(source)) => return Err(Error::file("write", path, source)),
            Err(Failure::Mirror(fault)) => fault,
        };
        // What was continued may have been wrong from the start: that is not this mirror's fault.
        let again = matches!(fault, Fault::Digest { .. } | Fault::TooLong(_)) && resumed > 0;
        if matches!(fault, Fault::Digest { .. } | Fault::TooLong(_)) {
            file.set_len(0).map_err(|source| Error::file("write", path, source))?;
        }
        if !(again || fault.passes()) || attempt >= transport.timeouts.attempts {
            return Ok(Err(fault));
        }
        progress.event(Event::Retry { url, why: &fault.to_string() });
        tokio::time::sleep(wait).await;
        wait *= 2;
        attempt += 1;
    }
}

enum Failure {
    Disk(std::io::Error),
    Mirror(Fault),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Mirror(fault)
    }
}

/// One question, continuing what the file holds.
async fn once(
    transport: &Transport,
    wanted: Wanted<'_>,
    url: &str,
    file: &mut File,
    received: &(dyn Fn(u64) + Sync),
) -> Result<(), Failure> {
    let mut have = file.metadata()?.len();
    let mut hasher = Sha256::new();
    if have > wanted.size {
        file.set_len(0)?;
        have = 0;
    }
    file.seek(SeekFrom::Start(0))?;
    if have > 0 {
        std::io::copy(file, &mut HashWriter(&mut hasher))?;
    }
    let mut page = false;
    if have < wanted.size || wanted.size == 0 {
        let mut answer = match transport.get(url, have, None).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(Fault::Status(304).into()),
            // Refused ranges say nothing about the file.
            Err(Fault::Status(416)) => {
                file.set_len(0)?;
                return Err(Fault::Broken("it refused to continue".to_owned()).into());
            }
            Err(fault) => return Err(fault.into()),
        };
        page = answer.page;
        if answer.offset != have {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            hasher = Sha256::new();
            have = 0;
        }
        while let Some(piece) = answer.next().await {
            let piece = piece?;
            have += piece.len() as u64;
            if have > wanted.size {
                return Err(Fault::TooLong(wanted.size).into());
            }
            hasher.update(&piece);
            file.write_all(&piece)?;
            received(piece.len() as u64);
        }
    }
    if have != wanted.size && page {
        // A page is not the beginning of the file.
        file.set_len(0)?;
    }
    if have != wanted.size {
        return Err(Fault::Size { got: have, expected: wanted.size }.into());
    }
    let got = hex::encode(hasher.finalize());
    if got != wanted.sha256 {
        let hint = if page { " (a web page: is there a captive portal or proxy in between?)" } else { "" };
        return Err(Fault::Digest { got, expected: wanted.sha256.to_owned(), hint }.into());
    }
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
