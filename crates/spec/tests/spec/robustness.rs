//! Bad input: no panic, no endless work, and formatting that never changes what a spec means.

use std::time::{Duration, Instant};

use kiln_spec::{Inputs, format, load};
use proptest::prelude::*;

use crate::support::folder;

const DESIGN: &str = include_str!("../fixtures/design/kiln.hcl");
const LANGUAGE: &str = include_str!("../fixtures/language.hcl");

/// Loads a text and renders whatever there is to tell.
fn digest(text: &str) -> String {
    let root = folder(&[("kiln.hcl", text)]);
    match load(root.path(), &Inputs::none()) {
        Ok(loaded) => loaded.warnings.render(true) + &serde_json::to_string(&loaded.project).unwrap(),
        Err(errors) => errors.render(true) + &serde_json::to_string(&errors).unwrap(),
    }
}

/// What a spec says, or how many things are wrong with it, without places.
fn meaning(text: &str) -> Result<String, Vec<String>> {
    let root = folder(&[("kiln.hcl", text)]);
    let named =
        |text: String| text.replace(&root.path().file_name().unwrap().to_string_lossy().to_lowercase(), "x");
    match load(root.path(), &Inputs::none()) {
        Ok(mut loaded) => {
            loaded.project.name = kiln_model::Name::new("x").unwrap();
            Ok(serde_json::to_string(&loaded.project).unwrap())
        }
        Err(errors) => Err(errors.iter().map(|e| named(e.message.clone())).collect()),
    }
}

/// A spec with some characters taken out, put in or exchanged for pieces of the language.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "\"",
        "${",
        "%{",
        "=",
        "\n",
        "<<EOT\n",
        "EOT\n",
        "#",
        "/*",
        "*/",
        ",",
        ".",
        "...",
        "[*]",
        "for",
        "in",
        ":",
        "?",
        "=>",
        "-",
        "!",
        "local.",
        "var.x",
        "image.web",
        "null",
        "\\",
        "\u{feff}",
        "é",
        "\0",
        "\r\n",
        "99999999999999999999",
        "1e999",
        "\"${",
        "~}",
        "%{ if true }",
        "%{ endif }",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, pieces), 1..6);
    (prop::sample::select(vec![DESIGN, LANGUAGE]), edits).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(chars.len().max(1)).min(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// A spec with other space between its words.
fn spaced() -> impl Strategy<Value = String> {
    let choice = prop::collection::vec(0..6_usize, 4096);
    (prop::sample::select(vec![DESIGN, LANGUAGE]), choice).prop_map(|(text, choice)| {
        let mut choice = choice.into_iter().cycle();
        let mut in_heredoc = false;
        let mut out = String::new();
        for line in text.lines() {
            let begins = line.contains("<<");
            if !in_heredoc && !line.contains('"') && !line.contains('#') && !begins {
                let spaces = choice.next().unwrap_or(0);
                out.push_str(&" ".repeat(spaces));
                out.push_str(
                    &line
                        .trim()
                        .replace(" = ", [" = ", "=", "   = "][spaces % 3])
                        .replace(", ", [",", ", "][spaces % 2]),
                );
                out.push_str(["", "  ", "\t"][spaces % 3]);
                out.push_str(&"\n".repeat(if spaces == 5 { 3 } else { 0 }));
            } else {
                out.push_str(line);
            }
            in_heredoc = if in_heredoc { line.trim() != "EOT" } else { begins };
            out.push('\n');
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        digest(&text);
        let _ = format(&text);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let root = folder(&[]);
        std::fs::write(root.path().join("kiln.hcl"), bytes).unwrap();
        let _ = load(root.path(), &Inputs::none()).map_err(|errors| errors.render(true));
    }

    #[test]
    fn a_mutated_spec_is_read_without_panic(text in mutated()) {
        digest(&text);
    }

    #[test]
    fn formatting_is_idempotent_and_keeps_the_meaning(text in prop_oneof![mutated(), spaced()]) {
        if let Ok(once) = format(&text) {
            prop_assert_eq!(&format(&once).unwrap(), &once);
            prop_assert_eq!(meaning(&text), meaning(&once));
        }
    }

    #[test]
    fn other_space_gives_the_same_form(text in spaced()) {
        let lines = |text: &str| text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let wanted = [DESIGN, LANGUAGE].map(|text| lines(&format(text).unwrap()));
        let got = lines(&format(&text).unwrap());
        let words = |lines: &[String]| lines.iter().flat_map(|l| l.split_whitespace().map(str::to_owned)).collect::<Vec<_>>();
        prop_assert!(wanted.iter().any(|lines| words(lines) == words(&got)), "{}", got.join("\n"));
    }
}

/// Judges a hostile text within a few seconds and on the stack of a thread.
fn refused_soon(text: &str, message: &str) {
    let text = text.to_owned();
    let begun = Instant::now();
    let told = std::thread::spawn(move || digest(&text)).join().unwrap();
    assert!(told.contains(message), "{}", told.chars().take(2000).collect::<String>());
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[test]
fn values_that_double_are_refused() {
    let mut text = String::from("locals {\n  a0 = [1, 2, 3, 4]\n");
    for n in 1..60 {
        text += &format!("  a{n} = [local.a{0}, local.a{0}]\n", n - 1);
    }
    refused_soon(&(text + "}\n"), "this value is larger than 8 MiB");
}

#[test]
fn values_that_nest_are_refused() {
    let mut text = String::from("locals {\n  a0 = 1\n");
    for n in 1..900 {
        text += &format!("  a{n} = [local.a{}]\n", n - 1);
    }
    refused_soon(&(text + "}\n"), "this value is nested deeper than 100 levels");
}

#[test]
fn texts_that_grow_are_refused() {
    let mut text = String::from("locals {\n  a0 = \"0123456789\"\n");
    for n in 1..40 {
        text += &format!("  a{n} = \"${{local.a{0}}}${{local.a{0}}}\"\n", n - 1);
    }
    refused_soon(&(text + "}\n"), "this value is larger than 8 MiB");
    let long = "locals {\n  a = join(\"\", [for x in range(100000) : \"0123456789\"])\n  b = replace(local.a, \"0\", local.a)\n}\n";
    refused_soon(long, "the text would be longer than 8 MiB");
}

#[test]
fn loops_in_loops_are_refused() {
    let text = "locals {\n  a = [for x in range(2000) : length([for y in range(2000) : x * y])]\n}\n";
    refused_soon(text, "the spec needs more than 2000000 evaluation steps");
    let text = "locals {\n  t = join(\"\", range(100000))\n  a = [for x in range(100000) : contains([local.t], \"x\")]\n}\n";
    refused_soon(text, "more than");
}

#[test]
fn deep_syntax_is_refused_and_as_deep_as_allowed_is_read() {
    for depth in [60, 100, 100_000] {
        for (open, close) in
            [("[", "]"), ("(", ")"), ("{a=", "}"), ("\"${", "}\""), ("upper(", ")"), ("!", ""), ("a[", "]")]
        {
            let text = format!("locals {{\n  a = {}1{}\n}}\n", open.repeat(depth), close.repeat(depth));
            refused_soon(&text, "");
        }
        refused_soon(&format!("locals {{\n  a = 1{}\n}}\n", " + 1".repeat(depth)), "");
        refused_soon(&format!("{}{}", "a {\n".repeat(depth), "}\n".repeat(depth)), "");
        refused_soon(&format!("locals {{\n  a = true{}\n}}\n", " ? true : true".repeat(depth)), "");
        refused_soon(&format!("locals {{\n  a = b{}\n}}\n", "[*].c".repeat(depth.min(10_000))), "");
    }
}

#[test]
fn very_many_errors_are_cut_off() {
    let text: String = (0..900).map(|n| format!("locals {{\n  a{n} = nothing{n}\n}}\n")).collect();
    refused_soon(&text, "there are more errors, which are not shown");
    let text: String = (0..900)
        .map(|n| format!("service \"s{n}\" {{\n  image = image.web\n  max_lifetime = \"1h\"\n}}\n"))
        .collect();
    refused_soon(&format!("image \"web\" {{\n  base = oci(\"x\")\n}}\n{text}"), "100 warnings");
}

#[test]
fn too_much_text_is_refused() {
    refused_soon(&"# a comment\n".repeat(100_000), "larger than 1024 KiB");
}

#[test]
fn links_out_of_the_folder_are_refused() {
    let root = folder(&[("kiln.hcl", "locals {\n  a = file(\"link\")\n}\n")]);
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
    let errors = load(root.path(), &Inputs::none()).unwrap_err();
    assert!(errors.to_string().contains("leads out of the spec's folder"), "{errors}");
}
