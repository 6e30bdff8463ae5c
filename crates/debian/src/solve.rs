//! The solver: which packages a wish needs.
//!
//! The rules are apt's, with nothing installed yet: the newest version of every package, the first alternative that
//! can be had, real packages before providers, and providers by priority. The search itself is resolvo's. The
//! answer depends on the indices and the wish alone.

mod provider;
mod universe;
mod wish;

use std::collections::BTreeSet;

use resolvo::{ConditionalRequirement, Problem, Solver, UnsolvableOrCancelled};

use crate::Error;
use crate::relation::{self, Group};
pub(crate) use universe::{Entry, Universe};

use provider::Provider;

/// What to solve for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// As the person wrote them.
    pub(crate) packages: &'a [String],
    /// Packages marked `Essential: yes` too.
    pub(crate) essential: bool,
    /// Follow `Recommends` where they can be had.
    pub(crate) recommends: bool,
}

/// Every image has these: they hold the folders, the release's name, and the users every Debian has.
const ALWAYS: [&str; 2] = ["base-files", "base-passwd"];

/// Decides. The result is sorted by name.
pub(crate) fn solve<'a>(universe: &'a Universe<'a>, wish: Wish<'_>) -> Result<Vec<&'a Entry<'a>>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for package in wish.packages {
        groups.push(wish::group(universe, package)?);
    }
    for name in ALWAYS {
        groups.push(wish::group(universe, name)?);
    }
    if wish.essential {
        for name in universe.essential() {
            groups.push(wish::group(universe, name)?);
        }
    }
    let mut chosen = run(universe, &groups).map_err(|reason| Error::Unsolvable { reason })?;
    if wish.recommends {
        chosen = recommended(universe, groups, chosen);
    }
    let mut entries: Vec<&Entry<'_>> = chosen.into_iter().map(|number| universe.entry(number)).collect();
    entries.sort_by_key(|entry| entry.row.name());
    Ok(entries)
}

/// Adds recommended packages, and what those recommend, until nothing more can be had.
fn recommended(
    universe: &Universe<'_>,
    mut groups: Vec<Group>,
    mut chosen: BTreeSet<usize>,
) -> BTreeSet<usize> {
    let mut asked: BTreeSet<(usize, usize)> = BTreeSet::new();
    loop {
        let mut wanted = Vec::new();
        let mut by_name: Vec<usize> = chosen.iter().copied().collect();
        by_name.sort_by_key(|number| universe.entry(*number).row.name());
        for number in by_name {
            let field = relation::parse(universe.entry(number).row.recommends()).unwrap_or_default();
            for (position, group) in field.into_iter().enumerate() {
                if asked.insert((number, position)) && !universe.satisfied(&group, &chosen) {
                    wanted.push(group);
                }
            }
        }
        if wanted.is_empty() {
            return chosen;
        }
        let kept = groups.len();
        groups.extend(wanted.iter().cloned());
        if let Ok(all) = run(universe, &groups) {
            chosen = all;
            continue;
        }
        // One of them cannot be had: ask for each by itself.
        groups.truncate(kept);
        for group in wanted {
            groups.push(group);
            match run(universe, &groups) {
                Ok(more) => chosen = more,
                Err(_) => {
                    groups.pop();
                }
            }
        }
    }
}

/// One search; the error is the explanation.
fn run(universe: &Universe<'_>, groups: &[Group]) -> Result<BTreeSet<usize>, String> {
    let provider = Provider::new(universe);
    let requirements: Vec<ConditionalRequirement> =
        groups.iter().map(|group| provider.requirement(group)).collect();
    let mut solver = Solver::new(provider);
    match solver.solve(Problem::new().requirements(requirements)) {
        Ok(solvables) => Ok(solvables.into_iter().map(|id| solver.provider().number(id)).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            Err(conflict.display_user_friendly(&solver).to_string().trim_end().to_owned())
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err("the search was cancelled".to_owned()),
    }
}
