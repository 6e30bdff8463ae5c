//! "Did you mean": the nearest known name.

/// Candidates that are looked at: a spec can make objects with very many keys.
const MOST: usize = 1000;

/// The candidate nearest to `name`, when it is near enough to have been meant.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > 100 {
        return None;
    }
    let wanted = name.to_ascii_lowercase().replace('-', "_");
    let distance = |candidate: &str| {
        strsim::damerau_levenshtein(&wanted, &candidate.to_ascii_lowercase().replace('-', "_"))
    };
    let candidates = candidates.into_iter().filter(|c| c.len() <= 100).take(MOST);
    let near = |(d, candidate): &(usize, &str)| {
        let longest = name.chars().count().max(candidate.chars().count());
        *d <= (longest / 3).max(1) && *d < longest
    };
    let scored = candidates.map(|c| (distance(c), c)).filter(near);
    scored.min_by_key(|(d, candidate)| (*d, *candidate)).map(|(_, candidate)| candidate)
}

/// A sentence with the nearest name or, when none is near, all there are.
pub(crate) fn did_you_mean<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<_> = candidates.into_iter().take(MOST).map(|c| format!("`{c}`")).collect();
    all.sort_unstable();
    match all.len() {
        0 => None,
        1..=24 if all.iter().all(|name| name.len() <= 100) => Some(format!("known here: {}", all.join(", "))),
        _ => None,
    }
}

/// "a", "a and b", "a, b and c".
pub(crate) fn listed(items: &[String]) -> String {
    match items.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["entrypoint", "packages", "env", "to"];
        assert_eq!(nearest("entry_point", names), Some("entrypoint"));
        assert_eq!(nearest("package", names), Some("packages"));
        assert_eq!(nearest("enf", names), Some("env"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(nearest("x", names), None);
        assert_eq!(did_you_mean("zebra", ["b", "a"]), Some("known here: `a`, `b`".into()));
    }
}
