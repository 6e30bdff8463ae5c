//! Values of expressions. Lists and objects are shared, and know their depth and weight, so that no expression
//! can build a value that is too large to walk.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_model::Base;

use super::number::Number;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    List(Arc<List>),
    Object(Arc<Object>),
    Reference(Reference),
    Base(Arc<Base>),
}

/// A block of the spec that is named by an expression: `image.web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) kind: Referent,
    pub(crate) name: Arc<str>,
}

/// What can be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Referent {
    Image,
    Service,
}

impl Referent {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Service => "service",
        }
    }
}

/// The items of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    size: Size,
}

/// The fields of an object, sorted as HCL sorts them.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) fields: BTreeMap<String, Value>,
    size: Size,
}

/// Bytes (about) and levels of a value, with everything it shares counted as often as it is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    pub(crate) weight: u64,
    pub(crate) depth: u32,
}

const ITEM_WEIGHT: u64 = 32;

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn whole(number: i64) -> Self {
        Self::Number(Number::Whole(number))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        let size = Size::around(items.iter().map(Self::size), 0);
        Self::List(Arc::new(List { items, size }))
    }

    pub(crate) fn object(fields: BTreeMap<String, Self>) -> Self {
        let keys = fields.keys().fold(0_u64, |sum, key| sum.saturating_add(key.len() as u64));
        let size = Size::around(fields.values().map(Self::size), keys);
        Self::Object(Arc::new(Object { fields, size }))
    }

    pub(crate) fn size(&self) -> Size {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => Size { weight: ITEM_WEIGHT, depth: 1 },
            Self::Text(text) => Size { weight: ITEM_WEIGHT + text.len() as u64, depth: 1 },
            Self::Reference(_) | Self::Base(_) => Size { weight: ITEM_WEIGHT * 4, depth: 1 },
            Self::List(list) => list.size,
            Self::Object(object) => object.size,
        }
    }

    /// The kind of value with its article, for messages.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Reference(Reference { kind: Referent::Image, .. }) => "an image",
            Self::Reference(Reference { kind: Referent::Service, .. }) => "a service",
            Self::Base(_) => "a base",
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(&list.items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(object) => Some(&object.fields),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn as_whole(&self) -> Option<i64> {
        match self {
            Self::Number(Number::Whole(number)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text that stands for the value inside of a template; lists, objects and null have none.
    pub(crate) fn to_template(&self) -> Option<Arc<str>> {
        match self {
            Self::Text(text) => Some(Arc::clone(text)),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Bool(value) => Some(value.to_string().into()),
            Self::Reference(reference) => Some(Arc::clone(&reference.name)),
            Self::Null | Self::List(_) | Self::Object(_) | Self::Base(_) => None,
        }
    }

    /// The value as JSON; `None` when something in it is neither data nor a reference.
    pub(crate) fn to_json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => text.as_ref().into(),
            Self::Reference(reference) => reference.name.as_ref().into(),
            Self::List(list) => {
                let items: Option<Vec<_>> = list.items.iter().map(Self::to_json).collect();
                items?.into()
            }
            Self::Object(object) => {
                let field = |(key, value): (&String, &Self)| Some((key.clone(), value.to_json()?));
                let fields: Option<serde_json::Map<_, _>> = object.fields.iter().map(field).collect();
                fields?.into()
            }
            Self::Base(_) => return None,
        })
    }

    /// The value of a JSON document; `None` when it holds a number that is not finite.
    pub(crate) fn from_json(json: &serde_json::Value) -> Option<Self> {
        Some(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(match number.as_i64() {
                Some(whole) => Number::Whole(whole),
                None => Number::from_f64(number.as_f64()?)?,
            }),
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => {
                Self::list(items.iter().map(Self::from_json).collect::<Option<_>>()?)
            }
            serde_json::Value::Object(fields) => {
                let field = |(key, value): (&String, &serde_json::Value)| {
                    Some((key.clone(), Self::from_json(value)?))
                };
                Self::object(fields.iter().map(field).collect::<Option<_>>()?)
            }
        })
    }
}

impl Size {
    fn around(parts: impl Iterator<Item = Self>, own: u64) -> Self {
        let start = Self { weight: ITEM_WEIGHT.saturating_add(own), depth: 0 };
        let all = parts.fold(start, |sum, part| Self {
            weight: sum.weight.saturating_add(part.weight),
            depth: sum.depth.max(part.depth),
        });
        Self { weight: all.weight, depth: all.depth.saturating_add(1) }
    }
}
