//! Operations: what a person can ask of the control plane. The API, the command line and the tests call the same
//! functions. Each checks everything first, writes its intent in one transaction, and leaves the doing to the loop.

mod assess;
mod back;
mod compare;
mod deploy;
mod down;
mod error;
mod freeze;
mod hand;
mod history;
mod instance;
mod plan;
mod prove;
mod rollback;
mod status;
mod validate;

pub(crate) use back::turn_back;
pub use error::ControlError;
pub(crate) use history::referred;
pub(crate) use status::version;

use kiln_model::Name;
use kiln_provider::Provider;
use rusqlite::Connection;

use crate::reconcile::Control;
use crate::state::{Pointer, services};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Writes an intent and lets the loop look.
    async fn intend<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, i64) -> Result<R, ControlError> + Send + 'static,
    ) -> Result<R, ControlError> {
        let now = self.now_ms();
        let done = self.state().transact(move |db| work(db, now)).await?;
        self.look();
        Ok(done)
    }
}

/// A service that must be there.
fn pointer(db: &Connection, environment: &Name, service: &Name) -> Result<Pointer, ControlError> {
    if let Some(pointer) = services::get(db, environment, service)? {
        return Ok(pointer);
    }
    let here = services::all(db)?.into_iter().filter(|it| it.environment == *environment);
    let known = here.map(|it| it.service).collect();
    Err(ControlError::NoService { environment: environment.clone(), service: service.clone(), known })
}
