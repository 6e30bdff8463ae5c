//! From a recipe to an image in the store: bases, `copy` and `run` steps, layers, cache, lock.
//!
//! The same recipe, lock and source make the same bytes on any machine, for any user, on any day. A step whose
//! inputs did not change is never carried out again. Nothing half-made is ever visible.

mod bake;
mod base;
mod cache;
mod copy;
mod diff;
mod document;
mod error;
mod hash;
mod layer;
pub mod lock;
mod progress;
mod request;
mod run;
mod runtime;
pub mod sandbox;
mod skeleton;

pub use bake::bake;
pub use base::{Resolved, lock as resolve_lock};
pub use copy::CopyError;
pub use document::{CONFIG_LABEL, RECIPE_ANNOTATION};
pub use error::BakeError;
pub use kiln_registry::client::RegistryError;
pub use layer::{Layer, WriteError, write_layer};
pub use request::{BakeRequest, Baked, Event, Outcome, Progress, StepReport};
pub use sandbox::SandboxError;
