//! `Packages` of rpm before 4.16: a Berkeley DB hash file, in the byte order of the machine that wrote it.
//!
//! No lookup is needed, so buckets do not matter: every hash page is read for its values, and values that do not
//! fit a page are followed through their overflow pages. Source: Berkeley DB 5.3, src/dbinc/db_page.h.

use super::super::Findings;
use super::Headers;

const HASH_MAGIC: u32 = 0x0006_1561;
const PAGE_HEADER: usize = 26;
/// Types of pages.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
/// Types of items on a hash page.
const KEY_DATA: u8 = 1;
const OFF_PAGE: u8 = 3;
/// Shorter values are not headers: key 0 holds the next package's number.
const SMALLEST_HEADER: usize = 16;

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    big_endian: bool,
}

pub(crate) fn read(bytes: &[u8]) -> Findings {
    let Some(database) = Database::new(bytes) else {
        return Findings::problem(
            "it is not a Berkeley DB hash file, which is what rpm wrote under this name",
        );
    };
    let mut headers = Headers::default();
    // A damaged file could lead to the same pages over and over: in all, no more is followed than there is.
    let mut budget = bytes.len();
    for page in bytes.chunks_exact(database.page_size).skip(1) {
        if !matches!(page[25], HASH | HASH_UNSORTED) {
            continue;
        }
        for at in database.values(page) {
            match database.value(page, at, &mut budget) {
                Some(blob) if blob.len() < SMALLEST_HEADER => {}
                Some(blob) if headers.push(&blob) => {}
                Some(_) => return headers.findings(),
                None => headers.fault("an item leads out of its page or file"),
            }
        }
    }
    headers.findings()
}

impl<'a> Database<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let magic: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
        let big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (HASH_MAGIC, _) => false,
            (_, HASH_MAGIC) => true,
            _ => return None,
        };
        let mut database = Self { bytes, page_size: 0, big_endian };
        database.page_size = database.number(bytes, 20)?;
        let sound = database.page_size.is_power_of_two() && (512..=65_536).contains(&database.page_size);
        sound.then_some(database)
    }

    /// The index numbers of a page's values: items are keys and values in turn.
    fn values(&self, page: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let most = (self.page_size - PAGE_HEADER) / 2;
        let entries = self.short(page, 20).unwrap_or(0).min(most);
        (1..entries).step_by(2)
    }

    fn value(&self, page: &[u8], index: usize, budget: &mut usize) -> Option<Vec<u8>> {
        let start = self.short(page, PAGE_HEADER + 2 * index)?;
        // Items grow down from the end of the page: one ends where the one before begins.
        let end = self.short(page, PAGE_HEADER + 2 * (index - 1))?;
        let item = page.get(start..end)?;
        match *item.first()? {
            KEY_DATA => Some(item[1..].to_vec()),
            OFF_PAGE => self.overflow(self.number(item, 4)?, self.number(item, 8)?, budget),
            _ => None,
        }
    }

    fn overflow(&self, first: usize, length: usize, budget: &mut usize) -> Option<Vec<u8>> {
        *budget = budget.checked_sub(length)?;
        let mut value = Vec::with_capacity(length);
        let mut number = first;
        while value.len() < length {
            let start = number.checked_mul(self.page_size)?;
            let page = self.bytes.get(start..start.checked_add(self.page_size)?)?;
            // On these pages the field for the free space holds the number of bytes; none would be a loop.
            let held = self.short(page, 22)?;
            if page[25] != OVERFLOW || held == 0 {
                return None;
            }
            value.extend_from_slice(page.get(PAGE_HEADER..PAGE_HEADER + held)?);
            number = self.number(page, 16)?;
        }
        (value.len() == length).then_some(value)
    }

    fn number(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        let number = if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
        usize::try_from(number).ok()
    }

    fn short(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }))
    }
}
