//! URLs with values in them: what a value stands for cannot become another part of the address than
//! where it stands.

use std::cell::OnceCell;
use std::rc::Rc;

use handlebars::template::TemplateElement;
use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderErrorReason, Template,
};

use super::{Compiled, TextError, registry};

/// The template of a URL, whose first value is the address and stays as it is.
pub(super) fn template(
    source: &str,
    parse: impl FnOnce() -> Result<Template, TextError>,
) -> Result<Rc<Template>, TextError> {
    thread_local! {
        static TEMPLATES: Compiled<Template> = Compiled::new();
    }
    TEMPLATES.with(|templates| {
        templates.get(source, || {
            let mut template = parse()?;
            keep_the_first(&mut template);
            Ok(template)
        })
    })
}

pub(super) fn with_registry<T>(work: impl FnOnce(&Handlebars<'static>) -> T) -> T {
    thread_local! {
        static REGISTRY: OnceCell<Handlebars<'static>> = const { OnceCell::new() };
    }
    REGISTRY.with(|cell| work(cell.get_or_init(|| registry(percent_encoded))))
}

/// Also where the beginning depends on a condition.
fn keep_the_first(template: &mut Template) {
    for element in &mut template.elements {
        match element {
            TemplateElement::Comment(_) => {}
            TemplateElement::RawString(text) if text.trim().is_empty() => {}
            TemplateElement::Expression(helper) => {
                *element = TemplateElement::HtmlExpression(helper.clone());
                return;
            }
            TemplateElement::HelperBlock(helper) => {
                if matches!(helper.name.as_name(), Some("if" | "unless")) {
                    helper.template.iter_mut().chain(&mut helper.inverse).for_each(keep_the_first);
                }
                return;
            }
            _ => return,
        }
    }
}

/// A text as one segment of a path, or one value of a query: all but letters, digits, `-`, `_`, `.`
/// and `~` is encoded.
pub fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The helper of that name. What it writes is not encoded once more.
pub(super) fn urlencode(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let value = helper.param(0).filter(|value| !value.is_value_missing());
    let value = value.ok_or(RenderErrorReason::ParamNotFoundForIndex("urlencode", 0))?;
    out.write(&percent_encoded(
        &value.value().as_str().map_or_else(|| value.value().to_string(), str::to_owned),
    ))?;
    Ok(())
}

/// The URL that came of a template. In the name of the server a value may have brought a port or an
/// address of IPv6.
///
/// # Errors
/// If its path goes upward: dots cannot be encoded, and the server would ask for another path than
/// the one that is written.
pub(super) fn checked(url: String) -> Result<String, TextError> {
    let server = url.find("://").map_or(0, |at| at + 3);
    let path = server + url[server..].find(['/', '?', '#']).unwrap_or(url.len() - server);
    let end = path + url[path..].find(['?', '#']).unwrap_or(url.len() - path);
    let is_dots = |segment: &str| {
        matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    };
    if url[path..end].split('/').any(is_dots) {
        let help = "a value must be one whole part of a path; write the path without `.` and `..`";
        return Err(TextError(format!(
            "the URL {url} has `.` or `..` as a part of its path, and nothing was sent: {help}"
        )));
    }
    let host = url[server..path].replace("%3A", ":").replace("%5B", "[").replace("%5D", "]");
    Ok(format!("{}{host}{}", &url[..server], &url[path..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::runbook::Text;

    #[test]
    fn a_value_stays_where_it_stands() {
        let values = json!({
            "base": "https://api.test:8443/v1?tenant=a b",
            "id": "1/../../admin?force=true#",
            "host": "[::1]:8080",
            "evil": "a@b/c",
            "path": "/a/b",
            "up": "..",
            "list": ["a&b", "c"],
            "yes": true,
        });
        let url = |source: &str| Text::compile(source).unwrap().render_url(&values);
        for (source, expected) in [
            (
                "{{ base }}&id={{ id }}",
                "https://api.test:8443/v1?tenant=a b&id=1%2F..%2F..%2Fadmin%3Fforce%3Dtrue%23",
            ),
            ("http://x/{{ id }}/y", "http://x/1%2F..%2F..%2Fadmin%3Fforce%3Dtrue%23/y"),
            ("http://{{ host }}/x", "http://[::1]:8080/x"),
            ("http://{{ host }}", "http://[::1]:8080"),
            ("http://{{ evil }}/x", "http://a%40b%2Fc/x"),
            ("http://x{{{ path }}}", "http://x/a/b"),
            ("http://x/{{ urlencode path }}/{{{ urlencode path }}}", "http://x/%2Fa%2Fb/%2Fa%2Fb"),
            ("http://x/?q={{ join list \",\" }}", "http://x/?q=a%26b%2Cc"),
            (
                "{{#if yes}}{{ base }}{{else}}http://y/{{ id }}{{/if}}",
                "https://api.test:8443/v1?tenant=a b",
            ),
            ("http://x/plain?a=/../b", "http://x/plain?a=/../b"),
        ] {
            assert_eq!(url(source).as_deref(), Ok(expected), "{source}");
        }
        for source in
            ["http://x/{{ up }}/y", "http://x/{{ up }}", "http://x/%2e{{ urlencode \".\" }}/y"]
        {
            assert!(url(source).unwrap_err().0.contains("nothing was sent"), "{source}");
        }
        let elsewhere = Text::compile("?to={{ urlencode id }} {{ id }}").unwrap().render(&values);
        assert_eq!(
            elsewhere.as_deref(),
            Ok("?to=1%2F..%2F..%2Fadmin%3Fforce%3Dtrue%23 1/../../admin?force=true#")
        );
    }

    #[test]
    fn a_query_is_encoded() {
        let encoded = super::percent_encoded("sum(rate(x{a=\"\u{e9}\"}[5s]))");
        assert_eq!(encoded, "sum%28rate%28x%7Ba%3D%22%C3%A9%22%7D%5B5s%5D%29%29");
    }
}
