//! The reference of the language as Markdown.

use std::fmt::Write as _;

use crate::functions::{self, DEBIAN_OPTIONS};
use crate::language::{Attribute, Block, Count, Label, ROOT};

/// Everything that can stand in a spec, as Markdown.
pub fn reference_markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    section(&mut out, &ROOT, "", 2);
    out.push_str("## Options of `debian`\n\n`debian(\"bookworm\", { … })` takes:\n\n");
    attributes(&mut out, DEBIAN_OPTIONS);
    out.push_str(EXPRESSIONS);
    out.push_str("## Functions\n\n| function | gives |\n|---|---|\n");
    for function in functions::all() {
        line(&mut out, &format!("| `{}` | {} |", cell(function.signature), cell(function.doc)));
    }
    out
}

const INTRODUCTION: &str = "\
# The language of kiln.hcl

Made from the table that Kiln itself reads specs with.

";

const EXPRESSIONS: &str = "\
## Expressions

| written | is |
|---|---|
| `\"text\"`, `1.5`, `true`, `null`, `[1, 2]`, `{ a = 1 }` | a value |
| `\"${x} and %{ if y }z%{ endif }\"`, `<<EOT … EOT`, `<<-EOT … EOT` | text with values in it |
| `var.name`, `local.name` | a variable, a local |
| `image.name`, `service.name` | a block of the spec |
| `+ - * / %`, `== != < <= > >=`, `&& \\|\\| !`, `a ? b : c` | calculation, comparison, logic, choice |
| `a.b`, `a[0]`, `a[\"b\"]`, `a[*].b` | a part, or a part of every item |
| `[for x in list : f(x) if y]`, `{ for k, v in map : k => v }` | a list or object made of another |
| `f(a, b)`, `f(list...)` | a function's result |

";

fn section(out: &mut String, block: &Block, outer: &str, level: usize) {
    let address = match (outer, block.name) {
        ("", "kiln.hcl") => "The file".to_owned(),
        ("", name) => format!("`{name}`"),
        (outer, name) => format!("`{outer}.{name}`"),
    };
    line(out, &format!("{} {address}\n", "#".repeat(level.min(5))));
    line(out, &format!("{}\n", block.doc));
    if block.without_effect {
        line(out, "Read and checked, but without effect yet.\n");
    }
    if level > 2 {
        line(out, &format!("`{}{} {{ … }}`, {}.\n", block.name, block.label.example(), count(block)));
    }
    if !block.only.is_empty() {
        line(out, &format!("Only with {}.\n", quoted(block.only)));
    }
    if let Label::Choice(choices) = block.label {
        let list: Vec<_> = choices.iter().map(|choice| format!("`\"{choice}\"`")).collect();
        line(out, &format!("The label is one of {}.\n", list.join(", ")));
    }
    if !block.attributes.is_empty() {
        attributes(out, block.attributes);
    }
    let inner = if level == 2 { String::new() } else { [outer, block.name].join(".") };
    for child in block.blocks {
        section(out, child, inner.trim_start_matches('.'), level + 1);
    }
}

fn count(block: &Block) -> &'static str {
    match (block.count, block.label) {
        (Count::Once, _) => "at most once",
        (Count::Unique, _) => "any number, each label once",
        (Count::Any, _) => "any number",
    }
}

fn attributes(out: &mut String, attributes: &[Attribute]) {
    out.push_str("| attribute | is | |\n|---|---|---|\n");
    for attribute in attributes {
        let mut doc = attribute.doc.to_owned();
        if attribute.required {
            doc.push_str(" **Required.**");
        }
        if !attribute.only.is_empty() {
            let _ = write!(doc, " Only with {}.", quoted(attribute.only));
        }
        if attribute.without_effect {
            doc.push_str(" Without effect yet.");
        }
        let kind = format!("{}: `{}`", attribute.kind.described(), attribute.kind.example());
        line(out, &format!("| `{}` | {} | {} |", attribute.name, cell(&kind), cell(&doc)));
    }
    out.push('\n');
}

fn quoted(labels: &[&str]) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`\"{label}\"`")).collect();
    crate::suggest::listed(&labels)
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
