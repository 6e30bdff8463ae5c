//! Arithmetic, comparison and logic.

use std::cmp::Ordering;

use hcl_edit::expr::{BinaryOp, BinaryOperator, Expression, UnaryOp, UnaryOperator};

use super::{Number, Scope, Value};
use crate::report::{Problem, Told};
use crate::source::Place;

impl Scope<'_> {
    pub(super) fn unary(&self, op: &UnaryOp) -> Told<Value> {
        match op.operator.value() {
            UnaryOperator::Not => Ok(Value::Bool(!self.condition(&op.expr, "what follows `!`")?)),
            UnaryOperator::Neg => {
                let number = self.number(&op.expr, "-")?;
                let negated = Number::Whole(0).combine(number, i64::checked_sub, |_, b| -b);
                self.finite(self.place_of(&op.expr), negated)
            }
        }
    }

    pub(super) fn binary(&self, place: Place, op: &BinaryOp) -> Told<Value> {
        let (left, right) = (&op.lhs_expr, &op.rhs_expr);
        let operator = *op.operator.value();
        match operator {
            BinaryOperator::And => Ok(Value::Bool(
                self.condition(left, "the left side of `&&`")?
                    && self.condition(right, "the right side of `&&`")?,
            )),
            BinaryOperator::Or => Ok(Value::Bool(
                self.condition(left, "the left side of `||`")?
                    || self.condition(right, "the right side of `||`")?,
            )),
            BinaryOperator::Eq | BinaryOperator::NotEq => {
                let (left, right) = (self.eval(left), self.eval(right));
                let (left, right) = (left?, right?);
                self.within(place, self.world.budget.charge(left.size().weight.min(right.size().weight)))?;
                Ok(Value::Bool((left == right) == (operator == BinaryOperator::Eq)))
            }
            BinaryOperator::Less
            | BinaryOperator::LessEq
            | BinaryOperator::Greater
            | BinaryOperator::GreaterEq => {
                let (a, b) = self.numbers(left, right, operator)?;
                Ok(Value::Bool(compares(operator, a.order(b))))
            }
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Mul
            | BinaryOperator::Div
            | BinaryOperator::Mod => {
                let (a, b) = self.numbers(left, right, operator)?;
                let divides = matches!(operator, BinaryOperator::Div | BinaryOperator::Mod);
                if divides && b.as_f64() == 0.0 {
                    return self
                        .fail(Problem::error(self.place_of(right), "division by zero").label("this is 0"));
                }
                self.finite(place, arithmetic(operator, a, b))
            }
        }
    }

    fn numbers(&self, left: &Expression, right: &Expression, op: BinaryOperator) -> Told<(Number, Number)> {
        let (left, right) = (self.number(left, op.as_str()), self.number(right, op.as_str()));
        Ok((left?, right?))
    }

    fn number(&self, expr: &Expression, operator: &str) -> Told<Number> {
        let value = self.eval(expr)?;
        if let Some(number) = value.as_number() {
            return Ok(number);
        }
        let help = match (&value, operator) {
            (Value::Text(_), "+") => "to join texts, write \"${a}${b}\"",
            (Value::List(_), "+") => "to join lists, write concat(a, b)",
            (Value::Text(_), _) => "to read a number from a text, write tonumber(…)",
            _ => "use a number here",
        };
        self.fail(
            Problem::error(
                self.place_of(expr),
                format!("`{operator}` needs numbers, not {}", value.described()),
            )
            .label(format!("this is {}", value.described()))
            .help(help),
        )
    }

    fn finite(&self, place: Place, number: Option<Number>) -> Told<Value> {
        number.map_or_else(
            || self.fail(Problem::error(place, "the result of this calculation is too large")),
            |number| Ok(Value::Number(number)),
        )
    }
}

fn compares(operator: BinaryOperator, order: Ordering) -> bool {
    match operator {
        BinaryOperator::Less => order.is_lt(),
        BinaryOperator::LessEq => order.is_le(),
        BinaryOperator::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn arithmetic(operator: BinaryOperator, a: Number, b: Number) -> Option<Number> {
    match operator {
        BinaryOperator::Plus => a.combine(b, i64::checked_add, |a, b| a + b),
        BinaryOperator::Minus => a.combine(b, i64::checked_sub, |a, b| a - b),
        BinaryOperator::Mul => a.combine(b, i64::checked_mul, |a, b| a * b),
        BinaryOperator::Div => {
            let exact = |a: i64, b: i64| (a.checked_rem(b)? == 0).then(|| a / b);
            a.combine(b, exact, |a, b| a / b)
        }
        _ => a.combine(b, i64::checked_rem, |a, b| a % b),
    }
}
