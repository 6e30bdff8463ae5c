//! As much of ELF as the loader's cache needs: what kind of library a file is, and what it calls itself.

/// A shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// 1 for 32 bits, 2 for 64 (`EI_CLASS`).
    pub(super) class: u8,
    /// `e_machine`.
    pub(super) machine: u16,
    /// `DT_SONAME`.
    pub(super) soname: Option<String>,
}

const ET_DYN: u64 = 3;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// More headers or entries than this are not read.
const MANY: u64 = 4096;

/// Reads a little-endian library; `None` for anything else.
pub(super) fn read(bytes: &[u8]) -> Option<Library> {
    let ident = bytes.get(..16)?;
    let class = ident[4];
    if &ident[..4] != b"\x7fELF" || !matches!(class, 1 | 2) || ident[5] != 1 {
        return None;
    }
    let file = File { bytes, wide: class == 2 };
    if file.number(16, 2)? != ET_DYN {
        return None;
    }
    let machine = u16::try_from(file.number(18, 2)?).ok()?;
    let (offset, size, count) = match file.wide {
        true => (file.number(32, 8)?, file.number(54, 2)?, file.number(56, 2)?),
        false => (file.number(28, 4)?, file.number(42, 2)?, file.number(44, 2)?),
    };
    let segments: Vec<Segment> = (0..count.min(MANY))
        .filter_map(|n| file.segment(offset.checked_add(n.checked_mul(size)?)?))
        .collect();
    let soname = segments.iter().find(|segment| segment.kind == PT_DYNAMIC).and_then(|dynamic| {
        let table = file.entry(dynamic, DT_STRTAB)?;
        let name = file.entry(dynamic, DT_SONAME)?;
        let load = segments.iter().find(|segment| {
            segment.kind == PT_LOAD && table >= segment.address && table - segment.address < segment.size
        })?;
        file.text((table - load.address).checked_add(load.offset)?.checked_add(name)?)
    });
    Some(Library { class, machine, soname })
}

struct File<'a> {
    bytes: &'a [u8],
    wide: bool,
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl File<'_> {
    fn number(&self, at: u64, width: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn segment(&self, at: u64) -> Option<Segment> {
        let field = |wide: u64, narrow: u64| match self.wide {
            true => self.number(at.checked_add(wide)?, 8),
            false => self.number(at.checked_add(narrow)?, 4),
        };
        Some(Segment {
            kind: self.number(at, 4)?,
            offset: field(8, 4)?,
            address: field(16, 8)?,
            size: field(32, 16)?,
        })
    }

    /// The value of a dynamic entry.
    fn entry(&self, dynamic: &Segment, wanted: u64) -> Option<u64> {
        let width: usize = if self.wide { 8 } else { 4 };
        let step = width as u64;
        for number in 0..(dynamic.size / (2 * step)).min(MANY) {
            let at = dynamic.offset.checked_add(number * 2 * step)?;
            match self.number(at, width)? {
                0 => return None,
                tag if tag == wanted => return self.number(at + step, width),
                _ => {}
            }
        }
        None
    }

    fn text(&self, at: u64) -> Option<String> {
        let rest = self.bytes.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().take(4096).position(|b| *b == 0)?;
        let name = std::str::from_utf8(&rest[..end]).ok()?;
        (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
    }
}
