//! Order and circles of things that need each other: locals, services, images.

use std::collections::{BTreeMap, BTreeSet};

/// What [`order`] found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Order<'n> {
    /// Everything that is not part of a circle, each after what it needs. What needs a circle is in here.
    pub(crate) sorted: Vec<&'n str>,
    /// The circles, each as a path whose last member needs the first.
    pub(crate) cycles: Vec<Vec<&'n str>>,
}

/// More circles than these are not told.
const MOST_CYCLES: usize = 100;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

/// Sorts names so that each comes after what it needs. Without recursion: the depth is the input's choice.
pub(crate) fn order<'n>(needs: &BTreeMap<&'n str, Vec<&'n str>>) -> Order<'n> {
    let mut marks: BTreeMap<&str, Mark> = BTreeMap::new();
    let mut in_cycle: BTreeSet<&str> = BTreeSet::new();
    let mut found = Order::default();
    let of = |name: &str| needs.get(name).map_or(&[][..], Vec::as_slice).iter();
    for start in needs.keys().copied() {
        if marks.contains_key(start) {
            continue;
        }
        marks.insert(start, Mark::Open);
        let mut path = vec![(start, of(start))];
        while let Some((name, rest)) = path.last_mut() {
            let name = *name;
            match rest.next().copied().filter(|next| needs.contains_key(next)) {
                Some(next) => match marks.get(next) {
                    None => {
                        marks.insert(next, Mark::Open);
                        path.push((next, of(next)));
                    }
                    Some(Mark::Open) => {
                        if found.cycles.len() >= MOST_CYCLES {
                            continue;
                        }
                        let from = path.iter().position(|(n, _)| *n == next).unwrap_or(0);
                        let cycle: Vec<_> = path[from..].iter().map(|(n, _)| *n).collect();
                        in_cycle.extend(&cycle);
                        found.cycles.push(cycle);
                    }
                    Some(Mark::Done) => {}
                },
                None => {
                    marks.insert(name, Mark::Done);
                    path.pop();
                    if !in_cycle.contains(name) {
                        found.sorted.push(name);
                    }
                }
            }
        }
    }
    found
}

/// A circle as text: `a → b → a`.
pub(crate) fn shown(cycle: &[&str]) -> String {
    let mut path: Vec<_> = cycle.iter().take(10).map(|name| format!("`{name}`")).collect();
    if cycle.len() > 10 {
        path.push("…".into());
    }
    path.extend(cycle.first().map(|name| format!("`{name}`")));
    path.join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first_and_circles_are_named_once() {
        let edges =
            [("a", vec!["b"]), ("b", vec!["c", "gone"]), ("c", vec![]), ("x", vec!["y"]), ("y", vec!["x"])];
        let found = order(&edges.into_iter().collect());
        assert_eq!(found.sorted, ["c", "b", "a"]);
        assert_eq!(found.cycles, [["x", "y"]]);
        assert_eq!(shown(&found.cycles[0]), "`x` → `y` → `x`");
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let names: Vec<String> = (0..200_000).map(|n| format!("n{n}")).collect();
        let edges = names.windows(2).map(|pair| (pair[0].as_str(), vec![pair[1].as_str()]));
        assert!(order(&edges.collect()).cycles.is_empty());
    }
}
