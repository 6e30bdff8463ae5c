//! Secrets read where they are: files, the environment, and a real key-value server.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_model::{Delivery, Secret};
use kiln_secrets::{LARGEST, LARGEST_VARIABLE, Resolver, SecretError, Value};
use kiln_testkit::{free_port, wait_until};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "TOKEN";

fn secrets(from: &str, delivery: Delivery) -> BTreeMap<String, Secret> {
    BTreeMap::from([(NAME.into(), Secret { from: Some(from.parse().unwrap()), delivery })])
}

/// The one secret at `from`, as a variable.
async fn read(resolver: &Resolver, from: &str) -> Result<String, String> {
    let got = resolver.resolve(&secrets(from, Delivery::Env)).await;
    got.map(|values| String::from_utf8(values[NAME].bytes().to_vec()).unwrap()).map_err(|error| told(&error))
}

fn told(error: &SecretError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

fn nothing() -> Resolver {
    Resolver::with_env(|_| None)
}

#[tokio::test]
async fn variables_lose_one_line_end_and_files_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let from = format!("file://{}", file.display());
    for (content, variable) in [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n")] {
        fs::write(&file, content).unwrap();
        assert_eq!(read(&nothing(), &from).await.unwrap(), variable);
        let whole = nothing().resolve(&secrets(&from, Delivery::File)).await.unwrap();
        assert_eq!(whole[NAME].bytes(), content.as_bytes());
    }
    let env = Resolver::with_env(|name| (name == "HELD").then(|| "s3cret".to_owned()));
    assert_eq!(read(&env, "env://HELD").await.unwrap(), "s3cret");
    fs::write(&file, [0xff, 0, 1]).unwrap();
    let bytes = nothing().resolve(&secrets(&from, Delivery::File)).await.unwrap();
    assert_eq!(bytes[NAME].bytes(), [0xff, 0, 1]);
}

#[tokio::test]
async fn what_cannot_be_had_is_named_and_no_value_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let from = |name: &str| format!("file://{}", path(name).display());
    fs::write(path("empty"), "\n").unwrap();
    fs::write(path("binary"), b"hunter2\0").unwrap();
    fs::write(path("long"), vec![b'x'; LARGEST_VARIABLE + 1]).unwrap();
    fs::write(path("huge"), vec![b'x'; LARGEST + 1]).unwrap();
    for (name, why) in [
        ("absent", "No such file"),
        ("", "is not a file"),
        ("empty", "it is empty"),
        ("binary", "it is not text: hand it over as a file"),
        ("long", "it is larger than 130560 bytes"),
        ("huge", "it is larger than 1048576 bytes"),
    ] {
        // The folder itself is named without the slash that would name no file.
        let from = from(name).trim_end_matches('/').to_owned();
        let error = read(&nothing(), &from).await.unwrap_err();
        assert!(error.starts_with(&format!("cannot get the secret TOKEN from {from}: ")), "{error}");
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    let error = read(&nothing(), "env://HELD").await.unwrap_err();
    assert!(error.contains("no environment variable HELD"), "{error}");
    let unsaid = BTreeMap::from([(NAME.to_owned(), Secret { from: None, delivery: Delivery::Env })]);
    assert!(told(&nothing().resolve(&unsaid).await.unwrap_err()).contains("nobody says where it is"));
    assert_eq!(format!("{:?}", Value::new(b"hunter2".to_vec())), "Value(…)");
}

/// A development server of OpenBao, which speaks Vault's protocol.
struct Bao {
    child: Child,
    address: String,
    _home: TempDir,
}

const ROOT: &str = "root-token";

impl Bao {
    fn start() -> Option<Self> {
        if Command::new("bao").arg("version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "bao is not here; `cargo xtask setup` installs it");
            eprintln!("skipped: bao is not here; `cargo xtask setup` installs it");
            return None;
        }
        let (port, home) = (free_port(), tempfile::tempdir().unwrap());
        let address = format!("http://127.0.0.1:{port}");
        let child = Command::new("bao")
            .args(["server", "-dev", "-dev-no-store-token"])
            .args([format!("-dev-root-token-id={ROOT}"), format!("-dev-listen-address=127.0.0.1:{port}")])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self { child, address, _home: home };
        wait_until("the server", PATIENCE, || bao.client(&["status"]).is_some());
        Some(bao)
    }

    /// What its own client prints; `None` when it failed.
    fn client(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("bao");
        command.args(arguments).env("BAO_ADDR", &self.address).env("BAO_TOKEN", ROOT);
        let output = command.env("HOME", self._home.path()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.client(arguments).unwrap_or_else(|| panic!("bao {arguments:?} failed"))
    }

    /// As somebody with this token, through the variables of either client.
    fn resolver(&self, prefix: &'static str, token: &str) -> Resolver {
        let (address, token) = (self.address.clone(), token.to_owned());
        Resolver::with_env(move |name| match name.strip_prefix(prefix)? {
            "ADDR" => Some(address.clone()),
            "TOKEN" => Some(token.clone()),
            _ => None,
        })
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_vault_gives_fields_of_both_versions_of_its_engine() {
    let Some(bao) = Bao::start() else { return };
    bao.run(&["secrets", "enable", "-path=team/kv", "-version=2", "kv"]);
    bao.run(&["secrets", "enable", "-path=old", "-version=1", "kv"]);
    bao.run(&["kv", "put", "-mount=team/kv", "shop/web", "url=postgres://one", "other=x"]);
    bao.run(&["kv", "put", "-mount=team/kv", "shop/web", "url=postgres://two", "other=x"]);
    bao.run(&["kv", "put", "-mount=old", "web", "url=postgres://old"]);
    for prefix in ["VAULT_", "BAO_"] {
        let root = bao.resolver(prefix, ROOT);
        assert_eq!(read(&root, "vault://team/kv/shop/web#url").await.unwrap(), "postgres://two");
        assert_eq!(read(&root, "vault://team/kv/shop/web?version=1#url").await.unwrap(), "postgres://one");
        assert_eq!(read(&root, "vault://old/web#url").await.unwrap(), "postgres://old");
    }

    let root = bao.resolver("VAULT_", ROOT);
    for (from, why) in [
        ("vault://team/kv/shop/web#password", "no text called \"password\"; it has other, url"),
        ("vault://team/kv/shop/none#url", "404"),
        ("vault://team/kv/shop/web?version=9#url", "404"),
        ("vault://nowhere/web#url", "preflight capability check"),
    ] {
        let error = read(&root, from).await.unwrap_err();
        assert!(error.contains(why) && error.contains(from), "{error}");
        assert!(!error.contains("postgres") && !error.contains(ROOT), "{error}");
    }
    let stranger = bao.resolver("VAULT_", "s.wrong");
    let error = read(&stranger, "vault://old/web#url").await.unwrap_err();
    assert!(error.contains("403") && !error.contains("s.wrong"), "{error}");
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_named() {
    let error = read(&nothing(), "vault://kv/web#url").await.unwrap_err();
    assert!(error.contains("no VAULT_ADDR in its environment"), "{error}");
    let home = tempfile::tempdir().unwrap();
    let (address, folder) = (format!("http://127.0.0.1:{}", free_port()), home.path().to_owned());
    let known = address.clone();
    let nobody = Resolver::with_env(move |name| match name {
        "VAULT_ADDR" => Some(known.clone()),
        "HOME" => Some(folder.display().to_string()),
        _ => None,
    });
    let error = read(&nobody, "vault://kv/web#url").await.unwrap_err();
    assert!(error.contains("no VAULT_TOKEN in its environment"), "{error}");
    fs::write(Path::new(home.path()).join(".vault-token"), "kept\n").unwrap();
    let error = read(&nobody, "vault://kv/web#url").await.unwrap_err();
    assert!(error.contains(&format!("{address} does not answer kv/web")), "{error}");
}
