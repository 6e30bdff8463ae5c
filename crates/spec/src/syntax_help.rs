//! Syntax errors in words: the parser says what it expected, people want to know what they forgot.

use std::ops::Range;

use crate::source::floor_boundary;
use crate::token::{Kind, Token, tokens};

/// A syntax error in words.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: String,
    pub(crate) related: Option<(Range<usize>, &'static str)>,
}

/// Explains an error of the parser at a byte offset.
pub(crate) fn explain(text: &str, offset: usize, message: &str) -> Fault {
    let all = tokens(text);
    if let Some(fault) = repeated(text, offset, message) {
        return fault;
    }
    if message.contains("nesting depth") || message.contains("operator") {
        return plain(text, offset, "this is nested too deeply", "split it up with `locals`");
    }
    if let Some(fault) = unclosed_string(text, &all) {
        return fault;
    }
    if message.contains("escape sequence") || message.contains("hex code") {
        let help = "known are \\n, \\r, \\t, \\\", \\\\, \\uNNNN and \\UNNNNNNNN; for a backslash write \\\\";
        return plain(text, offset, "there is no such escape sequence", help);
    }
    if let Some(fault) = unclosed_bracket(text, offset, &all) {
        return fault;
    }
    if let Some(fault) = crowded_line(offset, &all, text) {
        return fault;
    }
    if let Some(fault) = missing_value(text, offset, &all) {
        return fault;
    }
    let expected = message.rsplit("; ").next().unwrap_or(message);
    plain(
        text,
        offset,
        &format!("this is not HCL: {}", readable(expected)),
        "see the reference for the form of blocks and attributes",
    )
}

fn plain(text: &str, offset: usize, message: &str, help: &str) -> Fault {
    Fault {
        at: word_at(text, offset),
        message: message.into(),
        label: None,
        help: help.into(),
        related: None,
    }
}

/// The parser writes control characters as escapes.
fn readable(expected: &str) -> String {
    expected
        .replace("`\\n`", "a new line")
        .replace("newline or eof", "a new line")
        .replace("newline", "a new line")
        .replace("eof", "the end of the file")
}

/// The word or character at an offset.
fn word_at(text: &str, offset: usize) -> Range<usize> {
    let start = floor_boundary(text, offset);
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let rest = &text[start..];
    let length: usize = rest.chars().take_while(|c| word(*c)).map(char::len_utf8).sum();
    let one = rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    start..start + length.max(one)
}

fn repeated(text: &str, offset: usize, message: &str) -> Option<Fault> {
    if !message.contains("redefined") {
        return None;
    }
    let at = word_at(text, offset);
    let name = text[at.clone()].to_owned();
    let what = if message.contains("object key") { "key" } else { "attribute" };
    Some(Fault {
        at,
        message: format!("the {what} `{name}` is given twice in the same place"),
        label: Some("given again".into()),
        help: "keep one of the two; for several values use a list".into(),
        related: None,
    })
}

fn unclosed_string(text: &str, all: &[Token]) -> Option<Fault> {
    let token = all.iter().find(|token| token.kind == Kind::Unclosed)?;
    let line = text[token.range.clone()].find('\n').unwrap_or(token.range.len());
    let heredoc = text[token.range.clone()].starts_with("<<");
    let (message, help) = if heredoc {
        ("this heredoc is never closed", "write its delimiter alone on a line")
    } else if text[token.range.clone()].starts_with("/*") {
        ("this comment is never closed", "close it with */")
    } else {
        ("this text is never closed", "close it with \"")
    };
    Some(Fault {
        at: token.range.start..token.range.start + line,
        message: message.into(),
        label: Some("begins here".into()),
        help: help.into(),
        related: None,
    })
}

/// A bracket that is open at the end of the file, or closed by another kind.
fn unclosed_bracket(text: &str, offset: usize, all: &[Token]) -> Option<Fault> {
    let mut open: Vec<&Token> = Vec::new();
    for token in all {
        match token.kind {
            Kind::Open => open.push(token),
            Kind::Close => match open.pop() {
                Some(opening) if pairs(text, opening, token) => {}
                opening => return mismatched(text, opening, token, offset),
            },
            _ => {}
        }
    }
    let opening = if offset >= text.trim_end().len().saturating_sub(1) { open.last()? } else { return None };
    let bracket = &text[opening.range.clone()];
    Some(Fault {
        at: opening.range.clone(),
        message: format!("this `{bracket}` is never closed"),
        label: Some("opened here".into()),
        help: format!("add `{}` where it ends", closing(bracket)),
        related: None,
    })
}

fn mismatched(text: &str, opening: Option<&Token>, token: &Token, offset: usize) -> Option<Fault> {
    if token.range.start > offset {
        return None;
    }
    let bracket = &text[token.range.clone()];
    Some(match opening {
        None => Fault {
            at: token.range.clone(),
            message: format!("this `{bracket}` closes nothing"),
            label: None,
            help: "take it out".into(),
            related: None,
        },
        Some(opening) => {
            let wanted = closing(&text[opening.range.clone()]);
            Fault {
                at: token.range.clone(),
                message: format!("expected `{wanted}` here, not `{bracket}`"),
                label: None,
                help: format!("close what was opened with `{wanted}`"),
                related: Some((opening.range.clone(), "opened here")),
            }
        }
    })
}

fn pairs(text: &str, opening: &Token, token: &Token) -> bool {
    closing(&text[opening.range.clone()]) == &text[token.range.clone()]
}

fn closing(bracket: &str) -> &'static str {
    match bracket {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// The tokens of the line with the offset, without comments.
fn line_of<'k>(text: &str, offset: usize, all: &'k [Token]) -> Vec<&'k Token> {
    let offset = floor_boundary(text, offset);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    let inside = |token: &&Token| token.range.start >= start && token.range.start < end;
    all.iter().filter(inside).filter(|token| !matches!(token.kind, Kind::Comment | Kind::NewLine)).collect()
}

/// Several attributes on one line: HCL wants a line for each.
fn crowded_line(offset: usize, all: &[Token], text: &str) -> Option<Fault> {
    let line = line_of(text, offset, all);
    let is_equals = |token: &&&Token| token.kind == Kind::Equals;
    let block = line.iter().position(|token| &text[token.range.clone()] == "{");
    let first = line.iter().position(|token| token.kind == Kind::Equals)?;
    let one_line_block = block.is_some_and(|at| at < first);
    if line.iter().filter(is_equals).count() < 2 && !one_line_block {
        return None;
    }
    if line.iter().any(|token| token.range.start >= offset && token.kind == Kind::Word) || one_line_block {
        return Some(Fault {
            at: word_at(text, offset),
            message: "only one attribute fits on a line".into(),
            label: Some("this needs a line of its own".into()),
            help: "write every attribute and block on a line of its own".into(),
            related: None,
        });
    }
    None
}

fn missing_value(text: &str, offset: usize, all: &[Token]) -> Option<Fault> {
    let line = line_of(text, offset, all);
    let last = line.last()?;
    if last.kind == Kind::Equals && last.range.start < offset.max(1) + 1 {
        return Some(Fault {
            at: last.range.clone(),
            message: "there is no value after this `=`".into(),
            label: None,
            help: "write a value on the same line".into(),
            related: None,
        });
    }
    let colon =
        line.get(1).filter(|token| &text[token.range.clone()] == ":" && line[0].kind == Kind::Word)?;
    (colon.range.start <= offset).then(|| Fault {
        at: colon.range.clone(),
        message: "an attribute is written with `=`, not with `:`".into(),
        label: None,
        help: format!("write {} = …", &text[line[0].range.clone()]),
        related: None,
    })
}
