//! What a folder holds.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

/// One thing that was found, and what was made of it.
pub type Finding = String;

/// What kind of program a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum App {
    /// A Python program.
    Python {
        /// The file to start, relative to the folder.
        main: String,
        /// Debian packages with what it imports.
        packages: Vec<String>,
        /// The port it seems to listen on.
        port: u16,
    },
    /// A Node program.
    Node {
        /// The file to start, relative to the folder.
        main: String,
        /// The port it seems to listen on.
        port: u16,
    },
    /// A program that needs nothing but the kernel.
    Static {
        /// The file, relative to the folder.
        binary: String,
        /// The port it seems to listen on.
        port: u16,
    },
    /// Files to serve.
    Site {
        /// The folder with `index.html`; `.` is the project's own.
        root: String,
    },
    /// Nothing that was recognised: a program to begin with.
    Unknown,
}

/// Bytes of a file that are looked at.
const LOOK: u64 = 256 << 10;
/// Names of a Python program's first file, the likeliest first.
const PYTHON_MAINS: [&str; 8] = [
    "main.py",
    "app.py",
    "server.py",
    "app/main.py",
    "app/app.py",
    "src/main.py",
    "src/app.py",
    "__main__.py",
];
const NODE_MAINS: [&str; 6] = ["server.js", "index.js", "app.js", "main.js", "src/index.js", "src/server.js"];
const SITE_ROOTS: [&str; 6] = [".", "public", "dist", "site", "html", "www"];

/// Python modules and the Debian packages that hold them.
const PYTHON_PACKAGES: [(&str, &str); 16] = [
    ("flask", "python3-flask"),
    ("django", "python3-django"),
    ("fastapi", "python3-fastapi"),
    ("uvicorn", "python3-uvicorn"),
    ("gunicorn", "python3-gunicorn"),
    ("aiohttp", "python3-aiohttp"),
    ("tornado", "python3-tornado"),
    ("requests", "python3-requests"),
    ("jinja2", "python3-jinja2"),
    ("pyyaml", "python3-yaml"),
    ("sqlalchemy", "python3-sqlalchemy"),
    ("psycopg2", "python3-psycopg2"),
    ("redis", "python3-redis"),
    ("numpy", "python3-numpy"),
    ("pillow", "python3-pil"),
    ("bottle", "python3-bottle"),
];

/// Looks at a folder.
pub(super) fn detect(dir: &Path) -> std::io::Result<(App, Vec<Finding>)> {
    let mut findings = Vec::new();
    let files: BTreeSet<String> = std::fs::read_dir(dir)?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let hint = dockerfile_port(dir, &files, &mut findings);
    let app = python(dir, &files, hint, &mut findings)
        .or_else(|| node(dir, &files, hint, &mut findings))
        .or_else(|| binary(dir, &files, hint, &mut findings))
        .or_else(|| site(dir, &mut findings))
        .unwrap_or_else(|| {
            findings.push(
                "Nothing recognised: the spec serves a greeting from a small Python program to begin with."
                    .into(),
            );
            App::Unknown
        });
    Ok((app, findings))
}

/// A Dockerfile is not read as a recipe, but its `EXPOSE` says which port the program has.
fn dockerfile_port(dir: &Path, files: &BTreeSet<String>, findings: &mut Vec<Finding>) -> Option<u16> {
    let name = ["Dockerfile", "Containerfile"].into_iter().find(|name| files.contains(*name))?;
    let text = head(&dir.join(name));
    let port = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("EXPOSE ")?;
        rest.split(['/', ' ']).next()?.parse().ok()
    });
    findings.push(match port {
        Some(port) => {
            format!("{name} exposes port {port}, so the image does too; the rest of it is not used.")
        }
        None => format!("{name} names no port; it is not used."),
    });
    port
}

fn python(
    dir: &Path,
    files: &BTreeSet<String>,
    hint: Option<u16>,
    findings: &mut Vec<Finding>,
) -> Option<App> {
    let main = PYTHON_MAINS.into_iter().find(|name| dir.join(name).is_file())?;
    let text = head(&dir.join(main));
    findings.push(format!("{main} is a Python program: it runs on Debian's python3."));
    let mut packages = Vec::new();
    for list in ["requirements.txt", "pyproject.toml"] {
        if files.contains(list) {
            let found = python_packages(&head(&dir.join(list)));
            findings.push(match found.len() {
                0 => format!("{list} names nothing that is known as a Debian package."),
                _ => format!("{list} asks for what Debian packages as {}.", found.join(", ")),
            });
            packages.extend(found);
        }
    }
    packages.sort();
    packages.dedup();
    let port = port(hint, &text, 8000, findings);
    Some(App::Python { main: main.into(), packages, port })
}

fn python_packages(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words: BTreeSet<String> =
        text.split(|c: char| !word(c)).map(|word| word.to_ascii_lowercase().replace('_', "-")).collect();
    let known = PYTHON_PACKAGES.iter().filter(|(module, _)| words.contains(*module));
    known.map(|(_, package)| (*package).to_owned()).collect()
}

fn node(dir: &Path, files: &BTreeSet<String>, hint: Option<u16>, findings: &mut Vec<Finding>) -> Option<App> {
    if !files.contains("package.json") {
        return None;
    }
    let manifest: serde_json::Value =
        serde_json::from_str(&head(&dir.join("package.json"))).unwrap_or_default();
    let named = manifest["main"].as_str().filter(|main| crate::files::stays_inside(main) && is_simple(main));
    let named = named.filter(|main| dir.join(main).is_file()).map(str::to_owned);
    let main =
        named.or_else(|| NODE_MAINS.into_iter().find(|name| dir.join(name).is_file()).map(str::to_owned))?;
    findings.push(format!("package.json and {main} are a Node program: it runs on Debian's nodejs."));
    if manifest["dependencies"].as_object().is_some_and(|all| !all.is_empty()) {
        findings.push(if files.contains("node_modules") {
            "node_modules is copied as it is; run `npm ci --omit=dev` before baking.".into()
        } else {
            "package.json has dependencies: run `npm ci --omit=dev`, so that node_modules is there to copy."
                .into()
        });
    }
    let port = port(hint, &head(&dir.join(&main)), 3000, findings);
    Some(App::Node { main, port })
}

fn binary(
    dir: &Path,
    files: &BTreeSet<String>,
    hint: Option<u16>,
    findings: &mut Vec<Finding>,
) -> Option<App> {
    for name in files {
        let path = dir.join(name);
        if !path.is_file() || !is_simple(name) {
            continue;
        }
        match elf(&path) {
            Some(Elf::Static) => {
                findings.push(format!("{name} is a statically linked program: it runs on an empty image."));
                let port = port(hint, "", 8080, findings);
                return Some(App::Static { binary: name.clone(), port });
            }
            Some(Elf::Dynamic) => findings.push(format!(
                "{name} is a program that needs shared libraries, so it cannot stand on an empty image; link it \
                 statically, or copy it onto a debian base with the packages it needs."
            )),
            None => {}
        }
    }
    None
}

fn site(dir: &Path, findings: &mut Vec<Finding>) -> Option<App> {
    let root = SITE_ROOTS.into_iter().find(|root| dir.join(root).join("index.html").is_file())?;
    let index = if root == "." { "index.html".to_owned() } else { format!("{root}/index.html") };
    findings.push(format!("{index} is a web site: Debian's python3 serves the folder."));
    Some(App::Site { root: root.into() })
}

/// The port from a Dockerfile, or the only number in the program's text that looks like one.
fn port(hint: Option<u16>, text: &str, default: u16, findings: &mut Vec<Finding>) -> u16 {
    if let Some(port) = hint {
        return port;
    }
    let numbers: BTreeSet<u16> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| word.parse().ok())
        .filter(|port| *port == 80 || (1024..=49_151).contains(port))
        .filter(|port| matches!(port, 80 | 3000..=3999 | 4000..=4999 | 5000..=5999 | 8000..=9999))
        .collect();
    if let [only] = numbers.iter().copied().collect::<Vec<_>>()[..] {
        findings.push(format!("{only} seems to be its port."));
        return only;
    }
    findings.push(format!("Its port was not found: the spec says {default}; the program is told in PORT."));
    default
}

#[derive(Debug, PartialEq)]
enum Elf {
    Static,
    Dynamic,
}

/// Whether a file is an ELF program, and whether it asks for an interpreter (the dynamic linker).
/// Offsets are those of the ELF-64 object file format: header, then the program headers.
fn elf(path: &Path) -> Option<Elf> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LOOK).read_to_end(&mut bytes).ok()?;
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(field);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    let little_64 = bytes.starts_with(b"\x7fELF\x02\x01");
    let program = matches!(number(16, 2)?, 2 | 3);
    if !little_64 || !program {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let interpreter = 3;
    let kind = |index: usize| number(table.checked_add(index.checked_mul(size)?)?, 4);
    let dynamic = (0..count.min(1000)).any(|index| kind(index) == Some(interpreter));
    Some(if dynamic { Elf::Dynamic } else { Elf::Static })
}

/// Whether a name can stand in a spec without quoting anything.
fn is_simple(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/'))
}

/// The beginning of a file as text; empty when it cannot be read.
fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(LOOK).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
