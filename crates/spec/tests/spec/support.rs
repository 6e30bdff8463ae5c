//! Folders with specs.

use std::path::Path;

use kiln_spec::{Diagnostics, Inputs, Loaded, load};
use tempfile::TempDir;

/// A folder called `demo` with these files; each is a name and its text.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::Builder::new().prefix("demo").tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

/// Loads a spec of one file.
pub(crate) fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load_files(&[("kiln.hcl", text)])
}

/// Loads a folder.
pub(crate) fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    let root = folder(files);
    load(root.path(), &inputs())
}

/// An environment with one variable.
pub(crate) fn inputs() -> Inputs {
    Inputs::none().with_env(|name| (name == "HOME_TOWN").then(|| "Ghent".to_owned()))
}

/// The errors of a folder as a person sees them, with the folder's own path taken out.
pub(crate) fn errors_of(files: &[(&str, &str)]) -> String {
    let root = folder(files);
    match load(root.path(), &inputs()) {
        Ok(_) => "no errors".into(),
        Err(errors) => shorten(&errors.render(false), root.path()),
    }
}

/// Takes the path of a folder out of a text.
pub(crate) fn shorten(text: &str, root: &Path) -> String {
    let root = root.display().to_string();
    text.replace(&format!("{root}/"), "").replace(&root, "demo")
}

/// The value of an expression, through the environment of a service.
pub(crate) fn value_of(expression: &str) -> Result<String, String> {
    let text = format!(
        "locals {{\n  shout = \"HEY\"\n  list = [\"a\", \"b\", \"c\"]\n  people = {{ bo = 3, al = 1 }}\n}}\n\
         image \"web\" {{\n  base = scratch\n  entrypoint = [\"/x\"]\n}}\n\
         service \"web\" {{\n  image = image.web\n  env = {{ V = jsonencode({expression}) }}\n}}\n"
    );
    let loaded = load_text(&text).map_err(|errors| errors.iter().next().unwrap().message.clone())?;
    let service = loaded.project.services.values().next().unwrap();
    Ok(service.env["V"].clone())
}
