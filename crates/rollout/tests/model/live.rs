//! Endings: questions about the graph as a whole, which a check of single states cannot answer.
//!
//! - *Kind*: from now on no new misfortune happens. Every way on must end in a state that stands for good: the new release
//!   whole, or the last stable one.
//! - *Dead*: from now on no instance gets ready or goes, and no table arrives. The engine must end all the same.
//!
//! In both a run is fair: what stays possible is done some day. No fair run may go round for ever: each strongly connected
//! part must have a class of steps that is possible in each of its states and always leads out of it, so that a fair
//! run takes it. That holds for every part of that part too.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use kiln_rollout::Gate;

use crate::checker::Step;
use crate::control::Fate;
use crate::saved::Place;
use crate::world::{Act, BASE, Fleet, NEW, OLD, Phase, Quality, State, World};

/// Steps that a fair run treats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The control plane decides, or sizes a fleet.
    Control,
    /// A table is sent and acknowledged.
    Taken,
    /// A table is sent and lost.
    Lost,
    /// An instance gets ready or recovers.
    Ready,
    /// A start of a release that is never ready fails.
    FailedStart,
    /// A drained instance stops.
    Stop,
    Time,
    /// Checks and measurements say something.
    Verdict,
    /// A person does what only a person can: approves, resumes, ends a freeze, decides about what failed.
    Person,
    /// The next release begins; a table that was late arrives.
    Settles,
    /// Anything else: what nobody waits for.
    Trouble,
}

const KIND: [Class; 9] = [
    Class::Control,
    Class::Taken,
    Class::Ready,
    Class::FailedStart,
    Class::Stop,
    Class::Time,
    Class::Verdict,
    Class::Person,
    Class::Settles,
];
const DEAD: [Class; 5] = [Class::Control, Class::Lost, Class::FailedStart, Class::Time, Class::Person];

impl Class {
    pub(crate) fn of(step: Step, state: &State, world: &World) -> Self {
        let sends = matches!(state.pending.first(), Some(Act::Weights(_)));
        match step {
            Step::Perform(Fate::Acknowledged) if sends => Self::Taken,
            Step::Decide | Step::Perform(Fate::Acknowledged) => Self::Control,
            Step::Perform(Fate::Lost) => Self::Lost,
            Step::BecomesReady(..) | Step::Recovers(..) => Self::Ready,
            Step::StartFails(NEW, _) if state.quality == Quality::NeverReady => Self::FailedStart,
            Step::Stop(..) => Self::Stop,
            Step::Passes(_) => Self::Time,
            Step::Check(_) | Step::Measure(_) => Self::Verdict,
            Step::Resume | Step::Freeze(false) => Self::Person,
            Step::Abort if state.saved.place == Place::Failed => Self::Person,
            Step::Promote { all: false } => {
                let inconclusive = state.saved.note == Some(crate::saved::inconclusive_note());
                let asked = world.gate(&state.saved) == Some(&Gate::Approved) || inconclusive;
                if asked && !state.saved.is_let_pass() { Self::Person } else { Self::Trouble }
            }
            Step::NextRollout | Step::Arrives => Self::Settles,
            _ => Self::Trouble,
        }
    }
}

/// How a state counts as an ending.
#[derive(Clone, Copy)]
struct Node {
    hash: u64,
    parent: Option<(u32, Step)>,
    over: bool,
    stands: bool,
}

/// Every edge of a world's graph.
#[derive(Default)]
pub(crate) struct Edges {
    ids: HashMap<u64, u32>,
    nodes: Vec<Node>,
    edges: Vec<(u32, u32, Class)>,
    world: Option<World>,
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// One release alone, whole, ready, with all the traffic, and nothing on its way.
fn stands(world: &World, state: &State) -> bool {
    let whole = |fleet: &Fleet, size| {
        fleet.wanted == size && fleet.all.len() == usize::from(size) && fleet.ready() == size
    };
    let gone = |index: usize| whole(&state.fleets[index], 0);
    let fleets = match state.saved.place {
        Place::Succeeded => {
            whole(&state.fleets[NEW], world.replicas) && gone(OLD) && state.force == [100, 0, 0]
        }
        Place::RolledBack => {
            let back = if world.old > 0 { [0, 100, 0] } else { [0; 3] };
            whole(&state.fleets[OLD], world.old) && gone(NEW) && state.force == back
        }
        Place::Running { .. } | Place::Back { .. } | Place::Failed => false,
    };
    let announced = |one: &crate::world::One| one.phase == Phase::Ready && one.has(crate::world::FORCE);
    let served = state.fleets.iter().flat_map(|fleet| &fleet.all).all(announced);
    fleets && gone(BASE) && served && state.pending.is_empty()
}

impl Edges {
    pub(crate) fn of(world: &World) -> Self {
        let mut edges = Self { world: Some(world.clone()), ..Self::default() };
        for quality in &world.qualities {
            edges.node(&world.begin(*quality), None);
        }
        edges
    }

    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    fn node(&mut self, state: &State, parent: Option<(u32, Step)>) -> u32 {
        let hash = hash(state);
        let next = u32::try_from(self.nodes.len()).expect("fewer than 4 thousand million states");
        match self.ids.entry(hash) {
            Entry::Occupied(id) => *id.get(),
            Entry::Vacant(free) => {
                let place = state.saved.place;
                let over = matches!(place, Place::Succeeded | Place::RolledBack | Place::Failed);
                let world = self.world.as_ref().expect("made with a world");
                self.nodes.push(Node { hash, parent, over, stands: stands(world, state) });
                *free.insert(next)
            }
        }
    }

    pub(crate) fn add(&mut self, from: &State, to: &State, step: Step, class: Class) {
        let from = self.node(from, None);
        let to = self.node(to, Some((from, step)));
        self.edges.push((from, to, class));
    }

    /// What is wrong about the endings, with the way there.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let kind = Part::of(self, &KIND, |node| node.stands);
        kind.ends(self, "in a kind world")?;
        Part::of(self, &DEAD, |node| node.over).ends(self, "in a dead world")
    }

    /// The shortest way to a state.
    fn way(&self, mut id: u32) -> String {
        let mut steps = Vec::new();
        while let Some((parent, step)) = self.nodes[id as usize].parent {
            steps.push(step);
            id = parent;
        }
        steps.reverse();
        let world = self.world.as_ref().expect("made with a world");
        let first = world.qualities.iter().map(|it| world.begin(*it));
        let mut state =
            first.clone().find(|it| hash(it) == self.nodes[id as usize].hash).expect("a beginning");
        let mut lines = vec![format!("{:?}", state.quality)];
        for step in steps {
            state = world.after(&state, step).expect("it was possible");
            lines.push(format!("{step:?} -> {:?}", state.saved.place));
        }
        lines.push(format!("{state:?}"));
        lines.join("\n")
    }
}

/// The part of the graph that some classes of steps make, as adjacency in one array.
struct Part {
    goal: Vec<bool>,
    starts: Vec<u32>,
    targets: Vec<(u32, Class)>,
}

impl Part {
    fn of(graph: &Edges, classes: &[Class], goal: impl Fn(&Node) -> bool) -> Self {
        let goal: Vec<bool> = graph.nodes.iter().map(goal).collect();
        let within =
            || graph.edges.iter().filter(|(from, _, class)| classes.contains(class) && !goal[*from as usize]);
        let mut starts = vec![0_u32; goal.len() + 1];
        for (from, _, _) in within() {
            starts[*from as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut targets = vec![(0, Class::Trouble); within().count()];
        for (from, to, class) in within() {
            let slot = &mut next[*from as usize];
            targets[*slot as usize] = (*to, *class);
            *slot += 1;
        }
        Self { goal, starts, targets }
    }

    fn out(&self, id: u32) -> &[(u32, Class)] {
        &self.targets[self.starts[id as usize] as usize..self.starts[id as usize + 1] as usize]
    }

    fn ends(&self, graph: &Edges, when: &str) -> Result<(), String> {
        let nodes = || 0..u32::try_from(self.goal.len()).expect("they have numbers");
        if let Some(stuck) = nodes().find(|id| !self.goal[*id as usize] && self.out(*id).is_empty()) {
            return Err(format!("{when} it gets stuck:\n{}", graph.way(stuck)));
        }
        let parts = self.components();
        let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
        for id in nodes() {
            members.entry(parts[id as usize]).or_default().push(id);
        }
        for (part, members) in members {
            let inside = |to: u32| parts[to as usize] == part;
            let goes_round = members.iter().any(|id| self.out(*id).iter().any(|(to, _)| inside(*to)));
            let leads_out = |class: Class| {
                members.iter().all(|id| {
                    let mut own = self.out(*id).iter().filter(|(_, it)| *it == class).peekable();
                    own.peek().is_some() && own.all(|(to, _)| !inside(*to))
                })
            };
            if goes_round && !KIND.iter().chain(&DEAD).any(|class| leads_out(*class)) {
                let way = graph.way(*members.iter().min().expect("a member"));
                return Err(format!("{when} {} states go round for ever:\n{way}", members.len()));
            }
        }
        Ok(())
    }

    /// Tarjan's strongly connected components, without recursion: the component of each node.
    fn components(&self) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let count = self.goal.len();
        let (mut order, mut low, mut part) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
        let (mut stack, mut calls) = (Vec::new(), Vec::new());
        let mut clock = 0;
        for root in 0..u32::try_from(count).expect("they have numbers") {
            if order[root as usize] != NONE {
                continue;
            }
            calls.push((root, 0_usize));
            while let Some((id, edge)) = calls.pop() {
                let at = id as usize;
                if edge == 0 {
                    (order[at], low[at]) = (clock, clock);
                    clock += 1;
                    stack.push(id);
                }
                if let Some((to, _)) = self.out(id).get(edge) {
                    calls.push((id, edge + 1));
                    if order[*to as usize] == NONE {
                        calls.push((*to, 0));
                    } else if part[*to as usize] == NONE {
                        low[at] = low[at].min(order[*to as usize]);
                    }
                    continue;
                }
                if low[at] == order[at] {
                    while let Some(member) = stack.pop() {
                        part[member as usize] = id;
                        if member == id {
                            break;
                        }
                    }
                }
                if let Some((parent, _)) = calls.last() {
                    low[*parent as usize] = low[*parent as usize].min(low[at]);
                }
            }
        }
        part
    }
}
