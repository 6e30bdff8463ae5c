//! A client of the OCI distribution specification 1.1: images and the evidence about them out of registries, into
//! them, and from one to another.
//!
//! Every byte is checked against the digest it was asked by before it gets a name in the store. What was cut goes on
//! where it was cut. Plain HTTP is spoken only with this machine unless told otherwise, and credentials go to nobody
//! but the registry they are for. It keeps nothing on disk but what the store keeps.

mod auth;
mod blob;
mod error;
mod evidence;
mod graph;
mod manifest;
mod options;
mod progress;
mod pull;
mod push;
mod retry;
mod transport;
mod upload;
mod upstream;

pub use auth::{Keys, Login};
pub use error::{RegistryError, Task};
pub use graph::Choice;
pub use manifest::{Document, Found};
pub use options::Options;
pub use progress::{Event, How, Progress, Totals};
pub use pull::{PullOptions, PullPlan, Pulled};
pub use push::{PushOptions, Pushed};
pub use retry::Retry;
pub use transport::Place;
pub use upstream::Remote;

use std::sync::Arc;

use self::transport::Transport;
use crate::name::ImageReference;

/// Connections to registries. Cloning is cheap; clones share connections, tokens and credentials.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.transport.options).finish()
    }
}

impl Client {
    /// A client that behaves as said.
    ///
    /// # Errors
    /// When the file of authorities is none.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        Ok(Self { transport: Arc::new(Transport::new(options)?) })
    }
}

/// Reads an image reference, with Docker's short forms.
///
/// # Errors
/// When the text is none, with what is wrong in it.
pub fn parse(text: &str) -> Result<ImageReference, RegistryError> {
    text.parse().map_err(|source| RegistryError::Reference { text: text.chars().take(200).collect(), source })
}
