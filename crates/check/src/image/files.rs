//! Files as checks see them: those of the image from its layers, those in writable places from the running instance.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use kiln_store::{Entry, EntryKind};

use super::ImageView;
use crate::inside::Inside;

/// Links that are followed in one path, as by Linux.
const LINKS: usize = 40;
/// The most of one file that is read.
const LARGEST: u64 = 64 << 20;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Folder,
    Symlink,
    /// A socket, pipe or device of the running instance.
    Other,
}

/// What is known of a path.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) what: What,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Target of a link as it stands.
    pub(crate) link: Option<String>,
    /// Where the content is.
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Image(Vec<u8>),
    Instance(String),
}

/// An image, and an instance of it where there is one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) image: &'a ImageView,
    pub(crate) inside: Option<&'a Inside>,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Symlink => "symlink",
            Self::Other => "device, pipe or socket",
        })
    }
}

/// Whether a path is in a place that belongs to the instance and not to the image.
pub(crate) fn of_instance(path: &str, volumes: &[String]) -> bool {
    const PLACES: [&str; 8] =
        ["/proc", "/dev", "/sys", "/tmp", "/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    let below =
        |place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    PLACES.iter().any(|place| below(place)) || volumes.iter().any(|volume| below(volume))
}

impl View<'_> {
    /// What is at an absolute path; `None` when nothing is. A link at its end is followed when asked.
    pub(crate) fn look(&self, path: &str, follow: bool) -> io::Result<Option<Facts>> {
        let mut todo: Vec<Vec<u8>> = parts(path.as_bytes()).rev().collect();
        let mut done: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                done.truncate(done.iter().rposition(|b| *b == b'/').unwrap_or(0));
                continue;
            }
            let here = if done.is_empty() { part } else { [&done, &b"/"[..], &part].concat() };
            if let Some(inside) = self.inside
                && of_instance(&format!("/{}", String::from_utf8_lossy(&here)), &inside.volumes)
            {
                let rest = todo.iter().rev().map(Vec::as_slice);
                let all: Vec<&[u8]> = std::iter::once(here.as_slice()).chain(rest).collect();
                return inside_facts(inside, &String::from_utf8_lossy(&all.join(&b'/')), follow);
            }
            match self.image.contents.items.get(&here).map(|item| &item.entry) {
                Some(entry) if entry.kind == EntryKind::Symlink && (follow || !todo.is_empty()) => {
                    links += 1;
                    if links > LINKS {
                        return Err(io::Error::other("too many symbolic links"));
                    }
                    if entry.link.starts_with(b"/") {
                        done.clear();
                    }
                    todo.extend(parts(&entry.link).collect::<Vec<_>>().into_iter().rev());
                }
                Some(_) => done = here,
                // Parents may be missing in layers, but then something is below them.
                None if self.is_parent(&here) => done = here,
                None => return Ok(None),
            }
        }
        Ok(Some(self.image_facts(&done)))
    }

    fn is_parent(&self, path: &[u8]) -> bool {
        let prefix = [path, b"/"].concat();
        self.image.contents.items.range(prefix.clone()..).next().is_some_and(|(p, _)| p.starts_with(&prefix))
    }

    fn image_facts(&self, path: &[u8]) -> Facts {
        let items = &self.image.contents.items;
        let entry = items.get(path).map(|item| &item.entry);
        let original = entry
            .filter(|entry| entry.kind == EntryKind::Hardlink)
            .and_then(|entry| items.get(&entry.link))
            .map(|item| &item.entry);
        let implied = Entry { kind: EntryKind::Folder, mode: 0o755, ..Entry::default() };
        let entry = original.or(entry).unwrap_or(&implied);
        Facts {
            what: match entry.kind {
                EntryKind::File | EntryKind::Hardlink => What::File,
                EntryKind::Folder => What::Folder,
                EntryKind::Symlink => What::Symlink,
                EntryKind::Device | EntryKind::Fifo => What::Other,
            },
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            link: (entry.kind == EntryKind::Symlink)
                .then(|| String::from_utf8_lossy(&entry.link).into_owned()),
            place: Place::Image(path.to_owned()),
        }
    }

    /// The content of a file.
    pub(crate) fn read(&self, facts: &Facts) -> io::Result<Vec<u8>> {
        let file = match &facts.place {
            Place::Image(path) => {
                let inside = self.image.root.join(OsStr::from_bytes(path));
                crate::inside::open_below(&self.image.root, &inside)?
            }
            Place::Instance(path) => match self.inside {
                Some(inside) => inside.open_file(path)?,
                None => return Err(io::ErrorKind::NotFound.into()),
            },
        };
        read_all(file)
    }

    /// The content of a small table as text; empty when there is none.
    pub(crate) fn table(&self, path: &str) -> io::Result<String> {
        match self.look(path, true)? {
            Some(facts) if facts.what == What::File => {
                Ok(String::from_utf8_lossy(&self.read(&facts)?).into_owned())
            }
            _ => Ok(String::new()),
        }
    }

    /// Names of files right in a folder of the image.
    pub(crate) fn names_in(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{}/", folder.trim_start_matches('/')).into_bytes();
        let items: &BTreeMap<_, _> = &self.image.contents.items;
        let below = items.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let names = below.map(|(path, _)| String::from_utf8_lossy(&path[prefix.len()..]).into_owned());
        names.filter(|name| !name.contains('/')).collect()
    }
}

fn read_all(file: File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

fn inside_facts(inside: &Inside, path: &str, follow: bool) -> io::Result<Option<Facts>> {
    let path = format!("/{path}");
    let Some(found) = inside.stat(&path, follow)? else { return Ok(None) };
    use rustix::fs::FileType;
    let what = match FileType::from_raw_mode(found.stat.st_mode) {
        FileType::RegularFile => What::File,
        FileType::Directory => What::Folder,
        FileType::Symlink => What::Symlink,
        _ => What::Other,
    };
    Ok(Some(Facts {
        what,
        mode: found.stat.st_mode & 0o7777,
        uid: inside.users.inner(found.stat.st_uid),
        gid: inside.groups.inner(found.stat.st_gid),
        size: u64::try_from(found.stat.st_size).unwrap_or(0),
        link: found.link,
        place: Place::Instance(path),
    }))
}
