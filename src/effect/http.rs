//! HTTP requests over HTTP/1.1, with TLS. A status is a result, not an error; what kept the request from being sent is told apart
//! from what came after.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::{EffectError, Job, Reading, Stopper, Used, When, resolve};
use crate::runbook::action::{Body, Http, Tls};

/// The largest body that is read.
const MAX_BODY: u64 = 8 << 20;

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
            Err(RecvTimeoutError::Disconnected) => return Err(EffectError::during(format!("{}: the request was lost", http.url))),
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
    let uri: ureq::http::Uri = http.url.parse().map_err(|error| EffectError::before(format!("{} is no URL: {error}", http.url)))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let unreachable = |why: String| EffectError::during(format!("{host}:{port} cannot be reached: {why}"));
    let places = (host, port).to_socket_addrs().map_err(|error| unreachable(error.to_string()))?;
    let mut problem = "it has no address".to_owned();
    // Through a proxy nobody need be reached from here.
    let is_proxied = ["http_proxy", "https_proxy", "all_proxy"]
        .iter()
        .any(|name| [(*name).to_owned(), name.to_uppercase()].iter().any(|name| std::env::var_os(name).is_some()));
    for place in places {
        match if is_proxied { Ok(None) } else { TcpStream::connect_timeout(&place, REACH).map(Some) } {
            Ok(_) => {
                let body = match &http.body {
                    None => String::new(),
                    Some(Body::Text(text)) => format!("\n{text}"),
                    Some(Body::Json(argument)) => format!("\n{}", argument.clone().into_json()),
                };
                let summary = format!("{} {}{body}", http.method.word(), http.url);
                return job.vault.mask_result(Ok(Reading { summary, is_good: true, ..Reading::default() }), &used);
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

fn answer(job: &Job, http: &Http<String>, used: &mut Used) -> Result<Reading, EffectError> {
    // Following a redirect after a change would hide that the change was made.
    let reads = matches!(http.method.word(), "GET" | "HEAD" | "OPTIONS");
    // Nor is a secret to follow to another server.
    let follows = reads && http.headers.values().all(|value| value.secret().is_none());
    let mut config = ureq::Agent::config_builder()
        .timeout_global(job.timeout)
        .max_redirects(if follows { 5 } else { 0 })
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("switchover/", env!("CARGO_PKG_VERSION")));
    if let Some(tls) = &http.tls {
        config = config.tls_config(tls_config(tls)?);
    }
    let agent: ureq::Agent = config.build().into();
    let mut request = ureq::http::Request::builder().method(http.method.word()).uri(&http.url);
    let mut has_key = false;
    for (name, value) in &http.headers {
        has_key |= name.eq_ignore_ascii_case("idempotency-key");
        request = request.header(name, resolve(job, value, used)?);
    }
    if !has_key {
        request = request.header("Idempotency-Key", &job.key);
    }
    let body = match &http.body {
        None => Vec::new(),
        Some(Body::Text(text)) => text.clone().into_bytes(),
        Some(Body::Json(argument)) => {
            if !http.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
                request = request.header("Content-Type", "application/json");
            }
            argument.clone().into_json().to_string().into_bytes()
        }
    };
    let request = request.body(body).map_err(|error| EffectError::before(format!("the request to {} is malformed: {error}", http.url)))?;
    let mut response = agent.run(request).map_err(|error| failed(&http.url, &error))?;
    let status = response.status();
    let headers: Map<String, Json> =
        response.headers().iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_BODY)
        .read_to_vec()
        .map_err(|error| EffectError::during(format!("{} answered {status}, but its body could not be read: {error}", http.url)))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut names = Map::new();
    names.insert("status".into(), status.as_u16().into());
    names.insert("headers".into(), Json::Object(headers));
    names.insert("json".into(), serde_json::from_str(&body).unwrap_or(Json::Null));
    names.insert("body".into(), body.into());
    Ok(Reading { names, summary: status.to_string(), is_good: status.is_success(), ..Reading::default() })
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
        ureq::Error::Io(error) => !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::AddrNotAvailable),
        _ => true,
    }
}

fn tls_config(tls: &Tls<String>) -> Result<TlsConfig, EffectError> {
    let read = |path: &str| std::fs::read(path).map_err(|error| EffectError::before(format!("the file {path} could not be read: {error}")));
    let bad =
        |path: &str, error: &dyn std::fmt::Display| EffectError::before(format!("{path} does not hold what it should, in PEM: {error}"));
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
        config = config.client_cert(Some(ClientCert::new_with_certs(&certificates(cert)?, private)));
    }
    Ok(config.build())
}
