//! The same inputs make the same digest, whoever bakes, wherever and whenever.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use kiln_bake::write_layer;
use kiln_store::{Content, Kind, Node, Store, Tree};
use proptest::prelude::*;

use crate::kit::{Kitchen, is_root};

const TEXT: &str = "copy bin /bin\n copy app/ /srv/app\n run mkdir -p /srv/made; echo x > /srv/made/y; ln /srv/made/y /srv/made/z";

/// Bakes in another process, as the environment and the user that `command` sets up. Prints the digest.
fn elsewhere(kitchen: &Kitchen, text: &str, command: &mut Command) -> String {
    try_elsewhere(kitchen, text, command).unwrap_or_else(|error| panic!("{error}"))
}

fn try_elsewhere(kitchen: &Kitchen, text: &str, command: &mut Command) -> Result<String, String> {
    let store = kitchen.folder.path().join(format!("store-{}", std::process::id()));
    let output = command.arg("bake").arg(kitchen.source()).arg(&store).arg(text).output().unwrap();
    let _ = kiln_store::remove_tree(&store);
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn helper() -> &'static str {
    env!("CARGO_BIN_EXE_kiln-sandbox-helper")
}

/// Bakes as `nobody`, in folders and with a program that he may reach.
pub(crate) fn as_user(kitchen: &Kitchen, text: &str) -> String {
    try_as_user(kitchen, text).unwrap_or_else(|error| panic!("{error}"))
}

/// The digest, or what was printed instead.
pub(crate) fn try_as_user(kitchen: &Kitchen, text: &str) -> Result<String, String> {
    let folder = kitchen.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    let program = folder.join("helper");
    fs::copy(helper(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    try_elsewhere(kitchen, text, &mut command)
}

#[test]
fn the_digest_does_not_depend_on_the_machine() {
    let kitchen = Kitchen::with_busybox();
    for number in 0..30 {
        kitchen.file(&format!("app/{number}/file"), format!("{number}"));
    }
    let expected = kitchen.bake(TEXT).digest.to_string();
    let plain = |kitchen: &Kitchen| elsewhere(kitchen, TEXT, &mut Command::new(helper()));
    assert_eq!(plain(&kitchen), expected);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\"", helper()]);
    shell.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8").env("HOME", "/nonexistent");
    assert_eq!(elsewhere(&kitchen, TEXT, &mut shell), expected, "umask, time zone, locale");
    let one = Kitchen { jobs: 1, ..Kitchen::with_busybox() };
    // Written in another order, at another time, with other modes that do not count.
    for number in (0..30).rev() {
        one.file(&format!("app/{number}/file"), format!("{number}"));
        let path = one.source().join(format!("app/{number}/file"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(one.bake(TEXT).digest.to_string(), expected, "folder, order, threads, modes");
    if is_root() {
        assert_eq!(as_user(&kitchen, TEXT), expected, "user");
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let part = prop::collection::vec(prop::sample::select(b"abcXYZ-._ \xc3\xbc".to_vec()), 1..20)
        .prop_filter("plain", |part| part != b"." && part != b".." && !part.starts_with(b".wh."));
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(&b'/'));
    let content = prop::collection::vec(any::<u8>(), 0..3000);
    let node = (0..3_u8, 0_u32..0o10000, any::<u32>(), any::<i32>(), content).prop_map(
        |(kind, mode, uid, mtime, content)| Node {
            kind: match kind {
                0 => Kind::Folder,
                1 => Kind::Symlink(b"target".to_vec()),
                _ => Kind::File(Content::Bytes(Arc::from(content))),
            },
            mode,
            uid,
            gid: uid / 2,
            mtime: mtime.into(),
            xattrs: BTreeMap::new(),
        },
    );
    prop::collection::btree_map(path, node, 0..20).prop_map(|nodes| {
        // Nothing lies below a file.
        let files: Vec<Vec<u8>> = nodes
            .iter()
            .filter(|(_, node)| !matches!(node.kind, Kind::Folder))
            .map(|(path, _)| path.clone())
            .collect();
        let below = |path: &[u8]| {
            files
                .iter()
                .any(|file| path.strip_prefix(file.as_slice()).is_some_and(|rest| rest.starts_with(b"/")))
        };
        Tree { nodes: nodes.into_iter().filter(|(path, _)| !below(path)).collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_tree_makes_one_layer(tree in trees(), epoch in 0_i64..2_000_000_000) {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let none = BTreeMap::new();
        let one = write_layer(&store, &tree, epoch, 1, &none).unwrap();
        let two = write_layer(&store, &tree, epoch, 3, &none).unwrap();
        prop_assert_eq!(&one.reference, &two.reference);
        store.commit(vec![one.staged]).unwrap();
        let contents = store.contents(&[one.reference], false).unwrap();
        for (path, node) in &tree.nodes {
            let item = &contents.items[path];
            prop_assert_eq!(item.entry.uid, node.uid);
            prop_assert_eq!(item.entry.mtime, node.mtime.min(epoch));
            if let Kind::File(content) = &node.kind {
                prop_assert_eq!(item.entry.size, content.len());
            }
        }
    }
}
