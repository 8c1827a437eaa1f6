//! HTTP requests over HTTP/1.1, with TLS. A status is a result, not an error; what kept the request
//! from being sent is told apart from what came after.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::redirect::{self, Redirect, redirect};
use super::{Cut, EffectError, Job, Reading, Stopper, Used, When, resolve};
use crate::runbook::action::{Body, Http, Tls};
use crate::runbook::raw::Method;
use crate::runbook::reading::text_of;
use crate::runbook::size::Size;

type Response = ureq::http::Response<ureq::Body>;

/// How much of a body is kept, from its beginning, unless the author says otherwise.
const KEPT: Size = Size::from_mib(8);

/// How long a server may take to be reached by a look.
const REACH: Duration = Duration::from_secs(5);

/// How long a request that is being stopped may take to notice.
const GRACE: Duration = Duration::from_secs(1);

/// Carries the request out on a thread, so that a server that never answers cannot hold anybody up.
pub fn perform(job: &Job, http: &Http<String>, stopper: &Stopper) -> Result<Reading, EffectError> {
    let (send, receive) = std::sync::mpsc::channel();
    let (job, request) = (job.clone(), http.clone());
    std::thread::spawn(move || drop(send.send(exchange(&job, &request))));
    let mut stopped: Option<Instant> = None;
    loop {
        match receive.recv_timeout(Duration::from_millis(20)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EffectError::during(format!("{}: the request was lost", http.url)));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stopper.is_stopped() && stopped.get_or_insert_with(Instant::now).elapsed() > GRACE {
            return Err(EffectError::during(format!("{} had not answered", http.url)));
        }
    }
}

/// What would be asked for, and whether anybody is there to answer.
pub fn look(job: &Job, http: &Http<String>) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    for value in http.headers.values() {
        resolve(job, value, &mut used)?;
    }
    let uri: ureq::http::Uri = http
        .url
        .parse()
        .map_err(|error| EffectError::before(format!("{} is no URL: {error}", http.url)))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let unreachable =
        |why: String| EffectError::during(format!("{host}:{port} cannot be reached: {why}"));
    let places = (host, port).to_socket_addrs().map_err(|error| unreachable(error.to_string()))?;
    let mut problem = "it has no address".to_owned();
    // Through a proxy nobody need be reached from here.
    let is_proxied = ["http_proxy", "https_proxy", "all_proxy"].iter().any(|name| {
        [(*name).to_owned(), name.to_uppercase()]
            .iter()
            .any(|name| std::env::var_os(name).is_some())
    });
    for place in places {
        match if is_proxied {
            Ok(None)
        } else {
            TcpStream::connect_timeout(&place, REACH).map(Some)
        } {
            Ok(_) => {
                let body = match &http.body {
                    None => String::new(),
                    Some(Body::Text(text)) => format!("\n{text}"),
                    Some(Body::Json(argument)) => format!("\n{}", argument.clone().into_json()),
                };
                let summary = format!("{} {}{body}", http.method.word(), http.url);
                return job.vault.mask_result(
                    Ok(Reading { summary, is_good: true, ..Reading::default() }),
                    &used,
                );
            }
            Err(error) => problem = error.to_string(),
        }
    }
    Err(unreachable(problem))
}

fn exchange(job: &Job, http: &Http<String>) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = answer(job, http, &mut used);
    job.vault.mask_result(result, &used)
}

/// A request as it is sent.
struct Sent {
    method: Method,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    tls: Option<Tls<String>>,
}

/// Follows what is to be followed. Another origin is sent nothing of the request, nor is who comes
/// after it.
fn answer(job: &Job, http: &Http<String>, used: &mut Used) -> Result<Reading, EffectError> {
    let begun = Instant::now();
    let reads = matches!(http.method, Method::Get | Method::Head);
    let (mut at, mut sent) = (http.url.clone(), request(job, http, used)?);
    for number in 0.. {
        let left = job.timeout.map(|limit| limit.saturating_sub(begun.elapsed()));
        let response = send(&at, &sent, left)?;
        let location = response
            .headers()
            .get("location")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let next = location.map(|location| {
            redirect(&at, response.status().as_u16(), &location, reads, http.follow)
        });
        match next {
            Some(next) if next.refused.is_none() && number < redirect::MOST => {
                if !next.is_same_origin {
                    let tls = sent.tls.map(|tls| Tls { cert: None, key: None, ..tls });
                    sent = Sent { headers: Vec::new(), body: Vec::new(), tls, ..sent };
                }
                at = next.to;
            }
            next => return read(&at, http, response, next),
        }
    }
    Err(EffectError::during(format!("{} sends on and on", http.url)))
}

fn request(job: &Job, http: &Http<String>, used: &mut Used) -> Result<Sent, EffectError> {
    let has = |wanted: &str| http.headers.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    let mut headers = Vec::new();
    for (name, value) in &http.headers {
        headers.push((name.clone(), resolve(job, value, used)?));
    }
    if !has("idempotency-key") {
        headers.push(("Idempotency-Key".to_owned(), job.key.clone()));
    }
    let body = match &http.body {
        None => Vec::new(),
        Some(Body::Text(text)) => text.clone().into_bytes(),
        Some(Body::Json(argument)) => {
            if !has("content-type") {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            }
            argument.clone().into_json().to_string().into_bytes()
        }
    };
    Ok(Sent { method: http.method, headers, body, tls: http.tls.clone() })
}

fn send(url: &str, sent: &Sent, timeout: Option<Duration>) -> Result<Response, EffectError> {
    let mut config = ureq::Agent::config_builder()
        .timeout_global(timeout)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("switchover/", env!("CARGO_PKG_VERSION")));
    if let Some(tls) = &sent.tls {
        config = config.tls_config(tls_config(tls)?);
    }
    let agent: ureq::Agent = config.build().into();
    let mut request = ureq::http::Request::builder().method(sent.method.word()).uri(url);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    let request = request.body(sent.body.clone());
    let request = request.map_err(|error| {
        EffectError::before(format!("the request to {url} is malformed: {error}"))
    })?;
    agent.run(request).map_err(|error| failed(url, &error))
}

/// What an answer says.
fn read(
    url: &str,
    http: &Http<String>,
    mut response: Response,
    next: Option<Redirect>,
) -> Result<Reading, EffectError> {
    let status = response.status();
    let (headers, are_texts) = headers_of(response.headers());
    let keep = http.keep_output.unwrap_or(KEPT);
    let had = response.body().content_length();
    let mut body = Vec::new();
    let read = response.body_mut().as_reader().take(keep.as_bytes() + 1).read_to_end(&mut body);
    read.map_err(|error| {
        EffectError::during(format!(
            "{url} answered {status}, but its body could not be read: {error}"
        ))
    })?;
    let is_long = body.len() as u64 > keep.as_bytes();
    body.truncate(keep.as_bytes() as usize);
    let (body, is_text) = text_of(body);
    let (mut names, mut cut) = (Map::new(), BTreeMap::new());
    let why = match (is_long, is_text) {
        (true, _) => Some(Cut::End { had: had.filter(|had| *had > keep.as_bytes()), kept: keep }),
        (false, false) => Some(Cut::NotText),
        (false, true) => None,
    };
    let json =
        if why.is_none() { serde_json::from_str(&body).unwrap_or(Json::Null) } else { Json::Null };
    cut.extend(
        why.into_iter()
            .flat_map(|why| [("body".to_owned(), why.clone()), ("json".to_owned(), why)]),
    );
    cut.extend((!are_texts).then_some(("headers".to_owned(), Cut::NotText)));
    names.insert("status".into(), status.as_u16().into());
    names.insert("headers".into(), Json::Object(headers));
    names.insert("json".into(), json);
    names.insert("body".into(), body.into());
    names
        .insert("location".into(), next.as_ref().map_or(Json::Null, |next| next.to.clone().into()));
    let summary = match next.filter(|_| status.is_redirection()) {
        None => status.to_string(),
        Some(Redirect { to, refused, .. }) => {
            format!(
                "{status} to {to}, which was not followed: {}",
                refused.unwrap_or("there were too many in a row")
            )
        }
    };
    Ok(Reading { names, cut, summary, is_good: status.is_success(), ..Reading::default() })
}

/// The headers by name, and whether all of them are text. One that comes several times has its
/// values in a row, as RFC 9110 says.
fn headers_of(all: &ureq::http::HeaderMap) -> (Map<String, Json>, bool) {
    let (mut headers, mut are_texts) = (Map::new(), true);
    for name in all.keys() {
        let values = all.get_all(name).iter().map(|value| {
            let (text, is_text) = text_of(value.as_bytes().to_vec());
            are_texts &= is_text;
            text
        });
        headers.insert(name.to_string(), values.collect::<Vec<_>>().join(", ").into());
    }
    (headers, are_texts)
}

fn failed(url: &str, error: &ureq::Error) -> EffectError {
    let when = if was_sent(error) { When::During } else { When::Before };
    EffectError { when, message: format!("{url}: {error}") }
}

/// Whether a request may have reached its server before this.
pub fn was_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::BadUri(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_) => false,
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::AddrNotAvailable
        ),
        _ => true,
    }
}

fn tls_config(tls: &Tls<String>) -> Result<TlsConfig, EffectError> {
    let read = |path: &str| {
        std::fs::read(path).map_err(|error| {
            EffectError::before(format!("the file {path} could not be read: {error}"))
        })
    };
    let bad = |path: &str, error: &dyn std::fmt::Display| {
        EffectError::before(format!("{path} does not hold what it should, in PEM: {error}"))
    };
    let certificates = |path: &str| -> Result<Vec<Certificate<'static>>, EffectError> {
        let pem = read(path)?;
        let found: Result<Vec<_>, _> = ureq::tls::parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .collect();
        match found {
            Ok(list) if !list.is_empty() => Ok(list),
            Ok(_) => Err(bad(path, &"no certificate")),
            Err(error) => Err(bad(path, &error)),
        }
    };
    let mut config = TlsConfig::builder();
    if let Some(path) = &tls.ca {
        config = config.root_certs(RootCerts::new_with_certs(&certificates(path)?));
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let private = PrivateKey::from_pem(&read(key)?).map_err(|error| bad(key, &error))?;
        config =
            config.client_cert(Some(ClientCert::new_with_certs(&certificates(cert)?, private)));
    }
    Ok(config.build())
}
