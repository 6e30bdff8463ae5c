//! Versions of Java artefacts in the order of Maven's `ComparableVersion` (3.8 and later): numbers and qualifiers, where
//! a hyphen, a change between digits and letters, and every qualifier open a list inside the list.
//!
//! Maven's own order runs in circles for odd texts (`1-sp < 1.0.alpha.1 < 1 < 1-sp`), because a qualifier before a dot
//! opens no list there, and because a list may begin with a list. Both are evened out here; nothing else differs.

use std::cmp::Ordering;

use super::Number;

/// The qualifiers that Maven knows, oldest first; the empty one is the release. Others come after all of these.
const QUALIFIERS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const RELEASE: usize = 5;

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Number(Number),
    /// A known qualifier's place, or [`QUALIFIERS`]' length and the word.
    Word(usize, String),
    List(Vec<Item>),
}

/// A version of an artefact.
#[derive(Debug)]
pub(super) struct Maven(Item);

impl Maven {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.to_lowercase();
        // Lists that are still open, the outermost first.
        let mut open = vec![Vec::new()];
        let (mut start, mut digit) = (0, false);
        for (at, c) in text.char_indices() {
            let part = &text[start..at];
            if c == '.' || c == '-' {
                push(&mut open, digit || part.is_empty(), part, false);
                start = at + 1;
                if c == '-' {
                    open.push(Vec::new());
                }
            } else if c.is_ascii_digit() != digit {
                if !part.is_empty() {
                    push(&mut open, digit, part, !digit);
                    start = at;
                    open.push(Vec::new());
                }
                digit = !digit;
            }
        }
        if start < text.len() {
            push(&mut open, digit, &text[start..], false);
        }
        Self(close(open))
    }
}

/// Adds a part to the innermost list; a qualifier begins a list of its own. No digits are the number zero.
fn push(open: &mut Vec<Vec<Item>>, digit: bool, part: &str, before_digit: bool) {
    if !digit && open.last().is_some_and(|list| !list.is_empty()) {
        open.push(Vec::new());
    }
    if let Some(list) = open.last_mut() {
        list.push(item(digit, part, before_digit));
    }
}

/// Closes the lists from the innermost outwards; nulls at the end of a list, or before a list inside it, say nothing.
fn close(open: Vec<Vec<Item>>) -> Item {
    let mut inner: Option<Item> = None;
    for mut list in open.into_iter().rev() {
        list.extend(inner.take());
        for at in (0..list.len()).rev() {
            if null(&list[at]) {
                list.remove(at);
            } else if !matches!(list[at], Item::List(_)) {
                break;
            }
        }
        // A list of nothing but a list is that list.
        inner = match list.as_mut_slice() {
            [Item::List(only)] => Some(Item::List(std::mem::take(only))),
            _ => Some(Item::List(list)),
        };
    }
    inner.unwrap_or(Item::List(Vec::new()))
}

fn null(item: &Item) -> bool {
    match item {
        Item::Number(number) => number.is_zero(),
        Item::Word(rank, _) => *rank == RELEASE,
        Item::List(list) => list.is_empty(),
    }
}

fn item(digit: bool, text: &str, before_digit: bool) -> Item {
    if digit {
        return Item::Number(Number::new(text));
    }
    let word = match text {
        "a" if before_digit => "alpha",
        "b" if before_digit => "beta",
        "m" if before_digit => "milestone",
        "ga" | "final" | "release" => "",
        "cr" => "rc",
        other => other,
    };
    match QUALIFIERS.iter().position(|known| *known == word) {
        Some(rank) => Item::Word(rank, String::new()),
        None => Item::Word(QUALIFIERS.len(), word.to_owned()),
    }
}

/// Compares where either side may have ended.
fn compare(left: Option<&Item>, right: Option<&Item>) -> Ordering {
    match (left, right) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => compare(right, None).reverse(),
        (Some(item), None) => match item {
            Item::Number(number) => number.cmp(&Number::zero()),
            Item::Word(rank, _) => rank.cmp(&RELEASE),
            Item::List(list) => list
                .iter()
                .map(|item| compare(Some(item), None))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal),
        },
        (Some(left), Some(right)) => both(left, right),
    }
}

fn both(left: &Item, right: &Item) -> Ordering {
    match (left, right) {
        (Item::Number(left), Item::Number(right)) => left.cmp(right),
        (Item::Word(left, left_word), Item::Word(right, right_word)) => {
            (left, left_word).cmp(&(right, right_word))
        }
        (Item::List(left), Item::List(right)) => (0..left.len().max(right.len()))
            .map(|at| compare(left.get(at), right.get(at)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal),
        // A number is newer than a list, a list newer than a word.
        (Item::Number(_), _) | (Item::List(_), Item::Word(..)) => Ordering::Greater,
        (_, Item::Number(_)) | (Item::Word(..), Item::List(_)) => Ordering::Less,
    }
}

impl Ord for Maven {
    fn cmp(&self, other: &Self) -> Ordering {
        both(&self.0, &other.0)
    }
}

impl PartialOrd for Maven {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Maven {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Maven {}
