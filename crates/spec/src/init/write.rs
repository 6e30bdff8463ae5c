//! The text of a first spec.

use std::fmt::Write as _;

use super::App;

/// What the kinds of programs differ in.
struct Image {
    intro: &'static str,
    base: &'static str,
    packages: Vec<String>,
    copies: Vec<(String, &'static str, Option<&'static str>, Vec<&'static str>)>,
    user: &'static str,
    entrypoint: Vec<String>,
    env: bool,
    port: u16,
    health: &'static str,
    /// Whether `/` is known to answer, so that a check can ask for it.
    answers: bool,
}

/// Files that no image needs.
const LEFT_OUT: [&str; 5] = ["*.hcl", "kiln.lock", ".git/**", "Dockerfile", "**/__pycache__/**"];

pub(super) fn spec(app: &App, name: &str, needs_name: bool) -> String {
    let image = image(app);
    let mut out =
        format!("# {}\n# `kiln up` bakes the image and serves it at http://127.0.0.1:8080/\n\n", image.intro);
    if needs_name {
        let _ = write!(out, "project = \"{name}\"\n\n");
    }
    write_image(&mut out, name, &image);
    if image.answers {
        let _ = write!(
            out,
            "check \"answers\" {{\nimage = image.{name}\nhttp {{\nget = \"/\"\nstatus = 200\n}}\n}}\n\n"
        );
    }
    let _ = write!(
        out,
        "service \"{name}\" {{\nimage = image.{name}\nreplicas = 1\nexpose \"http\" {{}}\n\nrollout \"blue-green\" {{}}\n}}\n"
    );
    crate::format::format(&out).unwrap_or(out)
}

fn write_image(out: &mut String, name: &str, image: &Image) {
    let _ = write!(out, "image \"{name}\" {{\nbase = {}\n", image.base);
    if !image.packages.is_empty() {
        let _ = writeln!(out, "packages = [{}]", quoted(&image.packages));
    }
    for (from, to, mode, exclude) in &image.copies {
        let _ = write!(out, "\ncopy \"{from}\" {{\nto = \"{to}\"\n");
        if let Some(mode) = mode {
            let _ = writeln!(out, "mode = \"{mode}\"");
        }
        if !exclude.is_empty() {
            let list: Vec<_> = exclude.iter().map(|glob| (*glob).to_owned()).collect();
            let _ = writeln!(out, "exclude = [{}]", quoted(&list));
        }
        out.push_str("}\n");
    }
    let _ = write!(out, "\nuser = \"{}\"\nentrypoint = [{}]\n", image.user, quoted(&image.entrypoint));
    if image.env {
        let _ = writeln!(out, "env = {{ PORT = \"{}\" }}", image.port);
    }
    let _ = write!(
        out,
        "\nport \"http\" {{\nnumber = {}\n}}\n\nhealth {{\n{}\n}}\n}}\n\n",
        image.port, image.health
    );
}

fn quoted(words: &[String]) -> String {
    let list: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    list.join(", ")
}

fn image(app: &App) -> Image {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let whole = |to| (".".to_owned() + "/", to, None, LEFT_OUT.to_vec());
    // Debian's www-data; the number works on an empty image, too.
    let (user, nobody) = ("www-data", "65534:65534");
    let debian = "debian(\"bookworm\")";
    match app {
        App::Python { main, packages, port } => Image {
            intro: "A Python program on Debian packages.",
            base: debian,
            packages: [words(&["ca-certificates", "python3"]), packages.clone()].concat(),
            copies: vec![whole("/srv/app/")],
            user,
            entrypoint: vec!["python3".into(), format!("/srv/app/{main}")],
            env: true,
            port: *port,
            health: "tcp = true",
            answers: false,
        },
        App::Node { main, port } => Image {
            intro: "A Node program on Debian packages.",
            base: debian,
            packages: words(&["ca-certificates", "nodejs"]),
            copies: vec![whole("/srv/app/")],
            user,
            entrypoint: vec!["node".into(), format!("/srv/app/{main}")],
            env: true,
            port: *port,
            health: "tcp = true",
            answers: false,
        },
        App::Static { binary, port } => Image {
            intro: "A statically linked program on an empty image.",
            base: "scratch",
            packages: Vec::new(),
            copies: vec![(binary.clone(), "/server", Some("0755"), Vec::new())],
            user: nobody,
            entrypoint: vec!["/server".into()],
            env: true,
            port: *port,
            health: "tcp = true",
            answers: false,
        },
        App::Site { root } => Image {
            intro: "A web site, served by Python's own server.",
            base: debian,
            packages: words(&["python3"]),
            copies: vec![match root.as_str() {
                "." => whole("/srv/www/"),
                root => (format!("{root}/"), "/srv/www/", None, Vec::new()),
            }],
            user,
            entrypoint: words(&["python3", "-m", "http.server", "8000", "--directory", "/srv/www"]),
            env: false,
            port: 8000,
            health: "http = \"/\"",
            answers: true,
        },
        App::Unknown => Image {
            intro: "A greeting from a small Python program. Replace it with yours.",
            base: debian,
            packages: words(&["python3"]),
            copies: vec![("app/".into(), "/srv/app/", None, Vec::new())],
            user,
            entrypoint: words(&["python3", "/srv/app/main.py"]),
            env: true,
            port: 8000,
            health: "http = \"/\"",
            answers: true,
        },
    }
}

/// The program that an unrecognised folder begins with.
pub(super) fn companions(app: &App) -> Vec<(&'static str, String)> {
    if *app == App::Unknown { vec![("app/main.py", GREETING.to_owned())] } else { Vec::new() }
}

const GREETING: &str = r#"import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Greeting(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello from Kiln\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Greeting).serve_forever()
"#;
