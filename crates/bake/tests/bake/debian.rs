//! Real Debian packages, from the mirror that this machine uses.

use kiln_bake::Outcome;
use kiln_model::{Base, DebianBase, Recipe, Scripts};

use crate::kit::{Kitchen, chain, is_root, recipe, steps};

/// Whether a mirror can be reached; in CI it must.
fn has_mirror(kitchen: &Kitchen) -> bool {
    if std::env::var_os("KILN_TEST_OFFLINE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "a Debian mirror is needed in CI");
        eprintln!("skipped: KILN_TEST_OFFLINE is set");
        return false;
    }
    assert!(!kitchen.offline);
    true
}

fn debian(packages: &[&str], scripts: Scripts, text: &str) -> Recipe {
    let base = DebianBase {
        suite: "bookworm".into(),
        mirror: None,
        components: vec!["main".into()],
        updates: true,
        architecture: None,
        scripts,
        essential: false,
        recommends: false,
        keyring: None,
    };
    let packages = packages.iter().map(|name| (*name).to_owned()).collect();
    Recipe { base: Base::Debian(base), packages, steps: steps(text), ..recipe("web") }
}

#[test]
fn packages_are_locked_installed_and_run() {
    let kitchen = Kitchen { offline: false, ..Kitchen::with_busybox() };
    if !has_mirror(&kitchen) {
        return;
    }
    kitchen.file("app/main.py", "print('hi')\n");
    let wanted = debian(&["dash"], Scripts::None, "copy app/ /srv/app owner=www-data\n run echo $0 > /made");
    let baked = kitchen.try_recipe(wanted.clone()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let tree = kitchen.tree(&baked);
    assert_eq!(std::fs::read_to_string(tree.join("made")).unwrap(), "/bin/sh\n");
    let lock = std::fs::read_to_string(kitchen.source().join("kiln.lock")).unwrap();
    assert!(lock.contains("\"name\": \"dash\"") && !lock.contains("://"), "{lock}");
    let offline = Kitchen { offline: true, ..kitchen };
    let again = offline.try_recipe(wanted).unwrap();
    assert_eq!(again.digest, baked.digest);
    assert!(again.steps.iter().all(|step| step.outcome == Outcome::Cached));
    let other = debian(&["dash", "hello"], Scripts::None, "");
    let text = chain(&offline.try_recipe(other).unwrap_err());
    assert!(text.contains("hello") && text.contains("kiln lock"), "{text}");
}

#[test]
fn maintainer_scripts_run_in_the_sandbox() {
    let kitchen = Kitchen { offline: false, ..Kitchen::with_busybox() };
    if !has_mirror(&kitchen) || !is_root() {
        return;
    }
    let wanted = debian(
        &["ca-certificates"],
        Scripts::Run,
        "run dpkg --audit > /audit; dpkg -l ca-certificates | tail -1 > /state",
    );
    let baked = kitchen.try_recipe(wanted).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let tree = kitchen.tree(&baked);
    assert_eq!(std::fs::read_to_string(tree.join("audit")).unwrap(), "");
    assert!(std::fs::read_to_string(tree.join("state")).unwrap().starts_with("ii "));
    let bundle = std::fs::read_to_string(tree.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 100);
}
