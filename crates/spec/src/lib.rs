//! `kiln.hcl` to the model: reading, evaluation, validation, and everything a person is told about it.
//!
//! The way of a spec: text → syntax tree (`hcl-edit`) → sections (`read`: checked against the table of the
//! language in `language`, attributes evaluated by `eval`) → [`kiln_model::Project`] (`build`: what looks at more
//! than one attribute). Problems are collected on the way, so that all of them are told at once.
//!
//! It reads the named files and nothing else, and takes the environment as an argument. Whatever the input, it
//! neither panics nor runs away: nesting, steps and sizes are bounded.

mod build;
mod diagnostic;
mod eval;
mod files;
mod format;
mod functions;
mod graph;
mod init;
mod inputs;
mod language;
mod load;
mod parse;
mod places;
mod read;
mod reference;
mod render;
mod report;
mod schema;
mod source;
mod suggest;
mod syntax_help;
mod token;
mod values;

pub use diagnostic::{Diagnostic, Diagnostics, Related, Severity, SourceSpan};
pub use format::{format, format_named};
pub use init::{App, Finding, InitError, InitPlan, init};
pub use inputs::Inputs;
pub use load::{Loaded, load};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use source::{Source, Sources};
