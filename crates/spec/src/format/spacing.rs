//! Space between the tokens of a line.

use crate::token::{Kind, Token};

/// What a token does where it stands.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// A value or the end of one: a name, number, text, closing bracket, or the `*` of a splat.
    Operand,
    /// `for`, `in`, `if` and such.
    Keyword,
    /// A sign with space on both sides.
    Between,
    /// A sign that belongs to what follows.
    Unary,
    Open,
    Close,
    Comma,
    Dot,
    Colons,
    Comment,
}

/// The tokens with the space that belongs between them.
pub(super) fn join(text: &str, tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut last: Option<(Role, &str)> = None;
    for token in tokens {
        let word = text[token.range.clone()].trim_end();
        let role = role(token.kind, word, last);
        if last.is_some_and(|last| spaced(last, (role, word))) {
            out.push(' ');
        }
        out.push_str(word);
        last = Some((role, word));
    }
    out
}

fn role(kind: Kind, word: &str, last: Option<(Role, &str)>) -> Role {
    let after_value = matches!(last, Some((Role::Operand | Role::Close, _)));
    match kind {
        Kind::Word if matches!(word, "for" | "in" | "if") && !matches!(last, Some((Role::Dot, _))) => {
            Role::Keyword
        }
        Kind::Word | Kind::Text | Kind::Heredoc | Kind::Unclosed => Role::Operand,
        Kind::Open => Role::Open,
        Kind::Close => Role::Close,
        Kind::Comma => Role::Comma,
        Kind::Dot => Role::Dot,
        Kind::Comment => Role::Comment,
        Kind::Equals | Kind::NewLine => Role::Between,
        Kind::Operator => match (word, last) {
            ("::", _) => Role::Colons,
            ("*", Some((Role::Dot, _) | (Role::Open, "["))) => Role::Operand,
            ("!", _) => Role::Unary,
            ("-", _) if !after_value => Role::Unary,
            _ => Role::Between,
        },
    }
}

fn spaced((left, left_word): (Role, &str), (right, right_word): (Role, &str)) -> bool {
    match (left, right) {
        (_, Role::Comment) | (Role::Comment, _) => true,
        (Role::Open, Role::Close) => false,
        (Role::Open, _) => left_word == "{",
        (_, Role::Close) => right_word == "}",
        (_, Role::Comma) | (Role::Unary, _) => false,
        (Role::Dot, _) => left_word == "...",
        (_, Role::Dot) => false,
        (Role::Colons, _) | (_, Role::Colons) => false,
        (Role::Operand | Role::Close, Role::Open) => right_word == "{",
        _ => true,
    }
}
