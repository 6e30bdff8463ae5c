//! Where problems are collected while a spec is read.

use std::cell::{Cell, RefCell};

use crate::diagnostic::{Diagnostic, Diagnostics, Related, Severity, SourceSpan};
use crate::source::{Place, Sources};

/// More errors, and more warnings, than these are counted but not kept.
const MOST: usize = 100;

/// The mark that an error was reported: whoever meets it has nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported;

/// A result whose error has already been told.
pub(crate) type Told<T> = Result<T, Reported>;

/// A problem at a place, before it is tied to its source text.
#[derive(Debug)]
pub(crate) struct Problem {
    inner: Diagnostic,
    place: Place,
    related: Vec<(Place, String)>,
}

impl Problem {
    pub(crate) fn error(place: Place, message: impl Into<String>) -> Self {
        Self { inner: Diagnostic::error(message), place, related: Vec::new() }
    }

    pub(crate) fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { inner: Diagnostic::warning(message), place, related: Vec::new() }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.inner = self.inner.label(label);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.inner = self.inner.note(note);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.inner = self.inner.help(help);
        self
    }

    /// Adds help when there is some.
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    pub(crate) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }
}

/// The collection.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sources: Sources,
    items: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

impl Report {
    /// Keeps a problem.
    pub(crate) fn add(&self, problem: Problem) -> Reported {
        let Problem { mut inner, place, related } = problem;
        if self.is_full(inner.severity) {
            self.count(inner.severity);
            return Reported;
        }
        inner.span = Some(self.span(place));
        inner.related =
            related.into_iter().map(|(at, label)| Related { span: self.span(at), label }).collect();
        self.push(inner)
    }

    /// Keeps a problem that has no place.
    pub(crate) fn push(&self, item: Diagnostic) -> Reported {
        let severity = item.severity;
        if !self.is_full(severity) {
            self.items.borrow_mut().push(item);
        }
        self.count(severity);
        Reported
    }

    fn counter(&self, severity: Severity) -> &Cell<usize> {
        match severity {
            Severity::Error => &self.errors,
            Severity::Warning => &self.warnings,
        }
    }

    fn count(&self, severity: Severity) {
        let counter = self.counter(severity);
        counter.set(counter.get() + 1);
    }

    fn is_full(&self, severity: Severity) -> bool {
        self.counter(severity).get() >= MOST
    }

    fn span(&self, place: Place) -> SourceSpan {
        SourceSpan::new(self.sources.get(place.file), place.start..place.end)
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Whether there are so many errors that looking for more is of no use.
    pub(crate) fn has_enough(&self) -> bool {
        self.is_full(Severity::Error)
    }

    /// Everything, and the texts it points into.
    pub(crate) fn finish(self) -> (Diagnostics, Sources) {
        let mut all = Diagnostics::from(self.items.into_inner());
        if self.errors.get() >= MOST {
            let more = Diagnostic::error("there are more errors, which are not shown")
                .help("mend these first and look again");
            all = all.into_iter().chain([more]).collect::<Vec<_>>().into();
        }
        (all, self.sources)
    }
}
