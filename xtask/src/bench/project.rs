//! The specs that are measured.

use std::path::{Path, PathBuf};

use super::{Bench, write};
use crate::{Cmd, Error};

/// What is asked for beside the essential packages. `usrmerge` is one of two ways to satisfy an essential package;
/// naming it makes both solvers take the same.
pub(super) const PACKAGES: [&str; 2] = ["ca-certificates", "usrmerge"];

fn packages() -> String {
    PACKAGES.map(|name| format!("{name:?}")).join(", ")
}

/// A Debian base with what dpkg itself needs, and ca-certificates: the set that mmdebstrap can make as well.
pub(super) fn debian(bench: &Bench) -> Result<PathBuf, Error> {
    let folder = bench.folder("debian")?;
    write(
        &folder.join("kiln.hcl"),
        &format!(
            r#"
image "base" {{
  base     = debian("bookworm", {{ essential = true }})
  packages = [{}]
}}
"#,
            packages()
        ),
    )?;
    Ok(folder)
}

/// A program of 200 files on the base of [`debian`].
pub(super) fn program(bench: &Bench) -> Result<PathBuf, Error> {
    let folder = bench.folder("program")?;
    write(
        &folder.join("kiln.hcl"),
        &format!(
            r#"
image "web" {{
  base     = debian("bookworm", {{ essential = true }})
  packages = [{}]

  copy "app/" {{ to = "/srv/app" }}
  entrypoint = ["/bin/sh", "/srv/app/file-0"]
}}
"#,
            packages()
        ),
    )?;
    for number in 0..200 {
        write(&folder.join(format!("app/file-{number}")), &format!("echo {number}\n").repeat(50))?;
    }
    Ok(folder)
}

/// The C server of the examples, compiled here and alone in an image: it starts in about a millisecond, so that what
/// is measured is Kiln.
pub(super) fn server(bench: &Bench, name: &str, replicas: u32, rollout: &str) -> Result<PathBuf, Error> {
    let folder = bench.folder(name)?;
    let source = crate::root().join("examples/static/server.c");
    let program = folder.join("server");
    Cmd::new("cc").args(["-O2", "-static", "-s", "-o"]).arg(&program).arg(source).read()?;
    write(
        &folder.join("kiln.hcl"),
        &format!(
            r#"
project = "{name}"

variable "version" {{
  default = "none"
}}

image "web" {{
  base = scratch
  copy "server" {{ to = "/server" }}
  entrypoint = ["/server"]
  port "http" {{ number = 8080 }}
  health {{ http = "/healthz" }}
}}

service "web" {{
  image    = image.web
  replicas = {replicas}
  env      = {{ VERSION = var.version }}
  expose "http" {{ listen = {port} }}
  {rollout}
}}
"#,
            port = free_port()?
        ),
    )?;
    Ok(folder)
}

/// The port that the spec of [`server`] exposes.
pub(super) fn port(folder: &Path) -> Result<u16, Error> {
    let file = folder.join("kiln.hcl");
    let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    let number = text.split("listen = ").nth(1).and_then(|rest| rest.split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Error::Measure { what: "the port".into(), why: "the spec names none".into() })
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> Result<u16, Error> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Start { program: "a listener".into(), source })
}
