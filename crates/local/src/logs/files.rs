//! The files of one log, whose names change while they are looked at.
//!
//! The supervisor renames `1` to `2`, then `current` to `1`, and then makes a new `current`. In between a name may be
//! missing, and whoever opens one name after the other may meet a file twice or not at all. So names are read again
//! once all files are open: a file never gets a former name back, so names that have not changed all meant what they
//! mean at the same moment.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// One look takes microseconds, and rotations are apart by a file's worth of writing.
const LOOKS: u32 = 100;
/// A rotation ends at once unless the supervisor has no processor, or died in it.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct LogFiles {
    folder: PathBuf,
}

/// What all names meant at one moment.
struct Look {
    /// Newest first.
    files: Vec<File>,
    /// Whether no rotation was under way: there is a file to write to.
    has_current: bool,
    /// Whether it was one moment indeed.
    consistent: bool,
}

impl LogFiles {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// All files there are, newest first; none when there is no log yet.
    pub(super) fn to_begin_with(&self) -> io::Result<Vec<File>> {
        let mut look = self.look()?;
        for _ in 1..LOOKS {
            if look.consistent && (look.has_current || !self.folder.exists()) {
                break;
            }
            std::thread::sleep(PAUSE);
            look = self.look()?;
        }
        Ok(look.files)
    }

    /// The file that was begun after this one, or the oldest there is when this one is gone. `None` when it is the
    /// newest, and also while that cannot be told: ask again.
    pub(super) fn after(&self, file: Option<&File>) -> io::Result<Option<File>> {
        let own = file.map(File::metadata).transpose()?.map(|data| identity(&data));
        if own.is_some() && self.identity_of(0)? == own {
            return Ok(None);
        }
        let Look { mut files, consistent, .. } = self.look()?;
        if !consistent {
            return Ok(None);
        }
        for (index, file) in files.iter().enumerate() {
            if Some(identity(&file.metadata()?)) == own {
                files.truncate(index);
                break;
            }
        }
        Ok(files.pop())
    }

    fn look(&self) -> io::Result<Look> {
        let mut files = Vec::new();
        let mut seen = Vec::new();
        // A rotation leaves one gap between the numbers at most.
        while !matches!(seen[..], [_, .., None, None]) {
            let file = found(File::open(self.name(seen.len())))?;
            let own = file.as_ref().map(File::metadata).transpose()?.map(|data| identity(&data));
            files.extend(file.filter(|_| !seen.contains(&own)));
            seen.push(own);
        }
        let mut consistent = true;
        for (number, identity) in seen.iter().enumerate() {
            consistent &= self.identity_of(number)? == *identity;
        }
        Ok(Look { files, has_current: seen[0].is_some(), consistent })
    }

    fn identity_of(&self, number: usize) -> io::Result<Option<(u64, u64)>> {
        Ok(found(fs::metadata(self.name(number)))?.map(|data| identity(&data)))
    }

    fn name(&self, number: usize) -> PathBuf {
        match number {
            0 => self.folder.join("current"),
            number => self.folder.join(number.to_string()),
        }
    }
}

fn identity(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
