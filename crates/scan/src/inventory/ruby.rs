//! Ruby: `specifications/NAME-VERSION[-PLATFORM].gemspec`. RubyGems writes these itself, one assignment per line;
//! they are Ruby, and are not run.

use super::{Family, Finding, Findings};

pub(crate) fn gemspec(path: &str, text: &str) -> Findings {
    let mut found = Finding::new(Family::Gem, "", "");
    for line in text.lines().map(str::trim) {
        // `s.name = "rake".freeze`; the variable is whatever the block calls it.
        let Some((target, value)) = line.split_once('=') else {
            found.needs.extend(dependency(line).map(|name| vec![name]));
            continue;
        };
        let Some((_, field)) = target.trim().split_once('.') else { continue };
        match field {
            "name" if found.name.is_empty() => found.name = quoted(value).next().unwrap_or_default(),
            "version" if found.version.is_empty() => found.version = quoted(value).next().unwrap_or_default(),
            "license" | "licenses" => found.licenses.extend(quoted(value)),
            _ => found.needs.extend(dependency(line).map(|name| vec![name])),
        }
    }
    if found.name.is_empty() || found.version.is_empty() {
        // Written by hand, with a constant for the version: RubyGems' own file name has both.
        let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".gemspec"));
        let Some((name, version)) = stem.and_then(split) else {
            return Findings::problem("it gives no name and version");
        };
        (found.name, found.version) = (name.to_owned(), version.to_owned());
    }
    Findings::of(vec![found])
}

fn dependency(line: &str) -> Option<String> {
    let rest = line.split_once(".add_runtime_dependency").or_else(|| line.split_once(".add_dependency"))?.1;
    quoted(rest).next()
}

/// The texts in quotes, in order. `%q<name>` is how RubyGems writes requirements.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(['"', '\'', '<'])?;
        let open = rest.as_bytes()[start];
        let close = if open == b'<' { '>' } else { char::from(open) };
        let inner = &rest[start + 1..];
        let end = inner.find(close)?;
        rest = &inner[end + 1..];
        Some(inner[..end].to_owned())
    })
}

/// Splits at the first dash that a digit follows.
fn split(stem: &str) -> Option<(&str, &str)> {
    let at =
        stem.match_indices('-').find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?.0;
    Some((&stem[..at], &stem[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_the_file_name_helps() {
        let text = "# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  \
            s.version = \"13.0.6\"\n  s.licenses = [\"MIT\".freeze, 'X'.freeze]\n  \
            s.add_runtime_dependency(%q<a>.freeze, [\">= 1\"])\nend\n";
        let found = &gemspec("x.gemspec", text).packages[0];
        assert_eq!((found.name.as_str(), found.version.as_str()), ("rake", "13.0.6"));
        assert_eq!(found.licenses, ["MIT", "X"]);
        assert_eq!(found.needs, [["a"]]);
        let by_name = gemspec("a/net-http-0.3.0.gemspec", "s.name = NAME");
        assert_eq!(
            (by_name.packages[0].name.as_str(), by_name.packages[0].version.as_str()),
            ("net-http", "0.3.0")
        );
    }
}
