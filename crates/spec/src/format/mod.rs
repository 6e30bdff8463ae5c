//! The canonical form of a spec's text: two spaces of indentation, one space between words, `=` and comments below
//! each other in lines that follow each other, at most one blank line. Tokens and line breaks stay as they are, so
//! the meaning cannot change.

mod align;
mod line;
mod spacing;

use crate::diagnostic::Diagnostics;
use crate::parse::parse;
use crate::report::Report;
use crate::source::Source;
use crate::token::{Kind, Token, tokens};

use self::line::Line;

/// The canonical form of a text.
///
/// # Errors
/// The text is not HCL.
pub fn format(text: &str) -> Result<String, Diagnostics> {
    format_named("kiln.hcl", text)
}

/// As [`format()`]; `path` is shown in errors.
///
/// # Errors
/// The text is not HCL.
pub fn format_named(path: &str, text: &str) -> Result<String, Diagnostics> {
    let text = crate::source::without_mark(text);
    parses(path, text)?;
    let formatted = canonical(text);
    // The scanner and the parser could disagree about a text that nobody thought of: then it stays as it is.
    let same = meaning(text) == meaning(&formatted) && parses(path, &formatted).is_ok();
    Ok(if same { formatted } else { text.to_owned() })
}

fn parses(path: &str, text: &str) -> Result<(), Diagnostics> {
    let mut report = Report::default();
    let file = report.sources.add(Source::new(path, text));
    match parse(&report, file) {
        Ok(_) => Ok(()),
        Err(_) => Err(report.finish().0),
    }
}

fn canonical(text: &str) -> String {
    let all = tokens(text);
    let mut lines = line::split(&all);
    line::drop_blanks(&mut lines);
    line::indent(&mut lines);
    let rendered: Vec<align::Cells> = lines.iter().map(|line| cells(text, line)).collect();
    align::join(&rendered)
}

/// A line as cells that are aligned with those above and below.
fn cells(text: &str, line: &Line<'_>) -> align::Cells {
    let (code, comment) = match line.tokens.split_last() {
        Some((last, code)) if is_line_comment(text, last) && !code.is_empty() => (code, Some(last)),
        _ => (line.tokens, None),
    };
    let equals = line::top_equals(code).filter(|_| line.is_whole(text));
    let (head, tail) = match equals {
        Some(at) => (&code[..at], Some(&code[at..])),
        None => (code, None),
    };
    align::Cells {
        indent: line.indent,
        head: spacing::join(text, head),
        tail: tail.map(|tail| spacing::join(text, tail)),
        comment: comment.map(|token| text[token.range.clone()].trim_end().to_owned()),
        breaks: !line.is_whole(text),
    }
}

fn is_line_comment(text: &str, token: &Token) -> bool {
    token.kind == Kind::Comment && !text[token.range.clone()].contains('\n')
}

/// What formatting must keep: the tokens, and where lines end between them.
fn meaning(text: &str) -> Vec<(Kind, &str)> {
    let mut out: Vec<(Kind, &str)> = Vec::new();
    for token in tokens(text) {
        if token.kind == Kind::NewLine && out.last().is_none_or(|(kind, _)| *kind == Kind::NewLine) {
            continue;
        }
        let shown =
            if token.kind == Kind::NewLine { "" } else { text.get(token.range).unwrap_or("").trim_end() };
        out.push((token.kind, shown));
    }
    while out.last().is_some_and(|(kind, _)| *kind == Kind::NewLine) {
        out.pop();
    }
    out
}
