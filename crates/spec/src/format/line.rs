//! Lines of tokens and their indentation.

use crate::token::{Kind, Token};

/// The tokens between two line breaks. A heredoc or a text of several lines is within one.
pub(super) struct Line<'k> {
    pub(super) tokens: &'k [Token],
    pub(super) indent: usize,
    /// Brackets that it opens and does not close, less those it closes and did not open.
    net: i64,
}

pub(super) fn split<'k>(all: &'k [Token]) -> Vec<Line<'k>> {
    all.split(|token| token.kind == Kind::NewLine).map(Line::new).collect()
}

impl<'k> Line<'k> {
    fn new(tokens: &'k [Token]) -> Self {
        let net = tokens.iter().map(|token| match token.kind {
            Kind::Open => 1,
            Kind::Close => -1,
            _ => 0,
        });
        Self { tokens, indent: 0, net: net.sum() }
    }

    fn is_blank(&self) -> bool {
        self.tokens.is_empty()
    }

    fn starts_with(&self, kind: Kind) -> bool {
        self.tokens.first().is_some_and(|token| token.kind == kind)
    }

    fn ends_open(&self) -> bool {
        self.tokens
            .iter()
            .rfind(|token| token.kind != Kind::Comment)
            .is_some_and(|token| token.kind == Kind::Open)
    }

    /// Whether everything that begins in the line ends in it.
    pub(super) fn is_whole(&self, text: &str) -> bool {
        self.net == 0 && !self.tokens.iter().any(|token| text[token.range.clone()].contains('\n'))
    }
}

/// Leaves at most one blank line, and none at the edges of the text and of brackets.
pub(super) fn drop_blanks(lines: &mut Vec<Line<'_>>) {
    let mut kept: Vec<Line<'_>> = Vec::with_capacity(lines.len());
    for line in lines.drain(..) {
        let after_edge = kept.last().is_none_or(|last| last.is_blank() || last.ends_open());
        if line.is_blank() && after_edge {
            continue;
        }
        if line.starts_with(Kind::Close) && kept.last().is_some_and(Line::is_blank) {
            kept.pop();
        }
        kept.push(line);
    }
    if kept.last().is_some_and(Line::is_blank) {
        kept.pop();
    }
    *lines = kept;
}

/// A line is one step deeper than the line that opened the bracket it is in; one that begins with a closing
/// bracket is as deep as the line that opened it.
pub(super) fn indent(lines: &mut [Line<'_>]) {
    let mut open: Vec<usize> = Vec::new();
    for line in lines {
        let leading = line.tokens.iter().take_while(|token| token.kind == Kind::Close).count();
        let mut indent = open.last().map_or(0, |depth| depth + 1);
        for _ in 0..leading {
            indent = open.pop().unwrap_or(0);
        }
        line.indent = indent;
        for token in &line.tokens[leading..] {
            match token.kind {
                Kind::Open => open.push(indent),
                Kind::Close => {
                    open.pop();
                }
                _ => {}
            }
        }
    }
}

/// The `=` of an attribute that begins the line.
pub(super) fn top_equals(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_i64;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            Kind::Equals if depth == 0 && at > 0 => return Some(at),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}
