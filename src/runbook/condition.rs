//! CEL conditions: `when`, `expect`, `until`, `capture`. Bounded before they are compiled, so that
//! no source can exhaust the stack or the clock. Knows nothing of where values come from.

use std::rc::Rc;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr};
use cel::extractors::This;
use cel::{Context, IdedExpr, Program};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::compiled::Compiled;
use super::names::{Reference, Shape, Unknown};

/// The longest source, in bytes: a sum of 2,000 terms overflows the parser's stack.
pub const MAX_SOURCE: usize = 1024;
/// The most operators, brackets and names: each costs the recursive parser some stack.
const MAX_NESTING: usize = 32;

/// The functions that a condition may call.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "trim",
    "string",
    "bytes",
    "int",
    "uint",
    "double",
    "duration",
    "timestamp",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
];

/// A CEL expression. Its syntax was checked when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(String);

/// An expression that is malformed, or that has no value with what is at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConditionError(pub String);

impl Condition {
    /// Checks syntax and bounds of `source`.
    pub fn compile(source: &str) -> Result<Condition, ConditionError> {
        let program = program(source)?;
        if let Some(unknown) = unknown_function(program.expression()) {
            let near = super::problem::nearest(&unknown, FUNCTIONS.iter().copied());
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(ConditionError(format!("there is no function `{unknown}`{hint}")));
        }
        if let Some(depth) = comprehension_depth(program.expression())
            && depth > 1
        {
            return Err(ConditionError(
                "a macro such as all, exists, map or filter inside another one is not allowed: its \
                 cost has no bound".into(),
            ));
        }
        Ok(Condition(source.to_owned()))
    }

    pub fn source(&self) -> &str {
        &self.0
    }

    /// The value with `values`, an object whose keys are the names in scope.
    pub fn evaluate(&self, values: &Json) -> Result<Json, ConditionError> {
        let program = program(&self.0)?;
        let mut context = Context::default();
        // Programs end what they print with a line break.
        let _ =
            context.add_function("trim", |This(text): This<Arc<String>>| text.trim().to_owned());
        // Only what it refers to: there may be much more, and each value is copied.
        for name in self.references().iter().filter_map(|reference| reference.first()) {
            if let Some(value) = values.get(name) {
                context.add_variable_from_value(name.as_str(), to_cel(value));
            }
        }
        let value = program
            .execute(&context)
            .map_err(|error| ConditionError(format!("`{}`: {error}", self.0)))?;
        value.json().map_err(|error| ConditionError(format!("`{}`: {error}", self.0)))
    }

    /// The value as yes or no.
    ///
    /// # Errors
    /// Also if the value is not a boolean: nothing is guessed.
    pub fn holds(&self, values: &Json) -> Result<bool, ConditionError> {
        match self.evaluate(values)? {
            Json::Bool(holds) => Ok(holds),
            other => {
                Err(ConditionError(format!("`{}` must be true or false, but is {other}", self.0)))
            }
        }
    }

    /// Holds every name in the expression against `scope`.
    pub fn check(&self, scope: &Shape) -> Vec<Unknown> {
        self.references().iter().filter_map(|reference| scope.resolve(reference).err()).collect()
    }

    /// Every reference the expression makes, macro variables left out.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        if let Ok(program) = program(&self.0) {
            references(program.expression(), &mut Vec::new(), &mut found);
        }
        found
    }
}

fn program(source: &str) -> Result<Rc<Program>, ConditionError> {
    thread_local! {
        static PROGRAMS: Compiled<Program> = Compiled::new();
    }
    PROGRAMS.with(|programs| programs.get(source, || parse(source)))
}

fn parse(source: &str) -> Result<Program, ConditionError> {
    if source.len() > MAX_SOURCE {
        return Err(ConditionError(format!(
            "a condition may have {MAX_SOURCE} bytes; this one has {}",
            source.len()
        )));
    }
    if source.trim().is_empty() {
        return Err(ConditionError("the condition is empty".into()));
    }
    let (mut depth, mut deepest) = (0usize, 0usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' | b'!' | b'-' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_NESTING {
        return Err(ConditionError(format!("a condition may be nested {MAX_NESTING} deep")));
    }
    Program::compile(source).map_err(|errors| {
        let first = errors.errors.first().map_or_else(
            || "it does not parse".to_owned(),
            |error| {
                format!(
                    "at column {}: {}",
                    error.pos.1.max(1),
                    error.msg.lines().next().unwrap_or_default()
                )
            },
        );
        ConditionError(format!("bad condition, {first}"))
    })
}

/// JSON to CEL by hand: the library's serializer would make every small integer unsigned, and `1u
/// == 1` a type error.
fn to_cel(value: &Json) -> cel::Value {
    match value {
        Json::Null => cel::Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::String(value) => value.as_str().into(),
        Json::Array(items) => items.iter().map(to_cel).collect::<Vec<_>>().into(),
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), to_cel(value)))
            .collect::<std::collections::HashMap<_, _>>()
            .into(),
    }
}

/// A function that is called and is not there. Operators and what macros are made of have names
/// that no author can write.
fn unknown_function(expression: &IdedExpr) -> Option<String> {
    if let Expr::Call(call) = &expression.expr
        && call.func_name.chars().all(|c| c.is_ascii_alphanumeric())
        && !FUNCTIONS.contains(&call.func_name.as_str())
    {
        return Some(call.func_name.clone());
    }
    children(expression).into_iter().find_map(unknown_function)
}

fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(record) => {
            record.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect()
        }
        Expr::Select(select) => vec![&select.operand],
        Expr::Comprehension(inner) => vec![
            &inner.iter_range,
            &inner.accu_init,
            &inner.loop_cond,
            &inner.loop_step,
            &inner.result,
        ],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn comprehension_depth(expression: &IdedExpr) -> Option<usize> {
    let below = children(expression).into_iter().filter_map(comprehension_depth).max().unwrap_or(0);
    Some(below + usize::from(matches!(expression.expr, Expr::Comprehension(_))))
}

fn references(expression: &IdedExpr, bound: &mut Vec<String>, found: &mut Vec<Reference>) {
    if let Some(path) = path_of(expression) {
        // The parser's own accumulator variables begin with `@` or `__`.
        if !bound.contains(&path[0]) && !path[0].starts_with(['@', '_']) {
            found.push(path);
        }
        return;
    }
    match &expression.expr {
        Expr::Comprehension(inner) => {
            references(&inner.iter_range, bound, found);
            let before = bound.len();
            bound.push(inner.iter_var.clone());
            bound.extend(inner.iter_var2.clone());
            bound.push(inner.accu_var.clone());
            for part in [&inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result] {
                references(part, bound, found);
            }
            bound.truncate(before);
        }
        _ => {
            for child in children(expression) {
                references(child, bound, found);
            }
        }
    }
}

/// `a.b["c"]` as its names, as far as they are written out.
fn path_of(expression: &IdedExpr) -> Option<Reference> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        // `has(a.b)` asks whether b is there: only a must be known.
        Expr::Select(select) if select.test => path_of(&select.operand),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == "_[_]" => match call.args.as_slice() {
            [operand, index] => {
                let mut path = path_of(operand)?;
                let Expr::Literal(literal) = &index.expr else { return None };
                path.push(match literal {
                    cel::common::ast::LiteralValue::String(name) => name.inner().to_owned(),
                    cel::common::ast::LiteralValue::Int(index) => index.inner().to_string(),
                    _ => return None,
                });
                Some(path)
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_keep_their_types() {
        let values = json!({"rows": [["on", 3]], "n": 2, "x": 1.5, "m": {"a-b": "c"}});
        for source in [
            "rows[0][0] == \"on\"",
            "rows[0][1] == 3",
            "n + 1 == 3",
            "x > 1.0",
            "m[\"a-b\"] == 'c'",
            "rows.all(r, r[1] > 2)",
            "!has(m.zz)",
        ] {
            assert!(Condition::compile(source).unwrap().holds(&values).unwrap(), "{source}");
        }
        assert!(Condition::compile("\"prod\" > 3").unwrap().holds(&values).is_err());
        assert!(
            Condition::compile("n")
                .unwrap()
                .holds(&values)
                .unwrap_err()
                .0
                .contains("must be true or false")
        );
    }

    #[test]
    fn functions_are_known_beforehand() {
        let unknown = |source: &str| Condition::compile(source).unwrap_err().0;
        assert_eq!(
            unknown("stdout.trimm() == \"0\""),
            "there is no function `trimm`; did you mean `trim`?"
        );
        assert!(unknown("[1].exists(x, foo(x))").contains("no function `foo`"));
        assert_eq!(
            Condition::compile("text.trim()").unwrap().evaluate(&json!({"text": " 7\n"})),
            Ok(json!("7"))
        );
        for name in FUNCTIONS {
            let called = [format!("{name}()"), format!("\"x\".{name}()"), format!("{name}(1)")]
                .map(|source| Condition(source).evaluate(&json!({})));
            let is_there = called.iter().any(|result| {
                result.as_ref().err().is_none_or(|error| !error.0.contains("Undeclared reference"))
            });
            assert!(is_there, "{name}: {called:?}");
        }
    }

    #[test]
    fn references_leave_macro_variables_out() {
        let names = |source: &str| Condition::compile(source).unwrap().references();
        assert_eq!(
            names("rows.exists(r, r[0] == want)"),
            [vec!["rows".to_owned()], vec!["want".into()]]
        );
        assert_eq!(
            names("steps[\"back-up\"].size > 1"),
            [vec!["steps".to_owned(), "back-up".into(), "size".into()]]
        );
        assert_eq!(names("has(a.b) && size(c) > 0"), [vec!["a".to_owned()], vec!["c".into()]]);
    }

    #[test]
    fn hostile_sources_are_refused_quickly() {
        assert!(Condition::compile(&vec!["1"; 2000].join("+")).is_err());
        assert!(Condition::compile(&"(".repeat(600)).is_err());
        assert!(Condition::compile(&"!".repeat(600)).is_err());
        assert!(Condition::compile("[1].map(a, [1].map(b, b))").is_err());
        assert!(Condition::compile(&["1"; 500].join("+")).is_ok());
        assert!(Condition::compile("1 +").unwrap_err().0.starts_with("bad condition"));
    }
}
