//! Gzip members that are short and alike, as Kiln writes its layers: each is decompressed at one stroke.
//!
//! A decompressor that has all of its input and room for all of its output needs less than half of the time of one
//! that can stop anywhere. Where a member ends is only known once it is decompressed, so its end is guessed: it is
//! where the header of the first member comes again. A guess that was wrong shows, because then the sum and the
//! length before it are not those of the bytes; everything from that member on is left to the ordinary
//! decompressor, which also says what is wrong with a damaged one. The layer's digests judge the whole either way.

use std::io::{self, BufRead};

use libdeflater::Decompressor;
use memchr::memmem::Finder;

use super::source::Source;

/// RFC 1952 section 2.3: a header without optional fields.
const HEADER: usize = 10;
/// The sum and the length of the member's content.
const FOOTER: usize = 8;
/// What a member may hold: twice what Kiln writes.
const CONTENT: usize = 2 << 20;
/// As far as the next header is looked for: what cannot be compressed grows by 5 bytes in each 65,535.
const REACH: usize = CONTENT + (CONTENT >> 8);

/// Reads members while they are as expected.
pub(super) struct Members {
    decompressor: Decompressor,
    next: Finder<'static>,
}

impl Members {
    /// `None` when the first member is of another kind.
    pub(super) fn new(source: &Source) -> Option<Self> {
        let header = source.ready().get(..HEADER)?;
        // Deflate, and no optional fields.
        header
            .starts_with(&[0x1f, 0x8b, 8, 0])
            .then(|| Self { decompressor: Decompressor::new(), next: Finder::new(header).into_owned() })
    }

    /// Decompresses one member into `room` from `at` on, and tells where its content ends there. `None` when the
    /// ordinary decompressor is to go on from here, which it is at the end too.
    pub(super) fn read(
        &mut self,
        source: &mut Source,
        room: &mut Vec<u8>,
        at: usize,
    ) -> io::Result<Option<usize>> {
        let Some(length) = self.length(source)? else { return Ok(None) };
        let member = &source.ready()[..length];
        let end = self.unpack(member, room, at);
        if end.is_some() {
            source.consume(length);
        }
        Ok(end)
    }

    /// How long the member at the beginning of what is ready seems to be.
    fn length(&self, source: &mut Source) -> io::Result<Option<usize>> {
        let mut searched = HEADER + FOOTER;
        loop {
            let ready = source.ready();
            if let Some(found) = ready.get(searched..).and_then(|rest| self.next.find(rest)) {
                return Ok(Some(searched + found));
            }
            if ready.len() > REACH {
                return Ok(None);
            }
            // The header may have begun in what is ready.
            searched = searched.max((ready.len() + 1).saturating_sub(HEADER));
            if !source.more()? {
                let rest = source.ready().len();
                return Ok((rest >= HEADER + FOOTER).then_some(rest));
            }
        }
    }

    fn unpack(&mut self, member: &[u8], room: &mut Vec<u8>, at: usize) -> Option<usize> {
        if !member.starts_with(self.next.needle()) {
            return None;
        }
        let (packed, footer) = member.get(HEADER..)?.split_last_chunk::<FOOTER>()?;
        let [s0, s1, s2, s3, l0, l1, l2, l3] = *footer;
        let length =
            usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok().filter(|it| *it <= CONTENT)?;
        let end = at + length;
        if room.len() < end {
            room.resize(end, 0);
        }
        let content = &mut room[at..end];
        let written = self.decompressor.deflate_decompress(packed, content).ok()?;
        let whole = written == length && libdeflater::crc32(content) == u32::from_le_bytes([s0, s1, s2, s3]);
        whole.then_some(end)
    }
}
