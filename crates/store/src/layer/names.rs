//! Names of entries: cleaned, and refused when no honest archive has them. Also the whiteout names of the OCI
//! image specification (layer.md).

use super::LayerError;
use super::error::show;

/// Longest path that Linux takes in one call, less the final NUL.
const PATH_LIMIT: usize = 4095;
/// Longest name of one component.
const NAME_LIMIT: usize = 255;

/// What a name means beside itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `.wh.NAME`: the path of NAME, which is gone.
    Gone(Vec<u8>),
    /// `.wh..wh..opq`: the path of the folder whose lower content is gone.
    Opaque(Vec<u8>),
    /// Another name that begins with `.wh..wh.`: left by aufs, meaningless.
    Ignored,
}

/// Turns a name of an archive into a path as [`crate::Tree`] has them: no leading `./`, no trailing `/`,
/// nothing empty. The root is the empty path.
pub fn clean_path(raw: &[u8]) -> Result<Vec<u8>, LayerError> {
    let refuse = |reason| Err(LayerError::Name { path: show(raw), reason });
    if raw.starts_with(b"/") {
        return refuse("has an absolute name");
    }
    if raw.is_empty() {
        return refuse("has an empty name");
    }
    let mut path = Vec::with_capacity(raw.len());
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return refuse("has a `..` in its name"),
            part if part.len() > NAME_LIMIT => return refuse("has a name longer than 255 bytes"),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    if path.len() > PATH_LIMIT {
        return refuse("has a path longer than 4095 bytes");
    }
    Ok(path)
}

/// Cleans the target of a hard link. Docker writes some with a leading slash; that is the image's root.
pub fn clean_link(entry: &[u8], raw: &[u8]) -> Result<Vec<u8>, LayerError> {
    let refused = || LayerError::Hardlink { path: show(entry), target: show(raw) };
    match clean_path(raw) {
        Ok(path) if !path.is_empty() => Ok(path),
        _ => Err(refused()),
    }
}

/// Whether a clean path is a whiteout.
pub fn marker(path: &[u8]) -> Result<Option<Marker>, LayerError> {
    let split = path.iter().rposition(|b| *b == b'/');
    let (parent, name) = match split {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(None) };
    if hidden == b".wh..opq" {
        return Ok(Some(Marker::Opaque(parent.to_vec())));
    }
    if hidden.starts_with(b".wh.") {
        return Ok(Some(Marker::Ignored));
    }
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(LayerError::Name { path: show(path), reason: "is a whiteout of nothing" });
    }
    let mut target = parent.to_vec();
    if !target.is_empty() {
        target.push(b'/');
    }
    target.extend_from_slice(hidden);
    Ok(Some(Marker::Gone(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        assert_eq!(clean_path(b"./usr//bin/./x/").unwrap(), b"usr/bin/x");
        assert_eq!(clean_path(b"./").unwrap(), b"");
        for bad in [&b"/etc"[..], b"a/../b", b"..", b"", b"a/.."] {
            assert!(clean_path(bad).is_err(), "{}", show(bad));
        }
        assert!(clean_path(&[b'a'; 256]).is_err());
        assert!(clean_path(&b"ab/".repeat(1500)).is_err());
    }

    #[test]
    fn whiteouts_are_known_by_name() {
        assert_eq!(marker(b"a/.wh.b").unwrap(), Some(Marker::Gone(b"a/b".to_vec())));
        assert_eq!(marker(b".wh..wh..opq").unwrap(), Some(Marker::Opaque(Vec::new())));
        assert_eq!(marker(b".wh..wh.plnk").unwrap(), Some(Marker::Ignored));
        assert_eq!(marker(b"a/wh.b").unwrap(), None);
        assert!(marker(b"a/.wh.").is_err());
        assert!(marker(b"a/.wh...").is_err());
    }
}
