//! Inventories as documents that others read: CycloneDX 1.6 and SPDX 2.3, both JSON.
//!
//! Equal inventories give equal bytes: there is no clock and no chance in them. Identifiers of documents come from
//! their own content, which names the image by digest. Nothing is read back from these formats; Kiln keeps the
//! [`Inventory`] itself.

mod cyclonedx;
mod license;
mod spdx;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{Ecosystem, Inventory, Package};

pub use cyclonedx::cyclonedx;
pub use spdx::spdx;

/// What a document is called and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the image or folder, such as `shop/api`, without tag.
    pub name: &'a str,
    /// RFC 3339 time of the document; `None` takes that of the image.
    pub created: Option<&'a str>,
}

impl Subject<'_> {
    /// In UTC to the second, as SPDX wants it; `None` when nobody gives a time that can be read.
    fn time(&self, inventory: &Inventory) -> Option<String> {
        let time: Timestamp = self.created.or(inventory.created.as_deref())?.parse().ok()?;
        Some(Timestamp::from_second(time.as_second()).ok()?.to_string())
    }
}

/// Name and version of the program that writes the documents.
const TOOL: (&str, &str) = ("kiln", env!("CARGO_PKG_VERSION"));

/// A UUID of version 8 (RFC 9562: the bits are the maker's own) from a document's content.
fn uuid(content: &[u8]) -> String {
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(content)[..16]);
    bytes[6] = 0x80 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// Group (Maven), scope (npm) or vendor (Composer), and the name proper.
fn split(package: &Package) -> (Option<&str>, &str) {
    let parts = match package.ecosystem {
        Ecosystem::Maven => package.name.split_once(':'),
        Ecosystem::Npm | Ecosystem::Composer => package.name.split_once('/'),
        _ => None,
    };
    parts.map_or((None, &package.name), |(group, name)| (Some(group), name))
}

/// The last part of an image's name.
fn short(name: &str) -> &str {
    name.rsplit('/').find(|part| !part.is_empty()).unwrap_or("image")
}
