//! Lists what an image in a store holds: `inventory STORE IMAGE [cyclonedx|spdx]`. Also what its speed is measured with.

use std::error::Error;
use std::path::Path;

use kiln_scan::{Subject, cyclonedx, inventory, spdx};
use kiln_store::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, image, form @ ..] = arguments.as_slice() else {
        return Err("usage: inventory STORE IMAGE [cyclonedx|spdx]".into());
    };
    let store = Store::open(Path::new(store))?;
    let found = inventory(&store, &store.resolve(image)?.digest)?;
    let subject = Subject { name: image, created: None };
    match form.first().map(String::as_str) {
        Some("cyclonedx") => print!("{}", cyclonedx(&found, &subject)),
        Some("spdx") => print!("{}", spdx(&found, &subject)),
        _ => {
            for package in &found.packages {
                println!("{}", package.purl);
            }
        }
    }
    for problem in &found.problems {
        eprintln!("not read: {problem}");
    }
    Ok(())
}
