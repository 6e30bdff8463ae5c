//! Versions of NuGet packages: one to four numbers, labels of a pre-release without case, metadata without meaning.

use super::Number;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(Number),
    Word(String),
}

/// Absent labels are newer than any: the release comes after its pre-releases.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before(Vec<Label>),
    Release,
}

/// A version of a NuGet package.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NuGet {
    numbers: [Number; 4],
    stage: Stage,
}

impl NuGet {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split('+').next().unwrap_or_default();
        let (core, labels) = text.split_once('-').map_or((text, None), |(core, rest)| (core, Some(rest)));
        let mut numbers = [const { None }; 4].map(|_: Option<()>| Number::zero());
        for (at, number) in core.split('.').enumerate() {
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *numbers.get_mut(at)? = Number::new(number);
        }
        let stage = match labels {
            None => Stage::Release,
            Some(labels) => Stage::Before(labels.split('.').map(label).collect::<Option<_>>()?),
        };
        Some(Self { numbers, stage })
    }
}

fn label(text: &str) -> Option<Label> {
    let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    good.then(|| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => Label::Number(Number::new(text)),
        false => Label::Word(text.to_ascii_lowercase()),
    })
}
