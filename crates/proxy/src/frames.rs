//! Where WebSocket frames begin and end (RFC 6455 §5.2), so that one more can be put between two of them.

/// Follows a stream of frames.
#[derive(Default)]
pub(crate) struct Frames {
    /// Bytes of the current frame's header so far.
    header: [u8; 14],
    have: usize,
    /// Bytes of the current frame's payload still to come.
    payload: u64,
}

impl Frames {
    /// Bytes go by.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.header_length() {
                self.payload = self.payload_length();
                self.have = 0;
            }
        }
    }

    /// Whether no frame is on its way. A control frame may stand here even when a message is in fragments (§5.4).
    pub(crate) fn between(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    fn header_length(&self) -> usize {
        let extended = match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        match self.header[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_found_however_the_bytes_are_cut() {
        let mut stream = vec![0x81, 3, 1, 2, 3];
        let mut borders = vec![0, 5];
        stream.extend([0x82, 126, 1, 0]);
        stream.extend([7; 256]);
        borders.push(stream.len());
        stream.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend(vec![7; 65_536]);
        borders.push(stream.len());
        stream.extend([0x89, 0x80, 1, 2, 3, 4]);
        borders.push(stream.len());
        let mut frames = Frames::default();
        for (at, byte) in stream.iter().enumerate() {
            assert_eq!(frames.between(), borders.contains(&at), "{at}");
            frames.pass(&[*byte]);
        }
        for cut in [1, 4, 300, 70_000] {
            let mut frames = Frames::default();
            stream[..stream.len().min(cut)].chunks(97).for_each(|part| frames.pass(part));
            stream[stream.len().min(cut)..].chunks(1_000).for_each(|part| frames.pass(part));
            assert!(frames.between());
        }
    }
}
