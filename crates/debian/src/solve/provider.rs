//! The universe as resolvo asks for it.
//!
//! A package is a name, its versions are solvables. A dependency is a union of sets: those versions of the named
//! package that fit, then exactly those packages that provide it. A conflict is a constraint: of the other package
//! only what does not conflict. Packages do not conflict with themselves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Requirement, SolvableId, SolverCache,
    StringId, VersionSetId, VersionSetUnionId,
};

use super::universe::Universe;
use crate::relation::{self, Bound, Group, Relation};

/// Some versions of one package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Set {
    Any,
    /// Those that fulfil it.
    Inside(Bound),
    /// Those that do not.
    Outside(Bound),
    /// These.
    Only(Vec<usize>),
    /// All but these.
    Except(Vec<usize>),
}

impl VersionSet for Set {
    type V = usize;
}

pub(super) struct Provider<'a> {
    universe: &'a Universe<'a>,
    pool: Pool<Set, String>,
    solvables: RefCell<HashMap<usize, SolvableId>>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(universe: &'a Universe<'a>) -> Self {
        Self { universe, pool: Pool::new(), solvables: RefCell::default() }
    }

    /// The universe's number of a solvable.
    pub(super) fn number(&self, id: SolvableId) -> usize {
        self.pool.resolve_solvable(id).record
    }

    fn solvable(&self, number: usize) -> SolvableId {
        *self.solvables.borrow_mut().entry(number).or_insert_with(|| {
            let name = self.pool.intern_package_name(self.universe.entry(number).row.name());
            self.pool.intern_solvable(name, number)
        })
    }

    fn set(&self, name: &str, set: Set) -> VersionSetId {
        self.pool.intern_version_set(self.pool.intern_package_name(name), set)
    }

    /// `a | b` with all that fulfils it.
    pub(super) fn requirement(&self, group: &Group) -> ConditionalRequirement {
        let mut sets = Vec::new();
        // The tree is always one with merged /usr: the package that says so comes before the one (with perl behind
        // it) that would do it.
        let mut alternatives: Vec<&Relation> = group.iter().collect();
        if alternatives.iter().any(|relation| relation.name == "usrmerge") {
            alternatives.sort_by_key(|relation| relation.name != "usr-is-merged");
        }
        for relation in alternatives {
            sets.push(self.set(&relation.name, self.fitting(relation)));
            for (name, numbers) in self.universe.providers(relation) {
                sets.push(self.set(name, Set::Only(numbers)));
            }
        }
        let requirement = match sets[..] {
            [single] => Requirement::Single(single),
            _ => {
                let union = self.pool.intern_version_set_union(sets[0], sets[1..].iter().copied());
                Requirement::Union(union)
            }
        };
        ConditionalRequirement { condition: None, requirement }
    }

    /// The versions of the real package that fulfil a relation.
    fn fitting(&self, relation: &Relation) -> Set {
        let versions = self.universe.versions(&relation.name);
        let qualifies = |number: &usize| self.universe.qualifies(relation, &self.universe.entry(*number).row);
        if versions.iter().all(qualifies) {
            return relation.bound.clone().map_or(Set::Any, Set::Inside);
        }
        let holds = |number: &usize| {
            relation.bound.as_ref().is_none_or(|bound| bound.holds(&self.universe.entry(*number).version()))
        };
        Set::Only(versions.iter().copied().filter(qualifies).filter(holds).collect())
    }

    /// What a `Conflicts` or `Breaks` of the package called `owner` forbids.
    fn conflicts(&self, owner: &str, relation: &Relation, constrains: &mut Vec<VersionSetId>) {
        if relation.name != owner && !self.universe.versions(&relation.name).is_empty() {
            let set = relation.bound.clone().map_or(Set::Only(Vec::new()), Set::Outside);
            constrains.push(self.set(&relation.name, set));
        }
        for (name, numbers) in self.universe.providers(relation) {
            if name != owner {
                constrains.push(self.set(name, Set::Except(numbers)));
            }
        }
    }

    fn dependencies(&self, number: usize) -> Result<KnownDependencies, String> {
        let row = &self.universe.entry(number).row;
        let parse = |field: &str, text: &str| {
            relation::parse(text).ok_or_else(|| format!("its field {field} is broken: {text}"))
        };
        let mut known = KnownDependencies::default();
        for (field, text) in [("Pre-Depends", row.pre_depends()), ("Depends", row.depends())] {
            let groups = parse(field, text)?;
            known.requirements.extend(groups.iter().map(|group| self.requirement(group)));
        }
        for (field, text) in [("Conflicts", row.conflicts()), ("Breaks", row.breaks())] {
            for relation in parse(field, text)?.iter().flatten() {
                self.conflicts(row.name(), relation, &mut known.constrains);
            }
        }
        Ok(known)
    }

    fn contains(&self, set: &Set, number: usize) -> bool {
        match set {
            Set::Any => true,
            Set::Inside(bound) => bound.holds(&self.universe.entry(number).version()),
            Set::Outside(bound) => !bound.holds(&self.universe.entry(number).version()),
            Set::Only(numbers) => numbers.contains(&number),
            Set::Except(numbers) => !numbers.contains(&number),
        }
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl fmt::Display + '_ {
        self.universe.entry(self.number(solvable)).row.version()
    }

    fn display_name(&self, name: NameId) -> impl fmt::Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, set: VersionSetId) -> impl fmt::Display + '_ {
        let versions = |numbers: &[usize]| {
            let versions = numbers.iter().map(|number| self.universe.entry(*number).row.version());
            versions.collect::<Vec<_>>().join(", ")
        };
        match self.pool.resolve_version_set(set) {
            Set::Any => String::new(),
            Set::Inside(bound) => format!("({bound})"),
            Set::Outside(bound) => format!("(not {bound})"),
            Set::Only(numbers) if numbers.is_empty() => "(none)".to_owned(),
            Set::Only(numbers) => format!("({})", versions(numbers)),
            Set::Except(numbers) => format!("(not {})", versions(numbers)),
        }
    }

    fn display_string(&self, string: StringId) -> impl fmt::Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = self.pool.resolve_version_set(set);
        let keep = |id: &SolvableId| self.contains(set, self.number(*id)) != inverse;
        candidates.iter().copied().filter(keep).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let versions = self.universe.versions(self.pool.resolve_package_name(name));
        if versions.is_empty() {
            return None;
        }
        Some(Candidates {
            candidates: versions.iter().map(|number| self.solvable(*number)).collect(),
            hint_dependencies_available: HintDependenciesAvailable::All,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let position = |id: &SolvableId| {
            let number = self.number(*id);
            let versions = self.universe.versions(self.universe.entry(number).row.name());
            versions.iter().position(|found| *found == number)
        };
        solvables.sort_by_key(position);
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.dependencies(self.number(solvable)) {
            Ok(known) => Dependencies::Known(known),
            Err(reason) => Dependencies::Unknown(self.pool.intern_string(reason)),
        }
    }
}
