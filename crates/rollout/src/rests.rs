//! Where a rollout rests, is analysed, or asks a person: the gates around a growing share of the traffic.

use kiln_model::{Against, RolloutSpec, Span, Strategy};

use crate::Gate;

/// The rules about rests.
pub(crate) struct Rests<'a> {
    spec: &'a RolloutSpec,
}

impl<'a> Rests<'a> {
    pub(crate) fn new(spec: &'a RolloutSpec) -> Self {
        Self { spec }
    }

    /// Whether stages have a baseline fleet to be compared with.
    pub(crate) fn baseline(&self) -> bool {
        self.spec.analysis.as_ref().is_some_and(|it| it.against == Against::Baseline)
    }

    /// The gates around the move of the new fleet's share from `from` to `to` percent.
    pub(crate) fn around(&self, from: u8, to: u8) -> Vec<Gate> {
        let hold = match self.spec.strategy {
            Strategy::BlueGreen { hold } | Strategy::Canary { hold, .. } => hold,
            Strategy::Rolling { pause, .. } => pause,
            Strategy::Recreate => Span::default(),
        };
        let mut gates = self.asked(from, to);
        gates.push(Gate::Acknowledged);
        gates.extend(self.rest(from, to, hold));
        gates
    }

    /// The same for a batch of a rolling update, whose last one rests only where it is analysed or a checkpoint says so.
    pub(crate) fn batch(&self, from: u8, to: u8, last: bool) -> Vec<Gate> {
        if !last || self.spec.analysis.is_some() {
            return if to > 0 { self.around(from, to) } else { vec![Gate::Acknowledged] };
        }
        let mut gates = self.asked(from, to);
        gates.push(Gate::Acknowledged);
        gates.extend(self.rest(from, to, Span::default()));
        gates
    }

    /// The gates before an old fleet without traffic is gone.
    pub(crate) fn farewell(&self) -> Vec<Gate> {
        let millis = self.spec.scale_down_delay.millis();
        let delayed = (millis > 0).then_some(Gate::Delayed { millis });
        delayed.into_iter().chain([Gate::Drained]).collect()
    }

    fn asked(&self, from: u8, to: u8) -> Vec<Gate> {
        let asks = self.spec.approval.iter().flat_map(|it| &it.before).any(|at| from < *at && *at <= to);
        if asks { vec![Gate::Approved] } else { Vec::new() }
    }

    fn rest(&self, from: u8, to: u8, hold: Span) -> Option<Gate> {
        let reached = self.spec.checkpoints.iter().filter(|it| from < it.at && it.at <= to);
        let millis = reached.map(|it| it.hold).fold(hold, Span::max).millis();
        match self.spec.analysis {
            Some(_) if to > 0 => Some(Gate::Analysed { millis }),
            _ if millis > 0 => Some(Gate::Held { millis }),
            _ => None,
        }
    }
}
