//! Keys, signatures, evidence about images, and the ledger.
//!
//! Evidence about an image is a signed statement (in-toto in DSSE) or a signature (cosign's simple signing), kept
//! beside the image in the store as an OCI artifact that refers to it. [`evidence`](evidence::evidence) reads and
//! verifies all there is, [`judge`](judge::judge) says what an environment still misses, and the ledger is the
//! record of every act.
//!
//! This crate reads no clock, and keeps no key in a service: times are passed in, and whatever can sign is a
//! [`Signer`](keys::Signer). There is no transparency log and no certificate authority: keys are Kiln's users' own,
//! and everything verifies without a network.

pub mod dsse;
pub mod evidence;
pub mod judge;
pub mod keys;
pub mod predicate;
pub mod statement;
mod text;
mod time;
