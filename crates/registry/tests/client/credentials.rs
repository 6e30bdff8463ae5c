//! Who is told what: passwords, tokens, helpers, and redirects that must not carry them away.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_registry::client::{Client, Keys, Login, Options, Progress, PullOptions, RegistryError};

use crate::kit::{Home, Parts, home, image, noise, options, place, run};
use crate::wire::{Ask, Reply, Wire, reply};

/// `user:pass` as a header has it.
const BASIC: &str = "Basic dXNlcjpwYXNz";

fn user() -> Login {
    Login::Password { user: "user".into(), password: "pass".into() }
}

fn with(login: Option<Login>, keys: Keys) -> Client {
    Client::new(Options { login, keys, ..options().0 }).unwrap()
}

fn basic(ask: &Ask) -> Option<Reply> {
    (ask.header("authorization") != Some(BASIC))
        .then(|| reply(401).header("WWW-Authenticate", "Basic realm=\"x\""))
}

fn tags(client: &Client, wire: &Wire) -> Result<Vec<String>, RegistryError> {
    run(client.tags(&place(&format!("{}/acme/web", wire.address))))
}

fn good() -> Reply {
    reply(200).body(r#"{"name":"acme/web","tags":["1","2"]}"#)
}

#[test]
fn a_password_is_shown_where_it_is_asked_for() {
    let wire = Wire::serve(|ask, _| basic(ask).unwrap_or_else(good));
    assert_eq!(tags(&with(Some(user()), Keys::none()), &wire).unwrap(), ["1", "2"]);
    assert_eq!(wire.asks().len(), 2);
    let error = tags(&with(None, Keys::none()), &wire).unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(error.to_string().contains("docker login"), "{error}");
}

#[test]
fn a_registry_that_is_never_content_is_left_alone() {
    let wire = Wire::serve(|_, _| reply(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    assert_eq!(tags(&with(Some(user()), Keys::none()), &wire).unwrap_err().status(), Some(401));
    assert_eq!(wire.asks().len(), 2, "once without, once with the password");
    let (tokens, counter) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = tokens.clone();
    let wire = tokened(
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            reply(200).body(r#"{"token":"t"}"#)
        },
        move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(reply(401))
        },
    );
    assert_eq!(tags(&with(Some(user()), Keys::none()), &wire).unwrap_err().status(), Some(401));
    assert_eq!(tokens.load(Ordering::SeqCst), 1);
}

/// A registry that wants a token from itself; `before` may answer what has one.
fn tokened(
    token: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    before: impl Fn(&Ask) -> Option<Reply> + Send + Sync + 'static,
) -> Wire {
    tokened_parts(Parts::default(), token, before)
}

fn tokened_parts(
    parts: Parts,
    token: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    before: impl Fn(&Ask) -> Option<Reply> + Send + Sync + 'static,
) -> Wire {
    Wire::serve(move |ask, body| {
        if ask.path.starts_with("/token") {
            let text = String::from_utf8(body.all()).unwrap();
            let ask = Ask { path: format!("{}{text}", ask.path), ..ask.clone() };
            return token(&ask);
        }
        let challenge = || {
            let host = ask.header("host").unwrap();
            reply(401)
                .header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\",service=\"reg\""))
        };
        match ask.header("authorization") {
            Some("Bearer t") => {
                let reply = before(ask);
                match reply {
                    Some(reply) if reply.status == 401 => challenge(),
                    Some(reply) => reply,
                    None => parts.answer(ask),
                }
            }
            _ => challenge(),
        }
    })
}

#[test]
fn a_token_is_asked_for_once_for_many_transfers() {
    let (mut parts, home): (Parts, Home) = (Parts::default(), home());
    let layers: Vec<Vec<u8>> = (0..8).map(|seed| noise(seed, 1000)).collect();
    let digest = parts.image(kiln_store::oci::host_architecture(), &layers).digest;
    let wire = tokened_parts(
        parts,
        |ask| {
            assert_eq!(ask.header("authorization"), Some(BASIC));
            assert_eq!(ask.query("service"), Some("reg"));
            assert_eq!(ask.query("scope"), Some("repository%3Aacme%2Fweb%3Apull"));
            reply(200).body(r#"{"access_token":"t","expires_in":300}"#)
        },
        |_| None,
    );
    let name = image(&format!("{}/acme/web@{digest}", wire.address));
    let options = PullOptions { evidence: false, ..PullOptions::default() };
    run(with(Some(user()), Keys::none()).pull(&name, &home.store, &options, &Progress::none())).unwrap();
    assert_eq!(wire.count("GET", "/token"), 1);
}

#[test]
fn an_identity_token_is_exchanged_and_a_registry_token_is_shown() {
    let wire = tokened(
        |ask| {
            assert_eq!((ask.method.as_str(), ask.header("authorization")), ("POST", None));
            assert!(
                ask.path.contains("grant_type=refresh_token") && ask.path.contains("refresh_token=secret")
            );
            assert!(ask.path.contains("scope=repository%3Aacme%2Fweb%3Apull"), "{}", ask.path);
            reply(200).body(r#"{"access_token":"t"}"#)
        },
        |_| Some(good()),
    );
    tags(&with(Some(Login::Identity("secret".into())), Keys::none()), &wire).unwrap();
    tags(&with(Some(Login::Token("t".into())), Keys::none()), &wire).unwrap();
    assert_eq!(wire.count("POST", "/token"), 1);
}

#[test]
fn a_redirect_to_another_host_goes_without_credentials() {
    let (mut parts, home) = (Parts::default(), home());
    let layer = noise(1, 1000);
    let digest = parts.image(kiln_store::oci::host_architecture(), std::slice::from_ref(&layer)).digest;
    let bytes = layer.clone();
    let storage = Wire::serve(move |ask, _| crate::kit::ranged(ask, &bytes));
    let (target, name) = (storage.address, crate::kit::sha256(&layer).to_string());
    let wire = parts.serve(move |ask, _| {
        let away = || {
            ask.path
                .ends_with(&name)
                .then(|| reply(307).header("Location", format!("http://{target}/x?signed=1")))
        };
        basic(ask).or_else(away)
    });
    let image = image(&format!("{}/acme/web@{digest}", wire.address));
    let options = PullOptions { evidence: false, ..PullOptions::default() };
    run(with(Some(user()), Keys::none()).pull(&image, &home.store, &options, &Progress::none())).unwrap();
    let asks = storage.asks();
    assert_eq!((asks.len(), asks[0].header("authorization")), (1, None));
    assert!(wire.asks().iter().any(|ask| ask.header("authorization") == Some(BASIC)));
}

#[test]
fn a_redirect_within_the_registry_keeps_them_and_a_circle_ends() {
    let wire = Wire::serve(|ask, _| {
        basic(ask).unwrap_or_else(|| match ask.path.contains("moved") {
            true => good(),
            false => reply(302).header("Location", "/v2/acme/web/moved"),
        })
    });
    tags(&with(Some(user()), Keys::none()), &wire).unwrap();
    let circle = Wire::serve(|ask, _| reply(302).header("Location", ask.path.clone()));
    let error = tags(&with(None, Keys::none()), &circle).unwrap_err();
    assert!(matches!(error, RegistryError::Redirects { .. }), "{error}");
    assert_eq!(circle.asks().len(), 6);
}

/// A folder with a `config.json` and helpers.
fn login_folder(config: &str, helper: &str) -> (tempfile::TempDir, Keys) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let path = folder.path().join("docker-credential-kilntest");
    std::fs::write(&path, helper).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let keys = keys(folder.path());
    (folder, keys)
}

fn keys(folder: &Path) -> Keys {
    let folder = folder.to_owned();
    Keys::from_environment(move |name| match name {
        "DOCKER_CONFIG" => Some(folder.clone().into()),
        "PATH" => Some(format!("{}:/usr/bin:/bin", folder.display()).into()),
        _ => None,
    })
}

fn helper(body: &str) -> String {
    // The server comes on standard input; what is asked is noted.
    format!("#!/bin/sh\nread server\necho \"$1 $server\" >> \"$(dirname \"$0\")/log\"\n{body}\n")
}

#[test]
fn a_helper_is_asked_for_the_server() {
    let wire = Wire::serve(|ask, _| basic(ask).unwrap_or_else(good));
    let config = r#"{"credsStore":"kilntest"}"#;
    let (folder, keys) =
        login_folder(config, &helper(r#"echo '{"ServerURL":"x","Username":"user","Secret":"pass"}'"#));
    let client = with(None, keys);
    tags(&client, &wire).unwrap();
    tags(&client, &wire).unwrap();
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log, format!("get {}\n", wire.address), "asked once");
}

#[test]
fn a_helper_without_an_answer_leaves_the_file_to_say() {
    let wire = Wire::serve(|ask, _| basic(ask).unwrap_or_else(good));
    let host = wire.address.to_string();
    let config = format!(
        r#"{{"credHelpers":{{"{host}":"kilntest"}},"auths":{{"{host}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#
    );
    let none = helper("echo 'credentials not found in native keychain'; exit 1");
    let (_folder, keys) = login_folder(&config, &none);
    tags(&with(None, keys), &wire).unwrap();
}

#[test]
fn a_helper_that_fails_is_named_and_its_secret_is_not() {
    let wire = Wire::serve(|ask, _| basic(ask).unwrap_or_else(good));
    let config = r#"{"credsStore":"kilntest"}"#;
    for (body, words) in [
        ("echo 'the keyring is locked'; exit 1", "the keyring is locked"),
        ("echo 'Username=user Secret=hunter2'", "something else than JSON"),
    ] {
        let (_folder, keys) = login_folder(config, &helper(body));
        let text = tags(&with(None, keys), &wire).unwrap_err().to_string();
        assert!(text.contains("docker-credential-kilntest") && text.contains(words), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let (_folder, keys) = login_folder(r#"{"credsStore":"kiln-absent"}"#, "");
    let text = tags(&with(None, keys), &wire).unwrap_err().to_string();
    assert!(text.contains("docker-credential-kiln-absent"), "{text}");
    let (_folder, keys) = login_folder(r#"{"credsStore":"../../x"}"#, "");
    let text = tags(&with(None, keys), &wire).unwrap_err().to_string();
    assert!(text.contains("letters, digits"), "{text}");
}

#[test]
fn a_broken_file_of_credentials_is_named() {
    let wire = Wire::serve(|ask, _| basic(ask).unwrap_or_else(good));
    let (folder, keys) = login_folder("{", "");
    let text = tags(&with(None, keys), &wire).unwrap_err().to_string();
    assert!(text.contains(folder.path().join("config.json").to_str().unwrap()), "{text}");
    let (_folder, keys) = login_folder(&format!(r#"{{"auths":{{"{}":{{"auth":"!"}}}}}}"#, wire.address), "");
    let text = tags(&with(None, keys), &wire).unwrap_err().to_string();
    assert!(text.contains("cannot be understood"), "{text}");
}

#[test]
fn neither_options_nor_errors_show_a_secret() {
    let options = Options { login: Some(user()), ..options().0 };
    let shown = format!("{options:?} {:?}", Login::Identity("secret".into()));
    assert!(!shown.contains("pass\"") && !shown.contains("secret"), "{shown}");
}
