//! What Kiln lists of images, made here by hand and with the real tools, and compared with what Syft and Trivy list.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod big;
mod kit;
mod layers;
mod peers;
mod rpm;
mod sources;
mod tools;
