//! The backend and the proxies under test, each pinned to its core.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Variant;
use crate::bench::project::free_port;
use crate::bench::{Bench, Running, stats, write};
use crate::{Cmd, Error, setup};

/// A proxy that runs.
pub(super) struct Proxy {
    pub(super) name: &'static str,
    /// What the load generator asks.
    pub(super) url: String,
    process: Running,
}

impl Proxy {
    /// Processor time the process has used so far, all threads.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        // After the name in parentheses, which may hold spaces: utime and stime are fields 14 and 15 of the whole line,
        // in ticks of 1/100 s (USER_HZ, the same on every Linux).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) / 100.0
    }
}

/// What is proxied to: nginx with one worker that answers six bytes.
pub(super) struct Backend {
    pub(super) port: u16,
    _process: Running,
}

impl Backend {
    pub(super) fn start(folder: &Path) -> Result<Self, Error> {
        let port = free_port()?;
        let server =
            format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"hello\\n\"; }} }}");
        let process = nginx_process(folder, "backend", 0, &server)?;
        ready(port, &folder.join("backend.log"))?;
        Ok(Self { port, _process: process })
    }
}

/// A program on one core, where there are two.
pub(super) fn pinned(core: usize, program: &str) -> Cmd {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let core = core.min(cores - 1).to_string();
    Cmd::new("taskset").args(["-c", &core, program]).env("PATH", setup::path())
}

/// Waits until somebody listens; otherwise the error carries what the program said.
fn ready(port: u16, log: &Path) -> Result<(), Error> {
    let connected = || TcpStream::connect(("127.0.0.1", port)).ok();
    stats::wait("a server", Duration::from_secs(15), connected).map(drop).map_err(|error| Error::Measure {
        what: "a server".into(),
        why: format!("{error}; it said: {}", fs::read_to_string(log).unwrap_or_default().trim()),
    })
}

fn url(variant: Variant, port: u16) -> String {
    let scheme = if variant == Variant::Tls { "https" } else { "http" };
    format!("{scheme}://127.0.0.1:{port}/")
}

/// A certificate for this run: chain, key, and both in one file as haproxy wants it.
fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf, PathBuf), Error> {
    let files = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("both.pem"));
    if files.2.exists() {
        return Ok(files);
    }
    Cmd::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-out"])
        .arg(&files.0)
        .arg("-keyout")
        .arg(&files.1)
        .read()?;
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(Error::file("read", path));
    write(&files.2, &(read(&files.0)? + &read(&files.1)?))?;
    Ok(files)
}

fn nginx_process(folder: &Path, name: &str, core: usize, server: &str) -> Result<Running, Error> {
    let config = folder.join(format!("{name}.nginx.conf"));
    let text = format!(
        "daemon off; master_process off; worker_processes 1;\npid {0}/{name}.pid; error_log {0}/{name}.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n{server}\n}}\n",
        folder.display()
    );
    write(&config, &text)?;
    let command =
        pinned(core, "nginx").arg("-c").arg(&config).arg("-e").arg(folder.join(format!("{name}.err")));
    Running::start(&command, &folder.join(format!("{name}.log")))
}

pub(super) fn nginx(folder: &Path, backend: &Backend, variant: Variant) -> Result<Proxy, Error> {
    let port = free_port()?;
    let (chain, key, _) = certificate(folder)?;
    let listen = match variant {
        Variant::Plain => format!("listen 127.0.0.1:{port};"),
        Variant::Http2 => format!("listen 127.0.0.1:{port} http2;"),
        Variant::Tls => format!(
            "listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
            chain.display(),
            key.display()
        ),
    };
    let server = format!(
        "upstream backend {{ server 127.0.0.1:{}; keepalive 128; keepalive_requests 1000000000; }}\n\
         server {{ {listen} location / {{ proxy_pass http://backend; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}",
        backend.port
    );
    let process = nginx_process(folder, "nginx", 1, &server)?;
    ready(port, &folder.join("nginx.log"))?;
    Ok(Proxy { name: "nginx", url: url(variant, port), process })
}

pub(super) fn haproxy(folder: &Path, backend: &Backend, variant: Variant) -> Result<Proxy, Error> {
    let port = free_port()?;
    let (_, _, both) = certificate(folder)?;
    let bind = match variant {
        Variant::Plain => String::new(),
        Variant::Http2 => " proto h2".into(),
        Variant::Tls => format!(" ssl crt {} ssl-min-ver TLSv1.3", both.display()),
    };
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 2000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n  \
         option forwardfor\n\
         frontend front\n  bind 127.0.0.1:{port}{bind}\n  default_backend back\n\
         backend back\n  server one 127.0.0.1:{}\n",
        backend.port
    );
    write(&config, &text)?;
    let command = pinned(1, "haproxy").arg("-db").arg("-f").arg(&config);
    let log = folder.join("haproxy.log");
    let process = Running::start(&command, &log)?;
    ready(port, &log)?;
    Ok(Proxy { name: "haproxy", url: url(variant, port), process })
}

pub(super) fn kiln(
    bench: &Bench,
    folder: &Path,
    backend: &Backend,
    variant: Variant,
) -> Result<Proxy, Error> {
    let port = free_port()?;
    let home = folder.join("kiln-proxy");
    drop(fs::remove_dir_all(&home));
    fs::create_dir_all(&home).map_err(Error::file("create", &home))?;
    let socket = PathBuf::from(format!("/run/kiln-bench-proxy-{}.sock", std::process::id()));
    drop(fs::remove_file(&socket));
    let program = bench.kiln.to_string_lossy().into_owned();
    let command = pinned(1, &program)
        .arg("proxy")
        .arg("--dir")
        .arg(&home)
        .arg("--socket")
        .arg(&socket)
        .env("KILN_HOME", &home);
    let log = folder.join("kiln.log");
    let process = Running::start(&command, &log)?;
    stats::wait("kiln proxy", Duration::from_secs(15), || socket.exists().then_some(()))?;
    let table = folder.join("table.json");
    write(&table, &table_text(folder, port, backend.port, variant)?)?;
    Cmd::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--unix-socket"])
        .arg(&socket)
        .args(["-X", "PUT", "-H", "Content-Type: application/json", "--data-binary"])
        .arg(format!("@{}", table.display()))
        .arg("http://proxy/v1/table")
        .read()?;
    ready(port, &log)?;
    Ok(Proxy { name: "kiln", url: url(variant, port), process })
}

fn table_text(folder: &Path, port: u16, backend: u16, variant: Variant) -> Result<String, Error> {
    let (chain, key, _) = certificate(folder)?;
    let tls = if variant == Variant::Tls { json!([{ "chain": chain, "key": key }]) } else { json!([]) };
    let instance = json!({
        "id": "web-1-00000000",
        "endpoint": { "kind": "tcp", "addr": format!("127.0.0.1:{backend}") },
    });
    let table = json!({
        "version": 1,
        "listeners": [{
            "bind": { "kind": "tcp", "addr": format!("127.0.0.1:{port}") },
            "mode": { "kind": "http", "tls": tls, "routes": [{ "host": null, "path": "/", "backend": "dev/web/http" }] },
        }],
        "backends": { "dev/web/http": {
            "protocol": "http",
            "fleets": [{ "id": "dev/web/1", "weight": 100, "instances": [instance], "draining": [] }],
            "preview": null,
            "request_timeout": "60s",
            "idle_timeout": "5m",
            "upgraded": "wait",
        }},
    });
    Ok(table.to_string())
}
