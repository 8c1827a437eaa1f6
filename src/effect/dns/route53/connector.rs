//! The way of the SDK's requests: the same blocking client as all other HTTP here, with the same
//! TLS. Knows nothing of what they ask.

use std::time::Duration;

use aws_sdk_route53::config::http::{HttpRequest, HttpResponse};
use aws_sdk_route53::config::{HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::effect::http::was_sent;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const MAX_BODY: u64 = 8 << 20;

#[derive(Debug, Clone)]
pub struct Connector(ureq::Agent);

/// Why a request never reached its server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(ureq::Error);

impl Connector {
    pub fn new() -> Connector {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false);
        Connector(config.build().into())
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut asked = ureq::http::Request::builder().method(request.method()).uri(request.uri());
        for (name, value) in request.headers() {
            asked = asked.header(name, value);
        }
        let body = request.body().bytes().map(<[u8]>::to_vec).unwrap_or_default();
        let asked = asked.body(body).map_err(|error| ConnectorError::user(Box::new(error)))?;
        let mut answer = self.0.run(asked).map_err(|error| match was_sent(&error) {
            true => ConnectorError::io(Box::new(error)),
            false => ConnectorError::io(Box::new(NotSent(error))),
        })?;
        let read = answer.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        let read = read.map_err(|error| ConnectorError::io(Box::new(error)))?;
        let status = answer
            .status()
            .as_u16()
            .try_into()
            .map_err(|error| ConnectorError::other(Box::new(error), None))?;
        let mut response = HttpResponse::new(status, read.into());
        for (name, value) in answer.headers() {
            if let Ok(value) = value.to_str() {
                response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }
}

impl HttpConnector for Connector {
    /// Whoever asks waits for nothing else.
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(self.answer(&request))
    }
}

impl HttpClient for Connector {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
