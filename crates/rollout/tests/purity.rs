//! The engine is pure: its manifest links nothing that could look at the world, and its sources do not try.

use std::path::Path;

const ALLOWED: [&str; 3] = ["kiln-model", "serde", "thiserror"];

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_manifest_links_no_runtime_file_system_clock_network_or_random_source() {
    let manifest = std::fs::read_to_string(manifest_dir().join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).expect("a [dependencies] section");
    let names: Vec<&str> = section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert_eq!(names, ALLOWED, "a new dependency of the engine must be as pure as the engine");
    for section in ["[target.", "[build-dependencies]", "[dependencies."] {
        assert!(!manifest.contains(section), "{section} could bring in what [dependencies] does not show");
    }
}

#[test]
fn the_whole_tree_below_it_links_none_either() {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "-p",
            "kiln-rollout",
        ])
        .current_dir(manifest_dir())
        .output()
        .expect("cargo tree runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"kiln-model"), "the tree is not what this test takes it for: {tree}");
    for banned in
        ["tokio", "mio", "rustix", "nix", "libc", "rand", "getrandom", "jiff", "chrono", "time", "socket2"]
    {
        assert!(!names.contains(&banned), "the engine links {banned}");
    }
}

#[test]
fn the_sources_name_no_clock_file_system_or_network() {
    let mut seen = 0;
    let mut folders = vec![manifest_dir().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for banned in
                ["SystemTime", "Instant", "std::fs", "std::net", "std::process", "std::thread", "std::env"]
            {
                assert!(!text.contains(banned), "{} uses {banned}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "the sources moved");
}
