//! Text to syntax tree, and what to say when it is not HCL.

use std::str::FromStr;

use hcl_edit::structure::Body;

use crate::report::{Problem, Report, Told};
use crate::source::{FileId, Place};
use crate::syntax_help;

/// Largest file, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

/// Parses one file. The parser stops at the first error, so there is one at most.
pub(crate) fn parse(report: &Report, file: FileId) -> Told<Body> {
    let text = report.sources.get(file).text();
    Body::from_str(text).map_err(|error| {
        let offset = error.location().offset();
        let fault = syntax_help::explain(text, offset, error.message());
        let mut problem = Problem::error(Place::new(file, fault.at.clone()), fault.message).help(fault.help);
        if let Some(label) = fault.label {
            problem = problem.label(label);
        }
        if let Some((at, label)) = fault.related {
            problem = problem.also(Place::new(file, at), label);
        }
        report.add(problem)
    })
}
