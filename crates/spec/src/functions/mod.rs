//! The functions of the language, in one table that the evaluator, the schema and the reference share.

mod base;
mod collections;
mod encoding;
mod environment;
mod numbers;
mod text;

use std::collections::BTreeMap;

use crate::eval::Value;
use crate::files::Files;

pub(crate) use self::base::DEBIAN_OPTIONS;

/// One function.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
    /// Fewest and most arguments.
    pub(crate) least: usize,
    pub(crate) most: Option<usize>,
    pub(crate) reads_env: bool,
    pub(crate) reads_files: bool,
    pub(crate) body: fn(&Call<'_>) -> Outcome,
}

/// What a function may use beside its arguments.
pub(crate) struct Host<'h> {
    pub(crate) files: &'h Files,
    pub(crate) env: &'h dyn Fn(&str) -> Option<String>,
}

/// One call.
pub(crate) struct Call<'c> {
    pub(crate) args: &'c [Value],
    pub(crate) host: &'c Host<'c>,
}

/// Why a function has no result.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// The argument at fault, from 0, and the key in it.
    pub(crate) argument: Option<usize>,
    pub(crate) key: Option<String>,
    pub(crate) help: Option<String>,
    /// What else is wrong with the call.
    pub(crate) others: Vec<Failure>,
}

pub(crate) type Outcome = Result<Value, Failure>;

/// Longest text and list a function makes.
const MOST_TEXT: usize = 8 << 20;
const MOST_ITEMS: usize = 100_000;

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    fn at(argument: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(argument), ..Self::new(message) }
    }

    fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

const fn function(
    name: &'static str,
    (least, most): (usize, Option<usize>),
    signature: &'static str,
    doc: &'static str,
    body: fn(&Call<'_>) -> Outcome,
) -> Function {
    Function { name, signature, doc, least, most, reads_env: false, reads_files: false, body }
}

/// Every function, by group.
pub(crate) fn all() -> impl Iterator<Item = &'static Function> + Clone {
    [
        text::FUNCTIONS,
        collections::FUNCTIONS,
        numbers::FUNCTIONS,
        encoding::FUNCTIONS,
        environment::FUNCTIONS,
        base::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

impl<'c> Call<'c> {
    fn wrong(&self, index: usize, wanted: &str) -> Failure {
        let kind = self.args.get(index).map_or("nothing", Value::described);
        Failure::at(index, format!("argument {} must be {wanted}, not {kind}", index + 1))
    }

    fn text(&self, index: usize) -> Result<&'c str, Failure> {
        self.args.get(index).and_then(Value::as_text).ok_or_else(|| self.wrong(index, "a string"))
    }

    fn list(&self, index: usize) -> Result<&'c [Value], Failure> {
        self.args.get(index).and_then(Value::as_list).ok_or_else(|| self.wrong(index, "a list"))
    }

    fn object(&self, index: usize) -> Result<&'c BTreeMap<String, Value>, Failure> {
        self.args.get(index).and_then(Value::as_object).ok_or_else(|| self.wrong(index, "an object"))
    }

    fn number(&self, index: usize) -> Result<crate::eval::Number, Failure> {
        self.args.get(index).and_then(Value::as_number).ok_or_else(|| self.wrong(index, "a number"))
    }

    fn whole(&self, index: usize) -> Result<i64, Failure> {
        self.args.get(index).and_then(Value::as_whole).ok_or_else(|| self.wrong(index, "a whole number"))
    }

    /// The texts of a list argument; numbers and booleans are written out.
    fn texts(&self, index: usize) -> Result<Vec<std::sync::Arc<str>>, Failure> {
        let text = |(at, item): (usize, &Value)| {
            let message =
                || format!("item {at} of argument {} must be a string, not {}", index + 1, item.described());
            item.to_template().ok_or_else(|| Failure::at(index, message()))
        };
        self.list(index)?.iter().enumerate().map(text).collect()
    }
}

/// Appends to a text that must stay within bounds.
fn grow(out: &mut String, piece: &str) -> Result<(), Failure> {
    if out.len() + piece.len() > MOST_TEXT {
        return Err(Failure::new(format!("the text would be longer than {} MiB", MOST_TEXT >> 20)));
    }
    out.push_str(piece);
    Ok(())
}

fn few(count: usize) -> Result<(), Failure> {
    if count > MOST_ITEMS {
        return Err(Failure::new(format!("the list would have more than {MOST_ITEMS} items")));
    }
    Ok(())
}
