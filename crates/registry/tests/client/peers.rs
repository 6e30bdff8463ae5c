//! The client against Debian's docker-registry, cross-checked with skopeo, crane, oras and cosign.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kiln_attest::evidence::sign_image;
use kiln_attest::keys::{Algorithm, PrivateKey};
use kiln_registry::client::{
    Choice, Client, Keys, Login, Options, Progress, PullOptions, PushOptions, Pushed, RegistryError,
};
use kiln_registry::name::{INDEX, Reference};
use kiln_store::oci::{self, Index, Platform};
use kiln_store::{Descriptor, Format, Store};
use kiln_testkit::DockerRegistry;

use crate::kit::{Home, Parts, chain, client, home, image, noise, options, place, run};

/// Whether these programs are here; in CI they must be.
fn has_programs(names: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing =
        names.iter().find(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if let Some(name) = missing {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI");
        eprintln!("skipped: {name} is not installed");
    }
    missing.is_none()
}

fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("COSIGN_PASSWORD", "").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A layer that image tools can unpack.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", bytes.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    [&header[..], bytes, &vec![0; padding + 1024]].concat()
}

fn layers() -> Vec<Vec<u8>> {
    (0..4).map(|seed| tar(&format!("file-{seed}"), &noise(seed, 100_000 * seed as usize))).collect()
}

/// A store with one image.
fn stored() -> (Home, Parts, Descriptor) {
    let (home, mut parts) = (home(), Parts::default());
    let descriptor = parts.gzip_image(oci::host_architecture(), &layers());
    parts.store(&home.store).unwrap();
    home.store.keep(&descriptor).unwrap();
    (home, parts, descriptor)
}

fn try_push(store: &Store, digest: &Descriptor, target: &str) -> Result<Pushed, RegistryError> {
    let (options, progress) = (PushOptions::default(), Progress::none());
    run(client().push(store, &digest.digest, &image(target), &options, &progress))
}

fn push(store: &Store, digest: &Descriptor, target: &str) -> Pushed {
    try_push(store, digest, target).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

#[test]
fn what_kiln_pushes_others_pull_and_the_other_way_round() {
    if !has_programs(&["docker-registry", "skopeo", "crane"]) {
        return;
    }
    let (source, _, descriptor) = stored();
    let registry = DockerRegistry::start();
    let name = format!("{}/acme/web:1", registry.address);
    let pushed = push(&source.store, &descriptor, &name);
    assert_eq!((pushed.digest, pushed.totals.moved, pushed.totals.present), (descriptor.digest, 5, 0));
    assert_eq!(push(&source.store, &descriptor, &name).totals.present, 5, "nothing is sent twice");
    assert_eq!(command("crane", &["digest", "--insecure", &name]).trim(), descriptor.digest.to_string());
    command("crane", &["validate", "--insecure", "--remote", &name]);

    // To disk with skopeo, into the registry again under another name, back with Kiln.
    let layout = source.folder.path().join("layout");
    let (from, to) = (format!("docker://{name}"), format!("oci:{}:x", layout.display()));
    command("skopeo", &["--insecure-policy", "copy", "--src-tls-verify=false", &from, &to]);
    assert_eq!(source.store.import(&layout).unwrap().digest, descriptor.digest);
    let other = format!("docker://{}/acme/other:2", registry.address);
    command("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &to, &other]);
    let target = home();
    let reference = image(&format!("{}/acme/other:2", registry.address));
    let pulled =
        run(client().pull(&reference, &target.store, &PullOptions::default(), &Progress::none())).unwrap();
    assert_eq!((pulled.resolved, pulled.image.digest), (descriptor.digest, descriptor.digest));
    target
        .store
        .export(&descriptor.digest, Format::OciArchive, &target.folder.path().join("a.tar"), None)
        .unwrap();
    assert!(target.store.image(&descriptor.digest).unwrap().layers.len() == 4);
}

#[test]
fn tags_are_listed_looked_up_and_deleted() {
    if !has_programs(&["docker-registry"]) {
        return;
    }
    let (source, _, descriptor) = stored();
    let registry = DockerRegistry::start();
    let at = |tag: &str| format!("{}/acme/web:{tag}", registry.address);
    for tag in ["1", "2"] {
        push(&source.store, &descriptor, &at(tag));
    }
    let (client, place) = (client(), place(&at("1")));
    let mut tags = run(client.tags(&place)).unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
    let tag: Reference = "1".parse().unwrap();
    let found = run(client.look(&place, &tag)).unwrap().unwrap();
    assert_eq!((found.digest, found.media_type.as_deref()), (descriptor.digest.into(), Some(oci::MANIFEST)));
    run(client.delete(&place, &Reference::Digest(found.digest))).unwrap();
    assert_eq!(run(client.look(&place, &tag)).unwrap(), None);
    let error = run(client.pull(&image(&at("1")), &home().store, &PullOptions::default(), &Progress::none()));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("404") && text.contains("the name and the tag"), "{text}");
}

/// An index of two images, with its parts in the store.
fn with_index(store: &Store) -> (Descriptor, Vec<Descriptor>) {
    let mut parts = Parts::default();
    let architectures = [oci::host_architecture(), "s390x"];
    let images: Vec<Descriptor> = architectures
        .iter()
        .enumerate()
        .map(|(number, architecture)| {
            let mut image = parts.gzip_image(architecture, &[tar("a", &noise(number as u64, 1000))]);
            let (architecture, os) = ((*architecture).into(), "linux".into());
            image.platform = Some(Platform { architecture, os, variant: None });
            image
        })
        .collect();
    let index = parts.manifest(INDEX, &Index { manifests: images.clone(), ..Index::default() });
    parts.store(store).unwrap();
    (index, images)
}

#[test]
fn of_an_index_one_image_is_pulled_or_all() {
    if !has_programs(&["docker-registry", "crane"]) {
        return;
    }
    let source = home();
    let (index, images) = with_index(&source.store);
    let registry = DockerRegistry::start();
    let name = format!("{}/acme/multi:1", registry.address);
    assert_eq!(push(&source.store, &index, &name).digest, index.digest);
    command("crane", &["validate", "--insecure", "--remote", &name]);
    let pull = |choice: Choice| {
        let home = home();
        let options = PullOptions { choice, evidence: true };
        let pulled = run(client().pull(&image(&name), &home.store, &options, &Progress::none()));
        (pulled, home)
    };
    let (pulled, home) = pull(Choice::Host);
    let pulled = pulled.unwrap();
    assert_eq!((pulled.resolved, pulled.image.digest), (index.digest, images[0].digest));
    assert!(!home.store.has(&images[1].digest));
    let (pulled, _) = pull(Choice::Architecture("s390x".into()));
    assert_eq!(pulled.unwrap().image.digest, images[1].digest);
    let text = pull(Choice::Architecture("mips".into())).0.unwrap_err().to_string();
    assert!(text.contains("linux/mips") && text.contains("linux/s390x"), "{text}");
    let (pulled, all) = pull(Choice::All);
    assert_eq!(pulled.unwrap().image.digest, index.digest);
    // What was pulled whole can go on; what was not is refused.
    push(&all.store, &index, &format!("{}/acme/again:1", registry.address));
    home.store.put_bytes(&source.store.read_verified(&index.digest).unwrap()).unwrap();
    let part = format!("{}/acme/part:1", registry.address);
    let error = try_push(&home.store, &index, &part).unwrap_err();
    assert!(matches!(error, RegistryError::Incomplete { .. }), "{error}");
}

#[test]
fn evidence_travels_with_the_image_and_its_tools_find_it() {
    if !has_programs(&["docker-registry", "oras", "cosign"]) {
        return;
    }
    let (source, mut parts, descriptor) = stored();
    let registry = DockerRegistry::start();
    let name = format!("{}/acme/web:1", registry.address);
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let signature = sign_image(&source.store, &descriptor.digest, &name, &key, &BTreeMap::new()).unwrap();
    let envelope = parts.evidence(&descriptor, r#"{"payloadType":"application/vnd.in-toto+json"}"#);
    parts.store(&source.store).unwrap();
    source.store.add_referrer(&envelope, &descriptor.digest).unwrap();
    let pushed = push(&source.store, &descriptor, &name);
    assert_eq!(pushed.evidence.len(), 2);
    assert_eq!(pushed.referrers_api, Some(false), "docker-registry 2.8 keeps no list");
    push(&source.store, &descriptor, &name);

    let found = command("oras", &["discover", "--plain-http", "--format", "json", &name]);
    assert!(
        found.contains(&envelope.digest.to_string()) && found.contains(&signature.to_string()),
        "{found}"
    );
    let public = source.folder.path().join("key.pub");
    std::fs::write(&public, key.public().to_pem()).unwrap();
    let flags = ["--insecure-ignore-tlog=true", "--allow-http-registry", "--key", public.to_str().unwrap()];
    command("cosign", &[&["verify"], &flags[..], &[&name]].concat());
    let tags = run(client().tags(&place(&name))).unwrap();
    let hex = descriptor.digest.hex();
    for tag in [format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha256-{hex}.att")] {
        assert!(tags.contains(&tag), "{tag} is not among {tags:?}");
    }

    // Into another registry, and out of it into another store.
    let second = DockerRegistry::start();
    let copy = format!("{}/mirror/web:1", second.address);
    let (from, to) = (image(&name), image(&copy));
    let copied = run(client().copy(&from, &to, &PushOptions::default(), &Progress::none()));
    assert_eq!(copied.unwrap_or_else(|error| panic!("{}", chain(&error))).digest, descriptor.digest);
    command("cosign", &[&["verify"], &flags[..], &[&copy]].concat());
    let target = home();
    let pulled = run(client().pull(&to, &target.store, &PullOptions::default(), &Progress::none())).unwrap();
    assert_eq!(pulled.evidence.len(), 2);
    let listed: Vec<_> =
        target.store.referrers(&descriptor.digest).unwrap().iter().map(|one| one.digest).collect();
    assert!(listed.contains(&signature) && listed.contains(&envelope.digest), "{listed:?}");
    let bare = home();
    let options = PullOptions { evidence: false, ..PullOptions::default() };
    run(client().pull(&to, &bare.store, &options, &Progress::none())).unwrap();
    assert!(bare.store.referrers(&descriptor.digest).unwrap().is_empty());
}

#[test]
fn signatures_of_cosigns_own_come_along_too() {
    if !has_programs(&["docker-registry", "cosign"]) {
        return;
    }
    let (source, _, descriptor) = stored();
    let registry = DockerRegistry::start();
    let name = format!("{}/acme/web:1", registry.address);
    push(&source.store, &descriptor, &name);
    let prefix = source.folder.path().join("cosign");
    command("cosign", &["generate-key-pair", "--output-key-prefix", prefix.to_str().unwrap()]);
    let key = prefix.with_extension("key");
    let by_digest = format!("{}/acme/web@{}", registry.address, descriptor.digest);
    let flags = ["--tlog-upload=false", "--allow-http-registry", "--yes", "--key", key.to_str().unwrap()];
    command("cosign", &[&["sign"], &flags[..], &[&by_digest]].concat());
    let target = home();
    let pulled =
        run(client().pull(&image(&name), &target.store, &PullOptions::default(), &Progress::none())).unwrap();
    assert_eq!(target.store.referrers(&descriptor.digest).unwrap().len(), 1, "{:?}", pulled.evidence);
    // And on into another registry, where cosign finds it.
    let second = DockerRegistry::start();
    let copy = format!("{}/acme/web:1", second.address);
    push(&target.store, &descriptor, &copy);
    let public = prefix.with_extension("pub");
    let flags = ["--insecure-ignore-tlog=true", "--allow-http-registry", "--key", public.to_str().unwrap()];
    command("cosign", &[&["verify"], &flags[..], &[&copy]].concat());
}

#[test]
fn within_a_registry_blobs_are_mounted_and_between_two_they_are_streamed() {
    if !has_programs(&["docker-registry", "crane"]) {
        return;
    }
    let (source, _, descriptor) = stored();
    let (first, second) = (DockerRegistry::start(), DockerRegistry::start());
    let name = image(&format!("{}/acme/web:1", first.address));
    push(&source.store, &descriptor, &name.to_string());
    let copy =
        |to: &str| run(client().copy(&name, &image(to), &PushOptions::default(), &Progress::none())).unwrap();
    let near = copy(&format!("{}/acme/release:1", first.address));
    assert_eq!((near.totals.mounted, near.totals.moved), (5, 0));
    let far = format!("{}/acme/web:1", second.address);
    let copied = copy(&far);
    assert_eq!((copied.totals.mounted, copied.totals.moved), (0, 5));
    command("crane", &["validate", "--insecure", "--remote", &far]);
}

/// The certificate of an authority, and what docker-registry needs to use one of its own.
fn certificates(folder: &Path, name: &str) -> (String, String) {
    std::fs::create_dir_all(folder).unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let (own, key) = (write("own.pem", own.pem()), write("key.pem", key.serialize_pem()));
    (format!("  tls:\n    certificate: {own}\n    key: {key}\n"), write("ca.pem", authority.pem()))
}

#[test]
fn an_authority_of_ones_own_and_a_password_open_a_real_registry() {
    if !has_programs(&["docker-registry"]) {
        return;
    }
    let (source, _, descriptor) = stored();
    let outer = tempfile::tempdir().unwrap();
    let (tls, authority) = certificates(outer.path(), "Kiln's tests");
    // `open sesame`, by bcrypt.
    let line = "ali:$2b$04$L4cSz1DR9.AcXkn7KKHonuv6Qg.g6STOFIUqTBDwy1KfJQM1qIyOC\n";
    let registry = DockerRegistry::start_with(|folder| {
        std::fs::write(folder.join("htpasswd"), line).unwrap();
        format!("{tls}auth:\n  htpasswd:\n    realm: x\n    path: {}\n", folder.join("htpasswd").display())
    });
    let name = image(&format!("{}/acme/web:1", registry.address));
    let login = Login::Password { user: "ali".into(), password: "open sesame".into() };
    let with = |authority: Option<&str>, login: Option<Login>, address: &str| {
        let keys = Keys::none();
        let authority = authority.map(Into::into);
        let client = Client::new(Options { authority, login, keys, ..options().0 }).unwrap();
        let name = image(&format!("{address}/acme/web:1"));
        run(client.push(&source.store, &descriptor.digest, &name, &PushOptions::default(), &Progress::none()))
    };
    let pushed = with(Some(&authority), Some(login.clone()), &registry.address);
    pushed.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let text = with(Some(&authority), None, &registry.address).unwrap_err().to_string();
    assert!(text.contains("401") && text.contains("docker login"), "{text}");
    // Another authority is no help, and neither is another name.
    let others = tempfile::tempdir().unwrap();
    let (_, other) = certificates(others.path(), "Somebody else");
    let (_, alike) = certificates(outer.path().join("alike").as_path(), "Kiln's tests");
    for wrong in [other, alike] {
        let text = with(Some(&wrong), Some(login.clone()), &registry.address).unwrap_err().to_string();
        assert!(text.contains("--ca"), "{text}");
    }
    let renamed = registry.address.replace("127.0.0.1", "localhost");
    let text = with(Some(&authority), Some(login), &renamed).unwrap_err().to_string();
    assert!(text.contains("another name"), "{text}");
    assert_eq!(name.repository.as_str(), "acme/web");
}
