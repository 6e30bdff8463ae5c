//! Sources on a server: unchanged, resumed, truncated, too large, wrong, absent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_scan::advisories::{AdvisoryDb, AdvisoryError, Limits, Report, Source, UpdateOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kit::{archive, run, run_with};
use super::server::{Reply, Server};

fn document(id: &str) -> Value {
    json!({"id": id, "modified": "2024-01-02T03:04:05Z", "affected": [{
        "package": {"ecosystem": "PyPI", "name": "demo"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]})
}

fn mirror(server: &Server) -> Source {
    Source::Mirror { base: server.base.clone(), ecosystems: vec!["PyPI".to_owned()] }
}

fn quick() -> UpdateOptions {
    UpdateOptions { attempts: 2, timeout: Duration::from_secs(5), ..UpdateOptions::default() }
}

fn only_failure(report: &Report) -> String {
    assert_eq!((report.changed.len(), report.failed.len()), (0, 1), "{report:?}");
    match &report.failed[0].1 {
        AdvisoryError::Download { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// A store with one good state, to see that failures leave it alone.
fn begun() -> (TempDir, kiln_model::Digest) {
    let dir = tempfile::tempdir().unwrap();
    let body = archive(&[document("OLD-1")]);
    let server = Server::start(move |_, _| Reply::ok(body.clone()));
    run(dir.path(), &[mirror(&server)]);
    let digest = AdvisoryDb::open(dir.path()).unwrap().digest();
    (dir, digest)
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let body = archive(&[document("X-1")]);
    let server = Server::start(move |request, _| match request.headers.get("if-none-match") {
        Some(tag) if tag == "\"one\"" => Reply::status(304),
        _ => Reply::ok(body.clone())
            .with("etag", "\"one\"")
            .with("last-modified", "Tue, 03 Sep 2024 10:00:00 GMT"),
    });
    let dir = tempfile::tempdir().unwrap();
    let first = run(dir.path(), &[mirror(&server)]);
    assert_eq!(first.changed, ["osv/PyPI"]);
    let second = run(dir.path(), &[mirror(&server)]);
    assert_eq!((second.unchanged, second.changed.len()), (vec!["osv/PyPI".to_owned()], 0));
    assert_eq!(first.digest, second.digest);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["if-none-match"], "\"one\"");
    assert!(requests.iter().all(|request| request.path == "/PyPI/all.zip"));
    // Another server's tag says nothing of this one's files.
    let other = archive(&[document("X-2")]);
    let elsewhere = Server::start(move |_, _| Reply::ok(other.clone()).with("etag", "\"one\""));
    assert_eq!(run(dir.path(), &[mirror(&elsewhere)]).changed, ["osv/PyPI"]);
    assert!(!elsewhere.requests()[0].headers.contains_key("if-none-match"));
}

#[test]
fn names_of_ecosystems_are_escaped() {
    let body = archive(&[document("X-1")]);
    let server = Server::start(move |_, _| Reply::ok(body.clone()));
    let ecosystems = ["Rocky Linux", "Debian:12", "../../etc", "a/b?c#d"].map(str::to_owned).to_vec();
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &[Source::Mirror { base: format!("{}/", server.base), ecosystems }]);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let expected =
        ["/Rocky%20Linux/all.zip", "/Debian:12/all.zip", "/..%2F..%2Fetc/all.zip", "/a%2Fb%3Fc%23d/all.zip"];
    assert_eq!(paths, expected);
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let body = archive(&(0..200).map(|n| document(&format!("X-{n}"))).collect::<Vec<_>>());
    let (half, whole) = (body.len() / 2, body.len());
    let server = Server::start(move |request, _| {
        let Some(range) = request.headers.get("range") else {
            return Reply { cut: Some(half), ..Reply::ok(body.clone()).with("etag", "\"tag\"") };
        };
        let from: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
        Reply { status: 206, body: body[from..].to_vec(), ..Reply::default() }
            .with("content-range", format!("bytes {from}-{}/{whole}", whole - 1))
    });
    let dir = tempfile::tempdir().unwrap();
    let report = run_with(dir.path(), &[mirror(&server)], &quick());
    assert_eq!(report.changed, ["osv/PyPI"], "{report:?}");
    assert_eq!(AdvisoryDb::open(dir.path()).unwrap().info().count, 200);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["range"], format!("bytes={half}-"));
    assert_eq!(requests[1].headers["if-range"], "\"tag\"");
    // Also by a later update: what arrived before stays, nothing else does.
    let left = std::fs::read_dir(dir.path().join("download")).unwrap().count();
    assert_eq!(left, 0, "a finished download is removed");
}

#[test]
fn a_file_that_changed_meanwhile_begins_anew() {
    let (old, new) = (archive(&[document("OLD-1")]), archive(&[document("NEW-1"), document("NEW-2")]));
    let server = Server::start(move |_, before| match before {
        0 => Reply { cut: Some(20), ..Reply::ok(old.clone()).with("etag", "\"old\"") },
        _ => Reply::ok(new.clone()).with("etag", "\"new\""),
    });
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_with(dir.path(), &[mirror(&server)], &quick()).changed, ["osv/PyPI"]);
    assert_eq!(AdvisoryDb::open(dir.path()).unwrap().info().count, 2);
}

#[test]
fn failures_leave_the_store_as_it_was() {
    let good = archive(&[document("NEW-1")]);
    let truncated = good[..good.len() - 10].to_vec();
    let cases: Vec<(&str, Reply)> = vec![
        ("it answered 404: there is no such file", Reply::status(404)),
        ("it answered 503", Reply::status(503)),
        ("it answered 304", Reply::status(304)),
        ("end of file before message length reached", Reply { cut: Some(30), ..Reply::ok(good.clone()) }),
        ("cannot read the archive", Reply::ok(truncated)),
        ("cannot read the archive", Reply::ok(b"{\"not\": \"an archive\"}".to_vec())),
        (
            "it sent a web page, not data",
            Reply::ok(good.clone()).with("content-type", "text/html; charset=utf-8"),
        ),
        (
            "it sent other bytes",
            Reply::ok(good.clone()).with("x-goog-hash", "crc32c=AAAA,md5=XrY7u+Ae7tCTyyK7j1rNww=="),
        ),
        ("holds no advisory", Reply::ok(archive(&[]))),
    ];
    for (reason, reply) in cases {
        let (dir, digest) = begun();
        let server = Server::start(move |_, _| reply.clone());
        let failure = only_failure(&run_with(dir.path(), &[mirror(&server)], &quick()));
        assert!(failure.contains(reason), "expected {reason:?}, got {failure:?}");
        let db = AdvisoryDb::open(dir.path()).unwrap();
        assert_eq!(db.digest(), digest, "{reason}");
        db.verify().unwrap();
    }
}

#[test]
fn a_good_checksum_is_accepted() {
    use md5::Digest as _;
    let body = archive(&[document("X-1")]);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sum: Vec<u8> = md5::Md5::digest(&body).to_vec();
    let mut text = String::new();
    for three in sum.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(char::from(alphabet[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    let server =
        Server::start(move |_, _| Reply::ok(body.clone()).with("x-goog-hash", format!("md5={text}==")));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &[mirror(&server)]).changed, ["osv/PyPI"]);
}

#[test]
fn a_passing_failure_is_tried_again() {
    let body = archive(&[document("X-1")]);
    let server = Server::start(move |_, before| match before {
        0 => Reply::status(502),
        _ => Reply::ok(body.clone()),
    });
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_with(dir.path(), &[mirror(&server)], &quick()).changed, ["osv/PyPI"]);
}

#[test]
fn too_large_is_refused_whether_it_is_said_or_not() {
    let body = archive(&(0..500).map(|n| document(&format!("X-{n}"))).collect::<Vec<_>>());
    let options = UpdateOptions { limits: Limits { file: 10_000, ..Limits::default() }, ..quick() };
    assert!(body.len() > 20_000);
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let (said, unsaid) = (body.clone(), body);
    let says = Server::start(move |_, _| Reply::ok(said.clone()));
    // Without a length the body ends with the connection.
    let counter = std::sync::Arc::clone(&sent);
    let silent = Server::start(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        let chunk = format!("{:x}\r\n", unsaid.len()).into_bytes();
        let body = [chunk, unsaid.clone(), b"\r\n0\r\n\r\n".to_vec()].concat();
        Reply { status: 200, body, ..Reply::default() }
            .with("transfer-encoding", "chunked")
            .with("content-length", "")
    });
    for server in [says, silent] {
        let (dir, digest) = begun();
        let failure = only_failure(&run_with(dir.path(), &[mirror(&server)], &options));
        assert!(failure.contains("more than 10000 bytes") || server.requests().len() == 2, "{failure}");
        assert_eq!(AdvisoryDb::open(dir.path()).unwrap().digest(), digest);
    }
}

#[test]
fn trackers_are_fetched_too() {
    let debian =
        json!({"openssl": {"CVE-2024-1": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}}});
    let alpine = json!({"distroversion": "v3.20", "reponame": "main", "packages": [
        {"pkg": {"name": "openssl", "secfixes": {"3.3.1-r0": ["CVE-2024-1"]}}}]});
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/tracker/data/json" => Reply::ok(debian.to_string().into_bytes()),
        "/v3.20/main.json" => Reply::ok(alpine.to_string().into_bytes()).with("etag", "\"a\""),
        _ => Reply::status(404),
    });
    let dir = tempfile::tempdir().unwrap();
    let sources = [
        Source::Debian(format!("{}/tracker/data/json", server.base)),
        Source::Alpine(format!("{}/v3.20/main.json", server.base)),
    ];
    assert_eq!(run(dir.path(), &sources).changed, ["debian", "alpine/v3.20/main"]);
}
