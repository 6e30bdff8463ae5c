//! Package lists in compact form: one line per package, the fields the solver and the lock need, and nothing else.
//!
//! Debian's `main` is 50 MB of text in 1.3 million lines, of which most is descriptions. The compact form is about a
//! third of it, needs no decompression, and is what the cache holds: reading it takes some 20 ms instead of 600.

use std::io::{BufRead, BufReader, Read};

use crate::Error;

/// First line of the compact form; the number changes with its columns.
const HEADER: &str = "kiln package index 1\n";

/// More text than this in one list is not believed.
const LIMIT: u64 = 2 << 30;

/// The columns, by field name, in order.
const FIELDS: [&str; 15] = [
    "Package",
    "Provides",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Priority",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Conflicts",
    "Breaks",
    "Filename",
    "Size",
    "SHA256",
];

/// One package list.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    text: String,
}

/// One package of a list, as the list writes it; absent fields are empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    columns: [&'a str; FIELDS.len()],
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = [""; FIELDS.len()];
        let mut found = line.split('\t');
        for column in &mut columns {
            *column = found.next()?;
        }
        found.next().is_none().then_some(Self { columns })
    }

    pub(crate) fn name(&self) -> &'a str {
        self.columns[0]
    }

    pub(crate) fn provides(&self) -> &'a str {
        self.columns[1]
    }

    pub(crate) fn version(&self) -> &'a str {
        self.columns[2]
    }

    pub(crate) fn architecture(&self) -> &'a str {
        self.columns[3]
    }

    pub(crate) fn multi_arch(&self) -> &'a str {
        self.columns[4]
    }

    pub(crate) fn essential(&self) -> bool {
        self.columns[5] == "yes"
    }

    /// 0 for `required` to 4 for `optional` and anything else.
    pub(crate) fn priority(&self) -> u8 {
        match self.columns[6] {
            "required" => 0,
            "important" => 1,
            "standard" => 2,
            "optional" => 3,
            _ => 4,
        }
    }

    pub(crate) fn pre_depends(&self) -> &'a str {
        self.columns[7]
    }

    pub(crate) fn depends(&self) -> &'a str {
        self.columns[8]
    }

    pub(crate) fn recommends(&self) -> &'a str {
        self.columns[9]
    }

    pub(crate) fn conflicts(&self) -> &'a str {
        self.columns[10]
    }

    pub(crate) fn breaks(&self) -> &'a str {
        self.columns[11]
    }

    pub(crate) fn filename(&self) -> &'a str {
        self.columns[12]
    }

    pub(crate) fn size(&self) -> &'a str {
        self.columns[13]
    }

    pub(crate) fn sha256(&self) -> &'a str {
        self.columns[14]
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { text: HEADER.to_owned() }
    }
}

impl Index {
    /// Reads a `Packages` file; how it is compressed is told by the ending of `path`.
    pub(crate) fn read(path: &str, bytes: &[u8], architecture: &str) -> Result<Self, Error> {
        let broken = |reason: String| Error::Index { path: path.to_owned(), reason };
        let reader: Box<dyn Read + '_> = if path.ends_with(".xz") {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(bytes))
        } else if path.ends_with(".gz") {
            Box::new(flate2::bufread::MultiGzDecoder::new(bytes))
        } else {
            Box::new(bytes)
        };
        let reader = BufReader::with_capacity(1 << 17, reader.take(LIMIT));
        compact(reader, architecture).map_err(|error| broken(error.to_string()))
    }

    /// Takes the compact form, if it is of this version of Kiln and whole.
    pub(crate) fn from_compact(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let body = text.strip_prefix(HEADER)?;
        // The last line is its own kind: a file that was cut off has none.
        body.ends_with(END).then_some(Self { text })
    }

    /// The compact form.
    pub(crate) fn compact(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// All packages, in the list's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.text.lines().skip(1).filter_map(Row::parse)
    }
}

/// The last line.
const END: &str = "end\n";

fn compact(mut reader: impl BufRead, architecture: &str) -> std::io::Result<Index> {
    let mut text = HEADER.to_owned();
    let mut columns: [String; FIELDS.len()] = Default::default();
    let mut current = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let end = reader.read_until(b'\n', &mut line)? == 0;
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if line.is_empty() {
            flush(&mut text, &mut columns, architecture);
            current = None;
            if end {
                text.push_str(END);
                return Ok(Index { text });
            }
            continue;
        }
        let continued = matches!(line[0], b' ' | b'\t');
        let value = if continued {
            &line[..]
        } else {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                return Err(std::io::Error::other("a line is no field"));
            };
            current = FIELDS.iter().position(|field| field.as_bytes() == &line[..colon]);
            &line[colon + 1..]
        };
        if let Some(column) = current {
            let value = std::str::from_utf8(value).map_err(std::io::Error::other)?.trim();
            let column: &mut String = &mut columns[column];
            if !column.is_empty() {
                column.push(' ');
            }
            match value.contains('\t') {
                true => column.push_str(&value.replace('\t', " ")),
                false => column.push_str(value),
            }
        }
    }
}

fn flush(text: &mut String, columns: &mut [String; FIELDS.len()], architecture: &str) {
    if !columns[0].is_empty() && (columns[3] == architecture || columns[3] == "all") {
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                text.push('\t');
            }
            text.push_str(column);
        }
        text.push('\n');
    }
    columns.iter_mut().for_each(String::clear);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: &str = "Package: a\nVersion: 1\nArchitecture: amd64\nDescription: x\n y\nDepends: b,\n c\n\n\
        Package: other\nVersion: 1\nArchitecture: arm64\n\n\
        Package: b\nArchitecture: all\nVersion: 2\nPriority: required\nSize: 7\n";

    #[test]
    fn keeps_what_is_needed_of_the_wanted_architecture() {
        let index = Index::read("main/binary-amd64/Packages", PACKAGES.as_bytes(), "amd64").unwrap();
        let rows: Vec<_> = index.rows().map(|row| (row.name(), row.depends(), row.priority())).collect();
        assert_eq!(rows, [("a", "b, c", 4), ("b", "", 0)]);
    }

    #[test]
    fn a_cut_compact_file_is_no_index() {
        let index = Index::read("Packages", PACKAGES.as_bytes(), "amd64").unwrap();
        let bytes = index.compact().to_vec();
        assert!(Index::from_compact(bytes.clone()).is_some());
        for length in [0, HEADER.len(), bytes.len() - 1, bytes.len() - END.len()] {
            assert!(Index::from_compact(bytes[..length].to_vec()).is_none(), "{length}");
        }
    }

    #[test]
    fn broken_lists_are_errors() {
        let error = Index::read("Packages.xz", b"no xz", "amd64").unwrap_err();
        assert!(error.to_string().contains("Packages.xz"), "{error}");
        assert!(Index::read("Packages", b"Package: a\nnonsense\n", "amd64").is_err());
    }
}
