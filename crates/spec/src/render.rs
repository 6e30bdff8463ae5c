//! Diagnostics as text for a terminal.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, SourceSpan};

/// Longest message that is shown, in characters: names and values from the spec stand in messages, and a spec
/// may hold long ones.
const MESSAGE_LIMIT: usize = 400;

pub(crate) fn diagnostics(all: &Diagnostics, color: bool) -> String {
    let mut out = String::new();
    for item in all.iter() {
        out.push_str(&diagnostic(item, color));
        out.push_str("\n\n");
    }
    out.push_str(&summary(all));
    out
}

fn summary(all: &Diagnostics) -> String {
    let count = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let (errors, warnings) = all.counts();
    let parts: Vec<_> = [count(errors, "error"), count(warnings, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join(", ")) }
}

pub(crate) fn diagnostic(item: &Diagnostic, color: bool) -> String {
    let level = match item.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(clean(&item.message)));
    for snippet in snippets(item) {
        group = group.element(snippet);
    }
    for note in &item.notes {
        group = group.element(Level::NOTE.message(clean(note)));
    }
    for help in &item.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// One snippet for each file, the primary one first.
fn snippets(item: &Diagnostic) -> Vec<Snippet<'_, annotate_snippets::Annotation<'_>>> {
    let Some(primary) = &item.span else { return Vec::new() };
    let mut marks: Vec<(&SourceSpan, AnnotationKind, Option<&str>)> =
        vec![(primary, AnnotationKind::Primary, item.label.as_deref())];
    let related = item.related.iter();
    marks.extend(related.map(|r| (&r.span, AnnotationKind::Context, Some(r.label.as_str()))));

    let mut files: Vec<(&SourceSpan, Vec<annotate_snippets::Annotation<'_>>)> = Vec::new();
    for (span, kind, label) in marks {
        let mut mark = kind.span(visible(span));
        if let Some(label) = label {
            mark = mark.label(clean(label));
        }
        match files.iter_mut().find(|(first, _)| first.file == span.file) {
            Some((_, list)) => list.push(mark),
            None => files.push((span, vec![mark])),
        }
    }
    let snippet = |(span, list): (&SourceSpan, Vec<_>)| {
        Snippet::source(span.source_text().to_owned()).path(span.file.to_string()).annotations(list)
    };
    files.into_iter().map(snippet).collect()
}

/// The part of the span on its first line: a whole block is named by the line that opens it.
fn visible(span: &SourceSpan) -> std::ops::Range<usize> {
    let text = &span.source_text()[span.bytes.clone()];
    let first = text.find('\n').map_or(text.len(), |at| text[..at].trim_end().len());
    span.bytes.start..span.bytes.start + first
}

fn clean(text: &str) -> String {
    let cut = text.char_indices().nth(MESSAGE_LIMIT).map(|(at, _)| at);
    let shown = match cut {
        Some(at) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    };
    normalize_untrusted_str(&shown)
}
