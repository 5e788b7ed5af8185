//! What asks a server. It is made with the first request: who uses stored answers, or asks without TLS, needs no
//! certificates.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};

use super::super::SourceError;
use super::words::innermost;

/// For the way to a server; what answers at all answers by then.
const CONNECT: Duration = Duration::from_secs(20);

/// Clients of reqwest, each made once.
pub(super) struct Wire {
    connect: Duration,
    full: OnceLock<Result<Client, String>>,
    without_tls: OnceLock<Result<Client, String>>,
}

impl Wire {
    /// `request` is what a whole request may take.
    pub(super) fn new(request: Duration) -> Self {
        Self {
            connect: CONNECT.min(request),
            full: OnceLock::new(),
            without_tls: OnceLock::new(),
        }
    }

    /// The client for a scheme of a URL.
    pub(super) fn client(&self, scheme: &str) -> Result<&Client, SourceError> {
        let full = self.full.get_or_init(|| made(self.builder()));
        let client = match full {
            Err(_) if scheme == "http" => self.without_tls.get_or_init(|| {
                let no_roots: [Certificate; 0] = [];
                made(self.builder().tls_certs_only(no_roots))
            }),
            full => full,
        };
        client.as_ref().map_err(|message| SourceError::NoTls {
            message: message.clone(),
        })
    }

    fn builder(&self) -> ClientBuilder {
        // A second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("krammerti/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect)
    }
}

fn made(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| {
        let said = innermost(&error);
        // rustls calls all errors so that it has no name for.
        let said = said.strip_prefix("unexpected error: ").unwrap_or(&said);
        said.to_owned()
    })
}
