//! What an expectation found in place of what it wanted, told to people.

use std::fmt::{self, Display};

use kiln_model::TextExpect;
use regex::RegexBuilder;

/// Longest piece of a body or of an output that is shown.
const EXCERPT: usize = 200;
/// More than any program that a person would write; patterns of files that were found somewhere are not trusted.
const PATTERN_SIZE: usize = 1 << 20;

/// Why an expectation does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was asked: `GET /`, `file /etc/motd`.
    pub what: String,
    /// What should have been, joined by `; ` where several things are wrong.
    pub expected: String,
    /// What was there instead.
    pub found: String,
    /// The end of what a command printed, or the beginning of a body.
    pub output: String,
}

impl std::error::Error for Finding {}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, expected, found, output } = self;
        write!(f, "{what}: expected {expected}, found {found}")?;
        if output.is_empty() { Ok(()) } else { write!(f, "; it gave {output:?}") }
    }
}

impl Finding {
    /// One expectation, one finding.
    pub(crate) fn new(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (what, expected, found) = (what.into(), expected.into(), found.into());
        Self { what, expected, found, output: String::new() }
    }

    /// Something that could not even be asked.
    pub(crate) fn failed(
        what: impl Into<String>,
        expected: impl Into<String>,
        error: &dyn std::error::Error,
    ) -> Self {
        Self::new(what, expected, chain(error))
    }

    pub(crate) fn with_output(mut self, output: impl Into<String>) -> Self {
        self.output = output.into();
        self
    }
}

/// An error with its causes, texts that repeat the one before left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// Gathers what does not hold of one thing.
pub(crate) struct Judge {
    what: String,
    missed: Vec<(String, String)>,
    output: String,
}

impl Judge {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), missed: Vec::new(), output: String::new() }
    }

    /// Something to show with a failure.
    pub(crate) fn output(&mut self, output: String) {
        self.output = output;
    }

    pub(crate) fn that(&mut self, holds: bool, expected: impl Display, found: impl Display) {
        if !holds {
            self.missed.push((expected.to_string(), found.to_string()));
        }
    }

    /// Whether a field is what is wanted of it, if anything is.
    pub(crate) fn field<T: PartialEq + Display>(&mut self, name: &str, wanted: Option<&T>, found: &T) {
        if let Some(wanted) = wanted {
            self.that(wanted == found, format_args!("{name} {wanted}"), format_args!("{name} {found}"));
        }
    }

    /// Whether a text is as wanted. `name` is such as "the body".
    pub(crate) fn text(&mut self, name: &str, wanted: &TextExpect, text: &str) {
        let excerpt = || format!("{:?}", beginning(text));
        if let Some(equals) = &wanted.equals {
            let same = text.strip_suffix('\n').unwrap_or(text) == equals.strip_suffix('\n').unwrap_or(equals);
            self.that(same, format_args!("{name} to be {:?}", beginning(equals)), excerpt());
        }
        for part in &wanted.contains {
            self.that(text.contains(part), format_args!("{name} to contain {part:?}"), excerpt());
        }
        for pattern in &wanted.matches {
            match matches(pattern, text) {
                Ok(found) => self.that(found, format_args!("{name} to match /{pattern}/"), excerpt()),
                Err(fault) => self.that(false, format_args!("a regular expression /{pattern}/"), fault),
            }
        }
    }

    pub(crate) fn verdict(self) -> Result<(), Finding> {
        if self.missed.is_empty() {
            return Ok(());
        }
        let (expected, mut found): (Vec<_>, Vec<_>) = self.missed.into_iter().unzip();
        // One excerpt for several expectations of one text.
        found.dedup();
        let finding = Finding::new(self.what, expected.join("; "), found.join("; "));
        Err(finding.with_output(self.output))
    }
}

/// Whether a regular expression finds something in a text; `^` and `$` are the ends of lines.
pub(crate) fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    search(pattern, text, true)
}

/// The same as Go's `regexp` has it, whose `^` and `$` are the ends of the text.
pub(crate) fn matches_plainly(pattern: &str, text: &str) -> Result<bool, String> {
    search(pattern, text, false)
}

fn search(pattern: &str, text: &str, lines: bool) -> Result<bool, String> {
    let built = RegexBuilder::new(pattern).multi_line(lines).size_limit(PATTERN_SIZE).build();
    let built = built.map_err(|error| {
        let said = error.to_string();
        said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
    })?;
    Ok(built.is_match(text))
}

/// The beginning of a text, cut at a character's border.
pub(crate) fn beginning(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The end of a text, cut at a character's border.
pub(crate) fn end(text: &str) -> String {
    let text = text.trim_end();
    match text.char_indices().rev().nth(EXCERPT - 1) {
        Some((begin, _)) if begin > 0 => format!("…{}", &text[begin..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        assert_eq!(end("short\n"), "short");
        let long = "ä".repeat(300);
        assert_eq!(beginning(&long), format!("{}…", "ä".repeat(200)));
        assert_eq!(end(&long), format!("…{}", "ä".repeat(200)));
    }

    #[test]
    fn all_that_is_wrong_with_a_text_is_told_at_once() {
        let wanted = TextExpect {
            equals: Some("one".into()),
            contains: vec!["o".into(), "x".into()],
            matches: vec!["^t.*o$".into(), "z+".into(), "(".into()],
        };
        let mut judge = Judge::new("file /it");
        judge.text("the content", &wanted, "two\n");
        let finding = judge.verdict().unwrap_err();
        assert_eq!(
            finding.expected,
            "the content to be \"one\"; the content to contain \"x\"; the content to match /z+/; \
             a regular expression /(/"
        );
        assert_eq!(finding.found, "\"two\\n\"; unclosed group");
        let mut judge = Judge::new("file /it");
        judge.text("the content", &TextExpect { equals: Some("two".into()), ..wanted_nothing() }, "two\n");
        judge.text("the content", &wanted_nothing(), "anything");
        assert_eq!(judge.verdict(), Ok(()));
    }

    fn wanted_nothing() -> TextExpect {
        TextExpect::default()
    }
}
