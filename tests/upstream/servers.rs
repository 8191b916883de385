//! Where requests go: unix sockets, TLS, several servers, some of them dead.

use std::io::{Read, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::upstream::{Error, How, Leave, Origin, Permit, Settings, Upstream};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

use crate::harness::{OK, Peer, absent, accept, fetch, get, how, listen, read, upstream, within};

#[tokio::test]
async fn an_origin_may_be_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let script = async {
        let mut peer = Peer::new(within(listener.accept()).await.unwrap().0);
        peer.answer(OK).await;
        peer.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([Origin::Unix(path)]);
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn names_are_resolved_and_every_address_is_tried() {
    // `localhost` is ::1 and 127.0.0.1 on most machines; only the latter listens.
    let (listener, origin) = listen().await;
    let Origin::Tcp { port, .. } = origin else { unreachable!() };
    let named = Origin::Tcp { tls: false, host: "localhost".into(), port };
    let script = async { accept(&listener).await.answer(OK).await };
    let client = async { assert_eq!(fetch(&upstream([named])).await.unwrap(), "ok") };
    tokio::join!(script, client);
}

/// Answers every request on every connection.
fn serve(listener: TcpListener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let mut peer = accept(&listener).await;
            peer.answer(
                OK.replace("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n").as_str(),
            )
            .await;
        }
    })
}

#[tokio::test]
async fn while_one_of_two_servers_lives_every_request_is_answered() {
    let (listener, alive) = listen().await;
    let server = serve(listener);
    let (_socket, absent) = absent();
    let upstream = upstream([absent, alive]);
    for _ in 0..50 {
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    }
    server.abort();
}

#[tokio::test]
async fn a_server_that_stops_answering_is_passed_over() {
    let (mute, mute_origin) = listen().await;
    let (listener, alive) = listen().await;
    let server = serve(listener);
    let upstream = upstream([mute_origin, alive]);
    let short = larder::upstream::How { timeout: Duration::from_millis(100), ..how() };
    let mut timeouts = 0;
    for _ in 0..60 {
        match within(upstream.send(get(), short.clone())).await {
            Ok(response) => assert_eq!(response.status(), 200),
            Err(Error::FirstByteTimeout) => timeouts += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(timeouts, 3, "then it is ejected, for longer than the rest takes");
    server.abort();
    drop(mute);
}

#[tokio::test]
async fn an_absent_origin_is_unreachable_and_a_probe_tells() {
    let (_socket, absent) = absent();
    let dead = upstream([absent.clone()]);
    let error = fetch(&dead).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { origin, .. } if *origin == absent), "{error:?}");
    assert!(error.never_sent());
    assert!(matches!(dead.probe().await, Err(Error::Unreachable { .. })));

    let (_listener, alive) = listen().await;
    upstream([absent, alive]).probe().await.unwrap();
}

/// A certificate for `name` and a listener that speaks TLS with it.
fn certified(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (certificate, TlsAcceptor::from(Arc::new(config)))
}

fn over_tls(origin: &Origin, host: &str) -> Origin {
    let Origin::Tcp { port, .. } = origin else { unreachable!() };
    Origin::Tcp { tls: true, host: host.into(), port: *port }
}

#[tokio::test]
async fn a_tls_origin_is_checked_by_name_and_spoken_to_in_http_1() {
    let (certificate, acceptor) = certified("localhost");
    let (listener, origin) = listen().await;
    let script = async {
        let tls = within(acceptor.accept(within(listener.accept()).await.unwrap().0)).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(tls.get_ref().1.server_name(), Some("localhost"));
        let mut peer = Peer::new(tls);
        peer.answer(OK).await;
        peer.answer(OK).await;
    };
    let client = async {
        let settings = Settings::new(vec![over_tls(&origin, "localhost")]);
        let upstream = Upstream::new(Settings { roots: vec![certificate], ..settings }).unwrap();
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_certificate_for_another_name_or_from_a_stranger_is_refused() {
    let (other, acceptor_of_other) = certified("other.example");
    let (_, acceptor_of_stranger) = certified("localhost");
    for acceptor in [acceptor_of_other, acceptor_of_stranger] {
        let (listener, origin) = listen().await;
        let script = async {
            let outcome = within(acceptor.accept(within(listener.accept()).await.unwrap().0)).await;
            assert!(outcome.is_err());
        };
        let client = async {
            let settings = Settings::new(vec![over_tls(&origin, "localhost")]);
            let upstream = Upstream::new(Settings { roots: vec![other.clone()], ..settings }).unwrap();
            let error = fetch(&upstream).await.unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{error:?}");
        };
        tokio::join!(script, client);
    }
}

/// What a server says between its handshake and the request.
#[derive(Clone, Copy, Debug)]
enum Early {
    Tickets,
    Answer,
    Goodbye,
    End,
}

/// Says it, and tells when it is on its way; then answers what it is asked.
fn says_early(listener: &std::net::TcpListener, config: &Arc<ServerConfig>, early: Early, told: &Sender<()>) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    match early {
        Early::Tickets | Early::End => {}
        Early::Answer => tls.writer().write_all(OK.as_bytes()).unwrap(),
        Early::Goodbye => tls.send_close_notify(),
    }
    while tls.wants_write() {
        tls.write_tls(&mut socket).unwrap();
    }
    if matches!(early, Early::End) {
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    }
    told.send(()).unwrap();
    let mut tls = StreamOwned::new(tls, socket);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut part = [0; 512];
        match tls.read(&mut part) {
            Ok(count) if count > 0 => request.extend_from_slice(&part[..count]),
            // Nothing was asked.
            _ => return,
        }
    }
    tls.write_all(OK.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_session_ticket_before_the_request_is_no_answer_and_anything_else_spoils_the_connection() {
    for early in [Early::Tickets, Early::Answer, Early::Goodbye, Early::End] {
        let (certificate, acceptor) = certified("localhost");
        let (listener, origin) = listen().await;
        let listener = listener.into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        let (told, heard) = channel();
        let script = std::thread::spawn(move || says_early(&listener, acceptor.config(), early, &told));
        let settings = Settings::new(vec![over_tls(&origin, "localhost")]);
        let upstream = Upstream::new(Settings { roots: vec![certificate], ..settings }).unwrap();
        // Nobody reads while this waits: it holds the only thread there is.
        let heard = Mutex::new(heard);
        let permit = Permit::new(move || {
            heard.lock().unwrap().recv().unwrap();
            Box::pin(std::future::ready(Leave::Given))
        });
        let outcome = within(upstream.send(get(), How { permit: Some(permit), ..how() })).await;
        match early {
            Early::Tickets => assert_eq!(read(outcome.unwrap()).await, "ok"),
            _ => assert!(matches!(outcome, Err(Error::Closed)), "{early:?}: {outcome:?}"),
        }
        drop(upstream);
        script.join().unwrap();
    }
}
