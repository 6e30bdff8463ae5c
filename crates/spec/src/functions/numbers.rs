//! Functions on numbers.

use std::cmp::Ordering;

use super::{Call, Failure, Function, Outcome, function};
use crate::eval::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("min", (1, None), "min(1, 2)", "The least of its arguments.", |c| extreme(c, Ordering::Less)),
    function("max", (1, None), "max(1, 2)", "The greatest of its arguments.", |c| {
        extreme(c, Ordering::Greater)
    }),
    function("tonumber", (1, Some(1)), "tonumber(\"8080\")", "The number that a text stands for.", to_number),
];

fn extreme(call: &Call<'_>, wanted: Ordering) -> Outcome {
    let mut best = call.number(0)?;
    for index in 1..call.args.len() {
        let number = call.number(index)?;
        if number.order(best) == wanted {
            best = number;
        }
    }
    Ok(Value::Number(best))
}

fn to_number(call: &Call<'_>) -> Outcome {
    if let Some(number) = call.args[0].as_number() {
        return Ok(Value::Number(number));
    }
    let text = call.text(0)?;
    let number = Number::parse(text.trim());
    number.map(Value::Number).ok_or_else(|| Failure::at(0, format!("{text:?} is not a number")))
}
