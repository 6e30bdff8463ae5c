//! Functions on lists and objects.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Failure, Function, Outcome, few, function};
use crate::eval::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("concat", (1, None), "concat(list, list)", "One list of several.", concat),
    function("merge", (1, None), "merge(object, object)", "One object of several; later ones win.", merge),
    function("length", (1, Some(1)), "length(list)", "The number of items, fields or characters.", length),
    function("keys", (1, Some(1)), "keys(object)", "The keys of an object, sorted.", |c| {
        Ok(Value::list(c.object(0)?.keys().map(|key| Value::text(key.as_str())).collect()))
    }),
    function(
        "values",
        (1, Some(1)),
        "values(object)",
        "The values of an object, in the order of their keys.",
        |c| Ok(Value::list(c.object(0)?.values().cloned().collect())),
    ),
    function("contains", (2, Some(2)), "contains(list, value)", "Whether a list has an item.", |c| {
        Ok(Value::Bool(c.list(0)?.contains(&c.args[1])))
    }),
    function(
        "lookup",
        (2, Some(3)),
        "lookup(object, \"key\", default)",
        "The field of an object, or a default.",
        lookup,
    ),
    function(
        "coalesce",
        (1, None),
        "coalesce(value, default)",
        "The first argument that is neither null nor empty text.",
        coalesce,
    ),
    function("flatten", (1, Some(1)), "flatten(lists)", "One list of lists within lists.", flatten),
    function("distinct", (1, Some(1)), "distinct(list)", "The list without repetitions.", distinct),
    function(
        "sort",
        (1, Some(1)),
        "sort(list)",
        "The texts of a list in the order of their characters' codes.",
        sort,
    ),
    function(
        "range",
        (1, Some(3)),
        "range(start, end, step)",
        "A list of numbers from start up to, not with, end.",
        range,
    ),
];

fn concat(call: &Call<'_>) -> Outcome {
    let mut items = Vec::new();
    for index in 0..call.args.len() {
        let list = call.list(index)?;
        few(items.len() + list.len())?;
        items.extend_from_slice(list);
    }
    Ok(Value::list(items))
}

fn merge(call: &Call<'_>) -> Outcome {
    let mut fields = BTreeMap::new();
    for index in 0..call.args.len() {
        let object = call.object(index)?;
        few(fields.len() + object.len())?;
        fields.extend(object.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(Value::object(fields))
}

fn length(call: &Call<'_>) -> Outcome {
    let count = match &call.args[0] {
        Value::List(list) => list.items.len(),
        Value::Object(object) => object.fields.len(),
        Value::Text(text) => text.chars().count(),
        _ => return Err(call.wrong(0, "a list, an object or a string")),
    };
    Ok(Value::whole(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn lookup(call: &Call<'_>) -> Outcome {
    let (object, key) = (call.object(0)?, call.text(1)?);
    match object.get(key).or_else(|| call.args.get(2)) {
        Some(value) => Ok(value.clone()),
        None => {
            let failure = Failure::at(1, format!("the object has no field `{key}`"));
            let names = object.keys().map(String::as_str);
            Err(match crate::suggest::did_you_mean(key, names) {
                Some(help) => failure.help(help),
                None => failure.help("give a default as third argument"),
            })
        }
    }
}

fn coalesce(call: &Call<'_>) -> Outcome {
    let filled = |value: &&Value| !matches!(value, Value::Null) && value.as_text() != Some("");
    let found = call.args.iter().find(filled).cloned();
    found.ok_or_else(|| Failure::new("every argument of `coalesce` is null or empty"))
}

fn flatten(call: &Call<'_>) -> Outcome {
    fn into(items: &[Value], out: &mut Vec<Value>) -> Result<(), Failure> {
        for item in items {
            match item.as_list() {
                Some(inner) => into(inner, out)?,
                None => out.push(item.clone()),
            }
            few(out.len())?;
        }
        Ok(())
    }
    let mut out = Vec::new();
    into(call.list(0)?, &mut out)?;
    Ok(Value::list(out))
}

fn distinct(call: &Call<'_>) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut out: Vec<Value> = Vec::new();
    for item in call.list(0)? {
        let json = item.to_json().ok_or_else(|| call.wrong(0, "a list of data"))?;
        if seen.insert(json.to_string()) {
            out.push(item.clone());
        }
    }
    Ok(Value::list(out))
}

fn sort(call: &Call<'_>) -> Outcome {
    let mut texts = call.texts(0)?;
    texts.sort_unstable();
    Ok(Value::list(texts.into_iter().map(Value::Text).collect()))
}

fn range(call: &Call<'_>) -> Outcome {
    let (start, end, step) = match call.args.len() {
        1 => (0, call.whole(0)?, 1),
        2 => (call.whole(0)?, call.whole(1)?, 1),
        _ => (call.whole(0)?, call.whole(1)?, call.whole(2)?),
    };
    if step == 0 {
        return Err(Failure::at(2, "the step of a range cannot be 0"));
    }
    let mut items = Vec::new();
    let mut at = start;
    while (step > 0 && at < end) || (step < 0 && at > end) {
        items.push(Value::whole(at));
        few(items.len())?;
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(Value::list(items))
}
