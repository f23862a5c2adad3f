//! `wasi:http` under the same list of hosts as sockets: a request goes to a granted name or address and port, over a connection
//! that the host makes to an address it checked. Redirects are answers like any other: who wants to follow one asks again.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use capability_manifest::HostCapability;
use capability_manifest::scope::{HostPort, PatternSet, Scope};
use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

use super::limits::{HTTP_FIELD_BYTES_MAX, HTTP_WAIT_MAX};
use super::names::NetworkPolicy;

/// An instance's side of `wasi:http`.
pub(super) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    pub(super) fn new(network: NetworkPolicy) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(HTTP_FIELD_BYTES_MAX);
        Self { ctx, hooks: Hooks(network) }
    }

    pub(super) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.hooks, table, ctx: &mut self.ctx }
    }
}

struct Hooks(NetworkPolicy);

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(send(self.0.clone(), request, options))
    }
}

/// Either kind of connection.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

async fn send(
    policy: NetworkPolicy,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Sent, Error> {
    // A tunnel's far end would be checked by nobody.
    if request.method() == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    if authority.as_str().contains('@') {
        return Err(Error::HttpRequestUriInvalid);
    }
    let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let wait = |own: Option<Duration>| own.unwrap_or(HTTP_WAIT_MAX).min(HTTP_WAIT_MAX);
    let connect_wait = wait(options.as_ref().and_then(|options| options.connect_timeout));
    let answer_wait = wait(options.as_ref().and_then(|options| options.first_byte_timeout));

    let connecting = connect(&policy, &host, port);
    let stream =
        tokio::time::timeout(connect_wait, connecting).await.map_err(|_| Error::ConnectionTimeout)??;
    let stream: Box<dyn Connection> = if secure {
        let connecting = secured(&host, stream);
        tokio::time::timeout(connect_wait, connecting).await.map_err(|_| Error::ConnectionTimeout)??
    } else {
        Box::new(stream)
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HTTP_FIELD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    // A request to a server itself names only the path; the host stands in its header.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;

    let mut connection: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>> = Box::pin(connection);
    let mut answer = Box::pin(tokio::time::timeout(answer_wait, sender.send_request(request)));
    // The connection moves only while it is looked at, so it is looked at until there is an answer.
    let response = tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let rest = async move {
        connection.await?;
        Ok(())
    };
    Ok((response.map(|body| body.map_err(Error::from).boxed_unsync()), Box::new(rest)))
}

/// A connection to an address that the policy lets through: the first that answers.
async fn connect(policy: &NetworkPolicy, host: &str, port: u16) -> Result<TcpStream, Error> {
    let addresses: Vec<SocketAddr> = if let Ok(address) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(address, port)]
    } else {
        if !policy.names_to_connect(host, port) {
            if let Ok(line) = HostPort::parse(&format!("{host}:{port}")) {
                let line = Scope::Hosts(PatternSet::new([line]));
                policy.refused(
                    HostCapability::NetworkConnect,
                    &format!("HTTP request to `{host}:{port}`"),
                    &line,
                );
            }
            return Err(Error::HttpRequestDenied);
        }
        let failed = |_| Error::DnsError { rcode: None, info_code: None };
        tokio::net::lookup_host((host, port))
            .await
            .map_err(failed)?
            .filter(|to| policy.learn(host, to.ip()))
            .collect()
    };
    let mut error = Error::DestinationIpProhibited;
    for address in addresses {
        if !policy.allows(address, wasmtime_wasi::sockets::SocketAddrUse::TcpConnect) {
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = Error::Connect(failed),
        }
    }
    Err(error)
}

/// TLS with the name that was asked for, trusted by the public roots.
async fn secured(host: &str, stream: TcpStream) -> Result<Box<dyn Connection>, Error> {
    static CONFIG: LazyLock<Arc<rustls::ClientConfig>> = LazyLock::new(|| {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the protocol's own versions");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    });
    let name =
        rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&CONFIG));
    Ok(Box::new(connector.connect(name, stream).await.map_err(Error::Tls)?))
}
