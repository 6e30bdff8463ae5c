//! `Packages.db`, rpm's own format ("new database"), used by SUSE: a page-aligned table of 16-byte slots, each
//! with the place of a blob in 16-byte blocks. Little-endian. Source: rpm's lib/backend/ndb/rpmpkg.c.

use super::super::Findings;
use super::Headers;

const HEADER: &[u8] = b"RpmP";
const SLOT: &[u8] = b"Slot";
const BLOB: &[u8] = b"BlbS";
const PAGE: usize = 4096;
const BLOCK: usize = 16;
/// The header takes the place of the first two slots.
const FIRST_SLOT: usize = 32;

pub(crate) fn read(bytes: &[u8]) -> Findings {
    if !bytes.starts_with(HEADER) || number(bytes, 4) != Some(0) {
        return Findings::problem("it is not an ndb package database of version 0");
    }
    let end = number(bytes, 12).and_then(|pages| pages.checked_mul(PAGE));
    let Some(slots) = end.and_then(|end| bytes.get(FIRST_SLOT..end)) else {
        return Findings::problem("its table of slots is cut short");
    };
    let mut headers = Headers::default();
    for slot in slots.chunks_exact(16) {
        if !slot.starts_with(SLOT) {
            headers.fault("a slot is damaged");
            break;
        }
        if number(slot, 4) == Some(0) {
            continue;
        }
        match blob(bytes, slot) {
            Some(blob) if headers.push(blob) => {}
            Some(_) => break,
            None => headers.fault("a slot leads out of the file"),
        }
    }
    headers.findings()
}

fn blob<'a>(bytes: &'a [u8], slot: &[u8]) -> Option<&'a [u8]> {
    let start = number(slot, 8)?.checked_mul(BLOCK)?;
    let blob = bytes.get(start..)?;
    if !blob.starts_with(BLOB) || number(blob, 4) != number(slot, 4) {
        return None;
    }
    blob.get(16..)?.get(..number(blob, 12)?)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}
