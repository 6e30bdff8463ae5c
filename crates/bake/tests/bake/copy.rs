//! What `copy` puts where.

use std::os::unix::fs::symlink;

use crate::kit::{Kitchen, chain, recipe, steps};

/// Paths of an image, with `/` behind folders and the target behind links.
fn names(kitchen: &Kitchen, text: &str) -> Vec<String> {
    let baked = kitchen.bake(text);
    let contents =
        kitchen.store.contents(&kitchen.store.image(&baked.digest).unwrap().layers, false).unwrap();
    contents
        .items
        .iter()
        .map(|(path, item)| match item.entry.kind {
            kiln_store::EntryKind::Folder => format!("{}/", String::from_utf8_lossy(path)),
            kiln_store::EntryKind::Symlink => {
                format!("{} -> {}", String::from_utf8_lossy(path), String::from_utf8_lossy(&item.entry.link))
            }
            _ => String::from_utf8_lossy(path).into_owned(),
        })
        .collect()
}

fn sample() -> Kitchen {
    let kitchen = Kitchen::new();
    kitchen
        .file("app/main.py", "1")
        .file("app/lib/util.py", "2")
        .file("app/notes.txt", "3")
        .file("one.conf", "4");
    kitchen
}

#[test]
fn a_trailing_slash_makes_the_difference() {
    let kitchen = sample();
    let content =
        ["srv/", "srv/app/", "srv/app/lib/", "srv/app/lib/util.py", "srv/app/main.py", "srv/app/notes.txt"];
    assert_eq!(names(&kitchen, "copy app/ /srv/app"), content);
    assert_eq!(names(&kitchen, "copy app /srv/app"), content);
    assert_eq!(names(&kitchen, "copy app /srv/"), content);
    assert_eq!(names(&kitchen, "copy app/ /srv/app/"), content);
    assert_eq!(names(&kitchen, "copy one.conf /etc/"), ["etc/", "etc/one.conf"]);
    assert_eq!(names(&kitchen, "copy one.conf /etc"), ["etc"]);
    assert_eq!(names(&kitchen, "copy one.conf /etc/two.conf"), ["etc/", "etc/two.conf"]);
    assert_eq!(names(&kitchen, "copy ./one.conf /"), ["one.conf"]);
}

#[test]
fn patterns_keep_what_is_below_their_fixed_part() {
    let kitchen = sample();
    assert_eq!(names(&kitchen, "copy app/*.py /srv"), ["srv/", "srv/main.py"]);
    assert_eq!(
        names(&kitchen, "copy app/**/*.py /srv"),
        ["srv/", "srv/lib/", "srv/lib/util.py", "srv/main.py"]
    );
    assert_eq!(names(&kitchen, "copy *.{conf,cfg} /etc/"), ["etc/", "etc/one.conf"]);
    assert_eq!(names(&kitchen, "copy app/l* /srv"), ["srv/", "srv/lib/", "srv/lib/util.py"]);
    let text = chain(&kitchen.try_bake("copy *.nothing /srv").unwrap_err());
    assert!(text.contains("*.nothing") && text.contains("no file"), "{text}");
}

#[test]
fn what_is_ignored_is_left_out() {
    let kitchen = sample();
    kitchen
        .file(".kilnignore", "*.txt\n/app/lib/\n")
        .file(".git/config", "x")
        .file("kiln.hcl", "x")
        .file("kiln.lock", "{\"version\":1,\"images\":{}}");
    kitchen.file("app/sub/.kilnignore", "!*.txt\n").file("app/sub/keep.txt", "5");
    assert_eq!(
        names(&kitchen, "copy ./ /srv"),
        ["srv/", "srv/app/", "srv/app/main.py", "srv/app/sub/", "srv/app/sub/keep.txt", "srv/one.conf"]
    );
    assert_eq!(names(&kitchen, "copy app/ /srv exclude=*.py"), ["srv/", "srv/sub/", "srv/sub/keep.txt"]);
    let text = chain(&kitchen.try_bake("copy app/ /srv exclude=*.py exclude=/sub").unwrap_err());
    assert!(text.contains("exclude"), "{text}");
    let text = "copy app/notes.txt /srv/";
    assert_eq!(names(&kitchen, text), ["srv/", "srv/notes.txt"], "named outright it is meant");
}

#[test]
fn links_stay_links_and_do_not_lead_out() {
    let kitchen = sample();
    symlink("main.py", kitchen.source().join("app/run")).unwrap();
    symlink("../one.conf", kitchen.source().join("app/conf")).unwrap();
    let found = names(&kitchen, "copy app/ /srv");
    assert!(
        found.contains(&"srv/run -> main.py".to_owned())
            && found.contains(&"srv/conf -> ../one.conf".to_owned())
    );
    for target in ["/etc/passwd", "../../secret", "lib/../../../x"] {
        let link = kitchen.source().join("app/bad");
        symlink(target, &link).unwrap();
        let text = chain(&kitchen.try_bake("copy app/ /srv").unwrap_err());
        assert!(text.contains("app/bad") && text.contains(target), "{text}");
        names(&kitchen, "copy app/ /srv exclude=bad");
        std::fs::remove_file(link).unwrap();
    }
    symlink("/etc", kitchen.source().join("out")).unwrap();
    let text = chain(&kitchen.try_bake("copy out/passwd /srv/").unwrap_err());
    assert!(text.contains("leads out"), "{text}");
    let text = chain(&kitchen.try_bake("copy ../spec /srv/").unwrap_err());
    assert!(text.contains("leads out"), "{text}");
    let text = chain(&kitchen.try_bake("copy absent /srv/").unwrap_err());
    assert!(text.contains("\"absent\" does not exist"), "{text}");
}

#[test]
fn the_links_of_the_image_are_followed() {
    let kitchen = sample();
    kitchen.file("root/usr/bin/x", "");
    symlink("usr/bin", kitchen.source().join("root/bin")).unwrap();
    symlink("loop", kitchen.source().join("root/loop")).unwrap();
    let found = names(&kitchen, "copy root/ /\n copy one.conf /bin/\n copy app/lib /bin/");
    assert_eq!(
        found,
        [
            "bin -> usr/bin",
            "loop -> loop",
            "usr/",
            "usr/bin/",
            "usr/bin/lib/",
            "usr/bin/lib/util.py",
            "usr/bin/one.conf",
            "usr/bin/x"
        ]
    );
    let text = chain(&kitchen.try_bake("copy root/ /\n copy one.conf /loop/x").unwrap_err());
    assert!(text.contains("circles"), "{text}");
}

#[test]
fn owners_and_modes() {
    let kitchen = sample();
    kitchen
        .file("etc/passwd", "root:x:0:0::/:\nwww-data:x:33:34::/:\n")
        .file("etc/group", "root:x:0:\nadm:x:4:\n");
    let find = |text: &str, path: &str| {
        let baked = kitchen.bake(&format!("copy etc /etc\n{text}"));
        let contents =
            kitchen.store.contents(&kitchen.store.image(&baked.digest).unwrap().layers, false).unwrap();
        let entry = &contents.items[path.as_bytes()].entry;
        (entry.uid, entry.gid, entry.mode)
    };
    assert_eq!(find("copy one.conf /x", "x"), (0, 0, 0o644));
    assert_eq!(find("copy one.conf /x owner=www-data mode=0600", "x"), (33, 34, 0o600));
    assert_eq!(find("copy one.conf /x owner=www-data:adm mode=4755", "x"), (33, 4, 0o4755));
    assert_eq!(find("copy one.conf /x owner=1000", "x"), (1000, 1000, 0o644));
    assert_eq!(find("copy one.conf /x owner=7:8", "x"), (7, 8, 0o644));
    assert_eq!(find("copy app/ /srv/app owner=www-data", "srv/app/lib"), (33, 34, 0o755));
    assert_eq!(find("copy app/ /srv/app owner=www-data", "srv"), (0, 0, 0o755), "parents are root's");
    for (bad, word) in
        [("owner=nobody", "nobody"), ("owner=root:nope", "nope"), ("mode=rw", "rw"), ("mode=77777", "77777")]
    {
        let text = chain(&kitchen.try_bake(&format!("copy one.conf /x {bad}")).unwrap_err());
        assert!(text.contains(word), "{text}");
    }
    for bad in ["relative", "/a/../b"] {
        let text = chain(&kitchen.try_bake(&format!("copy one.conf {bad}")).unwrap_err());
        assert!(text.contains("absolute"), "{text}");
    }
}

#[test]
fn a_folder_of_the_image_keeps_its_mode() {
    let kitchen = sample();
    let mut first = recipe("web");
    first.steps = steps("copy app/ /closed owner=5:6\n copy one.conf /closed/");
    let baked = kitchen.try_recipe(first).unwrap();
    let layers = kitchen.store.image(&baked.digest).unwrap().layers;
    let last = kitchen.store.contents(&layers[1..], false).unwrap();
    let closed = &last.items[&b"closed"[..]].entry;
    assert_eq!(
        (closed.uid, closed.gid),
        (5, 6),
        "engines that unpack a layer alone must not change the folder"
    );
}

#[test]
fn files_come_from_another_image() {
    let mut kitchen = sample();
    kitchen.image("build", "copy app/ /out owner=7:8");
    let find = |text: &str| {
        let baked = kitchen.bake(text);
        kitchen.store.contents(&kitchen.store.image(&baked.digest).unwrap().layers, true).unwrap()
    };
    let contents = find("copy /out/ /srv image=build");
    let entry = &contents.items[&b"srv/lib/util.py"[..]].entry;
    assert_eq!((entry.uid, entry.gid, entry.size), (7, 8, 1), "owners stay as they were there");
    let contents = find("copy /out/main.py /bin/prog image=build owner=0:0 mode=0755");
    let entry = &contents.items[&b"bin/prog"[..]].entry;
    assert_eq!((entry.uid, entry.mode), (0, 0o755));
    assert!(find("copy /out/*.txt /t image=build").items.contains_key(&b"t/notes.txt"[..]));
    let text = chain(&kitchen.try_bake("copy /nope /srv image=build").unwrap_err());
    assert!(text.contains("/nope"), "{text}");
    let text = chain(&kitchen.try_bake("copy /x /srv image=other").unwrap_err());
    assert!(text.contains("other"), "{text}");
    kitchen.image("a", "copy /x / image=b").image("b", "copy /x / image=a");
    let text = chain(&kitchen.try_bake("copy /x / image=a").unwrap_err());
    assert!(text.contains("a -> b -> a"), "{text}");
}
