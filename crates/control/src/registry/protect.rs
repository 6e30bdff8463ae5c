//! What no collection may take.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use kiln_model::Digest;
use kiln_registry::server::Protect;

use super::RegistryHome;
use crate::ops::{ControlError, referred};
use crate::state;

/// The images that a home needs: what runs, what serves in an environment or served before, and what could be rolled
/// back to. Read from the home's state, whoever else has it open; a home without a state needs none. May block.
///
/// # Errors
/// When the state cannot be read. Nothing may be removed then.
pub fn needed_images(home: &Path) -> Result<BTreeSet<Digest>, ControlError> {
    let found = state::read(&home.join("state/kiln.db"), referred)?;
    Ok(found.unwrap_or_default())
}

/// The same for a registry. One with a store of its own runs nothing.
pub(super) fn of(place: &RegistryHome) -> Protect {
    if !place.is_shared() {
        return Arc::new(|| Ok(HashSet::new()));
    }
    let home = place.home.clone();
    Arc::new(move || Ok(needed_images(&home)?.into_iter().collect()))
}
