//! Pulling from registries that cut, lie, stall and send too much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_registry::client::{Client, Event, Options, Progress, PullOptions, RegistryError};
use proptest::prelude::*;

use crate::kit::{Home, Parts, Pauses, client, home, image, noise, options, ranged, run};
use crate::wire::{Reply, Wire, reply};

fn plain() -> PullOptions {
    PullOptions { evidence: false, ..PullOptions::default() }
}

fn pull(client: &Client, wire: &Wire, home: &Home, digest: &kiln_model::Digest) -> Result<(), RegistryError> {
    let name = image(&format!("{}/acme/web@{digest}", wire.address));
    run(client.pull(&name, &home.store, &plain(), &Progress::none())).map(|_| ())
}

/// One image with one layer, and a registry that treats the layer's requests as said.
struct Case {
    layer: Vec<u8>,
    image: kiln_model::Digest,
    wire: Wire,
    home: Home,
}

fn case(
    layer: Vec<u8>,
    act: impl Fn(&crate::wire::Ask, &[u8], usize) -> Option<Reply> + Send + Sync + 'static,
) -> Case {
    let mut parts = Parts::default();
    let image = parts.image(kiln_store::oci::host_architecture(), std::slice::from_ref(&layer)).digest;
    let digest = crate::kit::sha256(&layer).to_string();
    let (bytes, number) = (layer.clone(), AtomicUsize::new(0));
    let wire = parts.serve(move |ask, _| {
        if !ask.path.ends_with(&digest) {
            return None;
        }
        act(ask, &bytes, number.fetch_add(1, Ordering::SeqCst))
    });
    Case { layer, image, wire, home: home() }
}

impl Case {
    fn pull(&self, client: &Client) -> Result<(), RegistryError> {
        pull(client, &self.wire, &self.home, &self.image)
    }

    fn asks(&self) -> usize {
        self.wire.count("GET", &crate::kit::sha256(&self.layer).to_string())
    }

    fn has_layer(&self) -> bool {
        self.home.store.has(&crate::kit::sha256(&self.layer))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever is cut wherever: the layer is whole in the end, and no byte was sent twice by a registry that knows
    /// ranges.
    #[test]
    fn cuts_at_any_byte_are_mended(
        seed: u64, size in 1_usize..5000, cuts in prop::collection::vec(0_usize..5000, 0..4), knows_ranges: bool,
    ) {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let all = cuts.len();
        let case = case(noise(seed, size), move |ask, bytes, number| {
            let reply = if knows_ranges { ranged(ask, bytes) } else { reply(200).body(bytes) };
            let Some(cut) = cuts.get(number) else {
                counter.fetch_add(reply.body.len(), Ordering::SeqCst);
                return Some(reply);
            };
            let cut = cut % reply.body.len();
            counter.fetch_add(cut, Ordering::SeqCst);
            Some(reply.cut(cut))
        });
        case.pull(&client()).unwrap();
        prop_assert_eq!(std::fs::read(case.home.store.blob_path(&crate::kit::sha256(&case.layer))).unwrap(), &case.layer[..]);
        prop_assert_eq!(case.asks(), all + 1);
        if knows_ranges {
            prop_assert_eq!(sent.load(Ordering::SeqCst), size);
        }
    }
}

#[test]
fn a_layer_that_is_always_cut_ends_with_an_error_and_leaves_nothing() {
    let case = case(noise(1, 1000), |_, bytes, _| Some(reply(200).body(bytes).cut(7)));
    let error = case.pull(&client()).unwrap_err();
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
    assert_eq!(case.asks(), Options::default().retry.attempts as usize);
    assert!(!case.has_layer());
    let left = std::fs::read_dir(case.home.store.root().join("blobs/sha256")).unwrap().count();
    assert!(left <= 1, "at most the configuration, which is whole: {left}");
}

#[test]
fn other_bytes_than_promised_are_refused() {
    let wrong = case(noise(1, 1000), |_, bytes, _| {
        let mut bytes = bytes.to_vec();
        bytes[500] ^= 1;
        Some(reply(200).body(bytes))
    });
    let error = wrong.pull(&client()).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert!(error.to_string().contains("broken or hostile") && !wrong.has_layer());
}

#[test]
fn one_damaged_transfer_is_made_up_for() {
    let once =
        case(noise(1, 1000), |_, bytes, number| (number == 0).then(|| reply(200).body(vec![0; bytes.len()])));
    once.pull(&client()).unwrap();
    assert_eq!(once.asks(), 2);
}

#[test]
fn more_or_fewer_bytes_than_promised_are_refused() {
    let long = case(noise(1, 1000), |_, bytes, _| {
        let mut bytes = bytes.to_vec();
        bytes.push(0);
        Some(reply(200).body(bytes))
    });
    let error = long.pull(&client()).unwrap_err();
    assert!(matches!(error, RegistryError::Length { expected: 1000, actual: 1001, .. }), "{error}");
    assert_eq!(long.asks(), 1, "too much is no accident");
    let short = case(noise(2, 1000), |_, bytes, _| Some(reply(200).body(&bytes[..999])));
    let error = short.pull(&client()).unwrap_err();
    assert!(matches!(error, RegistryError::Length { expected: 1000, actual: 999, .. }), "{error}");
    assert!(!short.has_layer() && !long.has_layer());
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let other = case(noise(1, 1000), |ask, bytes, _| {
        if ask.from() == 0 {
            return Some(reply(200).body(bytes).cut(10));
        }
        Some(reply(206).header("Content-Range", "bytes 0-989/1000").body(&bytes[..990]))
    });
    let error = other.pull(&client()).unwrap_err();
    assert!(error.to_string().contains("bytes from 10 on"), "{error}");
    let unwilling = case(noise(2, 1000), |ask, bytes, number| {
        if ask.from() > 0 {
            return Some(reply(416));
        }
        Some(if number == 0 { reply(200).body(bytes).cut(10) } else { reply(200).body(bytes) })
    });
    unwilling.pull(&client()).unwrap();
    assert_eq!(unwilling.asks(), 3, "416 is answered by asking for all of it");
}

/// Pulls where the manifest's first answers are these.
fn first_answers(answers: Vec<Reply>) -> (Result<(), RegistryError>, Vec<Duration>, usize) {
    let (options, pauses): (Options, Pauses) = options();
    let mut parts = Parts::default();
    let digest = parts.image(kiln_store::oci::host_architecture(), &[b"layer".to_vec()]).digest;
    let answers = Mutex::new(answers.into_iter());
    let wire = parts.serve(move |ask, _| {
        let manifest = ask.path.contains("/manifests/");
        manifest.then(|| answers.lock().unwrap().next()).flatten()
    });
    let result = pull(&Client::new(options).unwrap(), &wire, &home(), &digest);
    let waited = pauses.lock().unwrap().clone();
    (result, waited, wire.count("GET", "/manifests/"))
}

#[test]
fn a_registry_that_limits_is_waited_for_as_long_as_it_says_within_reason() {
    let limited = |after: &str| reply(429).header("Retry-After", after);
    let (result, waited, asks) = first_answers(vec![limited("7"), limited("99999")]);
    result.unwrap();
    assert_eq!(waited, [Duration::from_secs(7), Duration::from_secs(60)]);
    assert_eq!(asks, 3);
    let (result, waited, _) = first_answers(vec![limited("1"); 5]);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("429") && text.contains("limits how often"), "{text}");
    assert_eq!(waited.len(), 4);
}

#[test]
fn a_failing_registry_is_asked_again_and_a_refusing_one_is_not() {
    let (result, waited, _) = first_answers(vec![reply(503), reply(502)]);
    result.unwrap();
    assert!(waited[1] > waited[0], "{waited:?}");
    for status in [400, 403, 404, 501] {
        let (result, waited, asks) = first_answers(vec![reply(status)]);
        assert_eq!(result.unwrap_err().status(), Some(status));
        assert_eq!((waited.len(), asks), (0, 1), "{status}");
    }
}

#[test]
fn what_the_registry_says_is_told() {
    let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let (result, ..) = first_answers(vec![reply(403).body(body)]);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("403 (requested access to the resource is denied); the user"), "{text}");
}

#[test]
fn a_huge_manifest_is_not_read_to_its_end() {
    let huge = vec![b' '; 64 << 20];
    let (result, _, asks) = first_answers(vec![reply(200).body(huge)]);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("larger than 4096 KiB"), "{text}");
    assert_eq!(asks, 1);
}

#[test]
fn a_manifest_with_another_digest_or_no_sense_is_refused() {
    let (result, ..) = first_answers(vec![reply(200).body(r#"{"layers":[]}"#)]);
    assert!(matches!(result.unwrap_err(), RegistryError::Digest { .. }));
    let wire = Wire::serve(|_, _| reply(200).body("<html>"));
    let name = image(&format!("{}/a:1", wire.address));
    let error = run(client().pull(&name, &home().store, &plain(), &Progress::none())).unwrap_err();
    assert!(error.to_string().contains("neither a manifest nor an index"), "{error}");
}

#[test]
fn a_silent_registry_is_not_waited_for_for_ever() {
    let (mut options, _) = options();
    options.idle = Duration::from_millis(50);
    let client = Client::new(options).unwrap();
    let silent = Wire::serve(|_, _| Reply { silent: true, ..Reply::default() });
    let error = run(client.tags(&crate::kit::place(&format!("{}/a", silent.address)))).unwrap_err();
    assert!(error.to_string().contains("silent for 0.05 s"), "{error}");
    assert_eq!(silent.asks().len(), 5);
}

#[test]
fn retries_and_bytes_are_told() {
    let case =
        case(noise(3, 5000), |_, bytes, number| (number == 0).then(|| reply(200).body(bytes).cut(1000)));
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = events.clone();
    let progress = Progress::new(move |event| noted.lock().unwrap().push(event));
    let name = image(&format!("{}/acme/web@{}", case.wire.address, case.image));
    let pulled = run(client().pull(&name, &case.home.store, &plain(), &progress)).unwrap();
    let events = events.lock().unwrap();
    let bytes: u64 = events.iter().map(|e| if let Event::Bytes { count } = e { *count } else { 0 }).sum();
    assert_eq!(bytes, pulled.totals.bytes);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Retry { .. })).count(), 1);
    assert!(matches!(events[0], Event::Planned { blobs: 2, .. }));
    let again = run(client().pull(&name, &case.home.store, &plain(), &Progress::none())).unwrap();
    assert_eq!((again.totals.moved, again.totals.present), (0, 2));
    assert_eq!(case.asks(), 2, "what is in the store is not asked for again");
}
