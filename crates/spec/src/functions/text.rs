//! Functions on texts.

use super::{Call, Failure, Function, Outcome, few, function, grow};
use crate::eval::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("format", (1, None), "format(\"%s-%03d\", text, number)", FORMAT_DOC, format_text),
    function(
        "join",
        (2, Some(2)),
        "join(\", \", list)",
        "One text of the items of a list, with a separator between them.",
        join,
    ),
    function(
        "split",
        (2, Some(2)),
        "split(\",\", text)",
        "The parts of a text between separators, as a list.",
        split,
    ),
    function("lower", (1, Some(1)), "lower(text)", "The text in lower case.", |c| map(c, str::to_lowercase)),
    function("upper", (1, Some(1)), "upper(text)", "The text in upper case.", |c| map(c, str::to_uppercase)),
    function("trimspace", (1, Some(1)), "trimspace(text)", "The text without space around it.", |c| {
        map(c, |text| text.trim().to_owned())
    }),
    function(
        "replace",
        (3, Some(3)),
        "replace(text, \"old\", \"new\")",
        "The text with every occurrence of one part replaced.",
        replace,
    ),
    function(
        "startswith",
        (2, Some(2)),
        "startswith(text, \"prefix\")",
        "Whether a text begins with another.",
        |c| Ok(Value::Bool(c.text(0)?.starts_with(c.text(1)?))),
    ),
    function(
        "endswith",
        (2, Some(2)),
        "endswith(text, \"suffix\")",
        "Whether a text ends with another.",
        |c| Ok(Value::Bool(c.text(0)?.ends_with(c.text(1)?))),
    ),
    function("tostring", (1, Some(1)), "tostring(value)", "A number or boolean as text.", to_string),
];

const FORMAT_DOC: &str = "A text with `%s` (text), `%d` (whole number), `%f` (fraction, `%.2f`), `%v` (any), \
    `%q` (quoted) and `%%` filled in; a width as in `%5d`, `%-5s` or `%05d`.";

/// Widest field of `format`.
const WIDEST: usize = 1000;

fn map(call: &Call<'_>, change: impl Fn(&str) -> String) -> Outcome {
    Ok(Value::text(change(call.text(0)?)))
}

fn join(call: &Call<'_>) -> Outcome {
    let separator = call.text(0)?;
    let mut out = String::new();
    for (index, item) in call.texts(1)?.iter().enumerate() {
        if index > 0 {
            grow(&mut out, separator)?;
        }
        grow(&mut out, item)?;
    }
    Ok(Value::text(out))
}

fn split(call: &Call<'_>) -> Outcome {
    let (separator, text) = (call.text(0)?, call.text(1)?);
    if separator.is_empty() {
        few(text.len())?;
        return Ok(Value::list(text.chars().map(|c| Value::text(c.to_string())).collect()));
    }
    few(text.matches(separator).count() + 1)?;
    Ok(Value::list(text.split(separator).map(Value::text).collect()))
}

fn replace(call: &Call<'_>) -> Outcome {
    let (text, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    if old.is_empty() {
        return Err(Failure::at(1, "the text to replace is empty"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(old) {
        grow(&mut out, &rest[..at])?;
        grow(&mut out, new)?;
        rest = &rest[at + old.len()..];
    }
    grow(&mut out, rest)?;
    Ok(Value::text(out))
}

fn to_string(call: &Call<'_>) -> Outcome {
    let text = call.args[0].to_template();
    text.map(Value::Text).ok_or_else(|| call.wrong(0, "a string, number or boolean"))
}

/// One `%…` of a format: flags, width, precision and verb.
#[derive(Default)]
struct Verb {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

fn format_text(call: &Call<'_>) -> Outcome {
    let mut rest = call.text(0)?;
    let mut out = String::new();
    let mut next = 1;
    while let Some(at) = rest.find('%') {
        grow(&mut out, &rest[..at])?;
        let (verb, length) = parse_verb(&rest[at + 1..])?;
        rest = &rest[at + 1 + length..];
        if verb.letter == '%' {
            grow(&mut out, "%")?;
            continue;
        }
        let missing = || Failure::at(0, format!("`%{}` has no argument to show", verb.letter));
        let value = call.args.get(next).ok_or_else(missing)?;
        grow(&mut out, &padded(&verb, shown(call, &verb, next, value)?))?;
        next += 1;
    }
    grow(&mut out, rest)?;
    if next < call.args.len() {
        return Err(Failure::at(next, "the format has no place for this argument"));
    }
    Ok(Value::text(out))
}

fn parse_verb(text: &str) -> Result<(Verb, usize), Failure> {
    let mut verb = Verb::default();
    let mut in_precision = false;
    for (at, c) in text.char_indices() {
        match c {
            '-' if verb.width == 0 && !in_precision => verb.left = true,
            '0' if verb.width == 0 && !in_precision => verb.zero = true,
            '0'..='9' => {
                let digit = c as usize - '0' as usize;
                let number = if in_precision { verb.precision.get_or_insert(0) } else { &mut verb.width };
                *number = *number * 10 + digit;
                if *number > WIDEST {
                    return Err(Failure::at(0, format!("a width in a format is at most {WIDEST}")));
                }
            }
            '.' if !in_precision => {
                in_precision = true;
                verb.precision = Some(0);
            }
            's' | 'd' | 'f' | 'v' | 'q' | '%' => {
                verb.letter = c;
                return Ok((verb, at + 1));
            }
            other => {
                return Err(Failure::at(0, format!("the format has an unknown verb `%{other}`"))
                    .help("verbs are %s, %d, %f, %v, %q and %%"));
            }
        }
    }
    Err(Failure::at(0, "the format ends inside of a `%…`").help("for a percent sign write %%"))
}

fn shown(call: &Call<'_>, verb: &Verb, index: usize, value: &Value) -> Result<String, Failure> {
    let json = || value.to_json().map(|json| json.to_string());
    Ok(match verb.letter {
        'd' => call.whole(index)?.to_string(),
        'f' => format!("{:.*}", verb.precision.unwrap_or(6).min(100), call.number(index)?.as_f64()),
        'q' => json().ok_or_else(|| call.wrong(index, "data"))?,
        'v' => match value.to_template() {
            Some(text) => text.to_string(),
            None => json().ok_or_else(|| call.wrong(index, "data"))?,
        },
        _ => {
            let text = value.to_template().ok_or_else(|| call.wrong(index, "a string"))?;
            match verb.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.to_string(),
            }
        }
    })
}

fn padded(verb: &Verb, text: String) -> String {
    let missing = verb.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    let numeric = matches!(verb.letter, 'd' | 'f');
    match (verb.left, verb.zero && numeric) {
        (true, _) => text + &" ".repeat(missing),
        (false, false) => " ".repeat(missing) + &text,
        (false, true) => match text.strip_prefix('-') {
            Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
            None => "0".repeat(missing) + &text,
        },
    }
}
