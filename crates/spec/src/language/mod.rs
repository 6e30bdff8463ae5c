//! The words of the language in one table: every block, its label, its attributes and what they hold.
//!
//! The reader, "did you mean", the JSON schema and the reference are all made from this table, so they cannot
//! disagree.

mod check;
mod image;
mod kind;
mod kind_check;
mod kind_text;
mod peers;
mod policy;
mod rollout;
mod service;
mod top;
mod types;

pub(crate) use self::kind::{Kind, Part};
pub(crate) use self::kind_check::percent;
pub(crate) use self::kind_text::{iso_duration, token};
pub(crate) use self::peers::word_of_a_peer;
pub(crate) use self::top::ROOT;
pub(crate) use self::types::Type;

/// One attribute of a block.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
    /// The labels of the block with which the attribute may stand; empty: all.
    pub(crate) only: &'static [&'static str],
    /// Whether it is read but has no effect yet.
    pub(crate) without_effect: bool,
}

/// One kind of block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: &'static str,
    pub(crate) label: Label,
    pub(crate) count: Count,
    pub(crate) doc: &'static str,
    pub(crate) attributes: &'static [Attribute],
    pub(crate) blocks: &'static [&'static Block],
    /// Whether any attribute name is taken, as in `locals`.
    pub(crate) open: bool,
    /// The labels of the surrounding block with which it may stand; empty: all.
    pub(crate) only: &'static [&'static str],
    /// Whether it is read but has no effect yet.
    pub(crate) without_effect: bool,
}

/// What stands between the name of a block and its `{`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Nothing.
    None,
    /// A name as host names are.
    Name,
    /// A name as in programs: letters, digits and underscores.
    Identifier,
    /// Any text; its meaning is in the text.
    Text(&'static str),
    /// A text that may be left out.
    Optional(&'static str),
    /// One of these.
    Choice(&'static [&'static str]),
}

/// How often a block may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// At most once.
    Once,
    /// As often as wanted, each label once.
    Unique,
    /// As often as wanted.
    Any,
}

pub(crate) const fn attribute(name: &'static str, kind: Kind, doc: &'static str) -> Attribute {
    Attribute { name, kind, required: false, doc, only: &[], without_effect: false }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Attribute {
    Attribute { required: true, ..attribute(name, kind, doc) }
}

const fn only(
    labels: &'static [&'static str],
    name: &'static str,
    kind: Kind,
    doc: &'static str,
) -> Attribute {
    Attribute { only: labels, ..attribute(name, kind, doc) }
}

const fn block(
    name: &'static str,
    label: Label,
    count: Count,
    doc: &'static str,
    attributes: &'static [Attribute],
    blocks: &'static [&'static Block],
) -> Block {
    Block { name, label, count, doc, attributes, blocks, open: false, only: &[], without_effect: false }
}

impl Block {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn block(&self, name: &str) -> Option<&'static Block> {
        self.blocks.iter().find(|block| block.name == name).copied()
    }
}

impl Label {
    /// The label of an example.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Name | Self::Identifier => " \"name\"",
            Self::Text(example) | Self::Optional(example) => example,
            Self::Choice(choices) => match choices.first() {
                Some(&"recreate") => " \"rolling\"",
                _ => " \"…\"",
            },
        }
    }
}

/// Whether a text can stand after `var.` and `local.`.
pub(crate) fn is_identifier(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit() || c == '-')
}

/// The name nearest to any text; `None` when it has no letter.
pub(crate) fn fit_name(text: &str) -> Option<kiln_model::Name> {
    let mut out = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphabetic() || (c.is_ascii_digit() && !out.is_empty()) => out.push(c),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.truncate(63);
    kiln_model::Name::new(out.trim_end_matches('-')).ok()
}
