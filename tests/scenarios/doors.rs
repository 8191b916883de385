//! How clients come in and what they speak, how the origin is reached, and how the house is closed.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::harness::client::{Reply, all, next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;
use crate::harness::{Gate, play};

const HOUR: &str = "routes: { /a: 1h }";

/// An HTTP/2 client on `stream`.
async fn h2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Full<Bytes>> {
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn h2_to(proxy: &Proxy) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    h2(stream).await
}

fn h2_request(method: &str, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("http://localhost{target}");
    Request::builder().method(method).uri(uri).body(Full::new(body.into())).unwrap()
}

async fn h2_reply(client: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Reply {
    let (head, body) = client.send_request(request).await.unwrap().into_parts();
    let (body, whole) = read(body).await;
    Reply { status: head.status, headers: head.headers, body, whole }
}

/// A listener whose connections the test answers byte by byte, and a proxy before it.
pub(crate) async fn before_bytes(yaml: &str) -> (TcpListener, Proxy) {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    // The first connection is the proxy's look whether anybody is there.
    let proxy = Proxy::alone(&format!("upstream: http://{address}\n{yaml}")).await;
    drop(origin.accept().await.unwrap());
    (origin, proxy)
}

fn event_stream(gate: &Gate) -> Answer {
    let stream = Answer::new(200).header("content-type", "text/event-stream").text("data: 1\n\n");
    stream.part(Part::Gate(gate.clone())).text("data: 2\n\n")
}

// ---- HTTP/2 -----------------------------------------------------------------------------------------------------

#[test]
fn http2_by_prior_knowledge_misses_then_hits() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        for cache in ["MISS", "HIT"] {
            let reply = h2_reply(&mut client, h2_request("GET", "/a", "")).await;
            assert_eq!((reply.status.as_u16(), reply.cache(), reply.text()), (200, cache, "1"));
        }
        let head = h2_reply(&mut client, h2_request("HEAD", "/a", "")).await;
        assert_eq!((head.cache(), head.text(), head.header("content-length")), ("HIT", "", Some("1")));
    });
}

#[test]
fn both_versions_share_entries() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let port = proxy.address.port();
        let uri = format!("http://localhost:{port}/a");
        let request = Request::builder().uri(uri).body(Full::default()).unwrap();
        h2_reply(&mut client, request).await;
        assert_eq!(proxy.get("/a").reply().await.cache(), "HIT");
    });
}

#[test]
fn an_upload_over_http2_reaches_the_origin_whole() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(seen.body.len().to_string())).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let reply = h2_reply(&mut client, h2_request("POST", "/a", vec![b'x'; 1_000_000])).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "1000000"));
        let seen = origin.last();
        let framing = (seen.header("content-length"), seen.header("transfer-encoding"));
        assert!(matches!(framing, (Some("1000000"), None) | (None, Some("chunked"))), "{framing:?}");
    });
}

#[test]
fn streams_of_one_connection_wait_for_one_origin_request() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let client = h2_to(&proxy).await;
        let waiting = (0..20).map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { h2_reply(&mut client, h2_request("GET", "/a", "")).await })
        });
        let waiting: Vec<_> = waiting.collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        assert!(all(waiting).await.iter().all(|reply| reply.text() == "1"));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_body_that_breaks_off_resets_its_stream_and_no_other() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/a" => Answer::json("one").header("content-length", "100").part(Part::Cut),
            _ => Answer::json("fine"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        assert!(!h2_reply(&mut client, h2_request("GET", "/a", "")).await.whole);
        assert_eq!(h2_reply(&mut client, h2_request("GET", "/b", "")).await.text(), "fine");
    });
}

#[test]
fn cookies_that_http2_split_reach_the_origin_as_one_field() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let mut request = h2_request("GET", "/a", "");
        request.headers_mut().append("cookie", "a=1".parse().unwrap());
        request.headers_mut().append("cookie", "b=2".parse().unwrap());
        h2_reply(&mut client, request).await;
        assert_eq!(origin.last().header("cookie"), Some("a=1; b=2"));
        // The same person over HTTP/1.1 sends them in one line.
        let host = "localhost";
        assert_eq!(
            proxy.get("/a").header("host", host).header("cookie", "a=1; b=2").reply().await.cache(),
            "HIT"
        );
    });
}

#[test]
fn a_body_of_unknown_length_over_http2_is_chunked_for_the_origin_and_its_trailers_are_dropped() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-evil", "1".parse().unwrap());
        let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)];
        let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::io::Error>)));
        let request = Request::post("http://localhost/a").body(body).unwrap();
        let answer = tokio::spawn(client.send_request(request));
        let mut app = Raw::accept(&origin).await;
        let head = app.head().await;
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n") && !head.contains("content-length"),
            "{head}"
        );
        assert_eq!(app.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
        app.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(answer.await.unwrap().unwrap().status(), 204);
    });
}

#[test]
fn an_http2_request_that_names_two_hosts_is_refused() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let mut request = h2_request("GET", "/a", "");
        request.headers_mut().insert("host", "evil.test".parse().unwrap());
        assert_eq!(h2_reply(&mut client, request).await.status, 400);
        assert_eq!(origin.count(), 0);
    });
}

#[test]
fn an_http2_client_that_resets_its_stream_changes_nothing_for_the_fetch() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let mut kept = client.clone();
        let asking = tokio::spawn(async move { h2_reply(&mut client, h2_request("GET", "/a", "")).await });
        origin.arrived(1).await;
        asking.abort();
        proxy.settled().await;
        gate.open();
        assert_eq!(h2_reply(&mut kept, h2_request("GET", "/a", "")).await.text(), "1");
        assert_eq!(origin.count(), 1);
    });
}

// ---- TLS --------------------------------------------------------------------------------------------------------

/// A proxy that speaks TLS, the certificate it shows, and the folder it lies in.
async fn with_tls(
    origin: &Origin,
    yaml: &str,
) -> (Proxy, rcgen::CertifiedKey<rcgen::KeyPair>, tempfile::TempDir) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls: {{ cert: '{}', key: '{}' }}", cert.display(), key.display());
    (Proxy::start(origin, &format!("{tls}\n{yaml}")).await, made, folder)
}

/// A TLS connection that offers `protocol`, and what was agreed on.
async fn tls_to(
    proxy: &Proxy,
    cert: &rcgen::CertifiedKey<rcgen::KeyPair>,
    protocol: &[u8],
) -> (tokio_rustls::client::TlsStream<TcpStream>, Option<Vec<u8>>) {
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
    let mut roots = RootCertStore::empty();
    roots.add(cert.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(proxy.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp).await.unwrap();
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    (stream, agreed)
}

#[test]
fn tls_speaks_http2_and_http1_as_agreed() {
    play(async {
        let origin = Origin::counting().await;
        let (proxy, cert, _folder) = with_tls(&origin, HOUR).await;
        let (stream, agreed) = tls_to(&proxy, &cert, b"h2").await;
        assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
        let mut client = h2(stream).await;
        let request = Request::get("https://localhost/a").body(Full::default()).unwrap();
        assert_eq!(h2_reply(&mut client, request).await.cache(), "MISS");
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));

        let (stream, agreed) = tls_to(&proxy, &cert, b"http/1.1").await;
        assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
        let mut client = Raw::over(stream);
        client.send("GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200") && head.contains("x-cache: hit"), "{head}");
    });
}

#[test]
fn what_is_warmed_behind_a_tls_door_is_a_hit_there() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = format!("hosts: localhost\n{HOUR}\nwarm: {{ requests: [{{ get: /a }}] }}");
        let (proxy, cert, _folder) = with_tls(&origin, &yaml).await;
        while proxy.admin("/readyz").await.status != 200 {}
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
        let mut client = Raw::over(tls_to(&proxy, &cert, b"http/1.1").await.0);
        client.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.contains("x-cache: hit"), "{head}");
    });
}

#[test]
fn a_client_that_speaks_no_tls_to_a_tls_door_is_sent_away_and_others_are_not() {
    play(async {
        let origin = Origin::counting().await;
        let (proxy, cert, _folder) = with_tls(&origin, HOUR).await;
        let mut plain = Raw::connect(proxy.address).await;
        plain.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        // An alert in binary, then the end.
        assert!(!plain.rest().await.contains("HTTP/1.1 200"));
        let (stream, _) = tls_to(&proxy, &cert, b"http/1.1").await;
        let mut client = Raw::over(stream);
        client.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(client.head().await.starts_with("http/1.1 200"));
        assert_eq!(origin.count(), 1);
    });
}

// ---- the way to the origin --------------------------------------------------------------------------------------

#[test]
fn the_origin_may_listen_on_a_unix_socket() {
    play(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let origin = UnixListener::bind(&path).unwrap();
        let proxy = Proxy::alone(&format!("upstream: 'unix:{}'\n{HOUR}", path.display())).await;
        drop(origin.accept().await.unwrap());
        let client = proxy.get("/a").under_way();
        let mut app = Raw::over(origin.accept().await.unwrap().0);
        let head = app.head().await;
        assert!(head.starts_with("get /a http/1.1\r\n") && head.contains("\r\nhost: localhost"), "{head}");
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.await.unwrap().text(), "hi");
        assert_eq!(proxy.get("/a").reply().await.cache(), "HIT");
    });
}

#[test]
fn of_several_servers_a_dead_one_is_passed_over() {
    play(async {
        let (one, other) = (Origin::counting().await, Origin::counting().await);
        let dead = Origin::counting().await;
        let upstream = format!("[http://{}, http://{}, http://{}]", one.address, dead.address, other.address);
        dead.stop().await;
        let proxy = Proxy::alone(&format!("upstream: {upstream}\nroutes: {{ /a: bypass }}")).await;
        for _ in 0..40 {
            assert_eq!(proxy.get("/a").reply().await.status, 200);
        }
        assert_eq!(one.count() + other.count(), 40);
        assert!(one.count() > 0 && other.count() > 0, "{} and {}", one.count(), other.count());
    });
}

#[test]
fn an_idle_connection_that_the_origin_closed_costs_a_read_nothing() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let first = proxy.get("/a").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 1\r\n\r\n1").await;
        assert_eq!(first.await.unwrap().text(), "1");
        drop(app);
        let second = proxy.get("/a").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await;
        assert_eq!(second.await.unwrap().text(), "2");
    });
}

#[test]
fn a_read_that_dies_on_a_reused_connection_is_tried_once_more_and_a_write_is_not() {
    play(async {
        for (method, status) in [("GET", 200), ("POST", 502)] {
            let (origin, proxy) = before_bytes("routes: { /a: bypass }").await;
            let first = proxy.get("/a").under_way();
            let mut app = Raw::accept(&origin).await;
            app.head().await;
            app.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
            first.await.unwrap();
            let second = proxy.ask(method, "/a").under_way();
            app.head().await;
            drop(app); // it died under the request
            if status == 200 {
                let mut app = Raw::accept(&origin).await;
                app.head().await;
                app.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await;
            }
            assert_eq!(second.await.unwrap().status, status, "{method}");
        }
    });
}

#[test]
fn what_the_origin_says_beyond_its_answer_is_nobodys() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let first = proxy.get("/a").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
        app.send(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nhi{smuggled}"
        ))
        .await;
        first.await.unwrap();
        let second = proxy.get("/b").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(second.await.unwrap().text(), "ok");
    });
}

#[test]
fn who_finds_every_slot_taken_for_the_whole_timeout_is_asked_to_come_again() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let yaml = "limits: { upstream_concurrency: 1 }\nroutes: { /a: { ttl: 1h, timeout: 1h }, /b: { ttl: 1h, timeout: 1m } }";
        let proxy = Proxy::start(&origin, yaml).await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let second = proxy.get("/b").under_way();
        proxy.settled().await;
        silence(Duration::from_secs(61)).await;
        let refused = second.await.unwrap();
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")));
        gate.open();
        assert_eq!(first.await.unwrap().text(), "1");
        assert_eq!(proxy.get("/b").reply().await.text(), "2");
    });
}

#[test]
fn an_origin_that_refuses_an_upload_before_its_end_is_heard() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\npart").await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.until("part").await;
        app.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno").await;
        assert!(client.head().await.starts_with("http/1.1 413 "));
        assert_eq!(client.until("no").await, "no");
    });
}

#[test]
fn a_body_that_ends_with_the_connection_reaches_the_client_whole() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let client = proxy.get("/a").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        drop(app);
        let reply = client.await.unwrap();
        assert_eq!((reply.text(), reply.whole), ("until the end", true));
    });
}

#[test]
fn options_for_the_whole_server_is_forwarded_as_such() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(client.head().await.starts_with("http/1.1 200 "));
        assert_eq!((origin.last().method.as_str(), origin.last().target.as_str()), ("OPTIONS", "*"));
    });
}

// ---- upgrades and streams ---------------------------------------------------------------------------------------

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_websocket_passes_bytes_both_ways_until_one_end_closes() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send(UPGRADE).await;
        let mut app = Raw::accept(&origin).await;
        let head = app.head().await;
        assert!(
            head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        app.send(format!("{agreed}hello")).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 101 ") && head.contains("\r\nsec-websocket-accept: "), "{head}");
        assert!(
            head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nupgrade: websocket\r\n"),
            "{head}"
        );
        assert_eq!(client.until("hello").await, "hello");
        for word in ["\0ping", "GET / HTTP/1.1\r\n\r\n"] {
            client.send(word).await;
            assert_eq!(app.until(word).await, word);
            app.send(word).await;
            assert_eq!(client.until(word).await, word);
        }
        drop(app);
        assert_eq!(client.rest().await, "");
    });
}

/// A client and an origin that are joined by an agreed upgrade.
async fn tunnel(origin: &TcpListener, proxy: &Proxy) -> (Raw, Raw) {
    let mut client = Raw::connect(proxy.address).await;
    client.send(UPGRADE).await;
    let mut app = Raw::accept(origin).await;
    app.head().await;
    app.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    client.head().await;
    (client, app)
}

#[test]
fn a_tunnel_takes_a_place_of_the_connections_as_long_as_it_lasts() {
    play(async {
        let (origin, proxy) = before_bytes(&format!("limits: {{ connections: 2 }}\n{HOUR}")).await;
        let (mut client, mut app) = tunnel(&origin, &proxy).await;
        proxy.settled().await;
        assert_eq!(proxy.metric("larder_connections").await, 1);
        client.send("still").await;
        app.until("still").await;
        drop((client, app));
        proxy.settled().await;
        assert_eq!(proxy.metric("larder_connections").await, 0);
    });
}

#[test]
fn a_tunnel_does_not_wait_for_a_slot_nor_keep_one() {
    play(async {
        let (origin, proxy) = before_bytes(&format!("limits: {{ upstream_concurrency: 1 }}\n{HOUR}")).await;
        let (mut client, mut app) = tunnel(&origin, &proxy).await;
        let other = proxy.get("/a").under_way();
        let mut second = Raw::accept(&origin).await;
        second.head().await;
        second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(other.await.unwrap().text(), "hi");
        client.send("still").await;
        app.until("still").await;
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_for_an_hour_is_closed_at_both_ends() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = tunnel(&origin, &proxy).await;
        let quiet = async || {
            proxy.settled().await;
            silence(Duration::from_secs(59 * 60)).await;
            proxy.settled().await;
        };
        for word in ["one", "two"] {
            quiet().await;
            client.send(word).await;
            assert_eq!(app.until(word).await, word);
            quiet().await;
            app.send(word).await;
            assert_eq!(client.until(word).await, word);
        }
        quiet().await;
        silence(Duration::from_secs(2 * 60)).await;
        assert_eq!((client.rest().await.as_str(), app.rest().await.as_str()), ("", ""));
    });
}

#[test]
fn a_tunnel_of_which_one_end_has_closed_still_brings_what_the_other_says() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = tunnel(&origin, &proxy).await;
        client.send("last").await;
        client.finish().await;
        assert_eq!(app.until("last").await, "last");
        proxy.settled().await;
        app.send("bye").await;
        assert_eq!(client.until("bye").await, "bye");
        drop(app);
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn bytes_sent_before_the_upgrade_is_agreed_on_wait_for_it() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{UPGRADE}early")).await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(app.until("early").await, "early");
        client.head().await;
    });
}

#[test]
fn an_origin_that_declines_the_upgrade_is_heard_and_the_connection_goes_on() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{UPGRADE}GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        assert!(client.head().await.starts_with("http/1.1 403 "));
        assert_eq!(client.until("no").await, "no");
        assert!(app.head().await.starts_with("get /b "));
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").await;
        client.head().await;
        assert_eq!(client.until("yes").await, "yes");
    });
}

#[test]
fn with_upgrades_off_the_origin_hears_of_none() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("upgrades: off\n{HOUR}")).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send(UPGRADE).await;
        assert!(client.head().await.starts_with("http/1.1 200 "));
        assert_eq!((origin.last().header("upgrade"), origin.last().header("connection")), (None, None));
    });
}

#[test]
fn an_upgrade_to_anything_else_is_not_passed_on() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n").await;
        let head = client.head().await;
        if head.starts_with("http/1.1 200 ") {
            let seen = origin.last();
            assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None));
        } else {
            assert!(head.starts_with("http/1.1 400 "), "{head}");
            assert_eq!(origin.count(), 0);
        }
    });
}

#[test]
fn events_arrive_one_by_one_and_hold_nobody_up() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/a" => event_stream(&held),
            _ => Answer::json("other"),
        })
        .await;
        let yaml = format!("limits: {{ upstream_concurrency: 1 }}\n{HOUR}");
        let proxy = Proxy::start(&origin, &yaml).await;
        let mut one = proxy.get("/a").head().await;
        assert_eq!(next(one.body_mut()).await, "data: 1\n\n");
        assert_eq!(one.headers()["cache-status"], "larder; fwd=bypass; detail=event-stream");
        // A stream has no slot: another one and a plain request get theirs.
        let mut two = proxy.get("/a").head().await;
        assert_eq!(next(two.body_mut()).await, "data: 1\n\n");
        assert_eq!(proxy.get("/other").reply().await.text(), "other");
        gate.open();
        assert_eq!(next(one.body_mut()).await, "data: 2\n\n");
        assert_eq!(next(two.body_mut()).await, "data: 2\n\n");
    });
}

#[test]
fn an_event_stream_whose_client_leaves_is_closed_at_the_origin() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let client = proxy.get("/a").under_way();
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
        proxy.settled().await;
        client.abort();
        assert_eq!(app.rest().await, "");
    });
}

/// Silence of `silence` on everybody's side, without anybody waiting that long.
pub(crate) async fn silence(silence: Duration) {
    tokio::time::pause();
    tokio::time::advance(silence).await;
    tokio::time::resume();
}

#[test]
fn an_event_stream_may_be_silent_for_longer_than_any_idle_time() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| event_stream(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut stream = proxy.get("/a").head().await;
        assert_eq!(next(stream.body_mut()).await, "data: 1\n\n");
        silence(Duration::from_secs(300)).await;
        proxy.settled().await;
        gate.open();
        assert_eq!(next(stream.body_mut()).await, "data: 2\n\n");
    });
}

#[test]
fn an_event_stream_over_http2_may_be_silent_for_longer_than_any_idle_time() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| event_stream(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = h2_to(&proxy).await;
        let mut stream = client.send_request(h2_request("GET", "/a", "")).await.unwrap();
        assert_eq!(next(stream.body_mut()).await, "data: 1\n\n");
        // As in a quiet night: every ping is answered, and nothing else moves.
        for _ in 0..10 {
            silence(Duration::from_secs(31)).await;
            proxy.settled().await;
        }
        gate.open();
        assert_eq!(next(stream.body_mut()).await, "data: 2\n\n");
    });
}

#[test]
fn a_slow_answer_over_http2_is_waited_for() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Answer::json("late").held(&held)).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, timeout: 10m } }").await;
        let mut client = h2_to(&proxy).await;
        let waiting = tokio::spawn(async move { h2_reply(&mut client, h2_request("GET", "/a", "")).await });
        origin.arrived(1).await;
        for _ in 0..6 {
            silence(Duration::from_secs(31)).await;
            proxy.settled().await;
        }
        gate.open();
        assert_eq!(waiting.await.unwrap().text(), "late");
    });
}

// ---- HTTP/1.1 to the letter -------------------------------------------------------------------------------------

#[test]
fn trailers_of_a_request_do_not_reach_the_origin() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("POST /a HTTP/1.1\r\nHost: localhost\r\nTrailer: X-Evil\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send("5\r\nhello\r\n0\r\nX-Evil: 1\r\nHost: evil\r\n\r\n").await;
        let mut app = Raw::accept(&origin).await;
        let head = app.head().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n") && !head.contains("trailer"), "{head}");
        assert_eq!(app.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
        app.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(client.head().await.starts_with("http/1.1 204 "));
    });
}

#[test]
fn trailers_of_an_answer_do_not_reach_the_client_nor_the_store() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET /a HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n\r\n").await;
        let mut app = Raw::accept(&origin).await;
        let head = app.head().await;
        assert!(!head.contains("\r\nte:"), "{head}");
        app.send("HTTP/1.1 200 OK\r\nTrailer: X-Evil\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        app.send("5;ext=1\r\nhello\r\n0\r\nX-Evil: 1\r\nSet-Cookie: a=b\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n") && !head.contains("trailer"), "{head}");
        assert_eq!(client.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
        let hit = proxy.get("/a").header("host", "localhost").reply().await;
        assert_eq!((hit.cache(), hit.text(), hit.header("x-evil")), ("HIT", "hello", None));
    });
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.target.clone());
            if seen.target == "/slow" { answer.held(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        proxy.get("/a").header("host", "localhost").reply().await;
        let mut client = Raw::connect(proxy.address).await;
        let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(["/slow", "/a", "/last"].map(request).concat()).await;
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for target in ["/slow", "/a", "/last"] {
            client.head().await;
            assert_eq!(client.until(target).await, target);
        }
    });
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on_and_the_origin_hears_nothing_of_it() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(seen.body.len().to_string())).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client
            .send("POST /a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .await;
        assert_eq!(client.head().await, "http/1.1 100 continue\r\n\r\n");
        client.send("hello").await;
        assert!(client.head().await.starts_with("http/1.1 200 "));
        assert_eq!(client.until("5").await, "5");
        assert_eq!(origin.last().header("expect"), None);
    });
}

#[test]
fn what_may_be_read_in_two_ways_reaches_nobody() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for bad in [
            "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc",
        ] {
            let mut client = Raw::connect(proxy.address).await;
            client.send(format!("{bad}GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            let head = client.head().await;
            assert!(
                head.starts_with("http/1.1 400 ") && head.contains("connection: close"),
                "{bad:?} {head}"
            );
            assert!(!client.rest().await.contains("HTTP/1.1"), "{bad:?}: one answer, then the end");
        }
        assert_eq!(origin.count(), 0);
    });
}

#[test]
fn a_host_that_is_not_served_is_misdirected() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("hosts: api.test www.test\n{HOUR}")).await;
        assert_eq!(proxy.get("/a").header("host", "evil.test").reply().await.status, 421);
        assert_eq!(proxy.get("/a").header("host", "WWW.test").reply().await.cache(), "MISS");
        assert_eq!(origin.last().header("host"), Some("api.test"));
        assert_eq!(proxy.get("/a").header("host", "api.test.").reply().await.cache(), "HIT");
        assert_eq!(origin.count(), 1);
    });
}

// ---- closing ----------------------------------------------------------------------------------------------------

const PATIENT: &str = "limits: { upstream_timeout: 1h }\nroutes: { /a: 1h }";
const DELAY: Duration = Duration::from_secs(30);

#[test]
fn during_the_delay_it_says_that_it_drains_and_still_accepts() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        while proxy.admin("/readyz").await.status != 200 {}
        let stop = tokio::spawn(proxy.running().stop(DELAY, std::future::pending()));
        while proxy.admin("/readyz").await.status != 503 {}
        assert_eq!(proxy.admin("/livez").await.status, 200);
        assert_eq!(proxy.get("/a").reply().await.status, 200);
        silence(DELAY).await;
        stop.await.unwrap();
        assert!(TcpStream::connect(proxy.address).await.is_err());
    });
}

#[test]
fn after_the_delay_what_is_under_way_ends_and_idle_connections_are_closed() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/a" => Answer::json("late").held(&held),
            _ => Answer::json("early"),
        })
        .await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        let mut idle = Raw::connect(proxy.address).await;
        idle.send("GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        idle.head().await;
        idle.until("early").await;
        let busy = proxy.get("/a").under_way();
        let mut client = h2_to(&proxy).await;
        let busy_h2 = tokio::spawn(async move { h2_reply(&mut client, h2_request("GET", "/a", "")).await });
        origin.arrived(2).await;
        proxy.settled().await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        assert_eq!(idle.rest().await, "", "it is closed");
        assert!(TcpStream::connect(proxy.address).await.is_err(), "nobody new comes in");
        assert!(!stop.is_finished());
        gate.open();
        let late = busy.await.unwrap();
        assert_eq!((late.text(), late.whole), ("late", true));
        assert_eq!(busy_h2.await.unwrap().text(), "late");
        stop.await.unwrap();
    });
}

#[test]
fn a_connection_that_never_asked_anything_does_not_hold_the_end_up() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        let silent = Raw::connect(proxy.address).await;
        proxy.settled().await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        let closed = tokio::time::timeout(Duration::from_secs(5), silent.rest()).await;
        assert_eq!(closed.expect("it is closed at once, not when its first byte is overdue"), "");
        stop.await.unwrap();
    });
}

#[test]
fn a_client_in_the_middle_of_its_head_does_not_hold_the_end_up_for_long() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        let mut slow = Raw::connect(proxy.address).await;
        slow.send("GET /a HT").await;
        proxy.settled().await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        tokio::task::yield_now().await;
        silence(Duration::from_secs(11)).await;
        slow.rest().await;
        stop.await.unwrap();
    });
}

#[test]
fn what_is_still_under_way_after_the_timeout_is_cut() {
    play(async {
        let never = Gate::default();
        let held = never.clone();
        let origin = Origin::start(move |_| Answer::json("one").part(Part::Gate(held.clone()))).await;
        let proxy =
            Proxy::start(&origin, &format!("shutdown: {{ delay: 0s, timeout: 20s }}\n{PATIENT}")).await;
        let mut cut = proxy.get("/a").head().await;
        assert_eq!(next(cut.body_mut()).await, "one");
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        while TcpStream::connect(proxy.address).await.is_ok() {}
        assert!(!stop.is_finished());
        silence(Duration::from_secs(21)).await;
        stop.await.unwrap();
        assert!(!read(cut.into_body()).await.1);
    });
}

#[test]
fn a_second_signal_cuts_at_once() {
    play(async {
        let (never, hurry) = (Gate::default(), Gate::default());
        let held = never.clone();
        let origin = Origin::start(move |_| Answer::json("one").part(Part::Gate(held.clone()))).await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        let mut cut = proxy.get("/a").head().await;
        assert_eq!(next(cut.body_mut()).await, "one");
        let signal = hurry.clone();
        let stop = tokio::spawn(proxy.running().stop(DELAY, async move { signal.passed().await }));
        tokio::task::yield_now().await;
        hurry.open();
        stop.await.unwrap();
        assert!(!read(cut.into_body()).await.1);
    });
}

#[test]
fn a_write_under_way_at_the_end_is_answered() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Answer::new(201).held(&held)).await;
        let proxy = Proxy::start(&origin, PATIENT).await;
        let write = proxy.ask("POST", "/a").body("x").under_way();
        origin.arrived(1).await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        while TcpStream::connect(proxy.address).await.is_ok() {}
        gate.open();
        assert_eq!(write.await.unwrap().status, 201);
        stop.await.unwrap();
    });
}

#[test]
fn one_connection_more_than_the_limit_waits_for_a_place() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("limits: {{ connections: 1 }}\n{HOUR}")).await;
        let request = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut first = Raw::connect(proxy.address).await;
        first.send(request).await;
        first.head().await;
        let mut second = Raw::connect(proxy.address).await;
        second.send(request).await;
        for _ in 0..20 {
            first.send(request).await;
            assert!(first.head().await.contains("x-cache: hit"));
        }
        assert_eq!(proxy.metric("larder_connections").await, 1, "the second one is not in yet");
        drop(first);
        assert!(second.head().await.starts_with("http/1.1 200 "));
    });
}

#[test]
fn a_tunnel_lasts_until_the_timeout_of_the_end() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = tunnel(&origin, &proxy).await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        while TcpStream::connect(proxy.address).await.is_ok() {}
        for _ in 0..5 {
            client.send("still").await;
            assert_eq!(app.until("still").await, "still");
        }
        assert!(!stop.is_finished(), "the tunnel is under way");
        silence(Duration::from_secs(21)).await;
        stop.await.unwrap();
        assert_eq!(client.rest().await, "");
    });
}
