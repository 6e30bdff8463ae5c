//! Whole images: layers, what later ones hide, and the configuration.

use kiln_model::{AllowedSecret, Policy};
use kiln_scan::secrets::{Allow, Confidence, Place, scan_image};
use kiln_store::oci::{Execution, Healthcheck, History};

use crate::kit::{image, layer, store};
use crate::samples::{self, Dice, Sample};

fn sample(rule: &str, seed: u64) -> Sample {
    samples::all(seed).into_iter().find(|sample| sample.rule == rule).unwrap()
}

#[test]
fn every_layer_is_searched_and_what_later_ones_hide_is_said() {
    let (_folder, store) = store();
    let token: Vec<Sample> = (1..8).map(|seed| sample("github-token", seed)).collect();
    let text = |index: usize| token[index].text.as_bytes();
    let below = [
        ("srv/deleted", text(0)),
        ("srv/replaced", text(1)),
        ("old/deep/down", text(2)),
        ("opaque/inside", text(3)),
        ("file/below", text(4)),
        ("srv/kept", text(5)),
    ];
    let above: [(&str, &[u8]); 5] = [
        ("srv/.wh.deleted", b""),
        ("srv/replaced", b"clean"),
        (".wh.old", b""),
        ("opaque/.wh..wh..opq", b""),
        ("file", b""),
    ];
    let layers =
        [layer(&store, &below), layer(&store, &above), layer(&store, &[("opaque/inside2", text(6))])];
    let image = image(&store, &layers, Execution::default(), Vec::new());
    let found = scan_image(&store, &image, &Allow::none()).unwrap();
    let seen: Vec<(String, bool, bool)> = found
        .iter()
        .map(|finding| match &finding.place {
            Place::File { path, layer, visible, .. } => {
                (path.clone(), *layer == Some(layers[0].blob.digest), *visible)
            }
            other => panic!("{other}"),
        })
        .collect();
    let wanted = [
        ("file/below", true, false),
        ("old/deep/down", true, false),
        ("opaque/inside", true, false),
        ("opaque/inside2", false, true),
        ("srv/deleted", true, false),
        ("srv/kept", true, true),
        ("srv/replaced", true, false),
    ];
    assert_eq!(seen, wanted.map(|(path, first, visible)| (path.to_owned(), first, visible)));
    let gone = found.iter().find(|finding| finding.place.path() == Some("srv/deleted")).unwrap();
    assert!(gone.place.to_string().contains("still in layer"), "{}", gone.place);
}

#[test]
fn the_configuration_is_searched() {
    let (_folder, store) = store();
    let token = sample("gitlab-token", 1).secret;
    let password = Dice(9).password();
    let config = Execution {
        env: Some(vec![
            "PATH=/usr/bin".into(),
            "DB_PASSWORD=hunter22".into(),
            "API_TOKEN_FILE=/run/secrets/api".into(),
            "SECRET_KEY=changeme".into(),
            "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568".into(),
            format!("CI={token}"),
        ]),
        labels: Some([("org.example.note".to_owned(), format!("token {token}"))].into()),
        entrypoint: Some(vec!["/app".into(), format!("--api-key={password}")]),
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), format!("curl https://probe:{password}@db.corp.io/")],
            ..Healthcheck::default()
        }),
        ..Execution::default()
    };
    let step = |text: &str| History { created_by: Some(text.into()), ..History::default() };
    let history =
        vec![step("/bin/sh -c apt-get update"), step(&format!("|1 NPM_TOKEN={password} /bin/sh -c npm ci"))];
    let image = image(&store, &[], config, history);
    let found = scan_image(&store, &image, &Allow::none()).unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|finding| format!("{}: {} {:?}", finding.place, finding.rule, finding.confidence))
        .collect();
    assert_eq!(
        told,
        [
            "environment variable CI: gitlab-token Likely",
            "environment variable DB_PASSWORD: generic-secret Possible",
            "label org.example.note: gitlab-token Likely",
            "entrypoint of the image: generic-secret Likely",
            "healthcheck of the image: url-password Likely",
            "step 2 of the image's history: generic-secret Likely",
        ]
    );
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains(&password) && !json.contains(&token) && !json.contains("hunter22"), "{json}");
}

#[test]
fn fingerprints_stay_and_allow_lists_use_them() {
    let (_folder, store) = store();
    let token = sample("npm-token", 3);
    let scan = |above: &str, allow: &Allow| {
        let content = format!("{above}{}", token.text);
        let layers = [layer(&store, &[("srv/app/.npmrc", content.as_bytes())])];
        scan_image(&store, &image(&store, &layers, Execution::default(), Vec::new()), allow).unwrap()
    };
    let (first, second) = (scan("", &Allow::none()), scan("# moved\n", &Allow::none()));
    assert_eq!(first[0].fingerprint, second[0].fingerprint);
    assert_ne!(first[0].place, second[0].place);
    let entry = |rule: Option<&str>, path: Option<&str>, fingerprint: Option<&str>| AllowedSecret {
        name: "known".into(),
        rule: rule.map(Into::into),
        path: path.map(Into::into),
        fingerprint: fingerprint.map(Into::into),
        reason: "a revoked one".into(),
    };
    let allowed = |entry: AllowedSecret| {
        let policy = Policy { allowed_secrets: vec![entry], ..Policy::default() };
        scan("", &Allow::of(&policy).unwrap())[0].allowed.is_some()
    };
    assert!(allowed(entry(None, None, Some(&first[0].fingerprint))));
    assert!(allowed(entry(Some("npm-token"), Some("/srv/**"), None)));
    assert!(!allowed(entry(Some("npm-token"), Some("/srv/*"), None)), "one star is one folder");
    assert!(!allowed(entry(Some("jwt"), Some("/srv/**"), None)));
    assert!(Allow::new(&[entry(None, None, None)]).is_err());
}

#[test]
fn a_weak_password_cannot_be_guessed_from_its_fingerprint() {
    let (_folder, store) = store();
    let print = |password: &str| {
        let env = Some(vec![format!("DB_PASSWORD={password}")]);
        let image = image(&store, &[], Execution { env, ..Execution::default() }, Vec::new());
        let found = scan_image(&store, &image, &Allow::none()).unwrap();
        assert_eq!((found[0].confidence, found[0].redacted.as_str()), (Confidence::Possible, "(hidden)"));
        found[0].fingerprint.clone()
    };
    assert_eq!(print("hunter22"), print("hunter23longer"));
}

#[test]
fn a_damaged_layer_is_an_error() {
    let (_folder, store) = store();
    let good = layer(&store, &[("a", b"b")]);
    let (digest, size) = store.put_bytes(b"\x1f\x8bnot gzip at all").unwrap();
    let bad = kiln_store::LayerRef {
        blob: kiln_store::Descriptor::new(kiln_store::oci::LAYER_GZIP, digest, size),
        diff_id: good.diff_id,
    };
    let image = image(&store, &[good, bad], Execution::default(), Vec::new());
    let error = scan_image(&store, &image, &Allow::none()).unwrap_err();
    assert_eq!(error.to_string(), "cannot search the image for secrets");
    assert!(std::error::Error::source(&error).is_some());
}
