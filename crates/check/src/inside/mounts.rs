//! Mounts of an instance, and whether its root is kept from writing.

use kiln_model::ReadOnlyRootCheck;

use super::Inside;
use crate::finding::{Finding, Judge};

/// Places that a sandbox gives to programs for files that die with the instance.
pub(crate) const SCRATCH: [&str; 3] = ["/tmp", "/run", "/dev/shm"];
/// Folders in which writing is tried, where they exist.
const TRIED: [&str; 8] = ["/", "/etc", "/usr", "/var", "/var/lib", "/opt", "/srv", "/home"];
/// So many files are looked at; who has more has left something.
const MOST: usize = 100_000;
/// So many are told.
const TOLD: usize = 5;

/// One mount (proc(5), mountinfo).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) point: String,
    pub(crate) kind: String,
    pub(crate) source: String,
    /// Of the mount, then of the file system.
    pub(crate) options: Vec<String>,
    pub(crate) filesystem_options: Vec<String>,
}

impl Inside {
    /// The mounts that the first process sees.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        parse(&self.proc("mountinfo").unwrap_or_default())
    }

    /// Files below a folder on the same file system, at most [`MOST`].
    fn files_below(&self, folder: &str, found: &mut Vec<String>) {
        let mut todo = vec![folder.to_owned()];
        while let Some(path) = todo.pop() {
            let Ok(entries) = self.folder(&path) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name == "." || name == ".." {
                    continue;
                }
                let below = format!("{path}/{name}");
                if self.volumes.contains(&below) || found.len() >= MOST {
                    continue;
                }
                match entry.file_type() {
                    rustix::fs::FileType::Directory => todo.push(below),
                    _ => found.push(below),
                }
            }
        }
    }
}

fn parse(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut rest = rest.split(' ');
        let (kind, source, super_options) = (rest.next()?, rest.next()?, rest.next().unwrap_or_default());
        let mut fields = mount.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Some(Mount {
            point: unescape(point),
            kind: kind.into(),
            source: unescape(source),
            options: list(options),
            filesystem_options: list(super_options),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Space, tab, newline and backslash are written as octal escapes.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// Tries to write where nobody may, and looks for what the program has left.
pub(crate) fn read_only(wanted: &ReadOnlyRootCheck, inside: &Inside) -> Result<(), Finding> {
    let mut judge = Judge::new("the root file system");
    let mounts = inside.mounts();
    let root = mounts.iter().rev().find(|mount| mount.point == "/");
    let read_only = root.is_some_and(|root| root.options.iter().any(|option| option == "ro"));
    judge.that(read_only, "to be mounted read-only", "a writable mount");
    let name = format!(".kiln-check-{}", std::process::id());
    for folder in TRIED.into_iter().filter(|folder| !inside.volumes.iter().any(|volume| volume == folder)) {
        let there = inside.stat(folder, true).is_ok_and(|found| found.is_some());
        let written = there && inside.try_to_write(folder, &name).is_ok();
        judge.that(!written, format_args!("writing to {folder} to fail"), "that it could be written");
    }
    let mut files = Vec::new();
    SCRATCH.iter().for_each(|place| inside.files_below(place, &mut files));
    let allowed = |path: &String| match &wanted.writes {
        None => true,
        Some(places) => places.iter().any(|place| {
            let place = place.trim_end_matches('/');
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
    };
    let left: Vec<String> = files.into_iter().filter(|path| !allowed(path)).collect();
    let more = if left.len() > TOLD { format!(" and {} more", left.len() - TOLD) } else { String::new() };
    let told = left.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    let places = wanted.writes.as_ref().map(|places| places.join(", ")).filter(|list| !list.is_empty());
    let expected = match places {
        Some(places) => format!("files of the program only in {places} and volumes"),
        None => "no files of the program outside of volumes".into(),
    };
    judge.that(left.is_empty(), expected, format!("{told}{more}"));
    judge.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let text = "1 0 0:30 / / ro,relatime - overlay kiln ro,lowerdir=/a\n\
                    2 1 0:31 / /srv/my\\040data rw,nosuid shared:3 - tmpfs tmpfs rw,size=64k\nbroken\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[1].point.as_str(), mounts[1].kind.as_str()), ("/srv/my data", "tmpfs"));
        assert_eq!(mounts[0].options, ["ro", "relatime"]);
        assert_eq!(mounts[1].filesystem_options, ["rw", "size=64k"]);
    }
}
