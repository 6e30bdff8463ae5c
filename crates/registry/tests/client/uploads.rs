//! Pushing into registries that cut, forget, limit and refuse.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kiln_registry::client::{Client, Options, Progress, PushOptions, Pushed, RegistryError};
use kiln_store::Descriptor;
use proptest::prelude::*;

use crate::kit::{Home, Parts, home, image, noise, options, place, run, sha256};
use crate::wire::{Ask, Body, Reply, Wire, reply};

/// A registry in memory, one upload session at a time, which a test may disturb.
#[derive(Default)]
struct Memory {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
    sessions: Vec<Vec<u8>>,
}

type Shared = Arc<Mutex<Memory>>;

/// Where a body is cut: the number of the request with one, counted from 0, and how many bytes arrive.
type Cuts = Vec<usize>;

fn serve(
    memory: &Shared,
    cuts: Cuts,
    before: impl Fn(&Ask) -> Option<Reply> + Send + Sync + 'static,
) -> Wire {
    let (memory, number) = (memory.clone(), AtomicUsize::new(0));
    Wire::serve(move |ask, body| {
        if let Some(reply) = before(ask) {
            return reply;
        }
        let carries = matches!(ask.method.as_str(), "PATCH" | "PUT") && ask.path.contains("/uploads/");
        let number = if carries { number.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        memory.lock().unwrap().answer(ask, body, cuts.get(number).copied())
    })
}

impl Memory {
    fn answer(&mut self, ask: &Ask, body: &mut Body<'_>, cut: Option<usize>) -> Reply {
        let path = ask.path.split('?').next().unwrap();
        let last = path.rsplit('/').next().unwrap();
        match ask.method.as_str() {
            "HEAD" | "GET" if path.contains("/uploads/") => {
                let bytes = &self.sessions[last.parse::<usize>().unwrap()];
                reply(204)
                    .header("Location", path)
                    .header("Range", format!("0-{}", bytes.len().saturating_sub(1)))
            }
            "HEAD" | "GET" if path.contains("/blobs/") => {
                self.blobs.get(last).map_or(reply(404), |bytes| reply(200).body(bytes.clone()))
            }
            "HEAD" | "GET" => self.manifests.get(last).map_or(reply(404), |bytes| {
                reply(200).header("Docker-Content-Digest", sha256(bytes)).body(bytes.clone())
            }),
            "POST" => {
                self.sessions.push(Vec::new());
                reply(202).header("Location", format!("{path}{}", self.sessions.len() - 1))
            }
            "PATCH" | "PUT" if path.contains("/uploads/") => self.take(ask, body, cut, path),
            "PUT" => {
                let bytes = body.all();
                self.manifests.insert(sha256(&bytes).to_string(), bytes.clone());
                self.manifests.insert(last.to_owned(), bytes);
                reply(201).header("OCI-Subject", "yes")
            }
            _ => reply(405),
        }
    }

    fn take(&mut self, ask: &Ask, body: &mut Body<'_>, cut: Option<usize>, path: &str) -> Reply {
        let session = &mut self.sessions[path.rsplit('/').next().unwrap().parse::<usize>().unwrap()];
        if let Some(range) = ask.header("content-range")
            && range.split('-').next().unwrap() != session.len().to_string()
        {
            return reply(416);
        }
        match cut {
            Some(limit) => {
                session.extend(body.some(limit));
                // No head at all: the connection ends.
                Reply { status: 0, cut: Some(0), ..Reply::default() }
            }
            None => {
                session.extend(body.all());
                let Some(digest) = ask.query("digest") else {
                    let range = format!("0-{}", session.len().saturating_sub(1));
                    return reply(202).header("Location", path).header("Range", range);
                };
                let bytes = std::mem::take(session);
                let digest = digest.replace("%3A", ":");
                if sha256(&bytes).to_string() != digest {
                    return reply(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.blobs.insert(digest, bytes);
                reply(201)
            }
        }
    }
}

fn stored(layers: &[Vec<u8>]) -> (Home, Parts, Descriptor) {
    let (home, mut parts) = (home(), Parts::default());
    let descriptor = parts.image("amd64", layers);
    parts.store(&home.store).unwrap();
    (home, parts, descriptor)
}

fn push(
    wire: &Wire,
    home: &Home,
    digest: &Descriptor,
    change: impl FnOnce(&mut Options, &mut PushOptions),
) -> Result<Pushed, RegistryError> {
    let (mut options, _) = options();
    let mut push = PushOptions::default();
    change(&mut options, &mut push);
    let (client, target) = (Client::new(options).unwrap(), image(&format!("{}/acme/web:1", wire.address)));
    run(client.push(&home.store, &digest.digest, &target, &push, &Progress::none()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever is cut wherever, in one piece or several: the registry has the layer in the end.
    #[test]
    fn cuts_at_any_byte_are_mended(
        seed: u64, size in 1_usize..9000, chunk in prop::option::of(1_u64..9000), monolithic in 0_u64..6000,
        cuts in prop::collection::vec(0_usize..9000, 0..4),
    ) {
        let layer = noise(seed, size);
        let (home, parts, image) = stored(std::slice::from_ref(&layer));
        let memory = Shared::default();
        let wire = serve(&memory, cuts, |_| None);
        let pushed = push(&wire, &home, &image, |options, _| {
            // One blob after the other, so that cuts hit what they are meant for; chunks of a size that ends.
            (options.at_once, options.monolithic) = (1, monolithic);
            options.chunk = chunk.map(|chunk| chunk.max(size as u64 / 20));
        });
        prop_assert_eq!(pushed.unwrap().digest, image.digest);
        let memory = memory.lock().unwrap();
        prop_assert_eq!(&memory.blobs, &parts.blobs);
        prop_assert_eq!(sha256(&memory.manifests["1"]), image.digest);
    }
}

#[test]
fn a_cut_upload_goes_on_where_it_was_cut() {
    let (home, _, image) = stored(&[noise(1, 9000)]);
    let memory = Shared::default();
    let wire = serve(&memory, vec![5000, 1000], |_| None);
    push(&wire, &home, &image, |options, _| (options.at_once, options.monolithic) = (1, 4000)).unwrap();
    let ranges: Vec<String> =
        wire.asks().iter().filter_map(|ask| ask.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-8999", "5000-8999", "6000-8999"]);
}

#[test]
fn a_registry_that_forgets_its_sessions_gets_a_new_one() {
    let (home, parts, image) = stored(&[noise(1, 9000)]);
    let memory = Shared::default();
    let wire = serve(&memory, vec![5000], |ask| {
        (ask.method == "GET" && ask.path.contains("/uploads/")).then(|| reply(404))
    });
    push(&wire, &home, &image, |options, _| (options.at_once, options.monolithic) = (1, 4000)).unwrap();
    assert_eq!(memory.lock().unwrap().blobs, parts.blobs);
}

#[test]
fn chunks_are_as_large_as_the_registry_wants_them_at_least() {
    let (home, _, image) = stored(&[noise(1, 9000)]);
    let memory = Shared::default();
    let shared = memory.clone();
    let wire = serve(&memory, vec![], move |ask| {
        (ask.method == "POST").then(|| {
            shared.lock().unwrap().sessions.push(Vec::new());
            let number = shared.lock().unwrap().sessions.len() - 1;
            reply(202)
                .header("Location", format!("{}{number}", ask.path))
                .header("OCI-Chunk-Min-Length", 4000)
        })
    });
    push(&wire, &home, &image, |options, _| (options.chunk, options.monolithic) = (Some(100), 4000)).unwrap();
    let ranges: Vec<String> =
        wire.asks().iter().filter_map(|ask| ask.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-3999", "4000-7999", "8000-8999"]);
}

#[test]
fn what_is_too_large_at_once_is_sent_in_pieces() {
    let (home, parts, image) = stored(&[vec![0; 65 << 20]]);
    let memory = Shared::default();
    let wire = serve(&memory, vec![], |ask| {
        let length: u64 = ask.header("content-length").map_or(0, |text| text.parse().unwrap());
        (length > 64 << 20).then(|| reply(413))
    });
    push(&wire, &home, &image, |_, _| ()).unwrap();
    assert_eq!(memory.lock().unwrap().blobs, parts.blobs);
    assert_eq!(wire.count("PATCH", "/uploads/"), 3, "one too large, two that fit");
}

#[test]
fn a_tag_does_not_move_unless_forced() {
    let (home, _, image) = stored(&[noise(1, 100)]);
    let memory = Shared::default();
    memory.lock().unwrap().manifests.insert("1".into(), br#"{"layers":[]}"#.to_vec());
    let wire = serve(&memory, vec![], |_| None);
    let error = push(&wire, &home, &image, |_, _| ()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RegistryError::TagTaken { .. }) && text.contains("--force"), "{text}");
    assert!(
        text.contains(&sha256(br#"{"layers":[]}"#).to_string()) && text.contains("/acme/web:1"),
        "{text}"
    );
    assert!(wire.asks().iter().all(|ask| ask.method == "HEAD"), "nothing was sent");
    push(&wire, &home, &image, |_, push| push.force = true).unwrap();
    push(&wire, &home, &image, |_, _| ()).unwrap();
}

#[test]
fn blobs_are_mounted_where_that_is_possible_and_sent_where_not() {
    for (refuses, mounted) in [(false, 2), (true, 0)] {
        let (home, _, image) = stored(&[noise(1, 100)]);
        let memory = Shared::default();
        let wire = serve(&memory, vec![], move |ask| match ask.query("mount") {
            Some(_) if refuses => Some(reply(403)),
            Some(_) => Some(reply(201).header("Location", "/somewhere")),
            None => None,
        });
        let base = place(&format!("{}/acme/base", wire.address));
        let pushed = push(&wire, &home, &image, |_, push| push.mounts = vec![base]).unwrap();
        assert_eq!((pushed.totals.mounted, pushed.totals.moved), (mounted, 2 - mounted));
        let asks = wire.asks();
        let mount = asks.iter().find_map(|ask| ask.query("from"));
        assert_eq!(mount, Some("acme%2Fbase"));
    }
}

#[test]
fn damaged_bytes_in_the_store_are_told_as_what_they_are() {
    let layer = noise(1, 100);
    let (home, _, image) = stored(std::slice::from_ref(&layer));
    let path = home.store.blob_path(&sha256(&layer));
    std::fs::write(&path, noise(2, 100)).unwrap();
    let wire = serve(&Shared::default(), vec![], |_| None);
    let text = push(&wire, &home, &image, |_, _| ()).unwrap_err().to_string();
    assert!(text.contains("is damaged") && text.contains(path.to_str().unwrap()), "{text}");
}

#[test]
fn an_image_with_another_digest_than_the_target_is_not_pushed() {
    let (home, _, descriptor) = stored(&[noise(1, 100)]);
    let wire = serve(&Shared::default(), vec![], |_| None);
    let target = image(&format!("{}/acme/web@{}", wire.address, sha256(b"other")));
    let client = crate::kit::client();
    let pushed = run(client.push(
        &home.store,
        &descriptor.digest,
        &target,
        &PushOptions::default(),
        &Progress::none(),
    ));
    assert!(matches!(pushed.unwrap_err(), RegistryError::Digest { .. }));
    assert!(wire.asks().is_empty());
}
