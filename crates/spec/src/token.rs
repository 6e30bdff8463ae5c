//! Text to tokens, for formatting and for explaining syntax errors. It knows where texts, heredocs and comments
//! begin and end, and nothing of the grammar beyond that. It never fails.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, keyword or number.
    Word,
    /// A quoted text with all that is in it.
    Text,
    /// A heredoc from `<<` to its closing delimiter.
    Heredoc,
    /// A comment up to the end of its line, or between `/*` and `*/`.
    Comment,
    /// `=` alone.
    Equals,
    /// `(`, `[`, `{`.
    Open,
    /// `)`, `]`, `}`.
    Close,
    /// `,`
    Comma,
    /// `.` or `...`
    Dot,
    /// Any other sign.
    Operator,
    /// The end of a line.
    NewLine,
    /// A text, heredoc or comment that does not end.
    Unclosed,
}

/// One token; space between tokens belongs to none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// All tokens of a text.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c != '\n' && c.is_whitespace() || c == '\u{feff}' {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = token(&text[at..], c);
        out.push(Token { kind, range: at..at + length });
        at += length;
    }
    out
}

/// The kind and length of the token that begins with `c`.
fn token(rest: &str, c: char) -> (Kind, usize) {
    match c {
        '\n' => (Kind::NewLine, 1),
        '#' => (Kind::Comment, line_length(rest)),
        '/' if rest.starts_with("//") => (Kind::Comment, line_length(rest)),
        '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
            Some(end) => (Kind::Comment, end + 4),
            None => (Kind::Unclosed, rest.len()),
        },
        '"' => match quoted_length(rest) {
            Some(length) => (Kind::Text, length),
            None => (Kind::Unclosed, rest.len()),
        },
        '<' if rest.starts_with("<<") => heredoc(rest),
        '(' | '[' | '{' => (Kind::Open, 1),
        ')' | ']' | '}' => (Kind::Close, 1),
        ',' => (Kind::Comma, 1),
        '.' if rest.starts_with("...") => (Kind::Dot, 3),
        '.' => (Kind::Dot, 1),
        c if c.is_alphanumeric() || c == '_' => (Kind::Word, word_length(rest)),
        _ => operator(rest, c),
    }
}

fn operator(rest: &str, c: char) -> (Kind, usize) {
    const LONG: [&str; 8] = ["==", "!=", "<=", ">=", "&&", "||", "=>", "::"];
    match LONG.iter().find(|long| rest.starts_with(**long)) {
        Some(long) => (Kind::Operator, long.len()),
        None if c == '=' => (Kind::Equals, 1),
        None => (Kind::Operator, c.len_utf8()),
    }
}

fn line_length(rest: &str) -> usize {
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
    line.trim_end_matches('\r').len()
}

/// Names hold hyphens; numbers hold points and exponents.
fn word_length(rest: &str) -> usize {
    let number = rest.starts_with(|c: char| c.is_ascii_digit());
    let bytes = rest.as_bytes();
    let mut end = 0;
    for (at, c) in rest.char_indices() {
        let digit_next = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        let in_number = match c {
            '.' => digit_next,
            '+' | '-' => digit_next && at > 0 && matches!(bytes[at - 1], b'e' | b'E'),
            c => c.is_ascii_alphanumeric(),
        };
        let in_name = c.is_alphanumeric() || c == '_' || c == '-';
        if !(if number { in_number } else { in_name }) {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// The length of a quoted text, with the texts inside of its templates.
fn quoted_length(rest: &str) -> Option<usize> {
    let mut modes = Modes::default();
    let bytes = rest.as_bytes();
    let mut at = 1;
    modes.open_text();
    while at < bytes.len() {
        at += modes.step(&bytes[at..]);
        if modes.is_done() {
            return Some(at);
        }
    }
    None
}

/// Where the scanner of a quoted text is: in texts and templates within each other.
#[derive(Default)]
struct Modes(Vec<Mode>);

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Text,
    /// In `${` or `%{`, or in a `{` inside of one.
    Braces,
}

impl Modes {
    fn open_text(&mut self) {
        self.0.push(Mode::Text);
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one step and says how many bytes it took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let starts = |prefix: &[u8]| bytes.starts_with(prefix);
        match self.0.last() {
            Some(Mode::Text) => {
                if starts(b"$${") || starts(b"%%{") {
                    return 3;
                }
                if starts(b"${") || starts(b"%{") {
                    self.0.push(Mode::Braces);
                    return 2;
                }
                match bytes[0] {
                    b'\\' => return 2,
                    b'"' => {
                        self.0.pop();
                    }
                    _ => {}
                }
                1
            }
            Some(Mode::Braces) => {
                match bytes[0] {
                    b'"' => self.0.push(Mode::Text),
                    b'{' => self.0.push(Mode::Braces),
                    b'}' => {
                        self.0.pop();
                    }
                    _ => {}
                }
                1
            }
            None => 1,
        }
    }
}

/// A heredoc, or the operator `<` when no delimiter follows.
fn heredoc(rest: &str) -> (Kind, usize) {
    let intro = if rest.starts_with("<<-") { 3 } else { 2 };
    let line_end = rest.find('\n').unwrap_or(rest.len());
    let name = rest[intro..line_end].trim_end_matches('\r');
    let identifier = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !identifier {
        return (Kind::Operator, 1);
    }
    let mut at = line_end;
    while at < rest.len() {
        let start = at + 1;
        let end = rest[start.min(rest.len())..].find('\n').map_or(rest.len(), |end| start + end);
        let line = rest.get(start..end).unwrap_or("");
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(after) = line[indent..].strip_prefix(name)
            && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
        {
            return (Kind::Heredoc, start + indent + name.len());
        }
        at = end;
    }
    (Kind::Unclosed, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).into_iter().map(|token| (token.kind, text.get(token.range).unwrap_or("?"))).collect()
    }

    #[test]
    fn texts_hold_templates_and_their_texts() {
        let text = r#"a = "x ${ f("}", { b = 1 }) } $${ \" y" # c"#;
        let found = kinds(text);
        assert_eq!(found[2], (Kind::Text, r#""x ${ f("}", { b = 1 }) } $${ \" y""#));
        assert_eq!(found[3], (Kind::Comment, "# c"));
    }

    #[test]
    fn heredocs_end_at_their_delimiter() {
        let text = "a = <<-EOT\n  EOTX\n  x\n  EOT\nb = 1\n";
        let found = kinds(text);
        assert_eq!(found[2], (Kind::Heredoc, "<<-EOT\n  EOTX\n  x\n  EOT"));
        assert_eq!(found[4], (Kind::Word, "b"));
    }

    #[test]
    fn numbers_and_traversals_are_told_apart() {
        let words = |text| kinds(text).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words("1.5e-3"), ["1.5e-3"]);
        assert_eq!(words("a.0.b-c"), ["a", ".", "0", ".", "b-c"]);
        assert_eq!(words("x...)"), ["x", "...", ")"]);
        assert_eq!(words("3-1"), ["3", "-", "1"]);
    }
}
