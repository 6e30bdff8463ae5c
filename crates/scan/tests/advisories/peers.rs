//! Orders of versions against the programs whose orders they are.

use std::cmp::Ordering;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_scan::version::Scheme;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::kit::missing;
use super::orders::versions;

/// Pairs of versions that a scheme accepts, the same in every run.
fn pairs(scheme: Scheme, count: usize) -> Vec<(String, String)> {
    pairs_of(scheme, versions(), count)
}

fn pairs_of(scheme: Scheme, strategy: impl Strategy<Value = String>, count: usize) -> Vec<(String, String)> {
    let mut runner = TestRunner::deterministic();
    let mut texts = std::iter::from_fn(|| Some(strategy.new_tree(&mut runner).unwrap().current()))
        .filter(|text| scheme.parse(text).is_ok());
    (0..count).map(|_| (texts.next().unwrap(), texts.next().unwrap())).collect()
}

fn compare(scheme: Scheme, pairs: &[(String, String)], answers: &[&str]) {
    assert_eq!(pairs.len(), answers.len(), "one answer for each pair");
    for ((left, right), answer) in pairs.iter().zip(answers) {
        let expected = match answer.trim() {
            "<" | "-1" => Ordering::Less,
            "=" | "0" => Ordering::Equal,
            ">" | "1" => Ordering::Greater,
            // The peer refuses what Kiln reads more kindly.
            "refused" => continue,
            other => panic!("the peer said {other:?} of {left} and {right}"),
        };
        assert_eq!(scheme.compare(left, right), Ok(expected), "{scheme:?}: {left} and {right}");
    }
    let judged = answers.iter().filter(|answer| answer.trim() != "refused").count();
    assert!(judged * 10 > pairs.len(), "the peer judged only {judged} of {}", pairs.len());
}

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        missing(program);
    }
    found
}

fn answers(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(left, right)| format!("{left}\t{right}\n")).collect()
}

#[test]
fn dpkg_agrees() {
    if !have("dpkg") {
        return;
    }
    let pairs = pairs(Scheme::Dpkg, 300);
    let holds = |left: &str, operator: &str, right: &str| {
        let args = ["--compare-versions", left, operator, right];
        Command::new("dpkg").args(args).stderr(Stdio::null()).status().unwrap().success()
    };
    let answers: Vec<&str> = pairs
        .iter()
        .map(|(left, right)| {
            let answer = [("lt", "<"), ("gt", ">"), ("eq", "=")]
                .into_iter()
                .find(|(name, _)| holds(left, name, right));
            answer.map_or("refused", |(_, sign)| sign)
        })
        .collect();
    compare(Scheme::Dpkg, &pairs, &answers);
}

#[test]
fn rpm_agrees() {
    if !have("rpm") {
        return;
    }
    let pairs: Vec<_> = pairs(Scheme::Rpm, 4_000)
        .into_iter()
        .filter(|(left, right)| !left.contains([':', '-']) && !right.contains([':', '-']))
        .collect();
    let calls: String = pairs
        .iter()
        .map(|(left, right)| format!("print(rpm.vercmp('{left}','{right}') .. '\\n') "))
        .collect();
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), calls).unwrap();
    let macros = format!("%{{lua: dofile('{}')}}", script.path().display());
    let output = Command::new("rpm").args(["--eval", &macros]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    compare(Scheme::Rpm, &pairs, &text.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn npm_agrees() {
    let module = Path::new("/usr/lib/node_modules/npm/node_modules/semver");
    if !have("node") || !module.exists() {
        return missing("npm with its semver");
    }
    let tail = versions().prop_map(|text| text.replacen('1', "-", 1));
    let strategy = ("1[.][0-2][.](0|2|10)", proptest::option::of(tail))
        .prop_map(|(core, tail)| core + &tail.unwrap_or_default());
    let pairs = pairs_of(Scheme::Semantic, strategy, 4_000);
    let script = "const s = require(process.argv[1]);
        for (const line of require('fs').readFileSync(0, 'utf8').trim().split('\\n')) {
            const [a, b] = line.split('\\t');
            console.log(s.valid(a) && s.valid(b) ? s.compare(a, b) : 'refused');
        }";
    let text = answers(Command::new("node").args(["-e", script]).arg(module), &lines(&pairs));
    compare(Scheme::Semantic, &pairs, &text.lines().collect::<Vec<_>>());
}

/// A Python that has `packaging`, by itself or inside pip.
const PACKAGING: &str = "
try:
    from packaging.version import Version, InvalidVersion
except ImportError:
    from pip._vendor.packaging.version import Version, InvalidVersion
";

#[test]
fn python_agrees() {
    if !have("python3") {
        return;
    }
    // The numbers of pep440_rs have 64 bits.
    let short = versions().prop_map(|text| text.replace("99999999999999999999", "9"));
    let pairs = pairs_of(Scheme::Python, short, 4_000);
    let script = format!(
        "{PACKAGING}
import sys
for line in sys.stdin:
    try:
        a, b = (Version(v) for v in line.rstrip('\\n').split('\\t'))
        print((a > b) - (a < b))
    except InvalidVersion:
        print('refused')
"
    );
    let text = answers(Command::new("python3").args(["-c", &script]), &lines(&pairs));
    compare(Scheme::Python, &pairs, &text.lines().collect::<Vec<_>>());
}

/// Whether a text has none of the forms in which Maven's order runs in circles: a qualifier before a dot, and a list
/// that begins with nothing but a list (`1-0-alpha`).
fn orderly(text: &str) -> bool {
    let mut parts: Vec<(char, String)> = Vec::new();
    for c in text.chars() {
        let kind = if c.is_ascii_digit() {
            '9'
        } else if c == '.' || c == '-' {
            c
        } else {
            'a'
        };
        match parts.last_mut() {
            Some((last, part)) if *last == kind && kind != '.' && kind != '-' => part.push(c),
            _ => parts.push((kind, c.to_string())),
        }
    }
    let null = |(kind, part): &(char, String)| {
        *kind == '.' || part.trim_matches('0').is_empty() || ["ga", "final"].contains(&part.as_str())
    };
    let circle = parts.windows(2).enumerate().any(|(at, pair)| {
        let opens = at > 0 && (pair[0].0 == '-' || pair[0].0 != pair[1].0 && pair[0].0 != '.');
        pair[0].0 == 'a' && pair[1].0 == '.' || opens && (null(&pair[1]) || pair[1].0 == '-')
    });
    !circle
}

#[test]
fn maven_agrees() {
    let jar = Path::new("/usr/share/java/maven-artifact-3.x.jar");
    if !have("java") || !jar.exists() {
        return missing("java and libmaven3-core-java");
    }
    // Maven compares each argument with the one before it.
    let pairs: Vec<_> = pairs(Scheme::Maven, 4_000)
        .into_iter()
        .filter(|(left, right)| orderly(left) && orderly(right))
        .take(1_000)
        .collect();
    assert!(pairs.len() > 500, "only {} pairs are left", pairs.len());
    let class_path =
        format!("{}:/usr/share/java/commons-lang3.jar:/usr/share/java/plexus-utils2.jar", jar.display());
    let mut command = Command::new("java");
    command.args(["-cp", &class_path, "org.apache.maven.artifact.versioning.ComparableVersion"]);
    command.args(pairs.iter().flat_map(|(left, right)| [left, right]));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Between two numbered lines stands one of the form `   1.0 < 1.1`; every second one is about a pair.
    let judged: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("   "))
        .map(|line| match line {
            line if line.contains(" < ") => "<",
            line if line.contains(" > ") => ">",
            _ => "=",
        })
        .step_by(2)
        .collect();
    compare(Scheme::Maven, &pairs, &judged);
}

/// OSV's evaluation algorithm in Python over `packaging`, as an oracle for every PyPI advisory.
#[test]
fn python_judges_alike() {
    let (Some(store), Some(real)) = (super::kit::real_store(), super::kit::real()) else { return };
    if !have("python3") {
        return;
    }
    let script = format!("{PACKAGING}{}", include_str!("oracle.py"));
    let text = answers(Command::new("python3").args(["-c", &script]).arg(real.join("PyPI.zip")), "");
    let mut checked = 0;
    let db = kiln_scan::advisories::AdvisoryDb::open(store).unwrap();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let package = super::kit::package(kiln_scan::Ecosystem::PyPi, fields[0], fields[1]);
        let options = kiln_scan::advisories::MatchOptions::default();
        let found = kiln_scan::advisories::match_packages(&db, &[package], &options).unwrap();
        let mut ids: Vec<&str> =
            found.vulnerabilities.iter().flat_map(|one| one.advisories.iter().map(String::as_str)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.join(" "), fields[2], "{} {}", fields[0], fields[1]);
        checked += 1;
    }
    assert!(checked > 2_000, "only {checked} versions were judged");
}
