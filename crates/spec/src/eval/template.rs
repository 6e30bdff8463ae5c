//! Templates: text with `${…}` and `%{…}` in it.

use hcl_edit::expr::Expression;
use hcl_edit::template::{
    Directive, Element, ForDirective, HeredocTemplate, IfDirective, StringTemplate, Strip, Template,
};

use super::{Budget, Scope, Value};
use crate::report::{Problem, Told};
use crate::source::Place;

impl Scope<'_> {
    /// A quoted template. One that is nothing but `"${x}"` is `x` itself, whatever its type.
    pub(super) fn string_template(&self, place: Place, template: &StringTemplate) -> Told<Value> {
        let mut elements = template.iter();
        if let (Some(Element::Interpolation(only)), None) = (elements.next(), elements.next()) {
            return self.eval(&only.expr);
        }
        self.text_of(place, template)
    }

    pub(super) fn heredoc(&self, place: Place, heredoc: &HeredocTemplate) -> Told<Value> {
        self.text_of(place, &heredoc.template)
    }

    fn text_of(&self, place: Place, template: &Template) -> Told<Value> {
        let mut out = String::new();
        self.render(place, template, (false, false), &mut out)?;
        self.admit(place, Value::text(out))
    }

    /// Appends a template. `strip` says whether the markers around it take space from its two ends.
    fn render(&self, place: Place, template: &Template, strip: (bool, bool), out: &mut String) -> Told<()> {
        let elements: Vec<&Element> = template.iter().collect();
        let mut result = Ok(());
        for (index, element) in elements.iter().enumerate() {
            let before = match index.checked_sub(1).map(|i| elements[i]) {
                Some(previous) => outer_strip(previous).1,
                None => strip.0,
            };
            let after = elements.get(index + 1).map_or(strip.1, |next| outer_strip(next).0);
            let done = match element {
                Element::Literal(text) => {
                    out.push_str(stripped(text.value(), before, after));
                    Ok(())
                }
                Element::Interpolation(interpolation) => self.interpolate(&interpolation.expr, out),
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => self.if_directive(place, directive, out),
                    Directive::For(directive) => self.for_directive(place, directive, out),
                },
            };
            result = result.and(done);
            self.within(place, Budget::fits(out.len()))?;
        }
        result
    }

    fn interpolate(&self, expr: &Expression, out: &mut String) -> Told<()> {
        let value = self.eval(expr)?;
        if let Some(text) = value.to_template() {
            self.within(self.place_of(expr), self.world.budget.charge(text.len() as u64))?;
            out.push_str(&text);
            return Ok(());
        }
        let help = match value {
            Value::List(_) => "join its items into one text, such as join(\", \", list)",
            Value::Object(_) => "take one of its fields, or write jsonencode(…)",
            Value::Null => "give it a value, such as with coalesce(…, \"default\")",
            _ => "only texts, numbers, booleans and names can stand in a text",
        };
        self.fail(
            Problem::error(
                self.place_of(expr),
                format!("{} cannot stand inside of a text", value.described()),
            )
            .label(format!("this is {}", value.described()))
            .help(help),
        )
    }

    fn if_directive(&self, place: Place, directive: &IfDirective, out: &mut String) -> Told<()> {
        let IfDirective { if_expr, else_expr, endif_expr, .. } = directive;
        let chosen = self.condition(&if_expr.cond_expr, "the condition of `%{if}`")?;
        if chosen {
            let end = else_expr.as_ref().map_or(endif_expr.strip, |e| e.strip);
            let strip = (if_expr.strip.strip_end(), end.strip_start());
            return self.render(place, &if_expr.template, strip, out);
        }
        let Some(else_expr) = else_expr else { return Ok(()) };
        let strip = (else_expr.strip.strip_end(), endif_expr.strip.strip_start());
        self.render(place, &else_expr.template, strip, out)
    }

    fn for_directive(&self, place: Place, directive: &ForDirective, out: &mut String) -> Told<()> {
        let ForDirective { for_expr, endfor_expr, .. } = directive;
        let strip = (for_expr.strip.strip_end(), endfor_expr.strip.strip_start());
        let names =
            (for_expr.key_var.as_ref().map(|k| k.value().as_str()), for_expr.value_var.value().as_str());
        self.each(&for_expr.collection_expr, names, |scope| {
            scope.within(place, scope.world.budget.step())?;
            scope.render(place, &for_expr.template, strip, out)
        })
    }
}

/// Whether the markers of an element take space from the text before and behind it.
fn outer_strip(element: &Element) -> (bool, bool) {
    let ends = |first: Strip, last: Strip| (first.strip_start(), last.strip_end());
    match element {
        Element::Literal(_) => (false, false),
        Element::Interpolation(interpolation) => ends(interpolation.strip, interpolation.strip),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(d) => ends(d.if_expr.strip, d.endif_expr.strip),
            Directive::For(d) => ends(d.for_expr.strip, d.endfor_expr.strip),
        },
    }
}

/// A `~` takes the space next to it, up to and with the first line break.
fn stripped(text: &str, head: bool, tail: bool) -> &str {
    let mut text = text;
    if head {
        let blank = text.len() - text.trim_start().len();
        let cut = text[..blank].find('\n').map_or(blank, |at| at + 1);
        text = &text[cut..];
    }
    if tail {
        let solid = text.trim_end().len();
        let cut = text[solid..].rfind('\n').map_or(solid, |at| {
            let line_break = solid + at;
            if text[..line_break].ends_with('\r') { line_break - 1 } else { line_break }
        });
        text = &text[..cut];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::stripped;

    #[test]
    fn a_marker_takes_space_up_to_one_line_break() {
        assert_eq!(stripped("  \n  a", true, false), "  a");
        assert_eq!(stripped("  a", true, false), "a");
        assert_eq!(stripped("a  \n  ", false, true), "a  ");
        assert_eq!(stripped("a \t", false, true), "a");
        assert_eq!(stripped(" \n ", true, true), "");
    }
}
