//! A layer's stream: the same bytes whatever the compression, nothing unverified, no thread that outlives it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use kiln_store::oci::{self, Descriptor};
use kiln_store::{LayerError, LayerRef, LayerStream, Limits, Store, StoreError};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kit::{chain, gzip, sha, store};

/// As Kiln writes its layers, with members of this length.
fn members(bytes: &[u8], length: usize, level: Compression) -> Vec<u8> {
    let pack = |part: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    if bytes.is_empty() { pack(bytes) } else { bytes.chunks(length).flat_map(pack).collect() }
}

fn named(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().filename("layer.tar").write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same bytes in every form that layers come in.
fn forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = bytes.len() / 2;
    vec![
        ("plain", bytes.to_vec()),
        ("one stream", gzip(bytes)),
        ("short members", members(bytes, 1 << 16, Compression::fast())),
        ("Kiln's members", members(bytes, 1 << 20, Compression::fast())),
        ("long members", members(bytes, 3 << 20, Compression::fast())),
        ("stored members", members(bytes, 1 << 20, Compression::none())),
        ("a name", named(bytes)),
        (
            "a name later",
            [members(&bytes[..half], 1 << 20, Compression::fast()), named(&bytes[half..])].concat(),
        ),
        ("zstd", zstd::encode_all(bytes, 1).unwrap()),
    ]
}

fn put(store: &Store, blob: &[u8], content: &[u8]) -> LayerRef {
    let (digest, size) = store.put_bytes(blob).unwrap();
    LayerRef { blob: Descriptor::new(oci::LAYER_GZIP, digest, size), diff_id: sha(content) }
}

/// Bytes that hardly compress, with some that do.
fn noise(length: usize) -> Vec<u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    let numbers = std::iter::successors(Some(7), step);
    let bytes = numbers.enumerate().map(|(at, n)| if at % 4096 < 1024 { 0 } else { (n >> 40) as u8 });
    bytes.take(length).collect()
}

/// All bytes, in reads of this length.
fn read(mut stream: impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; length]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

#[test]
fn every_form_gives_the_same_bytes() {
    let (_folder, store) = store();
    let long = noise(7 << 20);
    for content in [&long[..], &long[..1_000_000], &long[..1 << 20], b"short", b""] {
        for (form, blob) in forms(content) {
            let layer = put(&store, &blob, content);
            let mut stream = store.open_layer(&layer).unwrap();
            assert!(read(&mut stream, 70_001).unwrap() == content, "{form}, {} bytes", content.len());
            assert!(read(&mut stream, 10).unwrap().is_empty(), "{form}: the end stays the end");
            stream.finish(&store, &layer).unwrap();
            store.open_layer(&layer).unwrap().finish(&store, &layer).unwrap();
        }
    }
}

/// How far a stream is read before it is finished.
const READS: [fn(&mut LayerStream); 3] = [
    |_| {},
    |stream| stream.read_exact(&mut [0; 100]).unwrap(),
    |stream| drop(read(stream, 70_001).unwrap()),
];

#[test]
fn other_content_than_the_configuration_says_is_refused() {
    let (_folder, store) = store();
    let content = noise(3 << 20);
    for (form, blob) in forms(&content) {
        for act in READS {
            let layer = LayerRef { diff_id: sha(b"other"), ..put(&store, &blob, &content) };
            let mut stream = store.open_layer(&layer).unwrap();
            act(&mut stream);
            let error = stream.finish(&store, &layer).unwrap_err();
            let StoreError::Layer { source: LayerError::DiffId { expected, actual }, .. } = &error else {
                panic!("{form}: {}", chain(&error))
            };
            assert_eq!((*expected, *actual), (sha(b"other"), sha(&content)), "{form}");
        }
    }
}

/// The content is right, the blob is not: as when somebody packed the same files anew.
#[test]
fn another_blob_than_the_manifest_says_is_refused() {
    let (_folder, store) = store();
    let content = noise(3 << 20);
    for (form, blob) in forms(&content) {
        for act in READS {
            let right = put(&store, &blob, &content);
            let digest = sha(b"another name");
            fs::copy(store.blob_path(&right.blob.digest), store.blob_path(&digest)).unwrap();
            let layer =
                LayerRef { blob: Descriptor::new(oci::LAYER_GZIP, digest, right.blob.size), ..right.clone() };
            let mut stream = store.open_layer(&layer).unwrap();
            act(&mut stream);
            let text = chain(&stream.finish(&store, &layer).unwrap_err());
            assert!(
                text.contains(&format!("its content has the digest {}", right.blob.digest)),
                "{form}: {text}"
            );

            let size = right.blob.size + 1;
            let layer = LayerRef { blob: Descriptor::new(oci::LAYER_GZIP, right.blob.digest, size), ..right };
            let text = chain(&store.open_layer(&layer).unwrap().finish(&store, &layer).unwrap_err());
            assert!(text.contains(&format!("its manifest says {size}")), "{form}: {text}");
        }
    }
}

#[test]
fn damage_is_told_and_nothing_waits_for_what_does_not_come() {
    let (_folder, store) = store();
    let content = noise(4 << 20);
    for (form, whole) in forms(&content) {
        let cut = whole[..whole.len() * 3 / 5].to_vec();
        let mut altered = whole.clone();
        altered[whole.len() / 2] ^= 0x55;
        let garbage = [&whole[..], b"garbage at the end"].concat();
        for (damage, blob) in [("cut", cut), ("altered", altered), ("longer", garbage)] {
            let layer = put(&store, &blob, &content);
            let mut stream = store.open_layer(&layer).unwrap();
            let bytes = read(&mut stream, 70_001);
            // What is not compressed has no errors of its own; its digest tells.
            assert!(form == "plain" || damage == "altered" || bytes.is_err(), "{form}, {damage}");
            assert!(stream.finish(&store, &layer).is_err(), "{form}, {damage}, read");
            assert!(store.open_layer(&layer).unwrap().finish(&store, &layer).is_err(), "{form}, {damage}");
        }
    }
}

/// How often this process has a file open.
fn open_files(path: &Path) -> usize {
    let found = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    found.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
}

/// The reading thread has the blob open for as long as it lives.
#[test]
fn no_thread_outlives_its_stream() {
    let (_folder, store) = store();
    let content = noise(12 << 20);
    for (form, blob) in forms(&content) {
        let layer = put(&store, &blob, &content);
        let path = fs::canonicalize(store.blob_path(&layer.blob.digest)).unwrap();
        let open = || store.open_layer(&layer).unwrap();
        drop(open());
        assert_eq!(open_files(&path), 0, "{form}: dropped unread");
        let mut stream = open();
        stream.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(open_files(&path), 1, "{form}: it waits for its reader");
        drop(stream);
        assert_eq!(open_files(&path), 0, "{form}: dropped in the middle");
        open().finish(&store, &layer).unwrap();
        assert_eq!(open_files(&path), 0, "{form}: finished");
    }
    let cut = put(&store, &gzip(&content)[..1 << 20], &content);
    let path = fs::canonicalize(store.blob_path(&cut.blob.digest)).unwrap();
    let mut stream = store.open_layer(&cut).unwrap();
    read(&mut stream, 70_001).unwrap_err();
    drop(stream);
    assert_eq!(open_files(&path), 0, "dropped after an error");
}

#[test]
fn limits_hold_in_every_form() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { layer_bytes: 6 << 20, ratio: 50, ratio_after: 1 << 20, ..Limits::default() };
    let store = Store::open_with(&folder.path().join("store"), limits).unwrap();
    let refusal = |blob: &[u8], content: &[u8]| {
        let layer = put(&store, blob, content);
        let mut stream = store.open_layer(&layer).unwrap();
        read(&mut stream, 70_001).unwrap_err();
        assert!(stream.tripped().is_some());
        let error = store.open_layer(&layer).unwrap().finish(&store, &layer).unwrap_err();
        let StoreError::Layer { source, .. } = error else { panic!("{}", chain(&error)) };
        source
    };
    let (large, zeros) = (noise(7 << 20), vec![0; 5 << 20]);
    for (form, blob) in forms(&large) {
        assert!(
            matches!(refusal(&blob, &large), LayerError::TooLarge { limit } if limit == 6 << 20),
            "{form}"
        );
    }
    for (form, blob) in forms(&zeros) {
        if !form.contains("plain") && !form.contains("stored") {
            assert!(matches!(refusal(&blob, &zeros), LayerError::Bomb { ratio: 50 }), "{form}");
        }
    }
}

/// An archive of archives: what looks like the next member's header is content.
#[test]
fn a_header_within_a_member_does_not_end_it() {
    let (_folder, store) = store();
    let inner = members(&noise(300_000), 1 << 16, Compression::none());
    let content = [&noise(5000)[..], &inner, &noise(5000)[..], &inner[..10]].concat();
    for length in [7000, 100_000, 1 << 20] {
        let blob = members(&content, length, Compression::none());
        let layer = put(&store, &blob, &content);
        let mut stream = store.open_layer(&layer).unwrap();
        assert!(read(&mut stream, 4096).unwrap() == content, "{length}");
        stream.finish(&store, &layer).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the bytes are, the stream gives what flate2 makes of them, or an error where that does.
    #[test]
    fn any_members_are_read_as_others_read_them(
        parts in prop::collection::vec((0..40_000_usize, 0..4_u8), 1..6),
        flip in prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
    ) {
        let (_folder, store) = store();
        let pack = |(length, form): &(usize, u8)| match form {
            0 => members(&noise(*length), 1 << 13, Compression::fast()),
            1 => members(&noise(*length), 1 << 13, Compression::none()),
            2 => named(&noise(*length)),
            _ => gzip(&gzip(&noise(*length))),
        };
        let mut blob: Vec<u8> = parts.iter().flat_map(pack).collect();
        if let Some((at, mask)) = flip {
            let at = at.index(blob.len() - 2) + 2;
            blob[at] ^= mask;
        }
        let mut content = Vec::new();
        let expected = flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut content);
        let layer = put(&store, &blob, &content);
        let mut stream = store.open_layer(&layer).unwrap();
        let found = read(&mut stream, 5000);
        prop_assert_eq!(found.is_ok(), expected.is_ok(), "{:?} {:?}", found.err(), expected);
        if let Ok(found) = found {
            prop_assert!(found == content);
            stream.finish(&store, &layer).unwrap();
        }
    }
}
