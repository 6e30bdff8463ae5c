//! What is told to a person about a spec: an error or warning with its place, cause and next step.
//!
//! A diagnostic carries the text it points into, so it can be shown anywhere; its JSON form leaves the text out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::source::{Source, floor_boundary};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The spec cannot be used.
    Error,
    /// The spec can be used, but not all of it does what it says.
    Warning,
}

/// A range of a source text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceSpan {
    /// Path of the file as it is shown.
    #[serde(serialize_with = "as_str")]
    pub file: Arc<str>,
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, from 1, in characters.
    pub column: usize,
    /// Bytes of the file from the first to behind the last.
    pub bytes: Range<usize>,
    #[serde(skip)]
    text: Arc<str>,
}

fn as_str<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl SourceSpan {
    /// A range of a text; ends outside of it or inside of a character are moved to the nearest border before.
    pub fn new(source: &Source, bytes: Range<usize>) -> Self {
        let start = floor_boundary(source.text(), bytes.start);
        let end = floor_boundary(source.text(), bytes.end.max(start));
        let (line, column) = source.position(start);
        Self { file: source.shared_path(), line, column, bytes: start..end, text: source.shared_text() }
    }

    /// The whole text of the file.
    pub fn source_text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SourceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A second place that belongs to a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub span: SourceSpan,
    /// What is there.
    pub label: String,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, naming the object.
    pub message: String,
    /// Where, when it has a place.
    pub span: Option<SourceSpan>,
    /// What stands at the place.
    pub label: Option<String>,
    /// Other places.
    pub related: Vec<Related>,
    /// Why.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            span: None,
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, span: SourceSpan) -> Self {
        self.span = Some(span);
        self
    }

    /// Sets the text at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a reason.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a thing to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The diagnostic as it is shown on a terminal.
    pub fn render(&self, color: bool) -> String {
        crate::render::diagnostic(self, color)
    }
}

/// Everything there is to tell about a spec, errors first, then in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// How many of each kind: errors, warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|d| d.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of diagnostics.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each diagnostic.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// All of it as text for a terminal: every diagnostic with its line of source, then how many there are.
    pub fn render(&self, color: bool) -> String {
        crate::render::diagnostics(self, color)
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(mut items: Vec<Diagnostic>) -> Self {
        let order = |d: &Diagnostic| {
            (d.severity, d.span.as_ref().map(|s| (Arc::clone(&s.file), s.bytes.start, s.bytes.end)))
        };
        items.sort_by_key(order);
        items.dedup();
        Self(items)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(item: Diagnostic) -> Self {
        Self(vec![item])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
