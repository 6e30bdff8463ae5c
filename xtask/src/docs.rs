//! Documents that are generated from what is there.

use std::fs;

use crate::{Error, cargo, graph, root};

/// Writes all of them.
pub fn run() -> Result<(), Error> {
    let text = graph::render(&graph::edges(&graph::metadata(false)?));
    fs::write(graph::file(), text).map_err(Error::file("write", graph::file()))?;
    println!("wrote {}", graph::file().display());
    // The test that compares the reference with the language also writes it, so that this tool need not link Kiln.
    let test = ["test", "--quiet", "--package", "xtask", "--test", "documents", "the_reference"];
    cargo().args(test).env("KILN_BLESS", "1").read()?;
    println!("wrote {}", root().join("docs/reference.md").display());
    Ok(())
}
