//! A tree as a tar file, for programs that read those.

use std::io::{Result, Write};

use kiln_store::{Kind, Node, Tree};
use tar::{EntryType, Header};

pub(crate) fn write(tree: &Tree, out: impl Write) -> Result<()> {
    let mut builder = tar::Builder::new(std::io::BufWriter::with_capacity(1 << 18, out));
    // Names of hard links come after the files they name.
    let linked = |node: &Node| matches!(node.kind, Kind::Hardlink(_));
    let ordered = tree.nodes.iter().filter(|(_, node)| !linked(node));
    for (path, node) in ordered.chain(tree.nodes.iter().filter(|(_, node)| linked(node))) {
        add(&mut builder, path, node)?;
    }
    builder.into_inner()?.flush()
}

fn add(builder: &mut tar::Builder<impl Write>, path: &[u8], node: &Node) -> Result<()> {
    let path = if path.is_empty() { "./".to_owned() } else { String::from_utf8_lossy(path).into_owned() };
    let mut header = Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(u64::from(node.uid));
    header.set_gid(u64::from(node.gid));
    header.set_mtime(u64::try_from(node.mtime).unwrap_or(0));
    header.set_size(0);
    match &node.kind {
        Kind::Folder => {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, format!("{}/", path.trim_end_matches('/')), &[][..])
        }
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, path, &*String::from_utf8_lossy(target))
        }
        Kind::Hardlink(target) => {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, path, &*String::from_utf8_lossy(target))
        }
        Kind::File(content) => {
            header.set_size(content.len());
            builder.append_data(&mut header, path, &*content.read()?)
        }
    }
}
