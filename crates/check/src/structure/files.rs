//! Tests of files and of the licences in them.

use serde_json::{Map, Value};

use super::{Verdict, flag, patterns, plain, text, texts};
use crate::finding::{Finding, Judge, chain};
use crate::foreign::{Document, ForeignError};
use crate::image::files::{View, What};

/// Words that no licence may contain, and the folder where Debian's are, as container-structure-test has them.
const FORBIDDEN: [&str; 2] = ["AGPL", "WTFPL"];
const DEBIAN: &str = "usr/share/doc";
/// Passed whatever its file says, as there.
const EXCEPTION: &str = "libgnutls30";

#[derive(Debug)]
pub(super) struct Existence {
    pub(super) name: String,
    path: String,
    should_exist: bool,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    executable_by: Option<String>,
}

#[derive(Debug)]
pub(super) struct Content {
    pub(super) name: String,
    path: String,
    expected: Vec<String>,
    excluded: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Licenses {
    debian: bool,
    files: Vec<String>,
}

pub(super) fn existence(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
) -> Result<Existence, ForeignError> {
    let known = ["name", "path", "shouldExist", "permissions", "uid", "gid", "isExecutableBy"];
    document.only(place, body, &known)?;
    let number = |key: &str| match body.get(key) {
        None => Ok(None),
        Some(value) => plain(value)
            .parse()
            .map(Some)
            .map_err(|_| document.form(&format!("{place}.{key}"), "must be a number")),
    };
    let by = body.get("isExecutableBy").map(plain);
    if by.as_deref().is_some_and(|by| !["owner", "group", "other", "any"].contains(&by)) {
        let place = format!("{place}.isExecutableBy");
        return Err(document.form(&place, "must be owner, group, other or any"));
    }
    Ok(Existence {
        name: text(document, place, body, "name")?,
        path: text(document, place, body, "path")?,
        should_exist: flag(document, place, body, "shouldExist")?.unwrap_or(true),
        permissions: body.get("permissions").map(plain).filter(|text| !text.is_empty()),
        uid: number("uid")?,
        gid: number("gid")?,
        executable_by: by,
    })
}

pub(super) fn content(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
) -> Result<Content, ForeignError> {
    document.only(place, body, &["name", "path", "expectedContents", "excludedContents"])?;
    Ok(Content {
        name: text(document, place, body, "name")?,
        path: text(document, place, body, "path")?,
        expected: texts(document, place, body, "expectedContents")?.unwrap_or_default(),
        excluded: texts(document, place, body, "excludedContents")?.unwrap_or_default(),
    })
}

pub(super) fn licenses(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
) -> Result<Licenses, ForeignError> {
    document.only(place, body, &["debian", "files"])?;
    Ok(Licenses {
        debian: flag(document, place, body, "debian")?.unwrap_or(false),
        files: texts(document, place, body, "files")?.unwrap_or_default(),
    })
}

impl Existence {
    pub(super) fn judge(&self, view: &View<'_>) -> Verdict {
        let what = format!("file {}", self.path);
        // A link is looked at itself, as there.
        let found = view.look(&self.path, false);
        let found = found.map_err(|error| Finding::failed(&what, "to be read", &error))?;
        let mut judge = Judge::new(&what);
        let there = found.is_some();
        let say = |there: bool| if there { "to exist" } else { "nothing there" };
        judge.that(
            there == self.should_exist,
            say(self.should_exist),
            if there { "a file" } else { "nothing" },
        );
        let Some(facts) = found.filter(|_| self.should_exist) else { return judge.verdict() };
        let mode = listed(facts.what, facts.mode);
        judge.field("permissions", self.permissions.as_ref(), &mode);
        judge.field("uid", self.uid.as_ref(), &facts.uid);
        judge.field("gid", self.gid.as_ref(), &facts.gid);
        if let Some(by) = &self.executable_by {
            let bits = match by.as_str() {
                "owner" => 0o100,
                "group" => 0o010,
                "other" => 0o001,
                _ => 0o111,
            };
            judge.that(
                facts.mode & bits != 0,
                format_args!("executable by {by}"),
                format_args!("mode {mode}"),
            );
        }
        judge.verdict()
    }
}

/// A mode as Go's `os.FileMode` writes it: `-rwxr-xr-x`, `drwxr-xr-x`, `Lrwxrwxrwx`.
fn listed(what: What, mode: u32) -> String {
    let mut text = match what {
        What::Folder => "d".to_owned(),
        What::Symlink => "L".to_owned(),
        What::File | What::Other => String::new(),
    };
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (number, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> number) != 0 { letter } else { '-' });
    }
    text
}

impl Content {
    pub(super) fn judge(&self, view: &View<'_>) -> Verdict {
        let content = read(view, &self.path)?;
        let mut judge = Judge::new(format!("file {}", self.path));
        patterns(&mut judge, "the content", &self.expected, true, &content);
        patterns(&mut judge, "the content", &self.excluded, false, &content);
        judge.verdict()
    }
}

fn read(view: &View<'_>, path: &str) -> Result<String, Finding> {
    let fail = |found: String| Finding::new(format!("file {path}"), "to be read", found);
    let facts = view.look(path, true).map_err(|error| fail(chain(&error)))?;
    let facts = facts.ok_or_else(|| fail("nothing there".into()))?;
    let content = view.read(&facts).map_err(|error| fail(chain(&error)))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

impl Licenses {
    pub(super) fn judge(&self, view: &View<'_>) -> Verdict {
        let mut judge = Judge::new("licenses");
        let mut paths = self.files.clone();
        if self.debian {
            let prefix = format!("{DEBIAN}/").into_bytes();
            let items = view.image.contents.items.range(prefix.clone()..);
            let below = items.map(|(path, _)| path).take_while(|path| path.starts_with(&prefix));
            let mut packages: Vec<String> = below
                .filter_map(|path| {
                    String::from_utf8_lossy(&path[prefix.len()..]).split('/').next().map(str::to_owned)
                })
                .collect();
            packages.dedup();
            judge.that(!packages.is_empty(), format_args!("licences below /{DEBIAN}"), "none");
            let packages = packages.into_iter().filter(|package| package != EXCEPTION).filter(|package| {
                let folder = format!("/{DEBIAN}/{package}");
                matches!(view.look(&folder, false), Ok(Some(facts)) if facts.what == What::Folder)
            });
            paths.extend(packages.map(|package| format!("/{DEBIAN}/{package}/copyright")));
        }
        for path in paths {
            match read(view, &path) {
                Ok(text) => {
                    let text = text.to_uppercase();
                    for word in FORBIDDEN.into_iter().filter(|word| text.contains(word)) {
                        judge.that(false, format_args!("no {word} in {path}"), "it");
                    }
                }
                Err(finding) => judge.that(false, format_args!("a licence at {path}"), finding.found),
            }
        }
        judge.verdict()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_go_writes_them() {
        assert_eq!(listed(What::File, 0o755), "-rwxr-xr-x");
        assert_eq!(listed(What::Folder, 0o1777), "dtrwxrwxrwx");
        assert_eq!(listed(What::Symlink, 0o777), "Lrwxrwxrwx");
        assert_eq!(listed(What::File, 0o4755), "urwxr-xr-x");
    }
}
