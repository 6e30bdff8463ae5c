//! Dependency fields (Debian Policy 7.1): `a (>= 1) | b:any, c [amd64] <!nocheck>`.

use std::cmp::Ordering;
use std::fmt;

use debversion::Version;

/// `a | b`: alternatives in order of preference.
pub(crate) type Group = Vec<Relation>;

/// One package name with what must hold for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) name: String,
    /// What follows the colon: `any`, `native` or an architecture.
    pub(crate) qualifier: Option<String>,
    pub(crate) bound: Option<Bound>,
}

/// A comparison with a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) operator: Operator,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Bound {
    pub(crate) fn holds(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        };
        write!(f, "{operator} {}", self.version)
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        match &self.bound {
            Some(bound) => write!(f, " ({bound})"),
            None => Ok(()),
        }
    }
}

/// Reads a whole field; `None` when a part of it is not understood.
pub(crate) fn parse(field: &str) -> Option<Vec<Group>> {
    field
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty())
        .map(|group| group.split('|').map(relation).collect())
        .collect()
}

/// Reads one alternative. Architecture and profile restrictions occur in source packages only and are ignored.
fn relation(text: &str) -> Option<Relation> {
    let text = text.split(['[', '<']).next().filter(|_| !text.contains('(')).unwrap_or(text).trim();
    let (name, bound) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => (name.trim(), Some(bound(rest.split_once(')')?.0)?)),
    };
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier.trim().to_owned())),
        None => (name, None),
    };
    let name = name.trim();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| Relation {
        name: name.to_owned(),
        qualifier,
        bound,
    })
}

fn bound(text: &str) -> Option<Bound> {
    let text = text.trim();
    let end = text.find(|c| !matches!(c, '<' | '>' | '=')).unwrap_or(text.len());
    let (operator, version) = text.split_at(end);
    let operator = match operator {
        "<<" => Operator::Earlier,
        // A single sign is the old spelling of "or equal" (dpkg's own reading).
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    Some(Bound { operator, version: version.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_packages_write() {
        let groups =
            parse("libc6 (>= 2.34), debconf (>=0.5) | debconf-2.0, python3:any (<< 3.12~), ,x(= 1:2-3)")
                .unwrap();
        let shown: Vec<Vec<String>> =
            groups.iter().map(|group| group.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(
            shown,
            [
                vec!["libc6 (>= 2.34)"],
                vec!["debconf (>= 0.5)", "debconf-2.0"],
                vec!["python3:any (<< 3.12~)"],
                vec!["x (= 1:2-3)"],
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_relation() {
        for text in ["a (1)", "a (>= )", "a (>= 1", "a b", "|"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn compares_versions_as_dpkg_does() {
        let holds =
            |bound: &str, version: &str| super::bound(bound).unwrap().holds(&version.parse().unwrap());
        assert!(holds(">= 1.0", "1.0-0"));
        assert!(holds("<< 1.0", "1.0~rc1"));
        assert!(holds(">> 9", "1:0"));
        assert!(!holds("= 1.0-1", "1.0-1+b1"));
        assert!(holds("<= 1.0+dfsg", "1.0"));
    }
}
