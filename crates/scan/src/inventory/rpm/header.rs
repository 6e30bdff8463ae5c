//! A package's header as RPM's databases keep it: two big-endian counts, an index of 16-byte entries (tag, type,
//! offset, count), and the data they point into. Source: rpm's docs/manual/format_header.md.

use super::super::{Family, Finding, wanted};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const PROVIDE_NAME: u32 = 1047;
const REQUIRE_NAME: u32 = 1049;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;

/// Types of data: 32-bit numbers, one text, several texts, one text in several languages.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

/// The package of a header; `None` for keys, which RPM keeps among the packages.
pub(crate) fn read(blob: &[u8]) -> Result<Option<Finding>, &'static str> {
    let header = Header::new(blob).ok_or("its index or data is cut short")?;
    let name = header.text(NAME).ok_or("it has no name")?;
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    let version = header.text(VERSION).ok_or("it has no version")?;
    let release = header.text(RELEASE).ok_or("it has no release")?;
    let epoch = header.numbers(EPOCH).next().map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let mut found = Finding::new(Family::Rpm, name, format!("{epoch}{version}-{release}"));
    found.architecture = header.text(ARCH);
    found.licenses = header.text(LICENSE).into_iter().filter(|text| !text.is_empty()).collect();
    found.source_file = header.text(SOURCE_RPM).filter(|text| text.ends_with(".rpm"));
    found.source = found.source_file.as_deref().and_then(source);
    found.needs = header
        .texts(REQUIRE_NAME)
        .filter(|name| !name.starts_with("rpmlib("))
        .map(|name| vec![name])
        .collect();
    found.offers = header.texts(PROVIDE_NAME).collect();
    found.files = header.files();
    Ok(Some(found))
}

/// `NAME-VERSION-RELEASE.src.rpm`.
fn source(file: &str) -> Option<(String, String)> {
    let stem = file.strip_suffix(".rpm")?;
    let stem = stem.strip_suffix(".src").or_else(|| stem.strip_suffix(".nosrc"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name.to_owned(), format!("{version}-{release}")))
}

impl<'a> Header<'a> {
    fn new(blob: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(number(blob, 0)?).ok()?;
        let bytes = usize::try_from(number(blob, 4)?).ok()?;
        let index = blob.get(8..8usize.checked_add(entries.checked_mul(16)?)?)?;
        let data = blob.get(8 + index.len()..)?.get(..bytes)?;
        Some(Self { index, data })
    }

    /// Type, count and data of a tag.
    fn entry(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        let count = usize::try_from(number(entry, 12)?).ok()?;
        Some((number(entry, 4)?, count, self.data.get(offset..)?))
    }

    fn texts(&self, tag: u32) -> impl Iterator<Item = String> + use<'a> {
        let entry = self.entry(tag).filter(|(kind, ..)| matches!(*kind, STRING | STRING_ARRAY | I18N_STRING));
        let (kind, count, data) = entry.unwrap_or((STRING, 0, &[]));
        let count = if kind == STRING { count.min(1) } else { count };
        // What follows the last NUL is not a text but the end of the data.
        let texts = data.split_inclusive(|byte| *byte == 0).filter_map(|text| text.strip_suffix(&[0]));
        texts.take(count).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn text(&self, tag: u32) -> Option<String> {
        self.texts(tag).next()
    }

    fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> + use<'a> {
        let (_, count, data) = self.entry(tag).filter(|(kind, ..)| *kind == INT32).unwrap_or((INT32, 0, &[]));
        data.chunks_exact(4).take(count).filter_map(|bytes| number(bytes, 0))
    }

    fn files(&self) -> Vec<String> {
        let folders: Vec<String> = self.texts(DIR_NAMES).collect();
        let pairs = self.texts(BASE_NAMES).zip(self.numbers(DIR_INDEXES));
        let paths = pairs.filter_map(|(name, folder)| {
            let folder = folders.get(usize::try_from(folder).ok()?)?.trim_start_matches('/');
            // A crafted header could pair one long folder with a million names.
            (folder.len() + name.len() <= 4096).then(|| format!("{folder}{name}"))
        });
        paths.filter(|path| wanted::may_tell(path)).collect()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
