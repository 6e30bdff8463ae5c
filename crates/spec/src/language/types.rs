//! Types of variables.

use crate::eval::Value;

/// What a variable may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Text,
    Number,
    Bool,
    List(Simple),
    Map(Simple),
}

/// What a list or map of a variable may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simple {
    Any,
    Text,
    Number,
    Bool,
}

impl Type {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "string" => Self::Text,
            "number" => Self::Number,
            "bool" => Self::Bool,
            _ => return None,
        })
    }

    /// `list(…)`, `set(…)` or `map(…)` of a simple type.
    pub(crate) fn of(name: &str, inner: Self) -> Option<Self> {
        let inner = match inner {
            Self::Any => Simple::Any,
            Self::Text => Simple::Text,
            Self::Number => Simple::Number,
            Self::Bool => Simple::Bool,
            Self::List(_) | Self::Map(_) => return None,
        };
        match name {
            "list" => Some(Self::List(inner)),
            "map" => Some(Self::Map(inner)),
            _ => None,
        }
    }

    pub(crate) fn admits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text => matches!(value, Value::Text(_)),
            Self::Number => matches!(value, Value::Number(_)),
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::List(inner) => {
                value.as_list().is_some_and(|items| items.iter().all(|item| inner.admits(item)))
            }
            Self::Map(inner) => {
                value.as_object().is_some_and(|fields| fields.values().all(|item| inner.admits(item)))
            }
        }
    }

    pub(crate) fn described(self) -> String {
        match self {
            Self::Any => "anything".into(),
            Self::Text => "a string".into(),
            Self::Number => "a number".into(),
            Self::Bool => "true or false".into(),
            Self::List(inner) => format!("a list of {}", inner.plural()),
            Self::Map(inner) => format!("a map of {}", inner.plural()),
        }
    }

    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Any | Self::Text => "\"text\"",
            Self::Number => "3",
            Self::Bool => "true",
            Self::List(Simple::Number) => "[1, 2]",
            Self::List(Simple::Bool) => "[true, false]",
            Self::List(_) => "[\"a\", \"b\"]",
            Self::Map(Simple::Number) => "{ a = 1 }",
            Self::Map(Simple::Bool) => "{ a = true }",
            Self::Map(_) => "{ a = \"b\" }",
        }
    }
}

impl Simple {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text => matches!(value, Value::Text(_)),
            Self::Number => matches!(value, Value::Number(_)),
            Self::Bool => matches!(value, Value::Bool(_)),
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "strings",
            Self::Number => "numbers",
            Self::Bool => "booleans",
        }
    }
}
