//! An HTTP request.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::argument::Argument;
use super::facts::{Behind, Commands, DoneBy, Facts, InDryRun, Lasts, Named, by_reading};
use super::tls::{RawTls, Tls, tls};
use super::value::{RawValue, Value};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::{Converter, text};
use crate::runbook::size::Size;

/// An HTTP request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawHttp {
    /// The method. Default GET.
    #[serde(default)]
    pub method: Method,
    /// The address, http or https.
    #[schemars(extend("format" = "template"))]
    pub url: String,
    /// Request headers.
    #[serde(default)]
    pub headers: IndexMap<String, RawValue>,
    /// The body as text.
    #[schemars(extend("format" = "template"))]
    pub body: Option<String>,
    /// The body as a value, sent as JSON; the texts in it are templates.
    pub json: Option<Json>,
    /// Certificates, for https.
    pub tls: Option<RawTls>,
    /// Which redirects of a request that only reads are followed. Default same-origin.
    pub follow: Option<Follow>,
}

/// Which redirects are followed. None leads from https to http, and none that answers a change is
/// followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    /// Those to the same scheme, host and port.
    #[default]
    SameOrigin,
    /// Those to others too, who are sent nothing of the request: no header, no key, no body, no
    /// certificate.
    Any,
    None,
}

impl Follow {
    pub fn is_default(&self) -> bool {
        *self == Follow::default()
    }
}

/// The request methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Http<T> {
    pub method: Method,
    pub url: T,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Value<T>>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub body: Option<Body<T>>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls<T>>,
    #[serde(default, skip_serializing_if = "Follow::is_default")]
    pub follow: Follow,
    /// How much of what it says is kept for expressions, if the author says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_output: Option<Size>,
}

/// A request body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body<T> {
    Text(T),
    Json(Argument<T>),
}

impl Converter<'_> {
    pub fn http(&mut self, raw: &RawHttp, below: &[&str]) -> Option<Http<Text>> {
        let body = match (&raw.body, &raw.json) {
            (Some(body), None) => Some(Body::Text(text(body))),
            (None, Some(json)) => Some(Body::Json(Argument::from_json(json).ok()?)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.report(
                    below,
                    "http",
                    "body and json stand side by side".into(),
                    Some("keep one of the two".into()),
                );
                return None;
            }
        };
        if !matches!(raw.method, Method::Get | Method::Head)
            && matches!(raw.follow, Some(Follow::SameOrigin | Follow::Any))
        {
            let help =
                "leave `follow` out, and look at `status` and `location` in `expect`".to_owned();
            let message = format!(
                "a redirect that answers a {} is not followed: it would hide that the change was \
                 made",
                raw.method.word()
            );
            self.report(below, "http", message, Some(help));
        }
        Some(Http {
            method: raw.method,
            url: text(&raw.url),
            headers: self.values(&raw.headers, below, "http"),
            body,
            tls: raw.tls.as_ref().map(tls),
            follow: raw.follow.unwrap_or_default(),
            keep_output: None,
        })
    }
}

/// The names of its result.
pub const RESULT: &[Named] = &[
    Named("status", Behind::Value),
    Named("body", Behind::Value),
    Named("location", Behind::Value),
    Named("headers", Behind::Anything),
    Named("json", Behind::Anything),
];

impl<T> Http<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let only_reads = matches!(self.method, Method::Get | Method::Head);
        let (inverse, by_itself) = by_reading(only_reads);
        Facts {
            only_reads,
            can_be_a_reading: only_reads,
            is_idempotent: only_reads,
            done_by: DoneBy::Program,
            inverse,
            takes_back: false,
            results: &[RESULT],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself, may_do_the_same: true },
        }
    }
}

impl<T> Http<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Http<W::Text>, W::Error> {
        let Http { method, url, headers, body, tls, follow, keep_output } = self;
        Ok(Http {
            method: *method,
            url: walk.address(url)?,
            headers: walk.named(headers, |walk, value| value.try_map(walk))?,
            body: match body {
                Some(Body::Text(text)) => Some(Body::Text(walk.text(text)?)),
                Some(Body::Json(argument)) => Some(Body::Json(walk.argument(argument)?)),
                None => None,
            },
            tls: tls.as_ref().map(|tls| tls.try_map(walk)).transpose()?,
            follow: *follow,
            keep_output: *keep_output,
        })
    }
}

impl Http<String> {
    pub fn in_words(&self) -> String {
        format!("{} {}", self.method.word(), self.url)
    }
}
