//! Go's build information: version of Go and modules, in the section `.go.buildinfo` of a program, or (stripped of
//! section names) at the start of its data. Source: Go's debug/buildinfo.

use object::read::elf::{ElfFile32, ElfFile64};
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags};

use super::{Family, Finding, Findings};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The blob's address is aligned, and has 16 bytes before its two strings or pointers.
const ALIGN: u64 = 16;
/// In the flags: strings follow inline, as since Go 1.18.
const INLINE: u8 = 2;
/// In the flags: pointers are big-endian.
const BIG_ENDIAN: u8 = 1;
/// `PF_R | PF_W`.
const READ_WRITE: u32 = 6;
/// Module lists of real programs are below 200 KiB.
const TEXT_LIMIT: usize = 16 << 20;

pub(crate) fn read(bytes: &[u8]) -> Findings {
    // 32-bit and 64-bit files are types of their own in `object`.
    let found = match bytes.get(4) {
        Some(1) => ElfFile32::<object::Endianness>::parse(bytes).ok().map(|file| build_info(&file)),
        _ => ElfFile64::<object::Endianness>::parse(bytes).ok().map(|file| build_info(&file)),
    };
    match found {
        Some(Ok(Some((version, modules)))) => Findings::of(packages(&version, &modules)),
        Some(Err(reason)) => Findings::problem(format!("its Go build information cannot be read: {reason}")),
        Some(Ok(None)) | None => Findings::default(),
    }
}

type Strings = Option<(String, String)>;

/// The two strings; `None` when this is no Go program.
fn build_info<'data>(file: &impl Object<'data>) -> Result<Strings, &'static str> {
    let Some(blob) = find(file) else { return Ok(None) };
    let (Some(pointer_size), Some(flags)) = (blob.get(14), blob.get(15)) else {
        return Err("it is cut short");
    };
    let strings = if flags & INLINE != 0 {
        inline(blob.get(32..).unwrap_or_default())
    } else {
        pointed(file, blob, usize::from(*pointer_size), flags & BIG_ENDIAN != 0)
    };
    let (version, modules) = strings.ok_or("its strings lead out of the program")?;
    if version.is_empty() {
        return Ok(None);
    }
    Ok(Some((text(version), text(trim_sentinels(modules)))))
}

fn find<'data>(file: &impl Object<'data>) -> Option<&'data [u8]> {
    if let Some(section) = file.section_by_name(".go.buildinfo") {
        let data = section.data().ok()?;
        return data.starts_with(MAGIC).then_some(data);
    }
    // Without the section, as Go itself does: in what can be read and written.
    let writable =
        |flags| matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags.0 & READ_WRITE == READ_WRITE);
    let segments = file.segments().filter(|segment| writable(segment.flags()));
    segments.filter_map(|segment| Some((segment.address(), segment.data().ok()?))).find_map(
        |(start, data)| {
            let aligned = |at: &usize| start.wrapping_add(*at as u64).is_multiple_of(ALIGN);
            memchr::memmem::find_iter(data, MAGIC).find(aligned).map(|at| &data[at..])
        },
    )
}

fn inline(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (version, rest) = counted(data)?;
    // The module list is missing in programs built without modules.
    Some((version, counted(rest).map_or(&[][..], |(modules, _)| modules)))
}

/// A length in 7-bit groups, lowest first, and as many bytes.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length: usize = 0;
    for (index, byte) in data.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = &data[index + 1..];
            return (length <= TEXT_LIMIT && length <= rest.len()).then(|| rest.split_at(length));
        }
    }
    None
}

/// Before Go 1.18: two pointers to string headers, each a pointer and a length.
fn pointed<'data>(
    file: &impl Object<'data>,
    blob: &[u8],
    size: usize,
    big_endian: bool,
) -> Option<(&'data [u8], &'data [u8])> {
    let number = |bytes: &[u8]| -> Option<u64> {
        let bytes = bytes.get(..size)?;
        let digit = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match (size, big_endian) {
            (4 | 8, true) => Some(bytes.iter().fold(0, digit)),
            (4 | 8, false) => Some(bytes.iter().rev().fold(0, digit)),
            _ => None,
        }
    };
    let string = |at: usize| -> Option<&'data [u8]> {
        let header = memory(file, number(blob.get(at..)?)?, 2 * size)?;
        let length = usize::try_from(number(&header[size..])?).ok()?;
        (length <= TEXT_LIMIT).then(|| memory(file, number(header)?, length))?
    };
    Some((string(16)?, string(16 + size).unwrap_or_default()))
}

fn memory<'data>(file: &impl Object<'data>, address: u64, length: usize) -> Option<&'data [u8]> {
    file.segments().find_map(|segment| {
        let offset = usize::try_from(address.checked_sub(segment.address())?).ok()?;
        segment.data().ok()?.get(offset..)?.get(..length)
    })
}

/// The list stands between two markers of 16 bytes.
fn trim_sentinels(modules: &[u8]) -> &[u8] {
    let end = modules.len().wrapping_sub(16);
    if modules.len() >= 33 && modules[end - 1] == b'\n' { &modules[16..end] } else { &[] }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lines of the list: `mod PATH VERSION SUM`, `dep …`, and `=> …` for what stands in for the one before.
fn packages(version: &str, modules: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut main = false;
    for line in modules.lines() {
        let mut fields = line.split('\t');
        let (kind, path, version) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
        let Some(path) = path.filter(|path| !path.is_empty()) else { continue };
        match kind {
            Some(kind @ ("mod" | "dep")) => {
                main |= kind == "mod";
                found.push(Finding::new(Family::Go, path, version));
            }
            Some("=>") => replace(&mut found, path, version),
            _ => {}
        }
    }
    // Such as `go1.22.1` or `go1.22.1 X:boringcrypto`; versions under development have no number.
    let tool = version.split(' ').next().unwrap_or_default();
    if let Some(number) = tool.strip_prefix("go") {
        found.push(Finding::new(Family::Go, "stdlib", number));
    }
    if main && let Some((first, rest)) = found.split_first_mut() {
        first.needs = rest.iter().map(|one| vec![one.name.clone()]).collect();
    }
    found
}

/// A module that another stands in for is not in the program. A folder of the builder's has no version and no
/// name that means anything elsewhere, so the module's own stay.
fn replace(found: &mut [Finding], path: &str, version: &str) {
    if let Some(last) = found.last_mut()
        && !version.is_empty()
    {
        last.name = path.to_owned();
        last.version = version.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_lists_are_read_with_replacements() {
        let list = "path\tx/cmd\nmod\tx\t(devel)\t\ndep\ta\tv1.0.0\th1:\n=>\tb\tv2.0.0\th1:\ndep\tc\tv0.1.0\t\n=>\t./c\t\t\n";
        let found = packages("go1.22.1 X:boring", list);
        let names: Vec<_> = found.iter().map(|one| format!("{}@{}", one.name, one.version)).collect();
        assert_eq!(names, ["x@(devel)", "b@v2.0.0", "c@v0.1.0", "stdlib@1.22.1"]);
        assert_eq!(found[0].needs.len(), 3);
    }
}
