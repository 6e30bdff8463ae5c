//! Installed Debian packages: `/var/lib/dpkg/status`, and `status.d` as distroless images have it (dpkg(1)).

use std::collections::BTreeMap;
use std::io;

use super::files::View;

const STATUS: &str = "/var/lib/dpkg/status";
const STATUS_FOLDER: &str = "/var/lib/dpkg/status.d";

/// Versions by package name; `None` when the image has no database of dpkg.
pub(crate) fn installed(view: &View<'_>) -> io::Result<Option<BTreeMap<String, Vec<String>>>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let folder = view.names_in(STATUS_FOLDER);
    if view.look(STATUS, true)?.is_none() && folder.is_empty() {
        return Ok(None);
    }
    for (name, version) in parse(&view.table(STATUS)?, true) {
        all.entry(name).or_default().push(version);
    }
    for file in folder.iter().filter(|name| !name.ends_with(".md5sums")) {
        for (name, version) in parse(&view.table(&format!("{STATUS_FOLDER}/{file}"))?, false) {
            all.entry(name).or_default().push(version);
        }
    }
    Ok(Some(all))
}

/// Names and versions of what is installed. `strict`: a stanza without a status is not.
fn parse(text: &str, strict: bool) -> Vec<(String, String)> {
    let stanza = |text: &str| {
        let field = |name: &str| {
            let lines = text.lines().filter(|line| !line.starts_with([' ', '\t']));
            let mut fields = lines.filter_map(|line| line.split_once(':'));
            fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let installed = match field("Status") {
            Some(status) => status.split_whitespace().nth(2) == Some("installed"),
            None => !strict,
        };
        Some((field("Package")?, field("Version")?)).filter(|_| installed)
    };
    text.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let text = "Package: tzdata\nStatus: install ok installed\nVersion: 2024a-1\nDescription: zones\n Version: 9\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: bare\nVersion: 2\n";
        assert_eq!(parse(text, true), [("tzdata".into(), "2024a-1".into())]);
        assert_eq!(parse(text, false).len(), 2);
        assert_eq!(parse("", false), []);
    }
}
