//! sysusers.d(5): `u name id "comment" home shell`, `g name id`, `m user group`.

use super::accounts::{Accounts, Wanted};

pub(super) fn read(text: &str, accounts: &mut Accounts) {
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let words = words(line);
        let word = |at: usize| words.get(at).map(String::as_str).filter(|word| *word != "-");
        let (Some(kind), Some(name)) = (word(0), word(1)) else { continue };
        // `uid:gid`, `uid:group`, a path whose owner counts, or a number.
        let (id, group) = word(2).map_or((None, None), |id| match id.split_once(':') {
            Some((uid, group)) => (uid.parse().ok(), Some(group)),
            None => (id.parse().ok(), None),
        });
        match kind.trim_end_matches(['!', '+', '-', '=']) {
            "u" => {
                let named = group.filter(|group| group.parse::<u32>().is_err()).unwrap_or(name);
                accounts.add_user(Wanted {
                    name: name.to_owned(),
                    uid: id,
                    group: Some(named.to_owned()),
                    comment: word(3).unwrap_or_default().to_owned(),
                    home: Some(word(4).unwrap_or("/").to_owned()),
                    shell: word(5).map(str::to_owned),
                    make_home: false,
                });
            }
            "g" => drop(accounts.add_group(name, id)),
            "m" => {
                if let Some(group) = word(2) {
                    accounts.add_group(group, None);
                    accounts.join(name, group);
                }
            }
            _ => {}
        }
    }
}

/// Words between blanks; double or single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => rest[1..].split_once(first).unwrap_or((&rest[1..], "")),
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
