//! How a connection to a database server is protected: the certificates to trust and to show.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use mysql_async::{ClientIdentity, SslOpts};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Login;
use crate::effect::{EffectError, bare};
use crate::runbook::action::Tls;
use crate::runbook::database::Encryption;

/// The certificates of a connection that is to be encrypted, if it is.
///
/// # Errors
/// If nothing was said, and the server is on another machine.
pub fn wanted<'a>(login: &'a Login) -> Result<Option<&'a Tls<String>>, EffectError> {
    let host = &login.server.host;
    let is_here = host == "localhost"
        || host.starts_with('/')
        || bare(host).parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match &login.server.encryption {
        Encryption::Tls(tls) => Ok(Some(tls)),
        Encryption::None => Ok(None),
        Encryption::Local if is_here => Ok(None),
        Encryption::Local => Err(EffectError::before(format!(
            "{host} is another machine, and nothing is said of encryption: give the database \
             `tls: {{}}` (with `ca`, if its certificate is your own), or `tls: none`"
        ))),
    }
}

/// The settings of rustls for PostgreSQL.
pub fn config(tls: &Tls<String>) -> Result<ClientConfig, EffectError> {
    let failed = |path: &str, error: &dyn std::fmt::Display| {
        EffectError::before(format!("the certificates in {path}: {error}"))
    };
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| failed(path, &error))?
            {
                let certificate = certificate.map_err(|error| failed(path, &error))?;
                roots.add(certificate).map_err(|error| failed(path, &error))?;
            }
            if roots.is_empty() {
                return Err(failed(path, &"there is none"));
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| EffectError::before(error.to_string()))?
        .with_root_certificates(roots);
    match identity(tls)? {
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let chain = chain.map_err(|error| failed(cert, &error))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(cert, &error))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The same for MySQL.
pub fn options(tls: &Tls<String>) -> Result<SslOpts, EffectError> {
    let file = |path: &String| Path::new(path).to_owned();
    // Who names an authority trusts no other.
    let ca: Vec<_> = tls.ca.iter().map(|path| file(path).into()).collect();
    let options =
        SslOpts::default().with_disable_built_in_roots(!ca.is_empty()).with_root_certs(ca);
    let identity =
        identity(tls)?.map(|(cert, key)| ClientIdentity::new(file(cert).into(), file(key).into()));
    Ok(options.with_client_identity(identity))
}

/// The files of the client's own certificate and its key.
fn identity(tls: &Tls<String>) -> Result<Option<(&String, &String)>, EffectError> {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(EffectError::before(
            "a client's certificate needs its key, and the key its certificate".to_owned(),
        )),
    }
}
