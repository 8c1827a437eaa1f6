//! Handlebars text: titles, arguments, messages. Strict: every name is known before the run, and a
//! name that is missing at the moment of rendering is an error, never an empty string. Knows
//! nothing of where values come from.

mod url;

use std::cell::OnceCell;
use std::rc::Rc;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, RenderContext, Renderable, Template, handlebars_helper, no_escape,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::compiled::Compiled;
use super::names::{Reference, Shape, Unknown};
use super::span::Span;

pub use self::url::percent_encoded;

/// The longest template, in bytes.
pub const MAX_TEMPLATE: usize = 64 << 10;
/// The deepest nesting of blocks or sub-expressions in a template: the parser is recursive.
const MAX_NESTING: usize = 16;

/// Text that may hold `{{ … }}`. Its syntax was checked when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

/// A template that is malformed, or cannot be rendered with the values at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(pub String);

impl Text {
    /// Checks the syntax of `source`.
    pub fn compile(source: &str) -> Result<Text, TextError> {
        let text = Text(source.to_owned());
        if text.is_dynamic() {
            text.template()?;
        }
        Ok(text)
    }

    pub fn source(&self) -> &str {
        &self.0
    }

    /// Whether rendering could give anything but the source.
    pub fn is_dynamic(&self) -> bool {
        self.0.contains("{{")
    }

    /// The reference, if the whole text is one `{{ a.b }}` and nothing else: such a text stands for
    /// the value itself, with its type, wherever a value and not a text is wanted.
    pub fn single_reference(&self) -> Option<Reference> {
        let template = self.template().ok()?;
        match template.elements.as_slice() {
            [TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper)]
                if helper.params.is_empty() && helper.hash.is_empty() =>
            {
                helper.name.as_name().map(split)
            }
            _ => None,
        }
    }

    /// Renders with `values`, an object whose keys are the names in scope.
    pub fn render(&self, values: &Json) -> Result<String, TextError> {
        if !self.is_dynamic() {
            return Ok(self.0.clone());
        }
        let template = self.template()?;
        with_registry(|registry| render(&template, registry, values))
    }

    /// Renders a URL: a value is one segment of its path or one value of its query, whatever is in
    /// it. A value that the whole begins with is the address, and stays as it is, as do those in
    /// `{{{ }}}`.
    pub fn render_url(&self, values: &Json) -> Result<String, TextError> {
        if !self.is_dynamic() {
            return Ok(self.0.clone());
        }
        let template = url::template(&self.0, || self.parse())?;
        url::checked(url::with_registry(|registry| render(&template, registry, values))?)
    }

    /// Holds every name in the text against `scope`, also inside `{{#if}}`, where the renderer
    /// itself is lenient.
    pub fn check(&self, scope: &Shape) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        if self.is_dynamic()
            && let Ok(template) = self.template()
        {
            walk(&template, &mut vec![scope.clone()], &mut unknown, &mut |_| {});
        }
        unknown
    }

    /// Every reference from the root that the text makes.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        if self.is_dynamic()
            && let Ok(template) = self.template()
        {
            walk(&template, &mut vec![Shape::Any], &mut Vec::new(), &mut |reference| {
                found.push(reference)
            });
        }
        found
    }

    fn template(&self) -> Result<Rc<Template>, TextError> {
        thread_local! {
            static TEMPLATES: Compiled<Template> = Compiled::new();
        }
        TEMPLATES.with(|templates| templates.get(&self.0, || self.parse()))
    }

    fn parse(&self) -> Result<Template, TextError> {
        if self.0.len() > MAX_TEMPLATE {
            return Err(TextError(format!(
                "a template may have {MAX_TEMPLATE} bytes; this one has {}",
                self.0.len()
            )));
        }
        if nesting(&self.0) > MAX_NESTING {
            return Err(TextError(format!("a template may be nested {MAX_NESTING} deep")));
        }
        Template::compile(&self.0).map_err(|error| {
            let place = error.pos().map_or_else(String::new, |(line, column)| {
                format!(" at line {line}, column {column} of the template")
            });
            TextError(format!("bad template{place}: {}", error.reason()))
        })
    }
}

fn render(
    template: &Template,
    registry: &Handlebars<'static>,
    values: &Json,
) -> Result<String, TextError> {
    let rendered = Context::wraps(values)
        .and_then(|context| template.renders(registry, &context, &mut RenderContext::new(None)));
    rendered.map_err(|error| match error.reason() {
        handlebars::RenderErrorReason::MissingVariable(Some(name)) => {
            TextError(format!("`{name}` has no value at this point"))
        }
        _ => TextError(error.to_string()),
    })
}

impl From<&str> for Text {
    /// For text that is known to be well formed; rendering reports it if it is not.
    fn from(source: &str) -> Text {
        Text(source.to_owned())
    }
}

const HELPERS: &[&str] = &[
    "if",
    "unless",
    "each",
    "with",
    "lookup",
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "and",
    "or",
    "not",
    "len",
    "duration",
    "percent",
    "join",
    "urlencode",
];

fn with_registry<T>(work: impl FnOnce(&Handlebars<'static>) -> T) -> T {
    thread_local! {
        static REGISTRY: OnceCell<Handlebars<'static>> = const { OnceCell::new() };
    }
    REGISTRY.with(|cell| work(cell.get_or_init(|| registry(no_escape))))
}

/// A part of a whole in percent; nothing of nothing is 0 %.
fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.0} %", 100.0 * part / whole) } else { "0 %".to_owned() }
}

/// The items of a list as one text; what is no list has none.
fn joined(list: &Json, separator: &str) -> String {
    let word = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    let words = list.as_array().into_iter().flatten().map(word);
    words.collect::<Vec<_>>().join(separator)
}

/// The helpers, with what is done to every value outside of `{{{ }}}`.
fn registry(escape: fn(&str) -> String) -> Handlebars<'static> {
    handlebars_helper!(duration: |milliseconds: u64| Span::from_millis(milliseconds).to_string());
    handlebars_helper!(percent: |part: f64, whole: f64| share(part, whole));
    handlebars_helper!(join: |list: Json, separator: str| joined(list, separator));
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(escape);
    registry.register_helper("duration", Box::new(duration));
    registry.register_helper("percent", Box::new(percent));
    registry.register_helper("join", Box::new(join));
    registry.register_helper("urlencode", Box::new(url::urlencode));
    registry
}

/// How deep blocks and sub-expressions nest, counted on the bytes: an upper bound is enough.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut parens) = (0usize, 0usize, 0usize);
    for (at, byte) in source.bytes().enumerate() {
        match byte {
            b'(' => parens += 1,
            b')' => parens = parens.saturating_sub(1),
            b'{' if source[at..].starts_with("{{#") => depth += 1,
            b'{' if source[at..].starts_with("{{/") => depth = depth.saturating_sub(1),
            b'}' => parens = 0,
            _ => {}
        }
        deepest = deepest.max(depth + parens);
    }
    deepest
}

fn split(path: &str) -> Reference {
    path.split(['.', '/'])
        .filter(|name| !name.is_empty())
        .map(|name| name.trim_matches(['[', ']']).to_owned())
        .collect()
}

/// Walks a template with a stack of what `this` is, innermost last.
fn walk(
    template: &Template,
    stack: &mut Vec<Shape>,
    unknown: &mut Vec<Unknown>,
    seen: &mut impl FnMut(Reference),
) {
    for element in &template.elements {
        match element {
            TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => {
                expression(helper, stack, unknown, seen)
            }
            TemplateElement::HelperBlock(helper) => block(helper, stack, unknown, seen),
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            _ => unknown.push(Unknown {
                message: "partials and decorators are not used here".into(),
                help: None,
            }),
        }
    }
}

fn expression(
    helper: &HelperTemplate,
    stack: &mut Vec<Shape>,
    unknown: &mut Vec<Unknown>,
    seen: &mut impl FnMut(Reference),
) {
    if helper.params.is_empty() && helper.hash.is_empty() {
        parameter(&helper.name, stack, unknown, seen);
    } else {
        call(helper, stack, unknown, seen);
    }
}

fn call(
    helper: &HelperTemplate,
    stack: &mut Vec<Shape>,
    unknown: &mut Vec<Unknown>,
    seen: &mut impl FnMut(Reference),
) {
    let name = helper.name.as_name().unwrap_or_default();
    if !HELPERS.contains(&name) {
        unknown.push(Unknown {
            message: format!("there is no helper `{name}`"),
            help: super::problem::suggest(name, HELPERS.iter().copied()),
        });
    }
    for value in helper.params.iter().chain(helper.hash.values()) {
        parameter(value, stack, unknown, seen);
    }
}

fn block(
    helper: &HelperTemplate,
    stack: &mut Vec<Shape>,
    unknown: &mut Vec<Unknown>,
    seen: &mut impl FnMut(Reference),
) {
    call(helper, stack, unknown, seen);
    let name = helper.name.as_name().unwrap_or_default();
    let inner = match (name, helper.params.first().and_then(|of| shape_of(of, stack))) {
        ("each", Some(Shape::List(item))) => Some(*item),
        ("with", Some(shape)) => Some(shape),
        ("each" | "with", _) => Some(Shape::Any),
        _ => None,
    };
    if let Some(body) = &helper.template {
        match inner {
            Some(shape) => {
                // Block parameters (`as |item|`) are new names that this walk does not follow:
                // nothing is refused below them.
                stack.push(if helper.block_param.is_some() { Shape::Any } else { shape });
                walk(body, stack, unknown, seen);
                stack.pop();
            }
            None => walk(body, stack, unknown, seen),
        }
    }
    if let Some(body) = &helper.inverse {
        walk(body, stack, unknown, seen);
    }
}

fn parameter(
    value: &Parameter,
    stack: &mut Vec<Shape>,
    unknown: &mut Vec<Unknown>,
    seen: &mut impl FnMut(Reference),
) {
    match value {
        Parameter::Subexpression(sub) => {
            if let TemplateElement::Expression(helper) = sub.as_element() {
                call(helper, stack, unknown, seen);
            }
        }
        Parameter::Name(_) | Parameter::Path(_) => {
            let (level, reference) = locate(value.as_name().unwrap_or_default(), stack.len());
            if reference.first().is_some_and(|name| name.starts_with('@')) {
                return; // @key, @index, @first, @last, @root are the renderer's own.
            }
            if level == 0 {
                seen(reference.clone());
            }
            if let Some(shape) = stack.get(level)
                && let Err(error) = shape.resolve(&reference)
            {
                unknown.push(error);
            }
        }
        _ => {}
    }
}

/// Which level of the stack a path starts from, and the names below it.
fn locate(path: &str, levels: usize) -> (usize, Reference) {
    let mut level = levels - 1;
    let mut names: Vec<String> = split(path);
    while names.first().is_some_and(|name| name.is_empty()) {
        names.remove(0);
    }
    let ups = path.matches("../").count();
    level = level.saturating_sub(ups);
    if path.starts_with("@root") {
        return (0, names.into_iter().skip(1).collect());
    }
    if names.first().is_some_and(|name| name == "this" || name == ".") {
        names.remove(0);
    }
    (level, names)
}

fn shape_of(value: &Parameter, stack: &[Shape]) -> Option<Shape> {
    let (level, reference) = locate(value.as_name()?, stack.len());
    stack.get(level)?.resolve(&reference).ok().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Shape {
        Shape::object([
            ("domain", Shape::Leaf),
            ("steps", Shape::object([("back-up", Shape::Any)])),
            ("phases", Shape::List(Box::new(Shape::object([("title", Shape::Leaf)])))),
        ])
    }

    fn messages(source: &str) -> Vec<String> {
        Text::compile(source)
            .unwrap()
            .check(&scope())
            .into_iter()
            .map(|unknown| unknown.message)
            .collect()
    }

    #[test]
    fn names_are_checked_where_the_renderer_is_lenient() {
        assert_eq!(messages("{{#if doman}}x{{/if}}"), ["the name `doman` is not defined here"]);
        assert_eq!(
            messages("{{#each phases}}{{titel}} {{../domain}}{{@index}}{{/each}}"),
            ["the name `titel` is not defined here"]
        );
        assert_eq!(
            messages(
                "{{#if (eq domain \"x\")}}{{steps.back-up.anything.below}}{{else}}{{nope}}{{/if}}"
            ),
            ["the name `nope` is not defined here"]
        );
        assert_eq!(
            messages("{{domain.x}} {{shout domain}}"),
            ["`domain` is a plain value and has no `x`", "there is no helper `shout`"]
        );
    }

    #[test]
    fn a_missing_value_is_an_error_and_text_is_not_escaped() {
        let text = Text::compile("{{a}} & <{{b.c}}>").unwrap();
        assert_eq!(text.render(&json!({"a": "'", "b": {"c": 1}})).unwrap(), "' & <1>");
        assert!(text.render(&json!({"a": 1, "b": {}})).is_err());
    }

    #[test]
    fn a_single_reference_is_told_from_text() {
        assert_eq!(Text::from("{{ a.b }}").single_reference(), Some(vec!["a".into(), "b".into()]));
        assert_eq!(Text::from("{{ a.b }} x").single_reference(), None);
        assert_eq!(Text::from("plain").single_reference(), None);
    }

    #[test]
    fn deep_nesting_is_refused_before_the_recursive_parser_sees_it() {
        assert!(Text::compile(&"{{#if a}}".repeat(10_000)).is_err());
        assert!(Text::compile(&format!("{{{{ {} }}}}", "(not ".repeat(5_000))).is_err());
    }
}
