//! Variables that say what cannot be, and a receiver behind TLS.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Proxy, folder, larder, run};
use crate::origin::Origin;
use crate::receiver::{Mood, Receiver};
use crate::{CONFIG, ask};

#[test]
fn a_variable_that_says_what_cannot_be_stops_the_start_by_its_name() {
    for (variable, value, words) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "is no http or https URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://u:s3cret@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization:s3cret", "name=value"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "whole number"),
    ] {
        let folder = folder();
        let mut command = larder(&folder);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").env(variable, value);
        command.args(["run", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"]);
        let ended = run(&mut command);
        ended.assert(78, &[variable, words]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
    let folder = folder();
    let mut command = larder(&folder);
    command.env("OTEL_TRACES_EXPORTER", "otlp");
    command.envs([("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]);
    command.args(["config", "check", "--upstream", "http://127.0.0.1:1"]);
    run(&mut command).assert(78, &["OTEL_TRACES_SAMPLER_ARG", "from 0 to 1"]);
}

#[test]
fn a_receiver_behind_tls_is_told_if_its_certificate_is_trusted() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (origin, folder) = (Origin::start(), folder());
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, certified.cert.pem()).expect("the file is written");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let receiver = Receiver::serve(listener, Mood::Takes, move |stream| {
        Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).expect("a connection"), stream))
    });
    let url = format!("https://localhost:{}/v1/traces", receiver.address.port());
    let roots = file.to_string_lossy().into_owned();
    let more = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let proxy =
        Proxy::start_with(origin.address, CONFIG, &[&more[..], &[("SSL_CERT_FILE", &roots)]].concat());
    ask(proxy.listen, "GET", "/api/projects/1", &[]);
    receiver.wait_for_requests(1);
}
