//! Matchers of goss 0.4: a bare value is compared, an object names a matcher.

use serde_json::Value;

use crate::finding::{self, beginning};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Actual {
    /// A plain value.
    Plain(Value),
    /// Content or output: bare lists are patterns of its lines.
    Text(String),
}

/// What does not hold: expected and found.
type Missed = (String, String);

const MATCHERS: [&str; 18] = [
    "equal",
    "have-prefix",
    "have-suffix",
    "match-regexp",
    "contain-substring",
    "have-len",
    "contain-element",
    "contain-elements",
    "consist-of",
    "have-patterns",
    "have-key",
    "not",
    "and",
    "or",
    "gt",
    "ge",
    "lt",
    "le",
];
/// As many matchers in one another as anybody writes.
const DEEPEST: usize = 16;

/// Refuses matchers that are not known.
pub(super) fn check(wanted: &Value) -> Result<(), String> {
    check_at(wanted, 0)
}

fn check_at(wanted: &Value, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("more than {DEEPEST} matchers in one another"));
    }
    match wanted {
        Value::Array(items) => items.iter().try_for_each(|item| check_at(item, depth + 1)),
        Value::Object(fields) => {
            if fields.len() != 1 {
                return Err("a matcher has exactly one key".into());
            }
            fields.iter().try_for_each(|(name, inner)| match name.as_str() {
                "equal" => Ok(()),
                name if !MATCHERS.contains(&name) => {
                    Err(format!("`{name}` is not a matcher known here: {}", MATCHERS.join(", ")))
                }
                _ => check_at(inner, depth + 1),
            })
        }
        _ => Ok(()),
    }
}

/// The expectation for people.
pub(super) fn shown(wanted: &Value) -> String {
    beginning(&wanted.to_string())
}

/// Judges.
pub(super) fn matches(wanted: &Value, actual: &Actual) -> Result<(), Missed> {
    if holds(wanted, actual).unwrap_or(false) {
        return Ok(());
    }
    let found = match actual {
        Actual::Plain(value) => value.to_string(),
        Actual::Text(text) => format!("{:?}", beginning(text)),
    };
    let fault = holds(wanted, actual).err().map(|fault| format!(" ({fault})")).unwrap_or_default();
    Err((shown(wanted), format!("{found}{fault}")))
}

fn holds(wanted: &Value, actual: &Actual) -> Result<bool, String> {
    match (wanted, actual) {
        (Value::Object(fields), _) => match fields.iter().next() {
            Some((name, inner)) => named(name, inner, actual),
            None => Ok(true),
        },
        (Value::Array(patterns), Actual::Text(text)) => have_patterns(patterns, text),
        (Value::Array(items), Actual::Plain(Value::Array(found))) => contain_elements(items, found),
        (Value::Array(_), Actual::Plain(value)) => Ok(wanted == value),
        (scalar, actual) => Ok(equal_converted(scalar, actual)),
    }
}

/// Equal, once the found value has the type of the expected one.
fn equal_converted(wanted: &Value, actual: &Actual) -> bool {
    match (wanted, actual) {
        (Value::String(wanted), Actual::Text(text)) => wanted == text,
        (Value::String(wanted), Actual::Plain(Value::Number(number))) => *wanted == number.to_string(),
        (Value::Number(_), _) => match (number(actual), wanted.as_f64()) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => false,
        },
        (Value::Bool(wanted), Actual::Text(text)) => text.trim() == wanted.to_string(),
        (wanted, Actual::Plain(value)) => wanted == value,
        _ => false,
    }
}

fn named(name: &str, inner: &Value, actual: &Actual) -> Result<bool, String> {
    let texts = || match (inner.as_str(), text(actual)) {
        (Some(part), Some(text)) => Ok((part.to_owned(), text)),
        _ => Err(format!("`{name}` is for texts")),
    };
    match name {
        "equal" => Ok(match actual {
            Actual::Plain(value) => value == inner,
            Actual::Text(text) => inner.as_str() == Some(text),
        }),
        "have-prefix" => texts().map(|(part, text)| text.starts_with(&part)),
        "have-suffix" => texts().map(|(part, text)| text.ends_with(&part)),
        "contain-substring" => texts().map(|(part, text)| text.contains(&part)),
        "match-regexp" => texts().and_then(|(part, text)| regex(&part, &text)),
        "have-len" => {
            length(actual).map(|found| inner.as_u64() == Some(found)).ok_or_else(|| "it has no length".into())
        }
        "contain-element" => elements(actual)?
            .iter()
            .map(|found| holds(inner, &Actual::Plain(found.clone())))
            .try_fold(false, |any, one| Ok(any || one?)),
        "contain-elements" => contain_elements(list(name, inner)?, &elements(actual)?),
        "consist-of" => consist_of(list(name, inner)?, actual),
        "have-patterns" => have_patterns(list(name, inner)?, &text(actual).unwrap_or_default()),
        "have-key" => match (actual, inner.as_str()) {
            (Actual::Plain(Value::Object(fields)), Some(key)) => Ok(fields.contains_key(key)),
            _ => Err("`have-key` is for maps".into()),
        },
        "not" => holds(inner, actual).map(|holds| !holds),
        "and" => list(name, inner)?.iter().try_fold(true, |all, one| Ok(all && holds(one, actual)?)),
        "or" => list(name, inner)?.iter().try_fold(false, |any, one| Ok(any || holds(one, actual)?)),
        "gt" | "ge" | "lt" | "le" => match (number(actual), inner.as_f64()) {
            (Some(found), Some(wanted)) => Ok(match name {
                "gt" => found > wanted,
                "ge" => found >= wanted,
                "lt" => found < wanted,
                _ => found <= wanted,
            }),
            _ => Err(format!("`{name}` is for numbers")),
        },
        other => Err(format!("no matcher is called `{other}`")),
    }
}

fn list<'v>(name: &str, inner: &'v Value) -> Result<&'v Vec<Value>, String> {
    inner.as_array().ok_or_else(|| format!("`{name}` takes a list"))
}

fn text(actual: &Actual) -> Option<String> {
    match actual {
        Actual::Text(text) => Some(text.clone()),
        Actual::Plain(Value::String(text)) => Some(text.clone()),
        Actual::Plain(Value::Number(number)) => Some(number.to_string()),
        Actual::Plain(_) => None,
    }
}

fn number(actual: &Actual) -> Option<f64> {
    match actual {
        Actual::Plain(value) => value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()),
        Actual::Text(text) => text.trim().parse().ok(),
    }
}

fn length(actual: &Actual) -> Option<u64> {
    let length = match actual {
        Actual::Text(text) | Actual::Plain(Value::String(text)) => text.len(),
        Actual::Plain(Value::Array(items)) => items.len(),
        Actual::Plain(Value::Object(fields)) => fields.len(),
        Actual::Plain(_) => return None,
    };
    u64::try_from(length).ok()
}

/// The items of a list, or the lines of a text.
fn elements(actual: &Actual) -> Result<Vec<Value>, String> {
    match actual {
        Actual::Plain(Value::Array(items)) => Ok(items.clone()),
        Actual::Text(text) => Ok(text.lines().map(Value::from).collect()),
        Actual::Plain(_) => Err("it has no elements".into()),
    }
}

fn contain_elements(wanted: &[Value], found: &[Value]) -> Result<bool, String> {
    wanted.iter().try_fold(true, |all, one| {
        let any = found
            .iter()
            .map(|item| holds(one, &Actual::Plain(item.clone())))
            .try_fold(false, |any, one| Ok::<_, String>(any || one?));
        Ok(all && any?)
    })
}

fn consist_of(wanted: &[Value], actual: &Actual) -> Result<bool, String> {
    let Actual::Plain(Value::Array(found)) = actual else { return Err("`consist-of` is for lists".into()) };
    let mut left = found.clone();
    for one in wanted {
        let at = left.iter().position(|item| holds(one, &Actual::Plain(item.clone())).unwrap_or(false));
        match at {
            Some(at) => drop(left.remove(at)),
            None => return Ok(false),
        }
    }
    Ok(left.is_empty())
}

/// `text`, `!text`, `/regex/`, `!/regex/`, each about the lines; `\` before the first sign takes its meaning away.
fn have_patterns(patterns: &[Value], text: &str) -> Result<bool, String> {
    let mut all = true;
    for pattern in patterns {
        let Some(pattern) = pattern.as_str() else { return Err("patterns are texts".into()) };
        let (negated, rest) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let inner = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let mut found = false;
        for line in text.lines() {
            found = found
                || match inner {
                    Some(pattern) => regex(pattern, line)?,
                    None => line.contains(rest.strip_prefix('\\').unwrap_or(rest)),
                };
        }
        // An empty text is in everything, also in what has no lines.
        found = found || (rest.is_empty() && inner.is_none());
        all = all && found != negated;
    }
    Ok(all)
}

fn regex(pattern: &str, text: &str) -> Result<bool, String> {
    finding::matches_plainly(pattern, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ok(wanted: &Value, actual: &Actual) -> bool {
        check(wanted).unwrap();
        matches(wanted, actual).is_ok()
    }

    #[test]
    fn matchers_of_texts() {
        let text = Actual::Text("alpha\nbeta 15\n".into());
        assert!(ok(&json!(["alpha", "/^be.a/", "!gamma", "!/^15/"]), &text));
        assert!(
            !ok(&json!(["gamma"]), &text) && !ok(&json!(["!alpha"]), &text) && !ok(&json!(["/^a$/"]), &text)
        );
        assert!(ok(&json!("alpha\nbeta 15\n"), &text) && !ok(&json!("alpha"), &text));
        assert!(ok(&json!({"and": [{"have-prefix": "al"}, {"not": {"contain-substring": "x"}}]}), &text));
        assert!(ok(&json!({"or": [{"have-suffix": "x"}, {"match-regexp": "b.ta"}]}), &text));
        assert!(ok(&json!({"contain-element": "alpha"}), &text) && ok(&json!({"have-len": 14}), &text));
        assert!(ok(&json!({"lt": 20}), &Actual::Text("15\n".into())));
        assert!(!ok(&json!({"consist-of": ["alpha"]}), &text));
    }

    #[test]
    fn matchers_of_values() {
        let list = Actual::Plain(json!(["a", "b"]));
        assert!(ok(&json!(["a"]), &list) && !ok(&json!(["c"]), &list));
        assert!(ok(&json!({"consist-of": ["b", {"have-prefix": "a"}]}), &list));
        assert!(!ok(&json!({"consist-of": ["b"]}), &list));
        let size = Actual::Plain(json!(7));
        assert!(ok(&json!(7), &size) && ok(&json!("7"), &size) && ok(&json!({"ge": 7}), &size));
        assert!(!ok(&json!({"equal": "7"}), &size) && !ok(&json!({"gt": 7}), &size));
        assert!(ok(&json!({"have-key": "x"}), &Actual::Plain(json!({"x": 1}))));
    }

    #[test]
    fn faults_are_told() {
        let (expected, found) = matches(&json!({"gt": 3}), &Actual::Plain(json!("x"))).unwrap_err();
        assert_eq!((expected.as_str(), found.as_str()), (r#"{"gt":3}"#, r#""x" (`gt` is for numbers)"#));
        assert!(check(&json!({"a": 1, "b": 2})).is_err() && check(&json!({"and": [{"near": 1}]})).is_err());
    }
}
