//! Stopping services: those that call others go before those that are called, so that the last requests of a caller
//! still find what they need.

use rusqlite::Connection;

use super::world::World;
use crate::state::{Desired, Pointer, StateError};

impl World {
    /// Lets every service that was told to stop, and that nobody who stops too still calls, want no instance.
    pub(super) fn leave(&mut self, db: &Connection) -> Result<(), StateError> {
        let leaving: Vec<Pointer> = self.pointers.iter().filter(|it| it.leaving).cloned().collect();
        let left = |it: &&Pointer| self.fleets.iter().any(|fleet| of(fleet, it));
        let up = |it: &&Pointer| {
            self.fleets.iter().any(|fleet| of(fleet, it) && (fleet.size > 0 || fleet.weight > 0))
        };
        let (standing, going): (Vec<&Pointer>, Vec<&Pointer>) = leaving.iter().filter(left).partition(up);
        let called = |it: &Pointer| leaving.iter().any(|caller| self.calls(caller, it));
        let mut turn: Vec<&Pointer> = standing.iter().copied().filter(|it| !called(it)).collect();
        if turn.is_empty() && going.is_empty() {
            // Services that call each other in a ring go together.
            turn = standing;
        }
        let turn: Vec<Pointer> = turn.into_iter().cloned().collect();
        for pointer in turn {
            self.settle(db, &pointer.environment, &pointer.service, None)?;
        }
        Ok(())
    }

    /// Whether anything that is left of one service calls another.
    fn calls(&self, caller: &Pointer, called: &Pointer) -> bool {
        let left = self.fleets.iter().filter(|fleet| of(fleet, caller));
        let releases = left.filter_map(|fleet| self.releases.get(&fleet.fleet));
        let mut needs = releases.flat_map(|stored| &stored.release.content.service.depends_on);
        caller.environment == called.environment && needs.any(|needed| *needed == called.service)
    }
}

fn of(fleet: &Desired, pointer: &Pointer) -> bool {
    fleet.fleet.environment == pointer.environment && fleet.fleet.service == pointer.service
}
